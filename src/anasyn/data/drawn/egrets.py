"""A white egret against four backgrounds, stretching its neck."""

import numpy as np

from .canvas import Array, Canvas, bezier, coarse_grid, ellipse, fixed_noise, mix, ramp, ribbon, spline

__all__ = ["paint_egret"]

# Four backgrounds (lake, meadow, red marsh, dusk): colours at five heights, from top to bottom; the colours of bushes
# along the horizon and of blades of grass; and the amount of water, of meadow, and of glow around the sun.
_HEIGHTS = np.array([-1.0, -0.25, -0.1, 0.3, 1.0])
_BACKGROUNDS = np.array([
    [[150, 186, 212], [200, 218, 226], [122, 162, 192], [92, 138, 178], [58, 98, 146]],
    [[152, 204, 226], [214, 234, 216], [142, 186, 96], [104, 164, 70], [64, 122, 44]],
    [[172, 84, 78], [206, 112, 92], [186, 72, 66], [150, 70, 66], [112, 58, 58]],
    [[52, 44, 84], [236, 146, 88], [150, 84, 88], [74, 50, 74], [34, 28, 48]],
], dtype=float)  # fmt: skip
_BUSHES = np.array([[104, 140, 150], [84, 138, 72], [206, 58, 52], [44, 32, 52]], dtype=float)
_BLADES = np.array([[70, 96, 74], [96, 168, 58], [190, 74, 56], [26, 22, 34]], dtype=float)
_WATER, _MEADOW, _GLOW = np.array([[1.0, 0.0, 0.7, 0.9], [0.0, 1.0, 0.6, 0.0], [0.0, 0.0, 0.0, 1.0]])

# The neck from head to breast, drawn in and stretched.
_NECKS = np.array([
    [[-0.36, -0.40], [-0.24, -0.46], [-0.13, -0.38], [-0.15, -0.25],
     [-0.26, -0.13], [-0.33, 0.01], [-0.20, 0.15], [-0.02, 0.21]],
    [[-0.34, -0.76], [-0.23, -0.81], [-0.13, -0.72], [-0.14, -0.53],
     [-0.20, -0.32], [-0.25, -0.10], [-0.17, 0.13], [-0.02, 0.20]],
])  # fmt: skip


def paint_egret(canvas: Canvas, background: float, stretch: float) -> None:
    """Paints an egret against one of the backgrounds in [0, 1], its neck drawn in (0) to upright (1)."""

    def here(values: Array) -> Array:
        """Values of the four backgrounds, interpolated at this one."""
        place = 3 * background
        left = min(int(place), 2)
        return mix(values[left], values[left + 1], place - left)

    water, meadow, glow = (float(here(weight)) for weight in (_WATER, _MEADOW, _GLOW))

    # Sky and land, the sun, and the bird's reflection on the water.
    grid, palette = coarse_grid(48), here(_BACKGROUNDS)
    land = np.stack([np.interp(grid[..., 1], _HEIGHTS, channel) for channel in palette.T], axis=-1)
    for x, y, rx, ry, light, alpha in (
        (0.55, -0.32, 0.14, 0.13, (255, 236, 170), glow),
        (0.55, -0.25, 0.70, 0.30, (255, 170, 90), 0.6 * glow),
        (0.55, 0.20, 0.12, 0.45, (250, 170, 110), 0.5 * glow),
        (0.10, 0.95, 0.30, 0.14, (236, 240, 246), 0.4 * water),
    ):
        distance = ((grid[..., :1] - x) / rx) ** 2 + ((grid[..., 1:] - y) / ry) ** 2
        land = mix(land, light, alpha * np.exp(-distance))
    canvas.field(land)

    noise = fixed_noise("bushes", 220)
    root = np.stack([2.2 * noise[:, 0] - 1.1, np.sort(-0.2 + 0.14 * noise[:, 1])], axis=-1)
    tip = root + np.stack([0.08 * noise[:, 2] - 0.04, -0.06 - 0.14 * noise[:, 3] ** 2], axis=-1)
    colours = here(_BUSHES) * (0.75 + 0.45 * noise[:, 4:5])
    canvas.shapes(ribbon(bezier(root, (root + tip) / 2, tip, 4), [0.05, 0.07, 0.06, 0.02]), colours, 0.75)

    noise = fixed_noise("ripples", 150)
    depth = np.sort(noise[:, 1])
    middle = np.stack([2.4 * noise[:, 0] - 1.2, -0.04 + 1.04 * depth], axis=-1)
    half = np.stack([(0.05 + 0.2 * noise[:, 2]) * (0.4 + depth), 0 * depth], axis=-1)
    line = bezier(middle - half, middle - (0, 0.01), middle + half, 5)
    tint = mix(palette[4] * 0.8, palette[1] * 1.05, (noise[:, 4:5] > 0.4).astype(float))
    thick = (0.008 + 0.02 * depth)[:, None] * [0, 0.8, 1, 0.8, 0]
    canvas.shapes(ribbon(line, thick), tint, 0.5 * water * noise[:, 5])

    def blades(name: str, num: int, foot: tuple[float, float], height: float, alpha: float) -> None:
        noise = fixed_noise(name, num)
        y = np.sort(foot[0] + (foot[1] - foot[0]) * noise[:, 1])
        root = np.stack([2.2 * noise[:, 0] - 1.1, y], axis=-1)
        # Shorter in the middle, where the bird stands.
        aside = mix(0.45, 1.0, ramp(np.abs(root[:, 0] - 0.1), 0.1, 0.8))
        grown = height * (0.4 + 0.6 * noise[:, 2]) * (1.2 + y) * aside
        tip = root + grown[:, None] * np.stack([0.9 * noise[:, 3] - 0.45, np.full(num, -1.0)], axis=-1)
        bend = root + grown[:, None] * (0, -0.6)
        colours = here(_BLADES) * (0.6 + 0.6 * noise[:, 4:5])
        blade = ribbon(bezier(root, bend, tip, 5), [0.024, 0.022, 0.018, 0.012, 0.004])
        canvas.shapes(blade, colours, alpha)

    blades("meadow", 240, (0.0, 1.0), 0.12 + 0.1 * meadow, 0.85 * meadow)

    # Legs, the far one first, with their ripples.
    for x, knee, foot, colour in ((0.16, 0.20, 0.10, (52, 50, 52)), (0.04, 0.07, 0.02, (30, 28, 30))):
        leg = spline(np.array([[x, 0.4], [knee, 0.68], [foot, 0.96]]), 5, closed=False)
        canvas.shapes(ribbon(leg, [0.04] * len(leg)), colour)
        canvas.shapes(ellipse(foot, 0.95, 0.10, 0.022), palette[1], 0.5 * water)

    # The tail's plume, the body with its shaded belly, and the feathers of the wing over it.
    white = mix((250, 250, 250), (255, 226, 202), glow)
    shade = mix((178, 192, 212), (150, 122, 146), glow)
    noise = fixed_noise("plume", 46)
    root = np.stack([0.1 + 0.25 * noise[:, 0], 0.18 + 0.2 * noise[:, 1]], axis=-1)
    tip = np.stack([0.58 + 0.24 * noise[:, 2], 0.50 + 0.20 * noise[:, 3]], axis=-1)
    bend = (root + tip) / 2 + (0.06, -0.06)
    colours = mix(shade, white, noise[:, 4:5])
    canvas.shapes(ribbon(bezier(root, bend, tip, 6), [0.05, 0.06, 0.05, 0.04, 0.025, 0.006]), colours)
    body = np.array([
        [-0.24, 0.06], [-0.06, -0.06], [0.16, -0.02], [0.38, 0.16],
        [0.60, 0.44], [0.40, 0.46], [0.14, 0.46], [-0.15, 0.31],
    ])  # fmt: skip
    body = spline(body, 6, closed=True)
    cover = ramp(grid[..., 1:] - 0.35 * grid[..., :1], 0.0, 0.45) * ramp(grid[..., :1], -0.1, 0.35)
    canvas.field(mix(white, shade, cover), body)
    noise = fixed_noise("wing", 60)
    along = np.sort(noise[:, 0])[::-1]
    root = np.stack([-0.04 + 0.36 * along, 0.02 + 0.2 * along + 0.16 * noise[:, 1]], axis=-1)
    tip = root + np.stack([0.14 + 0.12 * noise[:, 2], 0.10 + 0.08 * noise[:, 3]], axis=-1)
    colours = mix(mix(shade, white, 0.35), white, noise[:, 4:5])
    bend = (root + tip) / 2 + (0.02, -0.03)
    canvas.shapes(ribbon(bezier(root, bend, tip, 6), [0.02, 0.05, 0.06, 0.06, 0.04, 0.01]), colours)

    # Neck, head, bill and eye; the head keeps level while the neck stretches.
    neck = spline(mix(_NECKS[0], _NECKS[1], stretch), 8, closed=False)
    stops = [0, 0.12, 0.45, 0.72, 0.90, 1], [0.07, 0.095, 0.10, 0.16, 0.26, 0.12]
    width = np.interp(np.linspace(0, 1, len(neck)), *stops)
    canvas.shapes(ribbon(np.add(neck[:-14], (0.016, 0.006)), width[:-14]), mix(shade, white, 0.3))
    canvas.shapes(ribbon(neck, 0.86 * width), white)
    x, y = neck[0].tolist()
    ends = [(x + 0.30, y + 0.14), (x + 0.34, y + 0.10)]
    crest = bezier((x + 0.08, y - 0.05), (x + 0.26, y - 0.02), ends, 7)
    canvas.shapes(ribbon(crest, np.linspace(0.03, 0.006, 7)), white)
    canvas.shapes(ellipse(x + 0.04, y - 0.005, 0.095, 0.062), white)
    bill = np.array([[-0.02, -0.035], [-0.18, -0.022], [-0.43, 0.03], [-0.18, 0.026], [-0.01, 0.035]])
    canvas.shapes(np.add(bill, (x, y)), (240, 184, 52))
    canvas.shapes(np.add(bill[1:4], (x, y)), (44, 40, 42))
    for radius, colour in ((0.022, (250, 206, 70)), (0.012, (14, 12, 12))):
        canvas.shapes(ellipse(x + 0.015, y - 0.014, radius, radius), colour)

    blades("reeds", 90, (0.95, 1.1), 0.18 + 0.1 * meadow, 0.9)
