"""Curves on an Axes: metrics over the iterations, their events, and energies along chains."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from ...evaluation import evenly
from .style import ACCENT, ALERT

Record = Mapping[str, Any]  # a line of metrics.jsonl
Floats = NDArray[np.float64]

METRICS = {
    "loss": ("loss", True),
    "mse": ("mean squared error", True),
    "sigma": ("noise level σ", True),
    "energy_gap": ("mean f(data) − mean f(synthesis)", False),
    "revision": ("revision, root mean square", True),
    "generator_mse": ("mean squared error of the recall", True),
    "prior_gap": ("mean f(posterior) − mean f(prior)", False),
    "prior_scale": ("scale s of f of the prior", False),
    "acceptance_rate": ("acceptance rate", False),
    "step_size": ("step size δ", True),
}
"""The metrics that are drawn where they are recorded: their titles, and whether their axis is logarithmic."""


def finite(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points whose y is finite."""
    kept = np.isfinite(y)
    return x[kept], y[kept]


def series(records: Sequence[Record], name: str) -> tuple[Floats, Floats]:
    """The iterations at which a metric is finite, and its values there."""
    return finite(*np.array([(r["iteration"], r.get(name)) for r in records], float).reshape(-1, 2).T)


def scale_axes(ax: Axes) -> None:
    """Draws the grid, and sets the ticks and the margins of the x axis."""
    ax.grid(True)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.margins(x=0.02)


def draw_curves(ax: Axes, records: Sequence[Record], name: str, *, log: bool = False, color: str = ACCENT) -> None:
    """Draws a metric over the iterations, faintly, and its median over a moving window of a thirtieth of them.

    A line marks 0 if the metric changes sign.

    Args:
        ax: the axes to draw on.
        records: lines of ``metrics.jsonl``; those without a finite value of the metric are left out.
        name: the metric.
        log: whether its axis is logarithmic; it stays linear if any value is not positive.
        color: the colour of the lines, "#rrggbb".
    """
    x, y = series(records, name)
    scale_axes(ax)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(x) == 0:
        ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", va="center", color="#8a9099")
        return
    centres = evenly(len(x), 400).numpy()
    # Windows shrink towards the ends, so that they stay centred.
    reach = np.minimum(len(x) // 60, np.minimum(centres, len(x) - 1 - centres))
    median = [np.median(y[c - k : c + k + 1]) for c, k in zip(centres, reach, strict=True)]
    if y.min() < 0 < y.max():
        ax.axhline(0, color="#8a9099", linewidth=0.9, zorder=1.2)
    many = len(x) > 10
    ax.plot(x, y, color=to_rgba(color, 0.28 if many else 1), linewidth=0.7, marker="" if many else ".")
    if many:
        ax.plot(x[centres], median, color=color, linewidth=1.6)
    if log and y.min() > 0 and y.max() / y.min() > 3:
        ax.set_yscale("log")


def draw_events(ax: Axes, records: Sequence[Record]) -> None:
    """Marks the iterations that reported an event: a warning by a tick at the bottom, a rollback by a full line."""
    for record in records:
        for event in record.get("events") or ():
            if event.startswith("rolled back"):
                ax.axvline(record["iteration"], color=ALERT, linewidth=1.0, linestyle=(0, (3, 2)))
            else:
                ax.axvline(record["iteration"], ymax=0.06, color=ALERT, linewidth=1.4, solid_capstyle="butt")


def draw_energies(ax: Axes, steps: Sequence[int], energies: Tensor) -> None:
    """Draws the energy along chains: a faint line for each chain, and their mean.

    Args:
        ax: the axes to draw on.
        steps: t numbers of transitions.
        energies: (t, n); values that are not finite are left out.
    """
    values = energies.double().numpy()
    ax.plot(steps, values, color=to_rgba(ACCENT, 0.3), linewidth=0.7)
    ax.plot(steps, values.mean(1), color=ACCENT, linewidth=1.6)
    scale_axes(ax)
