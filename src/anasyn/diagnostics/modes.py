"""Starts for an image's chains, and whether the chains end in the mode of its inferred z or in another one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models import Generator, Images
from ..rng import standard_normal

__all__ = ["BARRIER", "OtherMode", "around", "barrier", "peaks"]

BARRIER = 5.0
"""Nats by which log p must fall below both ends of a segment for them to be in two modes: e^5 = 148 to 1."""

POINTS = 31  # evaluated on a segment


@dataclass(frozen=True)
class OtherMode:
    """A chain that ended in another mode of an image's posterior than that of its inferred z."""

    image: str
    start: str  # "around": it started around the inferred z; "fresh": from z ~ N(0, I)
    chain: int
    difference: float  # nats, the highest log p(Y, z) of the chain minus the highest in the mode of the inferred z
    barrier: float  # nats, how far log p falls between them
    distance: float  # from the inferred z to the point of the chain's highest log p


def around(model: Generator, z: Tensor, *, num_chains: int, spread: float, rng: torch.Generator) -> Tensor:
    """Overdispersed starts around the inferred z, (c, n, d): z + ``spread`` · L ξ,  ξ ~ N(0, I),  LLᵀ = (I + JᵀJ/σ²)⁻¹.

    With J = ∂f/∂z at z, LLᵀ is the covariance of the posterior if f is linear.

    Args:
        model: the generator.
        z: inferred latent factors, (n, d).
        num_chains: c.
        spread: in posterior standard deviations.
        rng: on the device of ``z``.
    """
    n, d = z.shape
    columns = []
    for direction in torch.eye(d, dtype=z.dtype, device=z.device):
        derivative = torch.autograd.functional.jvp(model, z, direction.expand(n, d).contiguous())[1]
        columns.append(derivative.flatten(1))
    jacobian = torch.stack(columns, 2).double()
    identity = torch.eye(d, dtype=torch.float64, device=z.device)
    precision = identity + jacobian.mT @ jacobian / model.sigma**2
    # With the Cholesky factor C of the precision, CCᵀ = (LLᵀ)⁻¹, the solution of Cᵀx = ξ has covariance LLᵀ.
    factor = torch.linalg.cholesky(precision).mT
    noise = standard_normal(z.new_empty(num_chains, n, d), rng).double()
    offset = torch.linalg.solve_triangular(factor, noise[..., None], upper=True)[..., 0]
    return z + spread * offset.to(z.dtype)


def peaks(score: Tensor, starts: Tensor, *, num: int, neighbours: int = 8) -> Tensor:
    """For each image, the indices of the peaks of highest score, (n, num): starts above all their nearest neighbours.

    The starts of highest score alone would often lie in the same mode. If there are fewer than ``num`` peaks, the other
    starts of highest score follow.

    Args:
        score: log p(Y_i, z_j) of each image at each start, (n, m).
        starts: z_j, (m, d).
        num: number of indices for each image.
        neighbours: number of nearest starts that a peak must exceed.
    """
    nearest = torch.cdist(starts, starts).topk(neighbours + 1, largest=False).indices[:, 1:]
    is_peak = (score[:, :, None] > score[:, nearest]).all(2)
    # Sorted by score, then stably by being a peak: one combined key would exceed the precision of float32.
    order = score.argsort(dim=1, descending=True, stable=True)
    ranked = is_peak.gather(1, order).int().argsort(dim=1, descending=True, stable=True)
    return order.gather(1, ranked)[:, :num]


@torch.no_grad()
def barrier(model: Generator, images: Images, a: Tensor, b: Tensor) -> Tensor:
    """How far log p(Y, z) falls, on the segment from a_i to b_i, below the lower of both ends, (n,) nats, ≥ 0.

    0 for every pair of points if the posterior is log-concave. The segment may leave a curved ridge: a barrier on it
    does not exclude a path around it.

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
