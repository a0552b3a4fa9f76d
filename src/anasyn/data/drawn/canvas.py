"""The canvas of the drawn sets: filled shapes, painted from back to front, and their geometry.

Coordinates run over [−1, 1]², with y pointing down.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from torch import Tensor

__all__ = ["Array", "Canvas", "bezier", "coarse_grid", "draw", "ellipse", "fixed_noise",
           "mirrored", "mix", "ramp", "ribbon", "spline"]  # fmt: skip

Array = NDArray[np.float64]


def draw(paint: Callable[["Canvas", float, float], None], factors: Tensor, size: int) -> Tensor:
    """One image for each pair of factors (n, 2), uint8 (n, 3, size, size)."""
    if factors.ndim != 2 or factors.shape[1] != 2:
        raise ValueError(f"factors: expected shape (n, 2), got {tuple(factors.shape)}")
    outside = factors[~((factors >= 0) & (factors <= 1))]
    if len(outside):
        raise ValueError(f"factors: expected values in [0, 1], got {outside[0].item()}")
    if size < 16:
        raise ValueError(f"size: expected at least 16, got {size}")
    images = torch.empty(len(factors), 3, size, size, dtype=torch.uint8)
    for image, (first, second) in zip(images, factors.tolist(), strict=True):
        canvas = Canvas(size)
        paint(canvas, first, second)
        reduced = canvas.image.resize((size, size), Image.Resampling.BOX)
        image.copy_(torch.from_numpy(np.array(reduced)).permute(2, 0, 1))
    return images


class Canvas:
    """An image in progress, at several times its final size: reducing it at the end smooths the edges."""

    def __init__(self, size: int) -> None:
        self.size = max(4 * size, 256)
        self.image = Image.new("RGB", (self.size, self.size))
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def field(self, colours: Array, outline: Array | None = None) -> None:
        """Paints a smooth colour field, given on a coarse grid (h, w, 3), everywhere or inside an outline (m, 2)."""
        coarse = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
        fine = coarse.resize(self.image.size, Image.Resampling.BICUBIC)
        mask = None
        if outline is not None:
            mask = Image.new("L", fine.size)
            ImageDraw.Draw(mask).polygon(self._pixels(outline).ravel().tolist(), fill=255)
        self.image.paste(fine, mask=mask)

    def shapes(self, outlines: Array, colours: ArrayLike, alpha: ArrayLike = 1.0) -> None:
        """Fills closed outlines (…, m, 2) in order, with colours (n, 3) of opacity (n,)."""
        outlines = outlines.reshape(-1, *outlines.shape[-2:])
        fills = np.empty((len(outlines), 4))
        fills[:, :3] = colours
        fills[:, 3] = 255 * np.asarray(alpha)
        inks: list[list[int]] = np.clip(fills + 0.5, 0, 255).astype(int).tolist()
        corners = self._pixels(outlines).reshape(len(outlines), -1)
        for corner, ink in zip(corners.tolist(), inks, strict=True):
            self.pen.polygon(corner, fill=tuple(ink))

    def _pixels(self, points: Array) -> Array:
        # Pillow truncates coordinates to whole pixels; adding a half turns that into rounding.
        return (points + 1) * (self.size / 2) + 0.5


def mix(first: ArrayLike, second: ArrayLike, weight: ArrayLike) -> Array:
    """Linear interpolation: ``first`` at weight 0, ``second`` at weight 1."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return np.asarray(first + (second - first) * np.asarray(weight))


def ramp(value: ArrayLike, low: float, high: float) -> Array:
    """A smooth step: 0 up to ``low``, 1 from ``high`` on."""
    step = np.clip((np.asarray(value) - low) / (high - low), 0, 1)
    return np.asarray(step * step * (3 - 2 * step))


def bezier(start: ArrayLike, bend: ArrayLike, end: ArrayLike, num: int) -> Array:
    """Points (…, num, 2) on quadratic Bézier curves."""
    t = np.linspace(0, 1, num)[:, None]
    a, b, c = (np.asarray(point, dtype=float)[..., None, :] for point in (start, bend, end))
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)


def spline(knots: Array, num: int, closed: bool) -> Array:
    """Points (num · segments, 2) on the Catmull–Rom spline through knots (m, 2)."""
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, num, endpoint=False)[:, None]
    a, b, c, d = (knots[k : len(knots) - 3 + k, None] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2))


def ribbon(line: Array, width: ArrayLike) -> Array:
    """Outlines (…, 2m, 2) of ribbons of widths (…, m) along lines (…, m, 2)."""
    along = np.gradient(line, axis=-2)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    across *= np.asarray(width)[..., None] / (2 * np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9)
    return np.concatenate([line + across, (line - across)[..., ::-1, :]], axis=-2)


def ellipse(x: float, y: float, rx: float, ry: float) -> Array:
    """Points (24, 2) on an ellipse with centre (x, y) and radii (rx, ry)."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=-1)


def mirrored(shape: Array) -> Array:
    """Shapes (…, 2) and their mirror images in the vertical axis, (2, …, 2)."""
    return np.stack([shape, shape * [-1, 1]])


@cache
def fixed_noise(name: str, num: int) -> Array:
    """Uniform numbers (num, 6), the same in every image, so that hairs and leaves move with the factors alone."""
    return np.random.default_rng(list(name.encode())).random((num, 6))


@cache
def coarse_grid(num: int) -> Array:
    """The centres (num, num, 2) of a grid of num × num cells."""
    centres = (np.arange(num) + 0.5) * 2 / num - 1
    return np.stack(np.meshgrid(centres, centres), axis=-1)
