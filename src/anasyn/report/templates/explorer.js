// The explorer: shows the image f(z) of the point z under the pointer.
//
// f(z) is stored on a grid of points × points, row by row from the top. Between grid points, the four nearest images are
// interpolated bilinearly.

for (const root of document.querySelectorAll("[data-explorer]")) explorer(root);

function explorer(root) {
  const { points, tile, reach, names, planes, sprites } = JSON.parse(root.querySelector("script").textContent);
  const plane = root.querySelector(".plane"), pad = root.querySelector(".pad"), cursor = root.querySelector(".cursor");
  const canvas = root.querySelector(".view canvas"), where = root.querySelector(".where");
  const route = root.querySelector(".route"), way = root.querySelector(".way");
  const thumbs = [...root.querySelectorAll(".thumb")];
  const selects = [...root.querySelectorAll("[data-axis]")];
  const context = canvas.getContext("2d"), paint = unpack(sprites, ...tile);

  let axes = [0, 1];          // the indices of the horizontal and the vertical direction
  let first = 0;              // the index of the plane's first image among all images
  let position = [0, 0];      // the cursor, in the plane's coordinates
  let ends = null;            // the two ends of the line, in the plane's coordinates
  let held = null;            // the thumbnail from which a line is being drawn
  let chosen = null;          // the thumbnail chosen first

  // ---- the image at a point

  // The plane of directions (i, j), i < j, also serves as that of (j, i): rows become columns.
  function place(column, line) {
    const [x, y] = axes[0] < axes[1] ? [column, line] : [points - 1 - line, points - 1 - column];
    return first + y * points + x;
  }
  function draw() {
    const [x, y] = [position[0], -position[1]].map((a) => (a + reach) / (2 * reach) * (points - 1));
    const [column, line] = [x, y].map((a) => Math.min(Math.floor(a), points - 2));
    const [right, down] = [x - column, y - line];
    paint(context, [
      [place(column, line), (1 - right) * (1 - down)],
      [place(column + 1, line), right * (1 - down)],
      [place(column, line + 1), (1 - right) * down],
      [place(column + 1, line + 1), right * down],
    ]);
  }
  function moveTo(point) {
    position = point.map((a) => Math.max(-reach, Math.min(reach, a)));
    cursor.style.left = percent(position[0]);
    cursor.style.top = percent(-position[1]);
    const words = position.map((a, k) => `${names[axes[k]]} ${a.toFixed(2).replace("-", "−")}`);
    where.textContent = words.join(", ");
    draw();
  }
  const percent = (a) => `${50 + 50 * a / reach}%`;

  // ---- which plane

  function choose(across, upwards) {
    axes = [across, upwards];
    first = planes[[across, upwards].sort((a, b) => a - b).join(" ")] * points * points;
    for (const thumb of thumbs) {
      const [x, y] = at(thumb);
      thumb.style.left = percent(x);
      thumb.style.top = percent(-y);
    }
    for (const name of root.querySelectorAll("[data-axis-name]")) name.textContent = names[axes[name.dataset.axisName]];
    forget();
    moveTo(position);
  }
  const at = (thumb) => axes.map((k) => JSON.parse(thumb.dataset.at)[k]);

  selects.forEach((select, k) => select.addEventListener("change", () => {
    const other = selects[1 - k], before = axes[k];
    if (other.value === select.value) other.value = before;  // the two directions are swapped
    choose(Number(selects[0].value), Number(selects[1].value));
  }));

  // ---- moving the cursor

  function under(event) {
    const { left, top, width, height } = plane.getBoundingClientRect();
    return [(2 * (event.clientX - left) / width - 1) * reach, (1 - 2 * (event.clientY - top) / height) * reach];
  }
  plane.addEventListener("pointermove", (event) => {
    if (film.isPlaying()) return;
    moveTo(under(event));
    if (held) drawLine(at(held), position);
  });
  plane.addEventListener("pointerdown", (event) => {
    film.stop();
    held = event.target.closest(".thumb");
    if (!held) moveTo(under(event));
  });
  addEventListener("pointerup", (event) => {
    if (!held) return;
    const [from, to] = [held, document.elementFromPoint(event.clientX, event.clientY)?.closest(".thumb")];
    held = null;
    if (to && to !== from && thumbs.includes(to)) interpolate(from, to);
    else if (!ends) way.classList.remove("drawn");
    else drawLine(...ends);
  });
  pad.addEventListener("keydown", (event) => {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = 2 * reach / (points - 1) * (event.shiftKey ? 4 : 1);
    if (event.key in directions) moveTo(position.map((a, k) => a + step * directions[event.key][k]));
    else if (event.key === "Home") moveTo([0, 0]);
    else if (event.key === "Escape") forget();
    else return;
    film.stop();
    event.preventDefault();
  });

  // ---- the line between two thumbnails

  const button = root.querySelector(".play"), slider = root.querySelector("input[type=range]");
  const film = player(button, slider, 3, (t) => ends && moveTo(ends[0].map((a, k) => a + t * (ends[1][k] - a))));

  function drawLine([x1, y1], [x2, y2]) {
    for (const [name, value] of Object.entries({ x1, y1: -y1, x2, y2: -y2 })) way.setAttribute(name, value);
    way.classList.add("drawn");
  }
  function interpolate(from, to) {
    forget();
    ends = [at(from), at(to)];
    drawLine(...ends);
    route.textContent = `from ${from.dataset.name} to ${to.dataset.name}`;
    button.disabled = slider.disabled = false;
    film.set(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) film.play();
  }
  function forget() {
    film.stop();
    chosen?.classList.remove("chosen");
    chosen = ends = null;
    way.classList.remove("drawn");
    route.textContent = "";
    button.disabled = slider.disabled = true;
  }
  for (const thumb of thumbs) {
    thumb.addEventListener("click", () => {
      if (chosen && chosen !== thumb) return interpolate(chosen, thumb);
      forget();
      chosen = thumb;
      thumb.classList.add("chosen");
      route.textContent = `${thumb.dataset.name}: now choose a second image`;
      moveTo(at(thumb));
    });
    thumb.addEventListener("dragstart", (event) => event.preventDefault());
    thumb.addEventListener("focus", () => { if (thumb.matches(":focus-visible")) moveTo(at(thumb)); });
  }

  choose(0, 1);
  root.dataset.ready = "true";
}
