"""Whole figures, composed of what the other files of this package draw.

Where there are more images than a figure can show, it shows an evenly spaced selection and says so in its title.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from torch import Tensor

from ...evaluation import evenly
from ..pictures import Pixels
from .curves import METRICS, Record, draw_curves, draw_events
from .images import draw_grid, draw_panel, draw_rows, draw_strip, to_pixels, visible
from .latents import MOST_THUMBNAILS, draw_latents, draw_path
from .style import DPI, MOST_NAMES, STYLE, class_colors, short, styled

MOST_IMAGES, MOST_PAIRS = 64, 44
MOST_OF_A_CLASS = 10
GAP = 6  # pixels of the figure between two images


@styled
def grid_figure(images: Tensor | Pixels, title: str) -> Figure:
    """Images, (n, c, H, W), in rows."""
    seen = visible(images[evenly(len(images), MOST_IMAGES).numpy()])
    columns = num_columns(len(seen), seen.shape[1] / seen.shape[2])
    figure, ax = _canvas(seen, columns, -(-len(seen) // columns))
    draw_grid(ax, seen, columns, gap=GAP)
    ax.set_title(f"{title}{_of(len(seen), len(images))}")
    return figure


@styled
def class_grid_figure(images: Tensor | Pixels, labels: Sequence[str], title: str) -> Figure:
    """Images grouped by class: one row of at most 10 images for each of at most 20 classes.

    Args:
        images: (n, c, H, W), uint8 or float in [−1, 1].
        labels: the class name of every image.
        title: the title, to which the numbers of classes and images are added if not all are shown.

    Raises:
        ValueError: there are not n labels.
    """
    if len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, one for each image, got {len(labels)}")
    colors = class_colors(labels)
    places: dict[str, list[int]] = {name: [] for name in list(colors)[:MOST_NAMES]}
    for place, label in enumerate(labels):
        if label in places:
            places[label].append(place)
    columns = min(MOST_OF_A_CLASS, max(map(len, places.values())))
    rows = []
    for found in places.values():
        seen = visible(images[torch.tensor(found)[evenly(len(found), columns)].numpy()])
        rows.append(np.pad(seen, ((0, columns - len(seen)), *[(0, 0)] * 3), constant_values=255))
    names = [short(name) for name in places]
    most = f", at most {columns} of each" if any(len(found) > columns for found in places.values()) else ""
    title = f"{title}{_of(len(places), len(colors))}{most}"
    left = 40 + max(map(_width, names))
    figure, ax = _canvas(rows[0], columns, len(rows), left=left, least=left + round(1.2 * _width(title)) + 16)
    draw_grid(ax, np.concatenate(rows), columns, gap=GAP, row_labels=names, row_colors=list(colors.values()))
    ax.set_title(title)
    return figure


@styled
def reconstructions_figure(images: Tensor | Pixels, reconstructions: Tensor | Pixels) -> Figure:
    """Images above their reconstructions f(z), both (n, c, H, W): the first 44 pairs."""
    which = "" if len(images) <= MOST_PAIRS else f", first {MOST_PAIRS} of {len(images):,}"
    rows = {"image": images[:MOST_PAIRS], "f(z)": reconstructions[:MOST_PAIRS]}
    return _rows_figure(rows, 11, f"images and their reconstructions{which}", left=78)


@styled
def synthesis_figure(starts: Tensor | Pixels, synthesized: Tensor | Pixels, images: Tensor | Pixels) -> Figure:
    """Starts of chains, synthesised images and training images, all (n, c, H, W); 40 evenly spaced if n > 40."""
    chosen = evenly(len(starts), 40).numpy()
    rows = {"start": starts[chosen], "synthesis": synthesized[chosen], "training": images[chosen]}
    return _rows_figure(rows, 10, f"synthesis{_of(len(chosen), len(starts))}", left=108)


@styled
def revisions_figure(proposals: Tensor | Pixels, revisions: Tensor | Pixels) -> Figure:
    """Proposals of a generator above their revisions by a descriptor, both (n, c, H, W): the first 44 pairs."""
    rows = {"proposal": proposals[:MOST_PAIRS], "revision": revisions[:MOST_PAIRS]}
    return _rows_figure(rows, 11, "proposals and their revisions", left=104)


@styled
def restorations_figure(rows: Mapping[str, Tensor | Pixels], num: int) -> Figure:
    """What is seen of images, and below it what was restored, by the names of the rows, (n, c, H, W) each.

    ``num`` is the number of all images that were restored.
    """
    n = len(next(iter(rows.values())))
    return _rows_figure(rows, 6, f"what is seen, and what is restored{_of(n, num)}", left=104)


@styled
def strip_figure(frames: Tensor, steps: Sequence[int]) -> Figure:
    """Chains from start to end, (t, k, c, H, W), after ``steps`` transitions; 12 evenly spaced chains if k > 12."""
    k = frames.shape[1]
    chosen = evenly(k, 12)
    shape = (len(frames), len(chosen))
    seen = torch.from_numpy(visible(frames[:, chosen].flatten(0, 1))).permute(0, 3, 1, 2)
    figure, ax = _canvas(to_pixels(seen), len(steps), len(chosen), top=76)
    draw_strip(ax, seen.unflatten(0, shape), steps, gap=GAP)
    ax.set_title(f"chains{_of(len(chosen), k)}, after so many transitions", pad=12)
    return figure


@styled
def interpolation_figure(
    panel: Tensor | Pixels, low: float, high: float, points: int, axis_names: Sequence[str] = ("z₁", "z₂")
) -> Figure:
    """f(z) over a square of z, (points², c, H, W), in the order that `draw_panel` states."""
    seen = visible(panel)
    figure, ax = _canvas(seen, points, -(-len(seen) // points), left=116, bottom=72, around=True)
    draw_panel(ax, seen, low, high, points, axis_names, gap=GAP)
    ax.set_title("f(z)")
    return figure


@styled
def latents_figure(
    z: Tensor,
    images: Tensor | Pixels,
    axis_names: Sequence[str] = ("z₁", "z₂"),
    labels: Sequence[str] | None = None,
) -> Figure:
    """The inferred z, (n, 2), as a map of the images, (n, c, H, W), as `draw_latents` draws it."""
    legend = 60 + max(_width(short(name)) for name in {*labels, "and 00 more"}) if labels is not None else 0
    width = 1010 + legend
    figure = Figure(figsize=(width / DPI, 1010 / DPI), dpi=DPI)
    ax = figure.add_axes((84 / width, 78 / 1010, 880 / width, 880 / 1010))
    draw_latents(ax, z, images, axis_names, labels)
    few = f", {MOST_THUMBNAILS} of {len(z):,} with their image" if len(z) > 200 else ""
    ax.set_title(f"inferred {axis_names[0]} and {axis_names[1]}{few}")
    return figure


@styled
def path_figure(z: Tensor, images: Tensor | Pixels, axis_names: Sequence[str] = ("z₁", "z₂")) -> Figure:
    """The inferred z, (n, 2), of the frames of a film, (n, c, H, W), as a path, as `draw_path` draws it."""
    figure = Figure(figsize=(1146 / DPI, 1010 / DPI), dpi=DPI)
    ax = figure.add_axes((100 / 1146, 78 / 1010, 880 / 1146, 880 / 1010))
    draw_path(ax, z, images, axis_names)
    ax.set_title(f"inferred {axis_names[0]} and {axis_names[1]} of the frames, in their order")
    return figure


@styled
def loss_figure(records: Sequence[Record]) -> Figure:
    """The loss over the iterations, and below it the learner's other metrics."""
    figure = Figure(figsize=(1300 / DPI, 860 / DPI), dpi=DPI)
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.5, 1), left=0.075, right=0.972, top=0.94, bottom=0.085, hspace=0.38, wspace=0.3
    )
    axes = {"loss": figure.add_subplot(grid[0, :])}
    error = "energy_gap" if any("energy_gap" in record for record in records) else "mse"
    for column, name in enumerate((error, "acceptance_rate", "step_size")):
        axes[name] = figure.add_subplot(grid[1, column], xlabel="iteration")
    for name, ax in axes.items():
        title, log = METRICS[name]
        draw_curves(ax, records, name, log=log)
        ax.set_title(title)
    axes["acceptance_rate"].set_ylim(-0.03, 1.03)
    draw_events(axes["loss"], records)
    return figure


def _rows_figure(rows: Mapping[str, Tensor | Pixels], columns: int, title: str, left: int) -> Figure:
    """Sets of images as `draw_rows` draws them, with ``left`` pixels for their names."""
    seen = {name: visible(images) for name, images in rows.items()}
    first = next(iter(seen.values()))
    columns = min(columns, len(first))
    figure, ax = _canvas(first, columns, len(rows) * -(-len(first) // columns), block=len(rows), left=left)
    draw_rows(ax, seen, columns, gap=GAP)
    ax.set_title(title)
    return figure


def _canvas(
    images: Pixels,
    columns: int,
    rows: int,
    *,
    block: int | None = None,
    left: int = 16,
    top: int = 40,
    bottom: int = 16,
    least: int = 460,
    around: bool = False,
) -> tuple[Figure, Axes]:
    """A figure whose only axes have exactly the pixels of `draw_grid`'s mosaic, or of `draw_panel`'s (``around``).

    The figure is at least ``least`` pixels wide, so that its title has room even above few images.
    """
    _, h, w, _ = images.shape
    gaps = 0 if around else 1
    width = columns * (w + GAP) - gaps * GAP
    height = rows * (h + GAP) - gaps * GAP + (3 * GAP * ((rows - 1) // block) if block else 0)
    total_width, total_height = max(left + width + 16, least), top + height + bottom
    figure = Figure(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)
    place = (left / total_width, bottom / total_height, width / total_width, height / total_height)
    return figure, figure.add_axes(place)


def num_columns(num: int, aspect: float = 1.0) -> int:
    """The columns of a grid of ``num`` images that is somewhat wider than high; ``aspect`` is their height / width."""
    if num <= 8:
        return num
    return min(range(6, 12), key=lambda c: (2 * (-num % c) + abs(c - (1.6 * aspect * num) ** 0.5), c))


def _of(shown: int, num: int) -> str:
    return "" if shown == num else f", {shown} of {num:,}"


def _width(text: str) -> int:
    """The width of text in pixels of the figure, at the style's font size."""
    return round(TextPath((0, 0), text, size=STYLE["font.size"]).get_extents().width * DPI / 72)
