"""Figures: ``draw_…`` functions put plain numbers on an Axes, ``…_figure`` functions compose a whole Figure.

Nothing here knows a run or a model, and nothing is global: figures are made without pyplot. Wherever there may
be more images than a figure can show, it shows an evenly spaced choice and says so.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..data import to_uint8

__all__ = [
    "Figure",
    "draw_curves",
    "draw_energies",
    "draw_events",
    "draw_grid",
    "draw_latents",
    "draw_panel",
    "draw_reconstructions",
    "draw_strip",
    "draw_synthesis",
    "interpolation_figure",
    "latents_figure",
    "loss_figure",
    "reconstructions_figure",
    "samples_figure",
    "save",
    "strip_figure",
    "synthesis_figure",
    "training_figure",
]

Pixels = NDArray[np.uint8]
Record = Mapping[str, Any]  # a line of metrics.jsonl

DPI = 144
ACCENT, INK, FAINT, ALERT = "#1f6f8b", "#30343b", "#d9dce1", "#c2502e"
MOST_IMAGES, MOST_PAIRS, MOST_THUMBNAILS = 64, 44, 60
PAIRS_A_ROW, COLUMNS_A_BLOCK = 11, 10

# From the defaults, not from the user's own settings, so that the same numbers give the same bytes.
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
    # Letters stay letters, which a journal accepts and a reader can search.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "anasyn",
}

UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What a file says of itself besides the figure, so that it says no date."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function draw in this module's style, whatever matplotlib's settings are outside."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return inner


# ---- drawing on an Axes


def draw_grid(
    ax: Axes,
    images: Tensor | Pixels,
    columns: int,
    *,
    gap: int = 2,
    block: int | None = None,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
) -> None:
    """Images on a grid, row by row, without ticks; one unit of the axes is one pixel of the images.

    Args:
        ax: where to.
        images: (n, 3, H, W), uint8 or float in [−1, 1].
        columns: of the grid.
        gap: white pixels between two images.
        block: so many rows belong together; after them the gap is fourfold.
        column_labels: above the columns.
        row_labels: to the left of the rows.
    """
    pixels = _pixels(images)
    n, h, w, _ = pixels.shape
    rows = -(-n // columns)
    tops = [r * (h + gap) + 3 * gap * (r // block if block else 0) for r in range(rows)]
    lefts = [c * (w + gap) for c in range(columns)]
    mosaic = np.full((tops[-1] + h, lefts[-1] + w, 3), 255, np.uint8)
    for k, image in enumerate(pixels):
        top, left = tops[k // columns], lefts[k % columns]
        mosaic[top : top + h, left : left + w] = image
    ax.imshow(mosaic, interpolation="nearest", extent=(0, mosaic.shape[1], mosaic.shape[0], 0))
    ax.xaxis.tick_top()
    ax.set_xticks([left + w / 2 for left, _ in zip(lefts, column_labels, strict=False)], list(column_labels))
    ax.set_yticks([top + h / 2 for top, _ in zip(tops, row_labels, strict=False)], list(row_labels))
    ax.tick_params(length=0, pad=5)
    for spine in ax.spines.values():
        spine.set_visible(False)


def draw_reconstructions(ax: Axes, images: Tensor | Pixels, reconstructions: Tensor | Pixels, *, gap: int = 2) -> None:
    """Images, and below each one its reconstruction f(z): rows of at most 11 pairs, of the first 44.

    Args:
        ax: where to.
        images: (n, 3, H, W), uint8 or float in [−1, 1].
        reconstructions: (n, 3, H, W), likewise.
        gap: white pixels between two images.
    """
    pairs = [_pixels(x)[:MOST_PAIRS] for x in (images, reconstructions)]
    _draw_rows(ax, pairs, ("image", "f(z)"), min(PAIRS_A_ROW, len(pairs[0])), gap)


def draw_synthesis(
    ax: Axes,
    starts: Tensor | Pixels,
    synthesized: Tensor | Pixels,
    images: Tensor | Pixels,
    *,
    gap: int = 2,
) -> None:
    """Where chains start, where they end, and the training images: three rows, at most 10 columns a block.

    Args:
        ax: where to.
        starts: (n, 3, H, W), uint8 or float in [−1, 1].
        synthesized: (n, 3, H, W), likewise, as all three.
        images: (n, 3, H, W).
        gap: white pixels between two images.
    """
    rows = [_pixels(x) for x in (starts, synthesized, images)]
    _draw_rows(ax, rows, ("start", "synthesis", "training"), min(COLUMNS_A_BLOCK, len(rows[0])), gap)


def draw_strip(ax: Axes, frames: Tensor, steps: Sequence[int], *, gap: int = 2) -> None:
    """Chains on their way: a row each, and of every row the images after so many steps.

    Args:
        ax: where to.
        frames: (t, k, 3, H, W), uint8 or float in [−1, 1].
        steps: t numbers of transitions.
        gap: white pixels between two images.
    """
    by_chain = frames.transpose(0, 1).flatten(0, 1)
    draw_grid(ax, by_chain, len(steps), gap=gap, column_labels=[f"{step:,}" for step in steps])


def draw_panel(
    ax: Axes,
    panel: Tensor | Pixels,
    low: float,
    high: float,
    points: int,
    axis_names: Sequence[str] = ("z₁", "z₂"),
    *,
    gap: int = 2,
) -> None:
    """f(z) over a square of z, each image centred where its z is: z₁ grows to the right, z₂ upwards.

    Args:
        ax: where to.
        panel: (points², 3, H, W), uint8 or float in [−1, 1], row by row as on a map: image r · points + c is
            at z₁ = low + c·Δ, z₂ = high − r·Δ, Δ = (high − low)/(points − 1). The first is at (low, high),
            the last at (high, low).
        low: the least z₁ and z₂.
        high: the greatest.
        points: a side.
        axis_names: of z₁ and z₂.
        gap: white pixels between two images, even.

    Raises:
        ValueError: there are not points² images.
    """
    pixels = _pixels(panel)
    if len(pixels) != points**2:
        raise ValueError(f"panel: expected {points}² = {points**2} images, got {len(pixels)}")
    framed = np.pad(pixels, ((0, 0), *[(gap // 2, gap // 2)] * 2, (0, 0)), constant_values=255)
    _, h, w, _ = framed.shape
    mosaic = framed.reshape(points, points, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(points * h, points * w, 3)
    half = (high - low) / (points - 1) / 2 if points > 1 else 0.5
    extent = (low - half, high + half, low - half, high + half)
    ax.imshow(mosaic, interpolation="nearest", extent=extent, aspect="auto")
    ticks = np.linspace(low, high, points)
    labels = [f"{tick:.2g}".replace("-", "−") for tick in np.where(abs(ticks) < 1e-9, 0, ticks)]
    ax.set_xticks(ticks, labels)
    ax.set_yticks(ticks, labels)
    ax.tick_params(length=0, pad=5)
    ax.set_xlabel(axis_names[0])
    ax.set_ylabel(axis_names[1], rotation=0 if len(axis_names[1]) < 4 else 90, labelpad=10)
    for spine in ax.spines.values():
        spine.set_visible(False)


def draw_latents(ax: Axes, z: Tensor, images: Tensor | Pixels, axis_names: Sequence[str] = ("z₁", "z₂")) -> None:
    """The inferred z as a map of the images; the circles are the prior's one and two standard deviations, σ = 1.

    Up to 200 images each have a thumbnail, the smaller the more; of more, 60 that lie far apart, and a point each.

    Args:
        ax: where to, square.
        z: (n, 2).
        images: (n, 3, H, W), uint8 or float in [−1, 1].
        axis_names: of the two coordinates.

    Raises:
        ValueError: z is not (n, 2) for n images.
    """
    if z.shape != (len(images), 2):
        raise ValueError(f"z: expected shape ({len(images)}, 2), got {tuple(z.shape)}")
    points = z.detach().cpu().double().numpy()
    chosen = np.arange(len(points)) if len(points) <= 200 else _far_apart(points, MOST_THUMBNAILS)
    for radius in (1, 2):
        circle = Circle((0, 0), radius, fill=False, edgecolor="#b9bec6", linewidth=0.9, linestyle=(0, (4, 3)))
        ax.add_patch(circle)
        ax.annotate(
            f"{radius}σ", (0, -radius), ha="center", va="center", fontsize=7, color="#8a9099", zorder=1.1,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    ax.scatter(points[:, 0], points[:, 1], s=7, color=ACCENT, linewidths=0, alpha=0.6, zorder=1.5)
    room = 360 if len(chosen) == len(points) else 300  # leaves the points without a thumbnail in sight
    side = round(float(np.clip(room / np.sqrt(len(chosen)), 26, 84)))  # pixels of the figure
    for k in chosen:
        thumbnail = Image.fromarray(_pixels(images[k : k + 1])[0])
        thumbnail.thumbnail((side, side), Image.Resampling.LANCZOS)
        if max(thumbnail.size) < side:
            thumbnail = thumbnail.resize((side, side), Image.Resampling.NEAREST)
        box = OffsetImage(np.asarray(thumbnail), zoom=72 / ax.figure.dpi, interpolation="nearest")
        frame = {"edgecolor": "white", "linewidth": 1.0, "boxstyle": "square,pad=0"}
        ax.add_artist(AnnotationBbox(box, points[k], pad=0, bboxprops=frame, zorder=2))
    reach = max(2.3, 1.08 * float(np.abs(points).max()) + 0.15)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel=axis_names[0])
    ax.set_ylabel(axis_names[1], rotation=0 if len(axis_names[1]) < 4 else 90, labelpad=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
    ax.grid(True)


def draw_curves(
    ax: Axes,
    records: Sequence[Record],
    name: str,
    *,
    log: bool = False,
    smooth: int | None = None,
    label: str | None = None,
    color: str = ACCENT,
) -> None:
    """A metric over the iterations: faint as it is, and its running median; a line at 0 where it changes sign.

    Args:
        ax: where to.
        records: lines of ``metrics.jsonl``; one that lacks the metric, or whose value is not finite, is passed over.
        name: of the metric.
        log: whether its axis is logarithmic; it stays linear where a value is not positive.
        smooth: iterations a median is taken over; a thirtieth of all where None.
        label: the title; the metric's name where None.
        color: of the lines, as six hexadecimal digits.
    """
    pairs = [(r["iteration"], r[name]) for r in records if r.get(name) is not None]
    x, y = np.array(pairs, float).reshape(-1, 2).T
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    ax.set_title(label or name.replace("_", " "))
    ax.grid(True)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(x) == 0:
        ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", va="center", color="#8a9099")
        return
    centres = _choice(len(x), 400)
    reach = np.minimum((smooth or len(x) // 30) // 2, np.minimum(centres, len(x) - 1 - centres))
    median = [np.median(y[c - k : c + k + 1]) for c, k in zip(centres, reach, strict=True)]  # ends are kept
    if y.min() < 0 < y.max():
        ax.axhline(0, color="#8a9099", linewidth=0.9, zorder=1.2)
    many = len(x) > 10
    ax.plot(x, y, color=to_rgba(color, 0.28 if many else 1), linewidth=0.7, marker="" if many else ".")
    if many:
        ax.plot(x[centres], median, color=color, linewidth=1.6)
    if log and y.min() > 0 and y.max() / y.min() > 3:
        ax.set_yscale("log")
    ax.margins(x=0.02)


def draw_events(ax: Axes, records: Iterable[Record]) -> None:
    """A mark for every iteration that told of an event: at the foot a warning, from foot to top a rollback."""
    for record in records:
        for event in record.get("events") or ():
            if event.startswith("rolled back"):
                ax.axvline(record["iteration"], color=ALERT, linewidth=1.0, linestyle=(0, (3, 2)))
            else:
                ax.axvline(record["iteration"], ymax=0.06, color=ALERT, linewidth=1.4, solid_capstyle="butt")


def draw_energies(ax: Axes, steps: Sequence[int], energies: Tensor) -> None:
    """The energy along chains: a faint line a chain, and their mean.

    Args:
        ax: where to.
        steps: t numbers of transitions.
        energies: (t, n); what is not finite is passed over.
    """
    values = energies.double().numpy()
    ax.plot(steps, values, color=to_rgba(ACCENT, 0.3), linewidth=0.7)
    ax.plot(steps, values.mean(1), color=ACCENT, linewidth=1.6)
    ax.grid(True)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.margins(x=0.02)


# ---- whole figures


@styled
def training_figure(images: Tensor | Pixels) -> Figure:
    """The training images, (n, 3, H, W)."""
    return _grid_figure(images, "training images")


@styled
def samples_figure(samples: Tensor | Pixels) -> Figure:
    """Images that the model synthesises, (n, 3, H, W)."""
    return _grid_figure(samples, "samples")


@styled
def reconstructions_figure(images: Tensor | Pixels, reconstructions: Tensor | Pixels) -> Figure:
    """Images above their reconstructions, (n, 3, H, W) each; `draw_reconstructions`."""
    n, shown = len(images), min(len(images), MOST_PAIRS)
    pairs = [_visible(x[:shown]) for x in (images, reconstructions)]
    columns = min(PAIRS_A_ROW, shown)
    figure, ax = _canvas(pairs[0], columns, 2 * -(-shown // columns), block=2, left=78)
    draw_reconstructions(ax, *pairs, gap=GAP)
    which = "" if shown == n else f", first {shown} of {n:,}"
    ax.set_title(f"images and their reconstructions{which}")
    return figure


@styled
def synthesis_figure(starts: Tensor | Pixels, synthesized: Tensor | Pixels, images: Tensor | Pixels) -> Figure:
    """Starts, synthesised and training images, (n, 3, H, W) each; of more than 40, 40 evenly spaced."""
    n = len(starts)
    chosen = _choice(n, 4 * COLUMNS_A_BLOCK)
    rows = [_visible(x[chosen]) for x in (starts, synthesized, images)]
    columns = min(COLUMNS_A_BLOCK, len(chosen))
    figure, ax = _canvas(rows[0], columns, 3 * -(-len(chosen) // columns), block=3, left=108)
    draw_synthesis(ax, *rows, gap=GAP)
    ax.set_title(f"synthesis{_of(len(chosen), n)}")
    return figure


@styled
def strip_figure(frames: Tensor, steps: Sequence[int]) -> Figure:
    """Chains from start to end, (t, k, 3, H, W), after ``steps`` transitions; of more than 12 chains, 12."""
    k = frames.shape[1]
    chosen = _choice(k, 12)
    shape = (len(frames), len(chosen))
    seen = torch.from_numpy(_visible(frames[:, chosen].flatten(0, 1))).permute(0, 3, 1, 2)
    figure, ax = _canvas(_pixels(seen), len(steps), len(chosen), top=76)
    draw_strip(ax, seen.unflatten(0, shape), steps, gap=GAP)
    ax.set_title(f"chains{_of(len(chosen), k)}, after so many transitions", pad=12)
    return figure


@styled
def interpolation_figure(
    panel: Tensor | Pixels, low: float, high: float, points: int, axis_names: Sequence[str] = ("z₁", "z₂")
) -> Figure:
    """f(z) over a square of z, (points², 3, H, W); `draw_panel` has the order."""
    seen = _visible(panel)
    figure, ax = _canvas(seen, points, -(-len(seen) // points), left=116, bottom=72, around=True)
    draw_panel(ax, seen, low, high, points, axis_names, gap=GAP)
    ax.set_title("f(z)")
    return figure


@styled
def latents_figure(z: Tensor, images: Tensor | Pixels, axis_names: Sequence[str] = ("z₁", "z₂")) -> Figure:
    """The inferred z, (n, 2), as a map of the images, (n, 3, H, W); `draw_latents`."""
    figure = Figure(figsize=(1010 / DPI, 1010 / DPI), dpi=DPI)
    ax = figure.add_axes((84 / 1010, 78 / 1010, 880 / 1010, 880 / 1010))
    draw_latents(ax, z, images, axis_names)
    few = f", {MOST_THUMBNAILS} of {len(z):,} with their image" if len(z) > 200 else ""
    ax.set_title(f"inferred {axis_names[0]} and {axis_names[1]}{few}")
    return figure


@styled
def loss_figure(records: Sequence[Record]) -> Figure:
    """The loss over the iterations, and below it what the learner tells besides."""
    figure = Figure(figsize=(1300 / DPI, 860 / DPI), dpi=DPI)
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.5, 1), left=0.075, right=0.972, top=0.94, bottom=0.085, hspace=0.38, wspace=0.3
    )
    top = figure.add_subplot(grid[0, :])
    draw_curves(top, records, "loss", log=True)
    draw_events(top, records)
    energy = any("energy_gap" in record for record in records)
    panels = [
        ("energy_gap", "mean f of data − of synthesis", False) if energy else ("mse", "mean squared error", True),
        ("acceptance_rate", "acceptance rate", False),
        ("step_size", "step size", True),
    ]
    for column, (name, label, log) in enumerate(panels):
        ax = figure.add_subplot(grid[1, column])
        draw_curves(ax, records, name, label=label, log=log)
        ax.set_xlabel("iteration")
        if name == "acceptance_rate":
            ax.set_ylim(-0.03, 1.03)
    return figure


@styled
def save(figure: Figure, path: Path | str, **options: Any) -> None:
    """Writes a figure whole or not at all, in the format that the suffix says; the same numbers give the same bytes.

    Args:
        figure: what to write.
        path: ending in .png, .pdf or .svg.
        options: of matplotlib's ``savefig``.
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


# ---- what they share

GAP = 6  # pixels of the figure between two images


def _pixels(images: Tensor | Pixels) -> Pixels:
    """(n, 3, H, W), float in [−1, 1] or uint8 → uint8 (n, H, W, 3); an array is of that shape already."""
    if isinstance(images, np.ndarray):
        return images
    pixels = images if images.dtype == torch.uint8 else to_uint8(images)
    array: Pixels = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return array


def _visible(images: Tensor | Pixels) -> Pixels:
    """Images about 110 to 220 pixels of the figure wide: each pixel a square, or the mean of a square."""
    pixels = _pixels(images)
    n, h, w, _ = pixels.shape
    if w < 110:
        scale = -(-110 // w)
        return pixels.repeat(scale, 1).repeat(scale, 2)
    k = max(1, w // 110)
    h, w = h // k * k, w // k * k
    means = pixels[:, :h, :w].reshape(n, h // k, k, w // k, k, 3).mean((2, 4))
    return means.round().astype(np.uint8)


def _canvas(
    images: Pixels,
    columns: int,
    rows: int,
    *,
    block: int | None = None,
    left: int = 16,
    top: int = 40,
    bottom: int = 16,
    around: bool = False,
) -> tuple[Figure, Axes]:
    """A figure whose only axes have exactly the pixels of `draw_grid`'s mosaic, or `draw_panel`'s (``around``)."""
    _, h, w, _ = images.shape
    gaps = 0 if around else 1
    width = columns * (w + GAP) - gaps * GAP
    height = rows * (h + GAP) - gaps * GAP + (3 * GAP * ((rows - 1) // block) if block else 0)
    # A title needs some width, however few images there are.
    total_width, total_height = max(left + width + 16, 460), top + height + bottom
    figure = Figure(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)
    place = (left / total_width, bottom / total_height, width / total_width, height / total_height)
    return figure, figure.add_axes(place)


def _grid_figure(images: Tensor | Pixels, what: str) -> Figure:
    chosen = _choice(len(images), MOST_IMAGES)
    seen = _visible(images[chosen])
    columns = _columns(len(seen))
    figure, ax = _canvas(seen, columns, -(-len(seen) // columns))
    draw_grid(ax, seen, columns, gap=GAP)
    ax.set_title(f"{what}{_of(len(seen), len(images))}")
    return figure


def _draw_rows(ax: Axes, sets: Sequence[Pixels], names: Sequence[str], columns: int, gap: int) -> None:
    """Blocks of rows, a row of each set; the last block filled up with white."""
    n = len(sets[0])
    if any(x.shape != sets[0].shape for x in sets):
        raise ValueError(f"images: expected sets of one shape, got {[x.shape for x in sets]}")
    blocks = -(-n // columns)
    full = np.full((len(sets), blocks * columns, *sets[0].shape[1:]), 255, np.uint8)
    full[:, :n] = np.stack(sets)
    rows = full.reshape(len(sets), blocks, columns, *full.shape[2:]).swapaxes(0, 1)
    images = rows.reshape(-1, *full.shape[2:])
    draw_grid(ax, images, columns, gap=gap, block=len(sets), row_labels=[*names] * blocks)


def _choice(num: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` indices, evenly spaced over 0 … num − 1."""
    return np.linspace(0, num - 1, min(num, most)).round().astype(np.int64)


def _of(shown: int, num: int) -> str:
    return "" if shown == num else f", {shown} of {num:,}"


def _columns(num: int) -> int:
    """A grid that is a little wider than high and has few empty places."""
    if num <= 8:
        return num
    return min(range(6, 12), key=lambda c: (2 * (-num % c) + abs(c - (1.6 * num) ** 0.5), c))


def _far_apart(points: NDArray[np.float64], num: int) -> NDArray[np.int64]:
    """Indices of points that lie far apart: each next one is the farthest from those chosen."""
    chosen = [int(((points - points.mean(0)) ** 2).sum(1).argmin())]
    distance = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(num, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen)
