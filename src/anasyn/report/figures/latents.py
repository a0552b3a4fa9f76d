"""The inferred z on an Axes, as a map of the images."""

from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.offsetbox import AnnotationBbox, OffsetImage, TextArea, VPacker
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...methods.paths import through
from ..pictures import Pixels
from .images import to_pixels
from .style import ACCENT, MOST_NAMES, class_colors, short

MOST_THUMBNAILS = 60
FRAMES_SHOWN = 14  # of a film, as thumbnails along its path
PER_FRAME = 8  # pieces of the curve between two frames


def draw_latents(
    ax: Axes,
    z: Tensor,
    images: Tensor | Pixels,
    axis_names: Sequence[str] = ("z₁", "z₂"),
    labels: Sequence[str] | None = None,
) -> None:
    """Draws the inferred z as a map of the images; the circles are one and two standard deviations of the prior, σ = 1.

    Up to 200 images are all drawn as thumbnails, smaller ones where there are more images. Of more than 200 images,
    60 that lie far apart are drawn as thumbnails, and every image as a point. With labels, points and the frames of
    thumbnails have the colour of their class, and a legend names at most 20 classes.

    Args:
        ax: the axes to draw on, square.
        z: (n, 2).
        images: (n, c, H, W), uint8 or float in [−1, 1].
        axis_names: the names of the two coordinates.
        labels: the class name of every image.

    Raises:
        ValueError: z is not (n, 2), or there are not n labels, for n images.
    """
    if z.shape != (len(images), 2):
        raise ValueError(f"z: expected shape ({len(images)}, 2), got {tuple(z.shape)}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, one for each image, got {len(labels)}")
    points = z.detach().cpu().double().numpy()
    chosen = np.arange(len(points)) if len(points) <= 200 else far_apart(points, MOST_THUMBNAILS)
    _draw_circles(ax)
    colors = class_colors(labels) if labels is not None else {}
    by_point = ACCENT if labels is None else [colors[label] for label in labels]
    ax.scatter(points[:, 0], points[:, 1], s=7, color=by_point, linewidths=0, alpha=0.6, zorder=1.5)
    room = 360 if len(chosen) == len(points) else 300  # keeps points without a thumbnail visible
    side = round(float(np.clip(room / np.sqrt(len(chosen)), 26, 84)))  # pixels of the figure
    for k in chosen:
        thumbnail = _thumbnail(Image.fromarray(to_pixels(images[k : k + 1])[0]), side)
        box = OffsetImage(np.asarray(thumbnail), zoom=72 / ax.figure.dpi, interpolation="nearest")
        edge, width = ("white", 1.0) if labels is None else (colors[labels[k]], 1.8)
        frame = {"edgecolor": edge, "linewidth": width, "boxstyle": "square,pad=0"}
        ax.add_artist(AnnotationBbox(box, points[k], pad=0, bboxprops=frame, zorder=2))
    _scale(ax, max(2.3, 1.08 * float(np.abs(points).max()) + 0.15), axis_names)
    if colors:
        _draw_legend(ax, colors)


def draw_path(ax: Axes, z: Tensor, images: Tensor | Pixels, axis_names: Sequence[str] = ("z₁", "z₂")) -> None:
    """Draws the inferred z of a film's frames, in their order, as points on a smooth curve, coloured by time.

    Some frames that lie far apart are drawn as thumbnails beside the curve, each with its number, the first being 0.

    Args:
        ax: the axes to draw on, square; a scale of the colours is drawn beside it.
        z: (n, 2), n ≥ 2.
        images: (n, c, H, W), uint8 or float in [−1, 1].
        axis_names: the names of the two coordinates.

    Raises:
        ValueError: z is not (n, 2) for n images.
    """
    if z.shape != (len(images), 2):
        raise ValueError(f"z: expected shape ({len(images)}, 2), got {tuple(z.shape)}")
    n = len(z)
    curve = through(z.detach().cpu().double(), PER_FRAME * (n - 1) + 1).numpy()
    points, pieces = curve[::PER_FRAME], np.stack([curve[:-1], curve[1:]], 1)
    viridis = matplotlib.colormaps["viridis"]
    edges = viridis((np.arange(len(pieces)) + 0.5) / len(pieces))
    colors = [to_hex(color) for color in viridis(np.linspace(0, 1, n))]
    _draw_circles(ax)
    ax.add_collection(LineCollection(list(pieces), colors=edges, linewidths=1.3, zorder=1.6, capstyle="round"))
    ax.scatter(points[:, 0], points[:, 1], s=14 if n <= 200 else 5, color=colors, linewidths=0, zorder=1.7)
    reach = 1.25 * max(2.3, 1.08 * float(np.abs(curve).max()) + 0.15)  # with room for the thumbnails
    _scale(ax, reach, axis_names)
    for k, centre in _beside(points, curve, 2 * reach):
        thumbnail = _thumbnail(Image.fromarray(to_pixels(images[k : k + 1])[0]), 64)
        _draw_frame(ax, points[k], centre, thumbnail, k, colors[k])
    bar = ax.figure.colorbar(ScalarMappable(Normalize(0, n - 1), viridis), cax=ax.inset_axes((1.02, 0, 0.02, 1)))
    bar.set_label("frame")
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _beside(
    points: NDArray[np.float64], curve: NDArray[np.float64], width: float
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Frames that lie far apart, and where the centres of their thumbnails are, which do not overlap.

    A thumbnail is on the side of the path where it covers less of the path, or where both are the same, on the side
    that is farther from the middle of the points. ``width`` is that of the axes.
    """
    box = width * np.array([0.05, 0.06])  # half of a thumbnail's width and height
    taken: list[NDArray[np.float64]] = []
    for k in far_apart(points, 4 * FRAMES_SHOWN):
        x, y = points[min(k + 1, len(points) - 1)] - points[max(k - 1, 0)]
        across = np.array([-y, x]) / max(float(np.hypot(x, y)), 1e-9)
        if across @ (points[k] - points.mean(0)) < 0:
            across = -across
        sides = [points[k] + 0.09 * width * across, points[k] - 0.09 * width * across]
        centre = min(sides, key=lambda at: int((abs(curve - at) < box).all(1).sum()))
        if not any((abs(centre - other) < 2 * box).all() for other in taken) and len(taken) < FRAMES_SHOWN:
            taken.append(centre)
            yield int(k), centre


def _draw_frame(
    ax: Axes,
    point: NDArray[np.float64],
    centre: NDArray[np.float64],
    thumbnail: Image.Image,
    number: int,
    color: str,
) -> None:
    """Draws a thumbnail with its number, joined to its point."""
    picture = OffsetImage(np.asarray(thumbnail), zoom=72 / ax.figure.dpi)
    text = TextArea(f"{number}", textprops={"fontsize": 6, "color": "#666c75"})
    box = AnnotationBbox(
        VPacker(children=[picture, text], align="center", pad=0, sep=1),
        (float(point[0]), float(point[1])),
        xybox=(float(centre[0]), float(centre[1])),
        pad=0.1,
        bboxprops={"edgecolor": color, "linewidth": 1.2, "boxstyle": "square"},
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkB": 2},
        zorder=2,
    )
    ax.add_artist(box)


def _draw_circles(ax: Axes) -> None:
    """Draws one and two standard deviations of the prior, σ = 1."""
    for radius in (1, 2):
        circle = Circle((0, 0), radius, fill=False, edgecolor="#b9bec6", linewidth=0.9, linestyle=(0, (4, 3)))
        ax.add_patch(circle)
        ax.annotate(
            f"{radius}σ", (0, -radius), ha="center", va="center", fontsize=7, color="#8a9099", zorder=1.1,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip


def _scale(ax: Axes, reach: float, axis_names: Sequence[str]) -> None:
    """Sets the range of both axes, their names, ticks and grid."""
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel=axis_names[0])
    ax.set_ylabel(axis_names[1], rotation=0 if len(axis_names[1]) < 4 else 90, labelpad=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
    ax.grid(True)


def far_apart(points: NDArray[np.float64], num: int) -> NDArray[np.int64]:
    """Indices of points that lie far apart: each next one is the farthest from those already chosen."""
    chosen = [int(((points - points.mean(0)) ** 2).sum(1).argmin())]
    distance = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(num, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen)


def _thumbnail(image: Image.Image, side: int) -> Image.Image:
    """The image scaled so that its longer side has ``side`` pixels."""
    longer = max(image.size)
    if longer >= side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return image
    width, height = (round(each * side / longer) for each in image.size)
    return image.resize((width, height), Image.Resampling.NEAREST)


def _draw_legend(ax: Axes, colors: dict[str, str]) -> None:
    """Names the classes beside the axes, at most 20 of them."""
    patches = [Patch(color=color, label=short(name)) for name, color in colors.items()][:MOST_NAMES]
    if len(colors) > MOST_NAMES:
        patches.append(Patch(alpha=0, label=f"and {len(colors) - MOST_NAMES} more"))
    ax.legend(
        handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False, handlelength=0.8
    )
