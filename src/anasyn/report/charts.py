"""Charts of a page: curves drawn by matplotlib as SVG, in the colours of the page's style sheet.

A chart holds two drawings, linear and logarithmic, and the plotted numbers with their positions, so that a few lines of
JavaScript can show the value under the pointer.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from ..methods.synthesis import LONG_RUN
from .figures import draw_curves, draw_energies, draw_events
from .figures.curves import METRICS, Floats, Record, finite, scale_axes, series
from .figures.style import ACCENT, ALERT, FAINT, INK, STYLE

__all__ = ["Curves", "energy_chart", "events", "learning_charts", "long_run_chart"]

RUN_COLORS = (ACCENT, "#b5532c", "#6a4c93", "#3f7d3a", "#96690a", "#a83b68")
"""The colours of runs that are drawn together, reused from the start if there are more runs."""

PAGE_COLORS = {
    **{color: f"var(--run-{k})" for k, color in enumerate(RUN_COLORS)},
    INK: "var(--ink)",
    FAINT: "var(--grid)",
    ALERT: "var(--alert)",
    "#aab0b8": "var(--grid)",
    "#8a9099": "var(--muted)",
    "#666c75": "var(--muted)",
}
"""The style sheet's variables for matplotlib's fixed colours: drawings follow the page's light or dark theme."""

SIZE = (4.6, 2.9)  # inches, of 72 SVG units each
LEFT, BOTTOM, RIGHT, TOP = 0.17, 0.155, 0.975, 0.97  # the edges of the axes, as fractions of the figure
MOST_POINTS = 400  # of a curve that the page holds as numbers


class Curves(NamedTuple):
    """The metrics of one run."""

    label: str
    records: Sequence[Record]
    kind: str  # the method's name


def learning_charts(key: str, runs: Sequence[Curves]) -> Iterator[dict[str, Any]]:
    """A chart of every metric that any run recorded, with the runs overlaid; ``key`` is unique in the page."""
    kinds = sorted({run.kind for run in runs})
    for name, (title, _) in METRICS.items():
        # The losses of different methods cannot be compared, so each method has its own chart of them.
        for kind in kinds if name == "loss" and len(kinds) > 1 else [""]:
            found = [
                (k, run) for k, run in enumerate(runs) if kind in ("", run.kind) and len(series(run.records, name)[0])
            ]
            if found:
                yield _learning_chart(key, name, f"{title} ({kind})" if kind else title, found)


def _learning_chart(key: str, name: str, title: str, runs: Sequence[tuple[int, Curves]]) -> dict[str, Any]:
    def draw(ax: Axes) -> None:
        for k, run in runs:
            draw_curves(ax, run.records, name, color=RUN_COLORS[k % len(RUN_COLORS)])
            draw_events(ax, run.records)
        if name == "acceptance_rate":
            ax.set_ylim(-0.03, 1.03)

    return _chart(key, title, "iteration", draw, [(run.label, k, *series(run.records, name)) for k, run in runs])


def events(runs: Sequence[Curves]) -> list[dict[str, Any]]:
    """Every event of every run in order: its iteration, its text and the label of its run."""
    return [
        {"iteration": record["iteration"], "event": event, "run": run.label}
        for run in runs
        for record in run.records
        for event in record.get("events") or ()
    ]


def energy_chart(key: str, steps: Sequence[int], energies: Tensor) -> dict[str, Any]:
    """A chart of the energy along n chains, (t, n), at t numbers of transitions."""
    mean = finite(np.array(steps, float), energies.double().mean(1).numpy())
    title = "energy E(Y) along the chains"
    return _chart(key, title, "transition", lambda ax: draw_energies(ax, steps, energies), [("mean energy", 0, *mean)])


def long_run_chart(key: str, long_run: Mapping[str, Any]) -> dict[str, Any]:
    """A chart of diagnosis.json's long run: the mean energy of chains from the data and from the usual starts."""
    steps = np.array(long_run["steps"], float)
    lines = [
        (label, k, *finite(steps, np.array(long_run["energy"][start], float)))
        for k, (start, label) in enumerate({"data": "from the data", "start": "from the starts"}.items())
    ]

    def draw(ax: Axes) -> None:
        for _, k, x, y in lines:
            ax.plot(x, y, color=RUN_COLORS[k], linewidth=1.6)
        scale_axes(ax)

    return _chart(key, f"mean energy along chains {LONG_RUN} times as long as in training", "transition", draw, lines)


Line = tuple[str, int, Floats, Floats]  # label, index of the colour, x, y


def _chart(key: str, title: str, x_label: str, draw: Callable[[Axes], None], lines: Sequence[Line]) -> dict[str, Any]:
    chosen = [(label, k, *_thinned(x, y)) for label, k, x, y in lines]
    chart: dict[str, Any] = {
        "title": title,
        "x_label": x_label,
        "drawings": {},
        "series": [
            {"label": label, "color": k % len(RUN_COLORS), "x": x.tolist(), "y": [float(f"{v:.5g}") for v in y]}
            for label, k, x, y in chosen
        ],
        "box": {"left": LEFT, "right": RIGHT, "top": 1 - TOP, "bottom": 1 - BOTTOM},
        "described": _description(title, x_label, lines),
    }
    for scale in ("linear", "log"):
        # Identifiers of clip paths are hashed from the salt, and must differ between the drawings of a page.
        style: dict[Any, Any] = STYLE | {"font.size": 10, "svg.hashsalt": f"{key} {title} {scale}"}
        with rc_context(style):
            figure = Figure(figsize=SIZE)
            figure.patch.set_visible(False)
            ax = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, TOP - BOTTOM))
            ax.patch.set_visible(False)
            draw(ax)
            ax.set_xlabel(x_label)
            if scale == "log":
                _logarithmic(ax, np.concatenate([y for *_, y in lines]))
            ax.yaxis.set_major_formatter(FuncFormatter(_short))
            chart["drawings"][scale] = _svg(figure)
            chart["x"] = [float(x) for x in ax.get_xlim()]
            heights = [ax.transAxes.inverted().transform(ax.transData.transform(np.c_[x, y])) for *_, x, y in chosen]
        for each, height in zip(chart["series"], heights, strict=True):
            each[scale] = height[:, 1].round(4).tolist()
    return chart


def _logarithmic(ax: Axes, values: Floats) -> None:
    """Makes the y axis logarithmic; where values are not all positive, it is linear around 0."""
    ax.autoscale(axis="y")
    if values.min() > 0:
        ax.set_yscale("log")
        within = values.max() < 30 * values.min()  # little more than a decade: 2 and 5 are labelled too
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if within else (1,)))
        ax.yaxis.set_minor_formatter(FuncFormatter(_short) if within else NullFormatter())
        return
    sizes = abs(values[values != 0])
    ax.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(np.quantile(sizes, 0.1))) if len(sizes) else 1.0)


def _short(value: float, _: int) -> str:
    """2.5e+06 as 2.5M: axes have little room on a phone."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    index = np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int)
    return x[index], y[index]


def _description(title: str, x_label: str, lines: Sequence[Line]) -> str:
    """The chart in words, for screen readers."""
    words = [
        f"{label}: {y[0]:.4g} at {x_label} {x[0]:g}, {y[-1]:.4g} at {x[-1]:g}, between {y.min():.4g} and {y.max():.4g}"
        for label, _, x, y in lines
        if len(y)
    ]
    return f"{title} by {x_label}. {'; '.join(words)}"


def _svg(figure: Figure) -> str:
    """A figure as an SVG element without title and group identifiers, in the page's colours and fonts."""
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
