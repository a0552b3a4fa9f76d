// The page: its light and dark theme, and the button that copies the command.

{
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
  button.hidden = false;
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
  });
}

// A player: a button that plays and pauses, and a slider that shows and sets the position.
//   show(position) draws; playing from the slider's smallest to its largest value takes so many seconds.
function player(button, slider, seconds, show) {
  const least = Number(slider.min), greatest = Number(slider.max);
  let playing = false;

  function set(position) {
    slider.value = position;
    show(position);
  }
  function stop() {
    playing = false;
    button.textContent = "Play";
  }
  function play() {
    if (playing) return;
    if (Number(slider.value) >= greatest) set(least);
    playing = true;
    button.textContent = "Pause";
    let before = performance.now(), position = Number(slider.value);
    requestAnimationFrame(function frame(now) {
      if (!playing) return;
      position = Math.min(position + Math.max(now - before, 0) / 1000 / seconds * (greatest - least), greatest);
      before = now;
      set(position);
      if (position >= greatest) stop();
      else requestAnimationFrame(frame);
    });
  }
  button.addEventListener("click", () => (playing ? stop() : play()));
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  return { play, stop, set, isPlaying: () => playing };
}
