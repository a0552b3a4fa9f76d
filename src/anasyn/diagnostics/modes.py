"""Where an image's chains start, and whether they end in the mode of its inferred z or in another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models import Generator
from ..rng import standard_normal

__all__ = ["BARRIER", "OtherMode", "around", "barrier", "peaks"]

BARRIER = 5.0
"""Nats that log p must fall below both ends of a segment for these to be two modes: e^5 = 148 to 1."""

POINTS = 31  # of a segment


@dataclass(frozen=True)
class OtherMode:
    """A chain that ended in another mode of an image's posterior than the one its inferred z is in."""

    image: str
    start: str  # "around": it started around the inferred z; "fresh": from z ~ N(0, I)
    chain: int
    difference: float  # nats, highest log p(Y, z) of the chain less the highest in the inferred z's mode
    barrier: float  # nats, how far log p falls between them
    distance: float  # from the inferred z to the chain's highest point


def around(model: Generator, z: Tensor, *, num_chains: int, spread: float, rng: torch.Generator) -> Tensor:
    """Starts overdispersed about the inferred z: z + ``spread`` · L ξ,  ξ ~ N(0, I),  LLᵀ = (I + JᵀJ/σ²)⁻¹.

    J = ∂f/∂z: without pixel noise and curvature of f the posterior's covariance would be LLᵀ.

    Args:
        model: the generator.
        z: inferred latent factors, (n, d).
        num_chains: c.
        spread: in posterior standard deviations.
        rng: on the device of ``z``.

    Returns (c, n, d).
    """
    n, d = z.shape
    columns = []
    for direction in torch.eye(d, dtype=z.dtype, device=z.device):
        derivative = torch.autograd.functional.jvp(model, z, direction.expand(n, d).contiguous())[1]
        columns.append(derivative.flatten(1))
    jacobian = torch.stack(columns, 2).double()
    identity = torch.eye(d, dtype=torch.float64, device=z.device)
    precision = identity + jacobian.mT @ jacobian / model.sigma**2
    # ξ solved by the precision's factor R (Rᵀ of LLᵀ's inverse) has covariance (RRᵀ)⁻¹.
    factor = torch.linalg.cholesky(precision).mT
    noise = standard_normal(z.new_empty(num_chains, n, d), rng).double()
    offset = torch.linalg.solve_triangular(factor, noise[..., None], upper=True)[..., 0]
    return z + spread * offset.to(z.dtype)


def peaks(score: Tensor, starts: Tensor, *, num: int, neighbours: int = 8) -> Tensor:
    """Of each image the starts of highest score among those that beat their nearest neighbours, (n, num) indices.

    The highest alone would often lie in one and the same basin, and tell nothing of the others. Where there are
    fewer such peaks, the highest of the rest follow.

    Args:
        score: log p(Y_i, z_j) of each image at each start, (n, m).
        starts: z_j, (m, d).
        num: how many.
        neighbours: starts that a peak must beat.
    """
    nearest = torch.cdist(starts, starts).topk(neighbours + 1, largest=False).indices[:, 1:]
    is_peak = (score[:, :, None] > score[:, nearest]).all(2)
    # Two keys in one sort would need more than float32's digits: sort by score, then, stably, by being a peak.
    order = score.argsort(dim=1, descending=True, stable=True)
    ranked = is_peak.gather(1, order).int().argsort(dim=1, descending=True, stable=True)
    return order.gather(1, ranked)[:, :num]


@torch.no_grad()
def barrier(model: Generator, images: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """How far log p(Y, z) falls below the lower of both ends between a_i and b_i, (n,) nats; 0 where it does not.

    Along the segment: 0 wherever the posterior is log-concave, whatever the points. In a curved valley the
    segment may leave it, so that what is found is a barrier to a straight path only.

    Args:
        model: the generator.
        images: Y, (n, *event).
        a: (n, d).
        b: (n, d).
    """
    ends = torch.minimum(model.log_joint(a, images), model.log_joint(b, images))
    lowest = ends.clone()
    for share in torch.linspace(0, 1, POINTS + 2, dtype=a.dtype, device=a.device)[1:-1]:
        lowest = torch.minimum(lowest, model.log_joint(torch.lerp(a, b, share), images))
    return ends - lowest
