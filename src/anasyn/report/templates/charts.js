// Charts: the values under the pointer or at the slider, in all charts of a group at once.

function chart(figure) {
  const { x: [low, high], box, x_label, series } = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot"), rule = figure.querySelector(".rule");
  const outputs = [...figure.querySelectorAll("output")];
  const dots = series.map(({ color }) => {
    const dot = document.createElement("i");
    dot.className = "dot";
    dot.hidden = true;
    dot.style.setProperty("--color", `var(--run-${color})`);
    plot.append(dot);
    return dot;
  });
  rule.style.top = `${100 * box.top}%`;
  rule.style.height = `${100 * (box.bottom - box.top)}%`;
  const left = (x) => `${100 * (box.left + (x - low) / (high - low) * (box.right - box.left))}%`;

  return {
    plot,
    first: Math.min(...series.map(({ x }) => x[0])),
    last: Math.max(...series.map(({ x }) => x.at(-1))),
    under(clientX) {  // the x under the pointer
      const { left, width } = plot.getBoundingClientRect();
      return low + ((clientX - left) / width - box.left) / (box.right - box.left) * (high - low);
    },
    show(x) {
      const scale = figure.closest(":has(input[value=log]:checked)[data-charts]") ? "log" : "linear";
      rule.hidden = false;
      rule.style.left = left(Math.max(low, Math.min(x, high)));
      series.forEach((line, k) => {
        const i = nearest(line.x, x);
        outputs[k].textContent = `${number(line.y[i])} at ${x_label} ${line.x[i]}`;
        dots[k].hidden = false;
        dots[k].style.left = left(line.x[i]);
        dots[k].style.top = `${100 * (box.bottom - line[scale][i] * (box.bottom - box.top))}%`;
      });
    },
  };
}

function nearest(sorted, x) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[low] - x) <= Math.abs(sorted[high] - x) ? low : high;
}

function number(value) {
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "−");
}

for (const group of document.querySelectorAll("[data-charts]")) {
  const charts = [...group.querySelectorAll(".chart")].map(chart);
  const slider = group.querySelector(".iteration"), at = group.querySelector(".at");
  if (!charts.length) continue;
  slider.min = Math.min(...charts.map(({ first }) => first));
  slider.max = Math.max(...charts.map(({ last }) => last));
  slider.value = slider.max;
  const show = () => {
    at.textContent = slider.value;
    for (const each of charts) each.show(Number(slider.value));
  };
  slider.addEventListener("input", show);
  for (const radio of group.querySelectorAll("input[type=radio]")) radio.addEventListener("change", show);
  for (const each of charts) {
    each.plot.addEventListener("pointermove", (event) => {
      slider.value = Math.round(each.under(event.clientX));
      show();
    });
  }
  show();
}

// A chart outside a group shows its last values, and those under the pointer.
for (const figure of document.querySelectorAll("section:not([data-film]) > .chart")) {
  const alone = chart(figure);
  alone.plot.addEventListener("pointermove", (event) => alone.show(alone.under(event.clientX)));
  alone.show(alone.last);
}
