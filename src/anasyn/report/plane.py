"""Planes of latent space, and the images f(z) on them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import ImageSet
from ..errors import InputError
from ..evaluation import evenly
from ..memory import release
from ..methods import Latents
from ..models import Generator

__all__ = ["Subspace", "drawable", "few_of", "latent_plane", "panel", "principal_directions"]

MOST_DRAWN = 5_000  # images of a set that are in figures


def few_of(num: int) -> Tensor:
    """The places of so many images that are in figures: all, or evenly spaced ones of a large set."""
    return evenly(num, MOST_DRAWN)


def drawable(latents: Latents, images: ImageSet) -> tuple[Latents, ImageSet]:
    """The z and the images of those that are in figures."""
    if len(images) <= MOST_DRAWN:
        return latents, images
    chosen = few_of(len(images))
    found = Latents(latents.model, latents.z[chosen.to(latents.z.device)]), images.only(chosen.tolist())
    release()
    return found


@dataclass(frozen=True)
class Subspace:
    """An affine subspace of latent space, most often a plane, k = 2: z(a) = origin + Σ_i a_i · directions[i], i ≤ k."""

    origin: Tensor  # (d,)
    directions: Tensor  # (k, d)
    names: tuple[str, ...]

    def at(self, coordinates: Tensor) -> Tensor:
        """z(a) for coordinates a, (n, k) → (n, d)."""
        return self.origin + coordinates @ self.directions

    def coordinates(self, z: Tensor) -> Tensor:
        """The coordinates a of the point nearest to each z, (n, d) → (n, k)."""
        return (z - self.origin) @ torch.linalg.pinv(self.directions)

    def plane(self, first: int, second: int) -> "Subspace":
        """The plane that two of the directions span."""
        return Subspace(self.origin, self.directions[[first, second]], (self.names[first], self.names[second]))

    def grid(self, points: int, low: float, high: float) -> Tensor:
        """z on a square grid of a plane, (points², d), row by row from (low, high) to (high, low), as on a map."""
        ticks = torch.linspace(low, high, points, dtype=self.origin.dtype, device=self.origin.device)
        b, a = torch.meshgrid(ticks.flip(0), ticks, indexing="ij")
        return self.at(torch.stack([a.flatten(), b.flatten()], 1))


def latent_plane(z: Tensor, axes: tuple[int, int] | None = None) -> Subspace:
    """The plane to show: two coordinates of z, or the two leading principal directions of the inferred z.

    Args:
        z: the inferred latent factors, (n, d).
        axes: two coordinates, counted from 1; if None, (1, 2) where d = 2, else the principal directions, each as
            long as the standard deviation of the inferred z along it.

    Raises:
        InputError: z does not have these coordinates, or has only one.
    """
    dim = z.shape[1]
    if dim < 2:
        raise InputError("latent_dim: expected at least 2 for a plane of z, got 1")
    if axes is None and dim > 2:
        directions, _ = principal_directions(z)
        return Subspace(z.mean(0), directions[:2], ("1st principal direction", "2nd principal direction"))
    first, second = axes or (1, 2)
    if first == second or not all(1 <= axis <= dim for axis in (first, second)):
        raise InputError(f"--axes: expected two of the coordinates 1 to {dim}, got {first} {second}")
    directions = torch.eye(dim, dtype=z.dtype, device=z.device)[[first - 1, second - 1]]
    subscript = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    names = (f"z{first}".translate(subscript), f"z{second}".translate(subscript))
    return Subspace(torch.zeros(dim, dtype=z.dtype, device=z.device), directions, names)


def principal_directions(z: Tensor) -> tuple[Tensor, Tensor]:
    """The principal directions of z, (n, d), each a standard deviation long, (k, d), and z's singular values, (k,)."""
    _, singular, directions = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    return directions * (singular[:, None] / max(len(z) - 1, 1) ** 0.5), singular


@torch.no_grad()
def panel(model: Generator, plane: Subspace, points: int, low: float, high: float) -> Tensor:
    """f(z) on the square grid of a plane, (points², c, H, W), in the order of `Subspace.grid`."""
    return torch.cat([model(part) for part in plane.grid(points, low, high).split(256)])
