"""The explorer: f(z) on a grid of a plane of z, packed as sprites, so that a page can show it under the pointer.

If z is two-dimensional, the plane is z itself. If it has more dimensions, there is one plane for each pair of the
leading principal directions of the inferred z, through their mean.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import to_uint8
from ..evaluation import evenly
from ..methods import Latents
from . import pictures, sprites
from .figures.style import MOST_NAMES, class_colors
from .plane import Subspace, latent_plane, principal_directions

__all__ = ["explorer", "latent_axes"]

MOST_DIRECTIONS = 4
MOST_THUMBNAILS = 40
LARGEST_TILE = 128  # pixels of a sprite's longer side; half of it where there are several planes
POINTS = 33  # of the grid, along each side


def latent_axes(z: Tensor) -> tuple[Subspace, list[float]]:
    """The directions of latent space that the explorer can show, two at a time, for the inferred z, (n, d).

    If d = 2, these are z₁ and z₂; if d > 2, the leading principal directions, each one standard deviation long, for
    which the second value holds the share of the variance of z along each direction.
    """
    if z.shape[1] == 2:
        return latent_plane(z), []
    directions, singular = principal_directions(z)
    # A direction along which the points have no extent is not worth showing, but a plane needs two.
    num = max(min(MOST_DIRECTIONS, int((singular > 1e-4 * singular[0]).sum())), 2)
    shares = (singular**2 / (singular**2).sum().clamp(min=1e-30))[:num].tolist()
    names = tuple(f"{ordinal} principal direction" for ordinal in ("1st", "2nd", "3rd", "4th")[:num])
    return Subspace(z.mean(0), directions[:num], names), shares


def explorer(
    latents: Latents, names: Sequence[str], shown: Tensor, budget: int, labels: Sequence[str] | None = None
) -> dict[str, Any]:
    """The content of the page's explorer, as values that JSON can hold.

    Args:
        latents: the model and the inferred z, (n, d), d ≥ 2.
        names: the names of the training images.
        shown: the images that the thumbnails show, uint8 (n, c, H, W).
        budget: bytes that the sprites may take; one plane is shown in any case.
        labels: the class name of every image; each thumbnail's border has the colour of its class.
    """
    model, z = latents.model, latents.z
    axes, shares = latent_axes(z)
    coordinates = axes.coordinates(z).cpu()
    reach = max(2.3, 1.15 * float(coordinates.abs().max()) + 0.15)
    several = len(axes.names) > 2
    side = LARGEST_TILE // 2 if several else LARGEST_TILE
    height, width = pictures.fitted(shown, side)
    values = shown.shape[1] * height * width
    num = next(k for k in range(len(axes.names), 1, -1) if k == 2 or _size(k, values) <= budget)
    pairs = [(first, second) for second in range(num) for first in range(second)]
    # The images are those of `panel`, but scaled down part by part: a thousand large ones would not fit into memory.
    parts = [part for pair in pairs for part in axes.plane(*pair).grid(POINTS, -reach, reach).split(POINTS)]
    with torch.no_grad():
        grids = np.concatenate([pictures.resized(to_uint8(model(part)), side) for part in parts])
    packed = sprites.pack(torch.from_numpy(grids).permute(0, 3, 1, 2), budget)
    index = evenly(len(z), MOST_THUMBNAILS)
    colors = class_colors(labels) if labels is not None else {}
    classes = [{"name": name, "color": color} for name, color in colors.items()]
    thumbnails = [
        {"name": names[i], "at": coordinates[i, :num].tolist(), "image": image}
        | ({"label": None, "color": None} if labels is None else {"label": labels[i], "color": colors[labels[i]]})
        for i, image in zip(index.tolist(), pictures.singles(shown[index], 64), strict=True)
    ]
    return {
        "points": POINTS,
        "tile": [width, height],
        "reach": reach,
        "names": axes.names[:num],
        "shares": shares[:num],
        "dim": z.shape[1],
        "planes": {f"{first} {second}": place for place, (first, second) in enumerate(pairs)},
        "sprites": packed._asdict(),
        "thumbnails": thumbnails,
        "classes": classes[:MOST_NAMES],
        "more_classes": len(classes[MOST_NAMES:]),
        "num": len(z),
    }


def _size(directions: int, values: int) -> int:
    """Approximate bytes of the planes of so many directions, with 64 principal images of c · h · w values."""
    num_images = directions * (directions - 1) // 2 * POINTS**2
    return 64 * (values + 2 * num_images) * 4 // 3
