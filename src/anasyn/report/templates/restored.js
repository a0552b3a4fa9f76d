// Restored images: a slider over what is seen, the mean of the draws, each draw, their spread, and the truth if known.

for (const root of document.querySelectorAll("[data-restored]")) {
  const slider = root.querySelector("input[type=range]"), name = root.querySelector(".state");
  const states = [...root.querySelectorAll(".states img")];

  function show(chosen) {
    states.forEach((state, k) => { state.hidden = k !== chosen; });
    name.textContent = states[chosen].dataset.name;
    slider.setAttribute("aria-valuetext", states[chosen].dataset.name);
  }
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(Number(slider.value));
  root.dataset.ready = "true";
}
