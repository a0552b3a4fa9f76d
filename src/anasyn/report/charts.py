"""Curves as a page shows them: drawn by matplotlib as SVG, whose colours are the page's own.

A chart has two drawings, linear and logarithmic, and the numbers behind them with their places, so that a few lines
of JavaScript can say what is under the pointer.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from torch import Tensor

from . import figures
from .figures import Record

__all__ = ["RUN_COLORS", "Curves", "energy_chart", "events", "learning_charts", "long_run_chart"]

MEASURES = {
    "loss": "loss",
    "mse": "mean squared error",
    "energy_gap": "dₜ = mean f(data) − mean f(synthesis)",
    "acceptance_rate": "acceptance rate",
    "step_size": "step size",
}
"""What is drawn of learning, where it is recorded."""

RUN_COLORS = (figures.ACCENT, "#b5532c", "#6a4c93", "#3f7d3a", "#96690a", "#a83b68")
"""Of runs drawn together, in turn."""

PAGE_COLORS = {
    **{color: f"var(--run-{k})" for k, color in enumerate(RUN_COLORS)},
    figures.INK: "var(--ink)",
    figures.FAINT: "var(--grid)",
    figures.ALERT: "var(--alert)",
    "#aab0b8": "var(--grid)",
    "#8a9099": "var(--muted)",
    "#666c75": "var(--muted)",
}
"""matplotlib has no colours that follow a page's light and dark; these stand for the style sheet's."""

SIZE = (4.6, 2.9)  # inches; 72 units of the SVG each
LEFT, BOTTOM, RIGHT, TOP = 0.17, 0.155, 0.975, 0.97  # of the axes, in shares of the figure
MOST_POINTS = 400  # of a curve, to be found under the pointer


@dataclass(frozen=True)
class Curves:
    """The metrics of one run."""

    label: str
    records: Sequence[Record]
    kind: str  # generator or descriptor

    def of(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Iterations and finite values of a metric."""
        pairs = [(r["iteration"], r[name]) for r in self.records if r.get(name) is not None]
        x, y = np.array(pairs, float).reshape(-1, 2).T
        return x[np.isfinite(y)], y[np.isfinite(y)]


def learning_charts(key: str, runs: Sequence[Curves]) -> Iterator[dict[str, Any]]:
    """A chart for every metric that a run recorded, the runs overlaid; ``key`` is one in the page."""
    kinds = sorted({run.kind for run in runs})
    for name, title in MEASURES.items():
        # The two models' losses have nothing to do with each other.
        for kind in kinds if name == "loss" and len(kinds) > 1 else [""]:
            found = [(k, run) for k, run in enumerate(runs) if kind in run.kind and len(run.of(name)[0])]
            if found:
                yield _learning_chart(key, name, f"{title} of the {kind}" if kind else title, found)


def _learning_chart(key: str, name: str, title: str, runs: Sequence[tuple[int, Curves]]) -> dict[str, Any]:
    def draw(ax: Axes) -> None:
        for k, run in runs:
            figures.draw_curves(ax, run.records, name, label="", color=RUN_COLORS[k % len(RUN_COLORS)])
            figures.draw_events(ax, run.records)
        if name == "acceptance_rate":
            ax.set_ylim(-0.03, 1.03)

    return _chart(key, title, "iteration", draw, [(run.label, k, *run.of(name)) for k, run in runs])


def events(runs: Sequence[Curves]) -> list[dict[str, Any]]:
    """Every event of every run, in order: its iteration, what was told, and of which run."""
    return [
        {"iteration": record["iteration"], "event": event, "run": run.label}
        for run in runs
        for record in run.records
        for event in record.get("events") or ()
    ]


def energy_chart(key: str, steps: Sequence[int], energies: Tensor) -> dict[str, Any]:
    """The energy along chains, (t, n), of t numbers of transitions."""
    mean = energies.double().mean(1).numpy()
    x = np.array(steps, float)
    series = [("mean energy", 0, x[np.isfinite(mean)], mean[np.isfinite(mean)])]
    title = "energy E(Y) along the chains"
    return _chart(key, title, "transition", lambda ax: figures.draw_energies(ax, steps, energies), series)


def long_run_chart(key: str, long_run: Mapping[str, Any]) -> dict[str, Any]:
    """The mean energy over ten training lengths, from the data and from the starts, as diagnosis.json has it."""
    steps = np.array(long_run["steps"], float)
    series = []
    for k, (start, label) in enumerate({"data": "from the data", "start": "from the starts"}.items()):
        values = np.array([math.nan if value is None else value for value in long_run["energy"][start]])
        finite = np.isfinite(values)
        series.append((label, k, steps[finite], values[finite]))

    def draw(ax: Axes) -> None:
        for _, k, x, y in series:
            ax.plot(x, y, color=RUN_COLORS[k], linewidth=1.6)
        ax.grid(True)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.margins(x=0.02)

    return _chart(key, "mean energy over ten training lengths", "transition", draw, series)


Values = tuple[str, int, NDArray[np.float64], NDArray[np.float64]]  # label, colour, x, y


def _chart(
    key: str, title: str, x_label: str, draw: Callable[[Axes], None], series: Sequence[Values]
) -> dict[str, Any]:
    chosen = [(label, k, *_thinned(x, y)) for label, k, x, y in series]
    chart: dict[str, Any] = {
        "title": title,
        "x_label": x_label,
        "drawings": {},
        "series": [
            {"label": label, "color": k % len(RUN_COLORS), "x": x.tolist(), "y": [float(f"{v:.5g}") for v in y]}
            for label, k, x, y in chosen
        ],
        "box": {"left": LEFT, "right": RIGHT, "top": 1 - TOP, "bottom": 1 - BOTTOM},
        "told": _told(title, x_label, series),
    }
    for scale in ("linear", "log"):
        # The salt makes the identifiers of clip paths, of which no two drawings of a page may share any.
        style: dict[Any, Any] = figures.STYLE | {"font.size": 10, "svg.hashsalt": f"{key} {title} {scale}"}
        with rc_context(style):
            figure = Figure(figsize=SIZE)
            figure.patch.set_visible(False)
            ax = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, TOP - BOTTOM))
            ax.patch.set_visible(False)
            draw(ax)
            ax.set_title("")
            ax.set_xlabel(x_label)
            if scale == "log":
                _logarithmic(ax, np.concatenate([y for *_, y in series]))
            ax.yaxis.set_major_formatter(FuncFormatter(_short))
            chart["drawings"][scale] = _svg(figure)
            chart["x"] = [float(x) for x in ax.get_xlim()]
            heights = [ax.transAxes.inverted().transform(ax.transData.transform(np.c_[x, y])) for *_, x, y in chosen]
        for each, height in zip(chart["series"], heights, strict=True):
            each[scale] = height[:, 1].round(4).tolist()
    return chart


def _logarithmic(ax: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic axis; around 0, where values change sign, it is linear."""
    ax.autoscale(axis="y")
    if values.min() > 0:
        ax.set_yscale("log")
        within = values.max() < 30 * values.min()  # hardly more than a decade: 2 and 5 are told too
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if within else (1,)))
        ax.yaxis.set_minor_formatter(FuncFormatter(_short) if within else NullFormatter())
        return
    sizes = abs(values[values != 0])
    ax.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(np.quantile(sizes, 0.1))) if len(sizes) else 1.0)


def _short(value: float, _: int) -> str:
    """2.5e+06 as 2.5M: axes have little room on a telephone."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    index = np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int)
    return x[index], y[index]


def _told(title: str, x_label: str, series: Sequence[Values]) -> str:
    """What a chart shows, for those who do not see it."""
    told = [
        f"{label}: {y[0]:.4g} at {x_label} {x[0]:g}, {y[-1]:.4g} at {x[-1]:g}, between {y.min():.4g} and {y.max():.4g}"
        for label, _, x, y in series
        if len(y)
    ]
    return f"{title} by {x_label}. {'; '.join(told)}"


def _svg(figure: Figure) -> str:
    """A figure as an SVG element without a title or identifiers of its own, in the page's colours and letters."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*pt"', r"\1", svg, count=2)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for color, variable in PAGE_COLORS.items():
        svg = svg.replace(color, variable)
    return svg
