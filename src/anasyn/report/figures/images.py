"""Images on an Axes: grids, pairs, chains, and the panel of f(z).

Images are (n, c, H, W) tensors with c = 1 or 3, uint8 or float in [−1, 1], or uint8 (n, H, W, 3) arrays.
"""

from collections.abc import Mapping, Sequence
from math import isqrt

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...data import to_uint8
from ..pictures import Pixels, mosaic


def draw_grid(
    ax: Axes,
    images: Tensor | Pixels,
    columns: int,
    *,
    gap: int = 2,
    block: int | None = None,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    row_colors: Sequence[str] = (),
) -> None:
    """Draws images on a grid, row by row, without ticks; one unit of the axes is one pixel of the images.

    Args:
        ax: the axes to draw on.
        images: (n, c, H, W), uint8 or float in [−1, 1].
        columns: the number of columns.
        gap: white pixels between two images.
        block: the number of rows that form a block; between two blocks the gap is four times as wide.
        column_labels: text above the columns.
        row_labels: text to the left of the rows.
        row_colors: colours of frames around the row labels; a pale one would not be legible as text.
    """
    pixels = to_pixels(images)
    n, h, w, _ = pixels.shape
    rows = -(-n // columns)
    tops = [r * (h + gap) + 3 * gap * (r // block if block else 0) for r in range(rows)]
    lefts = [c * (w + gap) for c in range(columns)]
    whole = np.full((tops[-1] + h, lefts[-1] + w, 3), 255, np.uint8)
    for k, image in enumerate(pixels):
        top, left = tops[k // columns], lefts[k % columns]
        whole[top : top + h, left : left + w] = image
    ax.imshow(whole, interpolation="nearest", extent=(0, whole.shape[1], whole.shape[0], 0))
    ax.xaxis.tick_top()
    ax.set_xticks([left + w / 2 for left, _ in zip(lefts, column_labels, strict=False)], list(column_labels))
    ax.set_yticks([top + h / 2 for top, _ in zip(tops, row_labels, strict=False)], list(row_labels))
    for label, color in zip(ax.get_yticklabels(), row_colors, strict=False):
        label.set_bbox({"edgecolor": color, "facecolor": "none", "linewidth": 1.8, "pad": 3})
    _hide_frame(ax)


def draw_rows(ax: Axes, rows: Mapping[str, Tensor | Pixels], columns: int, *, gap: int = 2) -> None:
    """Draws sets of n images below one another, a row for each set, wrapped into blocks of at most ``columns`` columns.

    Args:
        ax: the axes to draw on.
        rows: the name of each set and its images, (n, c, H, W), uint8 or float in [−1, 1].
        columns: the largest number of columns.
        gap: white pixels between two images.

    Raises:
        ValueError: the shapes of the sets differ.
    """
    sets = [to_pixels(images) for images in rows.values()]
    if any(x.shape != sets[0].shape for x in sets):
        raise ValueError(f"images: expected sets of one shape, got {[x.shape for x in sets]}")
    n, *shape = sets[0].shape
    columns = min(columns, n)
    blocks = -(-n // columns)
    full = np.full((len(sets), blocks * columns, *shape), 255, np.uint8)  # the last block is filled up with white
    full[:, :n] = np.stack(sets)
    images = full.reshape(len(sets), blocks, columns, *shape).swapaxes(0, 1).reshape(-1, *shape)
    draw_grid(ax, images, columns, gap=gap, block=len(sets), row_labels=[*rows] * blocks)


def draw_strip(ax: Axes, frames: Tensor, steps: Sequence[int], *, gap: int = 2) -> None:
    """Draws chains over time: one row for each chain, one column for each number of transitions.

    Args:
        ax: the axes to draw on.
        frames: (t, k, c, H, W), uint8 or float in [−1, 1], of k chains.
        steps: the number of transitions done at each of the t frames.
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
    """Draws f(z) over a square of z, each image centred on its z: z₁ increases to the right, z₂ upwards.

    Args:
        ax: the axes to draw on.
        panel: (points², c, H, W), uint8 or float in [−1, 1], row by row from the top: image r · points + c is at
            z₁ = low + c·Δ, z₂ = high − r·Δ, Δ = (high − low)/(points − 1). The first is at (low, high), the
            last at (high, low).
        low: the smallest value of z₁ and z₂.
        high: the largest value.
        points: the number of images along each side.
        axis_names: the names of the two coordinates.
        gap: white pixels between two images, an even number.

    Raises:
        ValueError: there are not points² images.
    """
    pixels = to_pixels(panel)
    if len(pixels) != points**2:
        raise ValueError(f"panel: expected {points}² = {points**2} images, got {len(pixels)}")
    framed = np.pad(pixels, ((0, 0), *[(gap // 2, gap // 2)] * 2, (0, 0)), constant_values=255)
    _, h, w, _ = framed.shape
    half = (high - low) / (points - 1) / 2 if points > 1 else 0.5
    extent = (low - half, high + half, low - half, high + half)
    ax.imshow(mosaic(framed, points), interpolation="nearest", extent=extent, aspect="auto")
    ax.set_box_aspect(h / w)
    ticks = np.linspace(low, high, points)
    labels = [f"{tick:.2g}".replace("-", "−") for tick in np.where(abs(ticks) < 1e-9, 0, ticks)]
    ax.set_xticks(ticks, labels)
    ax.set_yticks(ticks, labels)
    ax.set_xlabel(axis_names[0])
    ax.set_ylabel(axis_names[1], rotation=0 if len(axis_names[1]) < 4 else 90, labelpad=10)
    _hide_frame(ax)


def to_pixels(images: Tensor | Pixels) -> Pixels:
    """(n, c, H, W), float in [−1, 1] or uint8 → uint8 (n, H, W, 3); arrays have that form already."""
    if isinstance(images, np.ndarray):
        return images
    pixels = images if images.dtype == torch.uint8 else to_uint8(images)
    colour = pixels.expand(-1, 3, -1, -1)  # one channel becomes three equal ones
    array: Pixels = colour.permute(0, 2, 3, 1).cpu().numpy()
    return array


def visible(images: Tensor | Pixels) -> Pixels:
    """Images scaled by a whole number to an area of about 110² to 220² pixels of the figure."""
    pixels = to_pixels(images)
    n, h, w, _ = pixels.shape
    side = isqrt(h * w)
    if side < 110:
        scale = -(-110 // side)
        return pixels.repeat(scale, 1).repeat(scale, 2)
    k = max(1, side // 110)
    h, w = h // k * k, w // k * k
    means = pixels[:, :h, :w].reshape(n, h // k, k, w // k, k, 3).mean((2, 4))
    return means.round().astype(np.uint8)


def _hide_frame(ax: Axes) -> None:
    ax.tick_params(length=0, pad=5)
    for spine in ax.spines.values():
        spine.set_visible(False)
