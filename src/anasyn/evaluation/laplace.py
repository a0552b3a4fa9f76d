"""Laplace approximations of the posteriors p(z|Y) of images, around several of their peaks."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..mcmc import init
from ..models import Generator, Images, observed
from ..rng import standard_normal
from .curvature import precision_of
from .inference import scores, sketch

__all__ = ["Coordinates", "Mixture", "laplace", "num_gradients"]

NUM_CANDIDATES = 256  # z ~ N(0, I), among which each image's climbs begin
NUM_JACOBIANS, NUM_STEPS = 12, 3  # at most, of a climb; and its steps with each Jacobian
NUM_HALVINGS = 6
LEAST_GAIN = 0.1  # nats; a climb ends when a Jacobian's steps gain less
INFLATION = 1.5  # c; wider than the posterior, which has heavier tails than its Laplace approximation


class Coordinates(NamedTuple):
    """Whitened coordinates u = R(z − m) of m chains, one component of a mixture each."""

    means: Tensor  # m, (m, d)
    factors: Tensor  # R, (m, d, d), upper triangular, RᵀR the inverse of the component's covariance
    log_dets: Tensor  # log |det ∂z/∂u| = −log |det R|, (m,)
    log_weights: Tensor  # of the component in its mixture, (m,)

    def position(self, u: Tensor) -> Tensor:
        """z = m + R⁻¹u, (m, d)."""
        return self.means + torch.linalg.solve_triangular(self.factors, u[..., None], upper=True)[..., 0]

    def whitened(self, z: Tensor) -> Tensor:
        """u = R(z − m), (m, d)."""
        return (self.factors @ (z - self.means)[..., None])[..., 0]


class Mixture(NamedTuple):
    """q_i(z) = Σ_k w_ik N(z; m_ik, c² C_ik), k = 1 … K, for each of n images; R as for `Coordinates`."""

    means: Tensor  # m, (n, K, d)
    factors: Tensor  # R, (n, K, d, d), RᵀR = (c² C)⁻¹
    log_weights: Tensor  # log w, (n, K)

    def log_dets(self) -> Tensor:
        """−log |det R|, (n, K)."""
        return -self.factors.diagonal(dim1=2, dim2=3).log().sum(2)

    def log_components(self, z: Tensor) -> Tensor:
        """log w_ik N(z_ij; m_ik, c² C_ik), (n, j, d) → (n, j, K)."""
        u = self.factors @ (z[:, None] - self.means[:, :, None]).transpose(2, 3)  # (n, K, d, j)
        constants = self.log_weights - self.log_dets() - 0.5 * z.shape[2] * math.log(2 * math.pi)
        return constants[:, None] - 0.5 * (u**2).sum(2).transpose(1, 2)

    def coordinates(self, components: Tensor) -> Coordinates:
        """Of chains with these components, (n, j) → n · j chains, those of an image together."""
        of_chains = torch.arange(len(components), device=components.device)[:, None], components
        parts = (self.means, self.factors, self.log_dets(), self.log_weights)
        return Coordinates(*(part[of_chains].flatten(0, 1) for part in parts))


def laplace(model: Generator, images: Images, *, num_peaks: int, rng: torch.Generator) -> Mixture:
    """A mixture of Laplace approximations at peaks of p(z|Y), wider by the factor c (`INFLATION`).

        C = (I + JᵀJ/σ²)⁻¹, J = ∂f/∂z at the peak m;   w_k ∝ p(Y, m_k) |C_k|^½

    `NUM_CANDIDATES` draws z ~ N(0, I), the same for all images, are split into ``num_peaks`` groups, and each image's
    climbs begin at the best of each group: the best of all would often lie around one peak. A peak that is found twice
    counts twice, and w_k shares its weight. Nothing but Y and ``rng`` enters.

    Args:
        model: a generator whose arithmetic is float32 or better, as J is taken by finite differences.
        images: Y, (n, *event) in [−1, 1], float, or what is seen of them.
        num_peaks: K, from 1 to `NUM_CANDIDATES`.
        rng: on the images' device.

    Raises:
        ValueError: f is not finite at a z ~ N(0, I).
    """
    values = observed(images).values
    candidates = standard_normal(values.new_empty(NUM_CANDIDATES, model.latent_dim), rng)
    score = scores(model, candidates, sketch(model, candidates), images)
    groups = torch.arange(NUM_CANDIDATES, device=values.device).chunk(num_peaks)
    starts = torch.stack([candidates[group][score[:, group].argmax(1)] for group in groups], 1).flatten(0, 1)
    repeated = images[torch.arange(len(images), device=values.device).repeat_interleave(num_peaks)]
    z, value = _climb(model, repeated, starts)
    # In double precision, since the eigenvalues of a precision may range from 1 to 1e6.
    factors = torch.linalg.cholesky(precision_of(model, repeated, z).double(), upper=True)
    evidence = value - factors.diagonal(dim1=1, dim2=2).log().sum(1)
    split = (len(images), num_peaks)
    return Mixture(
        z.unflatten(0, split),
        (factors / INFLATION).to(z).unflatten(0, split),
        evidence.view(split).log_softmax(1).to(z),
    )


def num_gradients(latent_dim: int) -> float:
    """The cost of a climb, in gradients of log p(Y, z), each of about three evaluations of f."""
    return NUM_JACOBIANS * ((latent_dim + 1) / 3 + 2 * NUM_STEPS)


def _climb(model: Generator, images: Images, z: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss–Newton steps (I + JᵀJ/σ²)⁻¹ ∇ log p(Y, z), halved until they raise log p(Y, z): z and log p(Y, z)."""
    z, value, active = z.clone(), z.new_empty(len(z)), torch.arange(len(z), device=z.device)
    for _ in range(NUM_JACOBIANS):
        y, gain = images[active], z.new_zeros(len(active))
        precision = precision_of(model, y, z[active])
        for _ in range(NUM_STEPS):
            start = init(lambda z: model.log_joint(z, y), z[active], 1.0)  # noqa: B023  it is called at once
            step = torch.linalg.solve(precision, start.gradient)
            moved, reached = _raise(model, y, start.position, start.log_density, step)
            z[active], value[active] = moved, reached.to(value)
            gain += reached - start.log_density
        active = active[gain > LEAST_GAIN]
        if not len(active):
            break
    return z, value


def _raise(model: Generator, images: Images, z: Tensor, value: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The first of z + step, z + step/2, … with a higher log p(Y, z), and its value; z itself if there is none."""
    moved, reached = z.clone(), value.clone()
    rows = torch.arange(len(z), device=z.device)
    with torch.no_grad():
        for halvings in range(NUM_HALVINGS):
            tried = z[rows] + step[rows] / 2**halvings
            found = model.log_joint(tried, images[rows])
            higher = found > value[rows]
            moved[rows[higher]], reached[rows[higher]] = tried[higher], found[higher]
            rows = rows[~higher]
            if not len(rows):
                break
    return moved, reached
