// Chains over images: a slider over the transitions, from the start to the synthesised image.
//
// Between two frames, one fades into the next.

for (const root of document.querySelectorAll("[data-film]")) chains(root);

function chains(root) {
  const { sprites, tile, steps } = JSON.parse(root.querySelector(".film-data").textContent);
  const contexts = [...root.querySelectorAll("canvas")].map((canvas) => canvas.getContext("2d"));
  const slider = root.querySelector("input[type=range]"), step = root.querySelector(".step");
  const energy = chart(root.querySelector(".chart")), paint = unpack(sprites, ...tile);

  function show(position) {
    const frame = Math.min(Math.floor(position), steps.length - 1), next = Math.min(frame + 1, steps.length - 1);
    const share = position - frame, done = Math.round(steps[frame] + share * (steps[next] - steps[frame]));
    step.textContent = done;
    slider.setAttribute("aria-valuetext", `${done} transitions`);
    energy.show(done);
    contexts.forEach((context, chain) => {
      const first = chain * steps.length;
      paint(context, [[first + frame, 1 - share], [first + next, share]]);
    });
  }

  const film = player(root.querySelector(".play"), slider, 4, show);
  energy.plot.addEventListener("pointermove", (event) => {
    film.stop();
    const share = (energy.under(event.clientX) - steps[0]) / (steps.at(-1) - steps[0]);
    film.set(Math.max(0, Math.min(share, 1)) * (steps.length - 1));
  });
  film.set(steps.length - 1);
  root.dataset.ready = "true";
}
