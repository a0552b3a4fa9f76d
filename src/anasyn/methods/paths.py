"""Paths through the latent space of a generator, of which f(z) is a film."""

import math

import torch
from torch import Tensor

from ..mcmc.kernel import evaluate
from ..models import Generator
from ..processor import frozen
from ..rng import standard_normal
from .method import Latents

__all__ = ["closed", "film", "through", "tour"]

PACE = 60  # frames of a film for each of a path's frequencies: z becomes another one in about 15 frames
STEP_SIZE, NUM_STEPS = 0.2, 200  # δ and transitions of the chains of a learned prior


def film(latents: Latents, num: int, *, in_order: bool, rng: torch.Generator) -> Tensor:
    """f(z) along a path, (num, c, H, W): through the inferred z in their order, or else a `tour` of the prior."""
    model, z = latents
    path = through(z, num) if in_order else tour(model, num, rng=rng)
    with torch.no_grad():
        return torch.cat([model(part) for part in path.split(256)])


def through(points: Tensor, num: int) -> Tensor:
    """``num`` points, equally spaced in time, of the Catmull–Rom curve through (n, d) points in order, (num, d).

        z(i + u) = z_i + u (z_{i+1} − z_{i−1})/2 + u² (2 z_{i−1} − 5 z_i + 4 z_{i+1} − z_{i+2})/2
                       + u³ (−z_{i−1} + 3 z_i − 3 z_{i+1} + z_{i+2})/2,   0 ≤ u ≤ 1

    It has a continuous velocity, passes z_i at time i, and goes on straight at its ends, where z_0 = 2 z_1 − z_2.

    Args:
        points: z_1 … z_n, n ≥ 2.
        num: at least 2.
    """
    first, last = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    knots = torch.cat([first, points, last])
    time = torch.linspace(0, len(points) - 1, num, dtype=torch.float64, device=points.device)
    i = time.long().clamp(max=len(points) - 2)
    u = (time - i)[:, None].to(points.dtype)
    before, here, there, after = (knots[i + k] for k in range(4))
    slope, square = there - before, 2 * before - 5 * here + 4 * there - after
    return here + (u * slope + u**2 * square + u**3 * (3 * (here - there) + after - before)) / 2


def closed(num: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """``num`` points of a smooth closed path whose every point is a draw from N(0, I_d), (num, d).

        z(t) = K^(−1/2) Σ_{k=1}^K (ξ_k cos 2πkt + η_k sin 2πkt),   ξ_k, η_k ~ N(0, I_d),   t = 0, 1/num, …, 1 − 1/num

    The path is a stationary process: in straight lines between draws, z would be too short halfway. With K
    proportional to ``num`` its pace does not depend on how long it is.

    Args:
        num: number of points.
        like: (d,), whose dtype and device the path has.
        rng: on that device.
    """
    frequencies = torch.arange(1, max(1, round(num / PACE)) + 1, dtype=like.dtype, device=like.device)
    xi, eta = standard_normal(like.new_empty(2, len(frequencies), len(like)), rng)
    angle = 2 * math.pi / num * torch.arange(num, dtype=like.dtype, device=like.device)[:, None] * frequencies
    return (angle.cos() @ xi + angle.sin() @ eta) / len(frequencies) ** 0.5


def tour(model: Generator, num: int, *, rng: torch.Generator) -> Tensor:
    """``num`` points of a smooth closed path whose every point is a draw from the model's prior of z, (num, d).

    From a learned prior the points are the ends of Langevin chains, whose starts and whose noises, at each transition,
    are the points of closed paths of N(0, I). Each chain by itself is then an ordinary one, and chains of neighbours
    run side by side. They are not corrected by Metropolis–Hastings, which would tear the path where one of two
    neighbours is rejected: their density differs from the prior by O(δ²).
    """
    like = next(model.parameters()).new_empty(model.latent_dim)
    z = closed(num, like, rng)
    if model.prior is None:
        return z
    with frozen(model.prior):
        for _ in range(NUM_STEPS):
            _, gradient = evaluate(model.prior.log_density, z)
            z = z + STEP_SIZE**2 / 2 * gradient + STEP_SIZE * closed(num, like, rng)
    return z
