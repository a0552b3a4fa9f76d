"""Faces of big cats, from lion to tiger, turning from left to right."""

from collections.abc import Callable

import numpy as np

from .canvas import Array, Canvas, bezier, coarse_grid, ellipse, fixed_noise, mirrored, mix, ramp, ribbon, spline

__all__ = ["paint_cat"]

# The right half of the outline of the face, from forehead to chin: a lion's and a tiger's.
_FACE = np.array([
    [[0, -0.63], [0.20, -0.57], [0.37, -0.36], [0.45, -0.08],
     [0.47, 0.18], [0.43, 0.42], [0.33, 0.64], [0.17, 0.82]],
    [[0, -0.66], [0.28, -0.62], [0.52, -0.40], [0.62, -0.08],
     [0.66, 0.20], [0.57, 0.48], [0.37, 0.68], [0.17, 0.80]],
])  # fmt: skip

# Soft patches of the coat: x, y and radii; colour and opacity for the lion; colour and opacity for the tiger.
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

# The tiger's stripes on the right half: start, control point and end of a curve, and its width.
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
    """Colours (…, 3) of the face at points (…, 2); ``turned`` maps the frontal face to the turned one."""
    colour = np.broadcast_to(mix((204, 154, 96), (222, 124, 44), species), (*points.shape[:-1], 3))
    for lion in _PATCHES:
        patch = mix(lion[4:8], lion[8:12], species)
        for centre in turned(mirrored(lion[:2]) if lion[0] else lion[None, :2]):
            distance = (((points - centre) / lion[2:4]) ** 2).sum(-1, keepdims=True)
            colour = mix(colour, patch[:3], patch[3] * np.exp(-distance * np.sqrt(distance)))
    return colour * (1 - 0.10 * points[..., :1] - 0.08 * points[..., 1:])


def paint_cat(canvas: Canvas, species: float, turn: float) -> None:
    """Paints a face from lion (0) to tiger (1), turned from the viewer's left (0) to the right (1)."""

    def turned(points: Array) -> Array:
        # The head is a dome with a muzzle on it: the further a point stands out, the further it moves.
        x, y = points[..., 0], points[..., 1]
        dome = 0.5 * np.exp(-(x**2) / 0.5 - (y - 0.05) ** 2 / 0.9)
        muzzle = 0.26 * np.exp(-((x / 0.3) ** 2) - ((y - 0.4) / 0.3) ** 2)
        return np.stack([x + (0.74 * turn - 0.37) * (dome + muzzle), y], axis=-1)

    def hairs(root: Array, bend: Array, tip: Array, width: Array, colours: Array) -> None:
        canvas.shapes(ribbon(turned(bezier(root, bend, tip, 3)), width[:, None] * [1, 0.9, 0.1]), colours)

    stripes = float(ramp(species, 0.1, 0.9))
    fur, dark = mix((204, 154, 96), (222, 124, 44), species), mix((70, 40, 24), (30, 22, 20), species)

    # The background, out of focus: dry grass for the lion, leaves for the tiger.
    grid = coarse_grid(32)
    height = (grid[..., 1:] + 1) / 2
    behind = mix(mix((196, 196, 176), (160, 136, 84), height), mix((122, 156, 88), (48, 84, 44), height), species)
    for x, y, radius, light, *_ in fixed_noise("leaves", 24):
        distance = ((grid - (2 * x - 1, 2 * y - 1)) ** 2).sum(-1, keepdims=True)
        behind = behind + (70 * light - 35) * np.exp(-distance / (0.02 + 0.06 * radius))
    canvas.field(behind)

    # Shoulders.
    shoulders = np.array([[-1.1, 1.1], [-1.0, 0.75], [-0.6, 0.45], [0.6, 0.45], [1.0, 0.7], [1.1, 1.1]])
    canvas.shapes(shoulders, 0.8 * fur)
    canvas.shapes(ellipse(0, 1.0, 0.48, 0.4), mix((124, 78, 42), (240, 228, 210), species))
    noise = fixed_noise("chest", 200)
    root = np.stack([1.5 * noise[:, 0] - 0.75, 0.5 + 0.6 * np.sort(noise[:, 1])], axis=-1)
    tip = root + np.stack([0.25 * root[:, 0] + 0.06 * noise[:, 2] - 0.03, 0.10 + 0.10 * noise[:, 3]], axis=-1)
    white = ramp(np.abs(root[:, :1]) + 0.2 * noise[:, 4:5], 0.35, 0.6)
    colours = mix(mix((124, 78, 42), (250, 240, 224), species), 0.85 * fur, white)
    colours *= 0.8 + 0.25 * noise[:, 5:6]
    canvas.shapes(ribbon(bezier(root, root, tip, 4), [0.01, 0.04, 0.03, 0.01]), colours)
    for x in (0.52, 0.68, 0.84):
        line = bezier((x, 0.5 + 0.3 * (x - 0.5)), (x + 0.1, 0.75), (x - 0.02, 1.1), 7)
        canvas.shapes(ribbon(mirrored(line), [0, 0.05, 0.07, 0.07, 0.07, 0.06, 0.05]), dark, stripes)

    # The mane, which shrinks to the ruff of the tiger; the outer hairs are painted first.
    knots = mix(_FACE[0], _FACE[1], species)
    knots = np.concatenate([knots, knots[:0:-1] * [-1, 1]])
    face = spline(knots, 6, closed=True)
    noise = fixed_noise("mane", 620)
    out = np.sort(noise[:, 0])[::-1]
    edge = face[(noise[:, 1] * len(face)).astype(int)] - (0, 0.05)
    away = edge / np.linalg.norm(edge, axis=-1, keepdims=True)
    root = edge * (0.8 + 0.55 * out * mix(1, 0.15, species))[:, None] + (0, 0.05)
    cheek = np.exp(-(((edge[:, 1] - 0.35) / 0.28) ** 2)) * np.abs(away[:, 0])
    reach = mix(0.38 + 0.16 * noise[:, 2], 0.07 + 0.32 * cheek * (0.6 + 0.4 * noise[:, 2]), species)
    sway = (noise[:, 3:4] - 0.5) * np.stack([-away[:, 1], away[:, 0]], axis=-1)
    fall = np.array([0, 1.0])
    tip = root + reach[:, None] * (away + 0.7 * sway + mix(0.45, 0.25, species) * fall)
    bend = root + reach[:, None] * (0.6 * away - 0.3 * sway)
    lion = mix((188, 120, 56), (82, 44, 24), ramp(out, 0.1, 0.9)[:, None])
    tiger = mix((224, 126, 46), (250, 242, 228), ramp(edge[:, 1], -0.15, 0.25)[:, None])
    banded = ramp(np.sin(13 * edge[:, 1] + 5 * out), 0.5, 0.8) * ramp(edge[:, 1], -0.4, 0.1)
    tiger = mix(tiger, (40, 30, 26), 0.85 * banded[:, None] * np.abs(away[:, :1]))
    light = 1 - 0.12 * tip[:, :1] - 0.14 * tip[:, 1:]
    colours = mix(lion, tiger, species) * (0.72 + 0.5 * noise[:, 4:5]) * light
    width = mix(0.05, 0.035, species) * (0.6 + noise[:, 5])
    canvas.shapes(mix((0, 0.05), face, mix(1.45, 1.0, species)), mix((104, 62, 32), fur, species))
    outer = int(np.searchsorted(-out, -0.3))
    hairs(root[:outer], bend[:outer], tip[:outer], width[:outer], colours[:outer])

    # Ears, between the outer and the inner hairs of the mane.
    x, y, radius = mix((0.47, -0.58, 0.17), (0.50, -0.64, 0.20), species)
    for scale, colour in (
        (1.0, mix((176, 122, 70), (40, 28, 24), species)),
        (0.84, mix((196, 144, 88), (214, 128, 60), species)),
        (0.66, mix((84, 52, 36), (70, 48, 40), species)),
    ):
        canvas.shapes(turned(mirrored(ellipse(x, y, scale * radius, scale * radius * 1.05))), colour)
    tufts = fixed_noise("tufts", 40)
    start = np.stack([x - 0.12 + 0.1 * tufts[:, 0], y + 0.14 - 0.16 * tufts[:, 1]], axis=-1)
    stop = start + np.stack([0.05 + 0.09 * tufts[:, 2], -0.12 * tufts[:, 3]], axis=-1)
    tuft = mix((222, 190, 142), (250, 240, 224), species) * (0.8 + 0.2 * tufts[:, 4:5])
    for sign in (1, -1):
        flip = np.array([sign, 1])
        hairs(start * flip, start * flip, stop * flip, np.full(40, 0.03), tuft)
    hairs(root[outer:], bend[outer:], tip[outer:], width[outer:], colours[outer:])

    # The face, with short hairs pointing away from the nose.
    canvas.field(_coat(coarse_grid(48), species, turned), turned(face))
    noise = fixed_noise("face", 560)
    root = (face[(noise[:, 0] * len(face)).astype(int)] - (0, 0.1)) * np.sqrt(noise[:, 1:2]) + (0, 0.1)
    away = (root - (0, 0.34)) / (0.15 + np.linalg.norm(root - (0, 0.34), axis=-1, keepdims=True))
    tip = root + 0.09 * away + 0.03 * (noise[:, 2:4] - 0.5)
    colours = _coat(turned(root), species, turned) * (0.86 + 0.26 * noise[:, 4:5])
    hairs(root, root, tip, 0.014 + 0.01 * noise[:, 5], colours)

    lens = np.array([0, 0.6, 0.9, 1, 0.9, 0.6, 0])
    curves = mirrored(bezier(_STRIPES[:, 0:2], _STRIPES[:, 2:4], _STRIPES[:, 4:6], 7))
    canvas.shapes(turned(ribbon(curves, (0.4 + 0.8 * stripes) * _STRIPES[:, 6:] * lens)), dark, stripes)

    # Eyes: a dark almond whose inner corner runs down beside the nose, iris, pupil and highlight.
    almond = np.array([[0.13, -0.07], [0.19, -0.155], [0.28, -0.18], [0.37, -0.14], [0.27, -0.075]])
    almond = spline(almond, 5, closed=True)
    canvas.shapes(turned(mirrored(almond)), (26, 18, 16))
    tear = bezier((0.15, -0.09), (0.115, -0.02), (0.13, 0.08), 7)
    canvas.shapes(turned(ribbon(mirrored(tear), mix(0.032, 0.045, species) * lens)), (40, 26, 20), 0.85)
    iris = mix((214, 152, 52), (226, 186, 78), species)
    canvas.shapes(turned(mirrored(ellipse(0.26, -0.125, 0.054, 0.047))), iris)
    canvas.shapes(turned(mirrored(ellipse(0.26, -0.128, 0.024, 0.026))), (10, 8, 8))
    for x in (0.245, -0.275):
        canvas.shapes(turned(ellipse(x, -0.145, 0.013, 0.013)), (255, 255, 250))

    # Nose and mouth.
    nose = np.array([[0, 0.245], [0.09, 0.25], [0.145, 0.285], [0.08, 0.355], [0, 0.40]])
    nose = spline(np.concatenate([nose, nose[-2:0:-1] * [-1, 1]]), 5, closed=True)
    canvas.shapes(turned(nose), mix((92, 56, 46), (206, 116, 100), species))
    canvas.shapes(turned(mirrored(ellipse(0.075, 0.325, 0.032, 0.02))), (36, 20, 18))
    lips = (44, 28, 24)
    canvas.shapes(turned(ribbon(bezier((0, 0.38), (0, 0.45), (0, 0.53), 5), [0.022] * 5)), lips)
    mouth = bezier((0, 0.515), (0.12, 0.61), (0.28, 0.53), 7)
    canvas.shapes(turned(ribbon(mirrored(mouth), 0.04 * lens)), lips)

    for row, y in enumerate((0.38, 0.43, 0.48)):
        for x in (0.15, 0.20, 0.25):
            canvas.shapes(turned(mirrored(ellipse(x + 0.01 * row, y, 0.011, 0.009))), (70, 46, 36), 0.7)
        whisker = bezier((0.22, y), (0.5, y - 0.08), (0.78, y + 0.12 * row - 0.02), 8)
        whisker = ribbon(mirrored(whisker), np.linspace(0.012, 0.004, 8))
        canvas.shapes(turned(whisker), (255, 252, 245), 0.75)
