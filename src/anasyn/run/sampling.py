"""What a learned model synthesises: samples, the panel over a plane of z, and chains watched on their way."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import mcmc
from ..data import to_float
from ..errors import InputError
from ..learning import DescriptorLearner, GeneratorLearner
from ..models import Generator
from ..processor import frozen
from ..rng import derive
from .directory import Run

__all__ = ["Plane", "latent_plane", "panel", "principal_directions", "sample", "synthesize", "trajectory"]


def sample(run: Run, num: int, *, seed: int) -> Tensor:
    """``num`` images that the run's model synthesises, (num, 3, H, W) in [−1, 1].

    A generator's are f(z) at z ~ N(0, I). A descriptor's are fresh chains of the run's number of transitions
    from where its chains start, the images taken in turn.

    Raises:
        InputError: nothing is learned yet, or a descriptor's images are gone or have changed.
    """
    learner = run.learned()
    device = next(learner.model.parameters()).device
    rng = derive(seed, "sample", device=device)
    if isinstance(learner, GeneratorLearner):
        return torch.cat([learner.model.sample(part, rng=rng) for part in _parts(num)])
    pixels = run.images().pixels.to(device)
    index = torch.arange(num, device=device) % len(pixels)
    return torch.cat([synthesize(learner, i, to_float(pixels[i]), rng=rng)[-1] for i in index.split(256)])


def synthesize(
    learner: DescriptorLearner, index: Tensor, images: Tensor, *, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Where the chains of these images start, and where the learner's number of transitions takes them.

    Args:
        learner: a learned descriptor; its weights and chains stay as they are.
        index: the images' places in the data set, (n,).
        images: (n, 3, H, W) in [−1, 1].
        rng: on the images' device.
    """
    frames = trajectory(learner, index, images, num_frames=1, rng=rng)
    return frames[0], frames[-1]


def trajectory(
    learner: DescriptorLearner, index: Tensor, images: Tensor, *, num_frames: int, rng: torch.Generator
) -> Tensor:
    """The chains of these images from start to end: (num_frames + 1, n, 3, H, W), at equal numbers of transitions.

    Raises:
        ValueError: ``num_frames`` does not divide the learner's number of transitions.
    """
    thin, rest = divmod(learner.num_steps, num_frames)
    if rest:
        raise ValueError(f"num_frames: expected a divisor of {learner.num_steps}, got {num_frames}")
    kernel, start = learner.first_chains(index, images, rng)
    with frozen(learner.model):
        frames = mcmc.draws(kernel, learner.model.log_density, start, num_draws=num_frames, rng=rng, thin=thin)
    return torch.cat([start[None], frames])


@dataclass(frozen=True)
class Plane:
    """A plane of latent space: z(a, b) = origin + a · directions[0] + b · directions[1]."""

    origin: Tensor  # (d,)
    directions: Tensor  # (2, d)
    names: tuple[str, str]

    def at(self, coordinates: Tensor) -> Tensor:
        """z at (a, b), (n, 2) → (n, d)."""
        return self.origin + coordinates @ self.directions

    def coordinates(self, z: Tensor) -> Tensor:
        """(a, b) of the point of the plane nearest to each z, (n, d) → (n, 2)."""
        return (z - self.origin) @ torch.linalg.pinv(self.directions)


def latent_plane(z: Tensor, axes: tuple[int, int] | None = None) -> Plane:
    """The plane to show: two coordinates of z, or the two leading principal directions of the inferred z.

    Args:
        z: the inferred latent factors, (n, d).
        axes: the coordinates, from 1. Where None: (1, 2) if d = 2, else the principal directions, each as
            long as the inferred z's standard deviation along it.

    Raises:
        InputError: there are no such coordinates, or z has only one.
    """
    dim = z.shape[1]
    if dim < 2:
        raise InputError("latent_dim: expected at least 2 for a plane of z, got 1")
    if axes is None and dim > 2:
        directions, _ = principal_directions(z)
        return Plane(z.mean(0), directions[:2], ("1st principal direction", "2nd principal direction"))
    first, second = axes or (1, 2)
    if first == second or not all(1 <= axis <= dim for axis in (first, second)):
        raise InputError(f"--axes: expected two of the coordinates 1 to {dim}, got {first} {second}")
    directions = torch.eye(dim, dtype=z.dtype, device=z.device)[[first - 1, second - 1]]
    subscript = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    names = (f"z{first}".translate(subscript), f"z{second}".translate(subscript))
    return Plane(torch.zeros(dim, dtype=z.dtype, device=z.device), directions, names)


def principal_directions(z: Tensor) -> tuple[Tensor, Tensor]:
    """The principal directions of z, (n, d), each a standard deviation long, (k, d), and z's singular values, (k,)."""
    _, singular, directions = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    return directions * (singular[:, None] / max(len(z) - 1, 1) ** 0.5), singular


@torch.no_grad()
def panel(model: Generator, plane: Plane, points: int, low: float, high: float) -> Tensor:
    """f(z) on a square grid of the plane: (points², 3, H, W), the second coordinate falling from row to row.

    The first image is at (low, high), the last at (high, low), as on a map.
    """
    ticks = torch.linspace(low, high, points, dtype=plane.origin.dtype, device=plane.origin.device)
    b, a = torch.meshgrid(ticks.flip(0), ticks, indexing="ij")
    z = plane.at(torch.stack([a.flatten(), b.flatten()], 1))
    return torch.cat([model(part) for part in z.split(256)])


def _parts(num: int, most: int = 256) -> list[int]:
    return [min(most, num - done) for done in range(0, num, most)]
