"""Pictures drawn by the program: two aligned sets whose two factors are known.

They stand in for photographs: a learned latent plane can be held against the factors that drew the pictures.
Each picture is a painting in vectors, from back to front; coordinates run over [−1, 1]², y downwards.
Every shape is a continuous function of the factors and is always painted, if need be with no opacity, so
that nothing pops up on the way from one picture to the next.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from torch import Tensor

__all__ = ["DRAWN", "draw_cats", "draw_egrets", "drawn_factors"]

Array = NDArray[np.float64]


def draw_cats(factors: Tensor, size: int = 64) -> Tensor:
    """Faces of big cats, from lion to tiger along one factor, turning from left to right along the other.

    Arguments:
        factors: species (0 a lion, 1 a tiger) and turn of the head (0 to our left, 1 to our right), (n, 2)
            in [0, 1].
        size: height and width in pixels, at least 16.

    Returns the images, (n, 3, size, size) uint8, RGB. Raises ValueError for factors of another shape or
    outside [0, 1], and for a smaller size.
    """
    return _draw(_cat, factors, size)


def draw_egrets(factors: Tensor, size: int = 64) -> Tensor:
    """A white egret facing left, from ground to ground along one factor, stretching its neck along the other.

    Arguments:
        factors: ground (0 a lake, then a meadow, a red marsh, 1 a dark shore at dusk) and stretch of the neck
            (0 drawn in, 1 upright), (n, 2) in [0, 1].
        size: height and width in pixels, at least 16.

    Returns the images, (n, 3, size, size) uint8, RGB. Raises ValueError for factors of another shape or
    outside [0, 1], and for a smaller size.
    """
    return _draw(_egret, factors, size)


def drawn_factors(num: int, seed: int = 0) -> Tensor:
    """The first points of a scrambled Sobol sequence, which fill the square of factors evenly.

    Arguments:
        num: number of points, at least 1; a shorter sequence is the beginning of a longer one.
        seed: seed of the scrambling.

    Returns the factors, (num, 2) float32 in [0, 1]. Raises ValueError for a number below 1.
    """
    if num < 1:
        raise ValueError(f"num: expected at least 1, got {num}")
    sobol = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed)
    return sobol.draw(num, dtype=torch.float32)


DRAWN: dict[str, Callable[..., Tensor]] = {"drawn-cats": draw_cats, "drawn-egrets": draw_egrets}


def _draw(paint: Callable[["_Canvas", float, float], None], factors: Tensor, size: int) -> Tensor:
    if factors.ndim != 2 or factors.shape[1] != 2:
        raise ValueError(f"factors: expected shape (n, 2), got {tuple(factors.shape)}")
    outside = factors[~((factors >= 0) & (factors <= 1))]
    if len(outside):
        raise ValueError(f"factors: expected values in [0, 1], got {outside[0].item()}")
    if size < 16:
        raise ValueError(f"size: expected at least 16, got {size}")
    images = torch.empty(len(factors), 3, size, size, dtype=torch.uint8)
    for image, (first, second) in zip(images, factors.tolist(), strict=True):
        canvas = _Canvas(size)
        paint(canvas, first, second)
        reduced = canvas.image.resize((size, size), Image.Resampling.BOX)
        image.copy_(torch.from_numpy(np.array(reduced)).permute(2, 0, 1))
    return images


class _Canvas:
    """A picture under way, several times too large, so that reducing it smooths the edges."""

    def __init__(self, size: int) -> None:
        self.size = max(4 * size, 256)
        self.image = Image.new("RGB", (self.size, self.size))
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def field(self, colours: Array, outline: Array | None = None) -> None:
        """Paints a coarse field of colours (h, w, 3), everywhere or inside a closed outline (m, 2)."""
        coarse = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
        fine = coarse.resize(self.image.size, Image.Resampling.BICUBIC)
        mask = None
        if outline is not None:
            mask = Image.new("L", fine.size)
            ImageDraw.Draw(mask).polygon(self._pixels(outline).ravel().tolist(), fill=255)
        self.image.paste(fine, mask=mask)

    def shapes(self, outlines: Array, colours: ArrayLike, alpha: ArrayLike = 1.0) -> None:
        """Paints closed outlines (…, m, 2) over each other, in colours (n, 3) of opacity (n,)."""
        outlines = outlines.reshape(-1, *outlines.shape[-2:])
        fills = np.empty((len(outlines), 4))
        fills[:, :3] = colours
        fills[:, 3] = 255 * np.asarray(alpha)
        inks: list[list[int]] = np.clip(fills + 0.5, 0, 255).astype(int).tolist()
        corners = self._pixels(outlines).reshape(len(outlines), -1)
        for corner, ink in zip(corners.tolist(), inks, strict=True):
            self.pen.polygon(corner, fill=tuple(ink))

    def _pixels(self, points: Array) -> Array:
        # Pillow cuts coordinates off to whole pixels; the half makes that a rounding.
        return (points + 1) * (self.size / 2) + 0.5


def _mix(first: ArrayLike, second: ArrayLike, weight: ArrayLike) -> Array:
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return np.asarray(first + (second - first) * np.asarray(weight))


def _ramp(value: ArrayLike, low: float, high: float) -> Array:
    step = np.clip((np.asarray(value) - low) / (high - low), 0, 1)
    return np.asarray(step * step * (3 - 2 * step))


def _bezier(start: ArrayLike, bend: ArrayLike, end: ArrayLike, num: int) -> Array:
    """Points (…, num, 2) on quadratic Bézier curves."""
    t = np.linspace(0, 1, num)[:, None]
    a, b, c = (np.asarray(point, dtype=float)[..., None, :] for point in (start, bend, end))
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)


def _spline(knots: Array, num: int, closed: bool) -> Array:
    """Points (num · segments, 2) on the Catmull–Rom curve through knots (m, 2)."""
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, num, endpoint=False)[:, None]
    a, b, c, d = (knots[k : len(knots) - 3 + k, None] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2))


def _ribbon(line: Array, width: ArrayLike) -> Array:
    """Outlines (…, 2m, 2) of ribbons along lines (…, m, 2), of widths (…, m)."""
    along = np.gradient(line, axis=-2)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    across *= np.asarray(width)[..., None] / (2 * np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9)
    return np.concatenate([line + across, (line - across)[..., ::-1, :]], axis=-2)


def _ellipse(x: float, y: float, rx: float, ry: float) -> Array:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=-1)


def _mirrored(shape: Array) -> Array:
    """Shapes (…, 2) and their mirror images, (2, …, 2)."""
    return np.stack([shape, shape * [-1, 1]])


@cache
def _noise(name: str, num: int) -> Array:
    """Fixed uniform numbers (num, 6): the same hairs in every picture, so that only the factors move them."""
    return np.random.default_rng(list(name.encode())).random((num, 6))


@cache
def _grid(num: int) -> Array:
    centres = (np.arange(num) + 0.5) * 2 / num - 1
    return np.stack(np.meshgrid(centres, centres), axis=-1)


# Lion and tiger: the right half of the outline of the face, from forehead to chin.
_FACE = np.array([
    [[0, -0.63], [0.20, -0.57], [0.37, -0.36], [0.45, -0.08],
     [0.47, 0.18], [0.43, 0.42], [0.33, 0.64], [0.17, 0.82]],
    [[0, -0.66], [0.28, -0.62], [0.52, -0.40], [0.62, -0.08],
     [0.66, 0.20], [0.57, 0.48], [0.37, 0.68], [0.17, 0.80]],
])  # fmt: skip

# Soft patches of the coat: x, y, radii; colour and opacity in the lion; colour and opacity in the tiger.
_PATCHES = np.array([
    [0.00, -0.45, 0.34, 0.22, 218, 172, 110, 0.8, 226, 128, 42, 0.9],
    [0.47, 0.36, 0.26, 0.36, 186, 134, 80, 0.7, 250, 240, 224, 0.95],
    [0.25, -0.31, 0.17, 0.10, 232, 198, 142, 0.6, 253, 246, 234, 0.95],
    [0.00, 0.08, 0.13, 0.34, 206, 156, 98, 0.7, 226, 138, 56, 0.8],
    [0.15, 0.12, 0.05, 0.18, 140, 92, 54, 0.4, 176, 92, 34, 0.4],
    [0.27, 0.00, 0.16, 0.08, 244, 226, 192, 0.8, 252, 240, 220, 0.85],
    [0.25, -0.13, 0.15, 0.09, 96, 58, 34, 0.6, 90, 48, 26, 0.45],
    [0.16, 0.42, 0.20, 0.16, 240, 224, 196, 0.9, 253, 249, 242, 0.98],
    [0.00, 0.60, 0.22, 0.07, 120, 84, 58, 0.5, 150, 110, 90, 0.4],
    [0.00, 0.71, 0.20, 0.12, 244, 232, 212, 0.9, 253, 250, 246, 0.97],
])  # fmt: skip

# The tiger's stripes on the right: from, by way of, to, width.
_STRIPES = np.array([
    [0.00, -0.66, 0.00, -0.55, 0.00, -0.40, 0.030],
    [0.04, -0.60, 0.10, -0.58, 0.16, -0.66, 0.024],
    [0.02, -0.52, 0.12, -0.50, 0.24, -0.62, 0.040],
    [0.03, -0.43, 0.16, -0.38, 0.32, -0.53, 0.042],
    [0.06, -0.33, 0.20, -0.32, 0.38, -0.46, 0.034],
    [0.12, -0.24, 0.26, -0.37, 0.42, -0.26, 0.036],
    [0.44, -0.44, 0.46, -0.28, 0.58, -0.20, 0.050],
    [0.42, -0.16, 0.50, -0.02, 0.66, -0.04, 0.050],
    [0.40, 0.03, 0.52, 0.16, 0.70, 0.10, 0.055],
    [0.38, 0.20, 0.52, 0.34, 0.72, 0.26, 0.055],
    [0.37, 0.36, 0.48, 0.50, 0.66, 0.46, 0.050],
    [0.30, 0.56, 0.40, 0.68, 0.54, 0.64, 0.040],
    [0.46, 0.12, 0.56, 0.25, 0.70, 0.19, 0.030],
    [0.44, 0.29, 0.56, 0.42, 0.68, 0.36, 0.028],
    [0.60, -0.12, 0.74, 0.16, 0.62, 0.46, 0.036],
    [0.16, 0.06, 0.20, 0.12, 0.18, 0.22, 0.020],
])  # fmt: skip


def _coat(points: Array, species: float, turned: Callable[[Array], Array]) -> Array:
    """Colours (…, 3) of the face at points (…, 2)."""
    colour = np.broadcast_to(_mix((204, 154, 96), (222, 124, 44), species), (*points.shape[:-1], 3))
    for lion in _PATCHES:
        patch = _mix(lion[4:8], lion[8:12], species)
        for centre in turned(_mirrored(lion[:2]) if lion[0] else lion[None, :2]):
            distance = (((points - centre) / lion[2:4]) ** 2).sum(-1, keepdims=True)
            colour = _mix(colour, patch[:3], patch[3] * np.exp(-distance * np.sqrt(distance)))
    return colour * (1 - 0.10 * points[..., :1] - 0.08 * points[..., 1:])


def _cat(canvas: _Canvas, species: float, turn: float) -> None:
    def turned(points: Array) -> Array:
        # A head is a dome with a muzzle on it: what stands further out moves further when it turns.
        x, y = points[..., 0], points[..., 1]
        dome = 0.5 * np.exp(-(x**2) / 0.5 - (y - 0.05) ** 2 / 0.9)
        muzzle = 0.26 * np.exp(-((x / 0.3) ** 2) - ((y - 0.4) / 0.3) ** 2)
        return np.stack([x + (0.74 * turn - 0.37) * (dome + muzzle), y], axis=-1)

    def hairs(root: Array, bend: Array, tip: Array, width: Array, colours: Array) -> None:
        canvas.shapes(_ribbon(turned(_bezier(root, bend, tip, 3)), width[:, None] * [1, 0.9, 0.1]), colours)

    stripes = float(_ramp(species, 0.1, 0.9))
    fur, dark = _mix((204, 154, 96), (222, 124, 44), species), _mix((70, 40, 24), (30, 22, 20), species)

    # Out of focus behind: dry grass for the lion, leaves for the tiger.
    grid = _grid(32)
    height = (grid[..., 1:] + 1) / 2
    behind = _mix(_mix((196, 196, 176), (160, 136, 84), height), _mix((122, 156, 88), (48, 84, 44), height), species)
    for x, y, radius, light, *_ in _noise("leaves", 24):
        distance = ((grid - (2 * x - 1, 2 * y - 1)) ** 2).sum(-1, keepdims=True)
        behind = behind + (70 * light - 35) * np.exp(-distance / (0.02 + 0.06 * radius))
    canvas.field(behind)

    # Shoulders.
    shoulders = np.array([[-1.1, 1.1], [-1.0, 0.75], [-0.6, 0.45], [0.6, 0.45], [1.0, 0.7], [1.1, 1.1]])
    canvas.shapes(shoulders, 0.8 * fur)
    canvas.shapes(_ellipse(0, 1.0, 0.48, 0.4), _mix((124, 78, 42), (240, 228, 210), species))
    noise = _noise("chest", 200)
    root = np.stack([1.5 * noise[:, 0] - 0.75, 0.5 + 0.6 * np.sort(noise[:, 1])], axis=-1)
    tip = root + np.stack([0.25 * root[:, 0] + 0.06 * noise[:, 2] - 0.03, 0.10 + 0.10 * noise[:, 3]], axis=-1)
    white = _ramp(np.abs(root[:, :1]) + 0.2 * noise[:, 4:5], 0.35, 0.6)
    colours = _mix(_mix((124, 78, 42), (250, 240, 224), species), 0.85 * fur, white)
    colours *= 0.8 + 0.25 * noise[:, 5:6]
    canvas.shapes(_ribbon(_bezier(root, root, tip, 4), [0.01, 0.04, 0.03, 0.01]), colours)
    for x in (0.52, 0.68, 0.84):
        line = _bezier((x, 0.5 + 0.3 * (x - 0.5)), (x + 0.1, 0.75), (x - 0.02, 1.1), 7)
        canvas.shapes(_ribbon(_mirrored(line), [0, 0.05, 0.07, 0.07, 0.07, 0.06, 0.05]), dark, stripes)

    # The mane, which shrinks to the ruff of the tiger; hairs further out lie below.
    knots = _mix(_FACE[0], _FACE[1], species)
    knots = np.concatenate([knots, knots[:0:-1] * [-1, 1]])
    face = _spline(knots, 6, closed=True)
    noise = _noise("mane", 620)
    out = np.sort(noise[:, 0])[::-1]
    edge = face[(noise[:, 1] * len(face)).astype(int)] - (0, 0.05)
    away = edge / np.linalg.norm(edge, axis=-1, keepdims=True)
    root = edge * (0.8 + 0.55 * out * _mix(1, 0.15, species))[:, None] + (0, 0.05)
    cheek = np.exp(-(((edge[:, 1] - 0.35) / 0.28) ** 2)) * np.abs(away[:, 0])
    reach = _mix(0.38 + 0.16 * noise[:, 2], 0.07 + 0.32 * cheek * (0.6 + 0.4 * noise[:, 2]), species)
    sway = (noise[:, 3:4] - 0.5) * np.stack([-away[:, 1], away[:, 0]], axis=-1)
    fall = np.array([0, 1.0])
    tip = root + reach[:, None] * (away + 0.7 * sway + _mix(0.45, 0.25, species) * fall)
    bend = root + reach[:, None] * (0.6 * away - 0.3 * sway)
    lion = _mix((188, 120, 56), (82, 44, 24), _ramp(out, 0.1, 0.9)[:, None])
    tiger = _mix((224, 126, 46), (250, 242, 228), _ramp(edge[:, 1], -0.15, 0.25)[:, None])
    banded = _ramp(np.sin(13 * edge[:, 1] + 5 * out), 0.5, 0.8) * _ramp(edge[:, 1], -0.4, 0.1)
    tiger = _mix(tiger, (40, 30, 26), 0.85 * banded[:, None] * np.abs(away[:, :1]))
    light = 1 - 0.12 * tip[:, :1] - 0.14 * tip[:, 1:]
    colours = _mix(lion, tiger, species) * (0.72 + 0.5 * noise[:, 4:5]) * light
    width = _mix(0.05, 0.035, species) * (0.6 + noise[:, 5])
    canvas.shapes(_mix((0, 0.05), face, _mix(1.45, 1.0, species)), _mix((104, 62, 32), fur, species))
    outer = int(np.searchsorted(-out, -0.3))
    hairs(root[:outer], bend[:outer], tip[:outer], width[:outer], colours[:outer])

    # Ears, whose rim the hairs further in cover.
    x, y, radius = _mix((0.47, -0.58, 0.17), (0.50, -0.64, 0.20), species)
    for scale, colour in (
        (1.0, _mix((176, 122, 70), (40, 28, 24), species)),
        (0.84, _mix((196, 144, 88), (214, 128, 60), species)),
        (0.66, _mix((84, 52, 36), (70, 48, 40), species)),
    ):
        canvas.shapes(turned(_mirrored(_ellipse(x, y, scale * radius, scale * radius * 1.05))), colour)
    tufts = _noise("tufts", 40)
    start = np.stack([x - 0.12 + 0.1 * tufts[:, 0], y + 0.14 - 0.16 * tufts[:, 1]], axis=-1)
    stop = start + np.stack([0.05 + 0.09 * tufts[:, 2], -0.12 * tufts[:, 3]], axis=-1)
    tuft = _mix((222, 190, 142), (250, 240, 224), species) * (0.8 + 0.2 * tufts[:, 4:5])
    for sign in (1, -1):
        flip = np.array([sign, 1])
        hairs(start * flip, start * flip, stop * flip, np.full(40, 0.03), tuft)
    hairs(root[outer:], bend[outer:], tip[outer:], width[outer:], colours[outer:])

    # The face, and short hairs on it that point away from the nose.
    canvas.field(_coat(_grid(48), species, turned), turned(face))
    noise = _noise("face", 560)
    root = (face[(noise[:, 0] * len(face)).astype(int)] - (0, 0.1)) * np.sqrt(noise[:, 1:2]) + (0, 0.1)
    away = (root - (0, 0.34)) / (0.15 + np.linalg.norm(root - (0, 0.34), axis=-1, keepdims=True))
    tip = root + 0.09 * away + 0.03 * (noise[:, 2:4] - 0.5)
    colours = _coat(turned(root), species, turned) * (0.86 + 0.26 * noise[:, 4:5])
    hairs(root, root, tip, 0.014 + 0.01 * noise[:, 5], colours)

    lens = np.array([0, 0.6, 0.9, 1, 0.9, 0.6, 0])
    curves = _mirrored(_bezier(_STRIPES[:, 0:2], _STRIPES[:, 2:4], _STRIPES[:, 4:6], 7))
    canvas.shapes(turned(_ribbon(curves, (0.4 + 0.8 * stripes) * _STRIPES[:, 6:] * lens)), dark, stripes)

    # Eyes: a dark almond whose inner corner runs down beside the nose, the iris, the pupil and a light.
    almond = np.array([[0.13, -0.07], [0.19, -0.155], [0.28, -0.18], [0.37, -0.14], [0.27, -0.075]])
    almond = _spline(almond, 5, closed=True)
    canvas.shapes(turned(_mirrored(almond)), (26, 18, 16))
    tear = _bezier((0.15, -0.09), (0.115, -0.02), (0.13, 0.08), 7)
    canvas.shapes(turned(_ribbon(_mirrored(tear), _mix(0.032, 0.045, species) * lens)), (40, 26, 20), 0.85)
    iris = _mix((214, 152, 52), (226, 186, 78), species)
    canvas.shapes(turned(_mirrored(_ellipse(0.26, -0.125, 0.054, 0.047))), iris)
    canvas.shapes(turned(_mirrored(_ellipse(0.26, -0.128, 0.024, 0.026))), (10, 8, 8))
    for x in (0.245, -0.275):
        canvas.shapes(turned(_ellipse(x, -0.145, 0.013, 0.013)), (255, 255, 250))

    # Nose and mouth.
    nose = np.array([[0, 0.245], [0.09, 0.25], [0.145, 0.285], [0.08, 0.355], [0, 0.40]])
    nose = _spline(np.concatenate([nose, nose[-2:0:-1] * [-1, 1]]), 5, closed=True)
    canvas.shapes(turned(nose), _mix((92, 56, 46), (206, 116, 100), species))
    canvas.shapes(turned(_mirrored(_ellipse(0.075, 0.325, 0.032, 0.02))), (36, 20, 18))
    lips = (44, 28, 24)
    canvas.shapes(turned(_ribbon(_bezier((0, 0.38), (0, 0.45), (0, 0.53), 5), [0.022] * 5)), lips)
    mouth = _bezier((0, 0.515), (0.12, 0.61), (0.28, 0.53), 7)
    canvas.shapes(turned(_ribbon(_mirrored(mouth), 0.04 * lens)), lips)

    for row, y in enumerate((0.38, 0.43, 0.48)):
        for x in (0.15, 0.20, 0.25):
            canvas.shapes(turned(_mirrored(_ellipse(x + 0.01 * row, y, 0.011, 0.009))), (70, 46, 36), 0.7)
        whisker = _bezier((0.22, y), (0.5, y - 0.08), (0.78, y + 0.12 * row - 0.02), 8)
        whisker = _ribbon(_mirrored(whisker), np.linspace(0.012, 0.004, 8))
        canvas.shapes(turned(whisker), (255, 252, 245), 0.75)


# Four grounds along the factor: colours at five heights, from the top of the picture to its foot; bushes
# along the horizon; blades; and how much of it is water, is a meadow, and glows with the sun.
_HEIGHTS = np.array([-1.0, -0.25, -0.1, 0.3, 1.0])
_GROUNDS = np.array([
    [[150, 186, 212], [200, 218, 226], [122, 162, 192], [92, 138, 178], [58, 98, 146]],
    [[152, 204, 226], [214, 234, 216], [142, 186, 96], [104, 164, 70], [64, 122, 44]],
    [[172, 84, 78], [206, 112, 92], [186, 72, 66], [150, 70, 66], [112, 58, 58]],
    [[52, 44, 84], [236, 146, 88], [150, 84, 88], [74, 50, 74], [34, 28, 48]],
], dtype=float)  # fmt: skip
_BUSHES = np.array([[104, 140, 150], [84, 138, 72], [206, 58, 52], [44, 32, 52]], dtype=float)
_BLADES = np.array([[70, 96, 74], [96, 168, 58], [190, 74, 56], [26, 22, 34]], dtype=float)
_WATER, _MEADOW, _GLOW = np.array([[1.0, 0.0, 0.7, 0.9], [0.0, 1.0, 0.6, 0.0], [0.0, 0.0, 0.0, 1.0]])

# The neck from the head to the breast, drawn in and stretched.
_NECKS = np.array([
    [[-0.36, -0.40], [-0.24, -0.46], [-0.13, -0.38], [-0.15, -0.25],
     [-0.26, -0.13], [-0.33, 0.01], [-0.20, 0.15], [-0.02, 0.21]],
    [[-0.34, -0.76], [-0.23, -0.81], [-0.13, -0.72], [-0.14, -0.53],
     [-0.20, -0.32], [-0.25, -0.10], [-0.17, 0.13], [-0.02, 0.20]],
])  # fmt: skip


def _egret(canvas: _Canvas, ground: float, stretch: float) -> None:
    def here(grounds: Array) -> Array:
        place = 3 * ground
        left = min(int(place), 2)
        return _mix(grounds[left], grounds[left + 1], place - left)

    water, meadow, glow = (float(here(weight)) for weight in (_WATER, _MEADOW, _GLOW))

    # Sky and land, the sun, and the shimmer of the bird on the water.
    grid, palette = _grid(48), here(_GROUNDS)
    land = np.stack([np.interp(grid[..., 1], _HEIGHTS, channel) for channel in palette.T], axis=-1)
    for x, y, rx, ry, light, alpha in (
        (0.55, -0.32, 0.14, 0.13, (255, 236, 170), glow),
        (0.55, -0.25, 0.70, 0.30, (255, 170, 90), 0.6 * glow),
        (0.55, 0.20, 0.12, 0.45, (250, 170, 110), 0.5 * glow),
        (0.10, 0.95, 0.30, 0.14, (236, 240, 246), 0.4 * water),
    ):
        distance = ((grid[..., :1] - x) / rx) ** 2 + ((grid[..., 1:] - y) / ry) ** 2
        land = _mix(land, light, alpha * np.exp(-distance))
    canvas.field(land)

    noise = _noise("bushes", 220)
    root = np.stack([2.2 * noise[:, 0] - 1.1, np.sort(-0.2 + 0.14 * noise[:, 1])], axis=-1)
    tip = root + np.stack([0.08 * noise[:, 2] - 0.04, -0.06 - 0.14 * noise[:, 3] ** 2], axis=-1)
    colours = here(_BUSHES) * (0.75 + 0.45 * noise[:, 4:5])
    canvas.shapes(_ribbon(_bezier(root, (root + tip) / 2, tip, 4), [0.05, 0.07, 0.06, 0.02]), colours, 0.75)

    noise = _noise("ripples", 150)
    depth = np.sort(noise[:, 1])
    middle = np.stack([2.4 * noise[:, 0] - 1.2, -0.04 + 1.04 * depth], axis=-1)
    half = np.stack([(0.05 + 0.2 * noise[:, 2]) * (0.4 + depth), 0 * depth], axis=-1)
    line = _bezier(middle - half, middle - (0, 0.01), middle + half, 5)
    tint = _mix(palette[4] * 0.8, palette[1] * 1.05, (noise[:, 4:5] > 0.4).astype(float))
    thick = (0.008 + 0.02 * depth)[:, None] * [0, 0.8, 1, 0.8, 0]
    canvas.shapes(_ribbon(line, thick), tint, 0.5 * water * noise[:, 5])

    def blades(name: str, num: int, foot: tuple[float, float], height: float, alpha: float) -> None:
        noise = _noise(name, num)
        y = np.sort(foot[0] + (foot[1] - foot[0]) * noise[:, 1])
        root = np.stack([2.2 * noise[:, 0] - 1.1, y], axis=-1)
        # Lower in the middle, where the bird stands.
        aside = _mix(0.45, 1.0, _ramp(np.abs(root[:, 0] - 0.1), 0.1, 0.8))
        grown = height * (0.4 + 0.6 * noise[:, 2]) * (1.2 + y) * aside
        tip = root + grown[:, None] * np.stack([0.9 * noise[:, 3] - 0.45, np.full(num, -1.0)], axis=-1)
        bend = root + grown[:, None] * (0, -0.6)
        colours = here(_BLADES) * (0.6 + 0.6 * noise[:, 4:5])
        blade = _ribbon(_bezier(root, bend, tip, 5), [0.024, 0.022, 0.018, 0.012, 0.004])
        canvas.shapes(blade, colours, alpha)

    blades("meadow", 240, (0.0, 1.0), 0.12 + 0.1 * meadow, 0.85 * meadow)

    # Legs, the far one first.
    for x, knee, foot, colour in ((0.16, 0.20, 0.10, (52, 50, 52)), (0.04, 0.07, 0.02, (30, 28, 30))):
        leg = _spline(np.array([[x, 0.4], [knee, 0.68], [foot, 0.96]]), 5, closed=False)
        canvas.shapes(_ribbon(leg, [0.04] * len(leg)), colour)
        canvas.shapes(_ellipse(foot, 0.95, 0.10, 0.022), palette[1], 0.5 * water)

    # The tail's plume, the body, and the feathers of the wing over its shaded belly.
    white = _mix((250, 250, 250), (255, 226, 202), glow)
    shade = _mix((178, 192, 212), (150, 122, 146), glow)
    noise = _noise("plume", 46)
    root = np.stack([0.1 + 0.25 * noise[:, 0], 0.18 + 0.2 * noise[:, 1]], axis=-1)
    tip = np.stack([0.58 + 0.24 * noise[:, 2], 0.50 + 0.20 * noise[:, 3]], axis=-1)
    bend = (root + tip) / 2 + (0.06, -0.06)
    colours = _mix(shade, white, noise[:, 4:5])
    canvas.shapes(_ribbon(_bezier(root, bend, tip, 6), [0.05, 0.06, 0.05, 0.04, 0.025, 0.006]), colours)
    body = np.array([
        [-0.24, 0.06], [-0.06, -0.06], [0.16, -0.02], [0.38, 0.16],
        [0.60, 0.44], [0.40, 0.46], [0.14, 0.46], [-0.15, 0.31],
    ])  # fmt: skip
    body = _spline(body, 6, closed=True)
    cover = _ramp(grid[..., 1:] - 0.35 * grid[..., :1], 0.0, 0.45) * _ramp(grid[..., :1], -0.1, 0.35)
    canvas.field(_mix(white, shade, cover), body)
    noise = _noise("wing", 60)
    along = np.sort(noise[:, 0])[::-1]
    root = np.stack([-0.04 + 0.36 * along, 0.02 + 0.2 * along + 0.16 * noise[:, 1]], axis=-1)
    tip = root + np.stack([0.14 + 0.12 * noise[:, 2], 0.10 + 0.08 * noise[:, 3]], axis=-1)
    colours = _mix(_mix(shade, white, 0.35), white, noise[:, 4:5])
    bend = (root + tip) / 2 + (0.02, -0.03)
    canvas.shapes(_ribbon(_bezier(root, bend, tip, 6), [0.02, 0.05, 0.06, 0.06, 0.04, 0.01]), colours)

    # Neck, head, bill and eye; the head keeps level while the neck stretches.
    neck = _spline(_mix(_NECKS[0], _NECKS[1], stretch), 8, closed=False)
    stops = [0, 0.12, 0.45, 0.72, 0.90, 1], [0.07, 0.095, 0.10, 0.16, 0.26, 0.12]
    width = np.interp(np.linspace(0, 1, len(neck)), *stops)
    canvas.shapes(_ribbon(np.add(neck[:-14], (0.016, 0.006)), width[:-14]), _mix(shade, white, 0.3))
    canvas.shapes(_ribbon(neck, 0.86 * width), white)
    x, y = neck[0].tolist()
    ends = [(x + 0.30, y + 0.14), (x + 0.34, y + 0.10)]
    crest = _bezier((x + 0.08, y - 0.05), (x + 0.26, y - 0.02), ends, 7)
    canvas.shapes(_ribbon(crest, np.linspace(0.03, 0.006, 7)), white)
    canvas.shapes(_ellipse(x + 0.04, y - 0.005, 0.095, 0.062), white)
    bill = np.array([[-0.02, -0.035], [-0.18, -0.022], [-0.43, 0.03], [-0.18, 0.026], [-0.01, 0.035]])
    canvas.shapes(np.add(bill, (x, y)), (240, 184, 52))
    canvas.shapes(np.add(bill[1:4], (x, y)), (44, 40, 42))
    for radius, colour in ((0.022, (250, 206, 70)), (0.012, (14, 12, 12))):
        canvas.shapes(_ellipse(x + 0.015, y - 0.014, radius, radius), colour)

    blades("reeds", 90, (0.95, 1.1), 0.18 + 0.1 * meadow, 0.9)
