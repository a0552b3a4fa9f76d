"""The style that all figures share, and how a figure is written to a file."""

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

DPI = 144
ACCENT, INK, FAINT, ALERT = "#1f6f8b", "#30343b", "#d9dce1", "#c2502e"
MOST_NAMES = 20  # classes that a legend or a figure names

# matplotlib's defaults rather than the user's settings, so that the same numbers always give the same bytes.
STYLE = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")} | {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.edgecolor": "#aab0b8",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": "#666c75",
    "ytick.color": "#666c75",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    # Text is stored as text: journals require it, and readers can search it.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "anasyn",
}

UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""The metadata that matplotlib would add to each format and that would make the bytes differ."""

CYCLE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that people with any colour vision can tell apart (Petroff 2021, arXiv:2107.02270)."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function draw in `STYLE`, whatever the user's matplotlib settings are."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return inner


def class_colors(labels: Sequence[str]) -> dict[str, str]:
    """The colour, "#rrggbb", of every class among the labels, in alphabetical order of the classes.

    The first ten classes have the colours of `CYCLE`, the others colours spaced evenly over the colormap viridis.
    """
    names = sorted(set(labels))
    further = matplotlib.colormaps["viridis"](np.linspace(0, 1, max(0, len(names) - len(CYCLE))))
    return dict(zip(names, [*CYCLE, *map(to_hex, further)], strict=False))


def short(name: str) -> str:
    """A class name cut to 24 characters, the room that figures have for it."""
    return name if len(name) <= 24 else f"{name[:23]}…"


@styled
def save(figure: Figure, path: Path | str, **options: Any) -> None:
    """Writes a figure atomically, in the format of the suffix; the same numbers give the same bytes.

    Args:
        figure: the figure.
        path: a file name ending in .png, .pdf or .svg.
        options: passed on to matplotlib's ``savefig``.
    """
    path = Path(path)
    form = path.suffix.removeprefix(".")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, format=form, metadata=UNDATED[form], **options)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
