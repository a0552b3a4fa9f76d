"""The explorer: f(z) on a grid of a plane of z, packed as sprites, so that a page can show it under the pointer.

Of a two-dimensional z the plane is z itself; of more dimensions there is one plane for each pair of the leading
principal directions of the inferred z, through their mean.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import to_uint8
from ..evaluation import evenly
from ..learning import GeneratorLearner
from ..run import latent_plane
from ..run.sampling import Plane, principal_directions
from . import pictures, sprites

__all__ = ["Axes", "explorer", "latent_axes"]

MOST_DIRECTIONS = 4
MOST_THUMBNAILS = 40
LARGEST_TILE = 128  # pixels of a sprite; half of it where there are several planes
POINTS = 33  # of the grid, a side
ORDINALS = ("1st", "2nd", "3rd", "4th")


@dataclass(frozen=True)
class Axes:
    """Directions of latent space that the explorer can show, two at a time: z = origin + Σ a_k · directions[k]."""

    origin: Tensor  # (d,)
    directions: Tensor  # (k, d)
    names: tuple[str, ...]
    shares: tuple[float, ...]  # of the inferred z's variance along each direction; none where they are z₁ and z₂

    def plane(self, first: int, second: int) -> Plane:
        """The plane of two of the directions."""
        return Plane(self.origin, self.directions[[first, second]], (self.names[first], self.names[second]))

    def coordinates(self, z: Tensor) -> Tensor:
        """a of the nearest point to each z, (n, d) → (n, k)."""
        return (z - self.origin) @ torch.linalg.pinv(self.directions)


def latent_axes(z: Tensor) -> Axes:
    """z₁ and z₂, or the leading principal directions of the inferred z, (n, d), each a standard deviation long."""
    if z.shape[1] == 2:
        plane = latent_plane(z)
        return Axes(plane.origin, plane.directions, plane.names, ())
    directions, singular = principal_directions(z)
    # Along a direction in which n points have no extent there is nothing to see, but two are always shown.
    num = max(min(MOST_DIRECTIONS, int((singular > 1e-4 * singular[0]).sum())), 2)
    shares = (singular**2 / (singular**2).sum().clamp(min=1e-30))[:num].tolist()
    names = tuple(f"{ordinal} principal direction" for ordinal in ORDINALS[:num])
    return Axes(z.mean(0), directions[:num], names, tuple(shares))


def explorer(learner: GeneratorLearner, names: tuple[str, ...], shown: Tensor, budget: int) -> dict[str, Any]:
    """What the page's explorer needs; as JSON can hold it.

    Args:
        learner: of a generator whose z has at least two dimensions.
        names: of the training images.
        shown: what the thumbnails show, uint8 (n, 3, H, W).
        budget: bytes that the sprites may take; two directions are shown in any case.
    """
    z = learner.chains.positions
    axes = latent_axes(z)
    coordinates = axes.coordinates(z).cpu()
    reach = max(2.3, 1.15 * float(coordinates.abs().max()) + 0.15)
    several = len(axes.names) > 2
    tile = min(shown.shape[-1], LARGEST_TILE // 2 * (1 if several else 2))
    num = next(k for k in range(len(axes.names), 1, -1) if k == 2 or _size(k, tile) <= budget)
    pairs = [(first, second) for second in range(num) for first in range(second)]
    images = torch.cat([_grid(learner, axes.plane(*pair), reach, tile) for pair in pairs])
    packed = sprites.pack(images, budget)
    index = evenly(len(z), MOST_THUMBNAILS)
    return {
        "points": POINTS,
        "tile": tile,
        "reach": reach,
        "names": axes.names[:num],
        "shares": axes.shares[:num],
        "dim": z.shape[1],
        "planes": {f"{first} {second}": place for place, (first, second) in enumerate(pairs)},
        "sprites": packed._asdict(),
        "thumbnails": [
            {"name": names[i], "at": coordinates[i, :num].tolist(), "image": image}
            for i, image in zip(index.tolist(), pictures.singles(shown[index], 64), strict=True)
        ],
        "num": len(z),
    }


@torch.no_grad()
def _grid(learner: GeneratorLearner, plane: Plane, reach: float, tile: int) -> Tensor:
    """f(z) on the grid of a plane, row by row as on a map, uint8 (points², 3, tile, tile).

    As `panel` has it, but made smaller part by part: a thousand large images have no room in memory.
    """
    ticks = torch.linspace(-reach, reach, POINTS, dtype=plane.origin.dtype, device=plane.origin.device)
    b, a = torch.meshgrid(ticks.flip(0), ticks, indexing="ij")
    z = plane.at(torch.stack([a.flatten(), b.flatten()], 1))
    parts = [pictures.resized(to_uint8(learner.model(part)), tile) for part in z.split(POINTS)]
    return torch.from_numpy(np.concatenate(parts)).permute(0, 3, 1, 2)


def _size(directions: int, tile: int) -> int:
    """Bytes, nearly, of the planes of so many directions by 64 principal images."""
    num_images = directions * (directions - 1) // 2 * POINTS**2
    return 64 * (3 * tile**2 + 2 * num_images) * 4 // 3
