"""A preconditioner of the chains of z: the mean curvature of the images' posteriors."""

import math

import torch
from torch import Tensor

from .. import ranks
from ..mcmc import Kernel
from ..models import Generator, Images, observed
from ..processor import frozen
from ..rng import Rng, standard_normal, unrelated

__all__ = ["SharedMetric", "kept_metric", "metric_of"]

INTERVAL = 4  # iterations between measurements, each of which costs as much as a transition
NUM_FIRST = 64  # z of the first measurement
MEMORY = 10  # the running mean is over as many v as ten times d, or ten batches


class SharedMetric:
    """One preconditioner for the chains of z of all images: L Lᵀ = (I + M/σ²)⁻¹, M the mean of JᵀJ, J = ∂A f(z)/∂z.

    Near z, (I + JᵀJ/σ²)⁻¹ is the covariance of p(z | Y). A few directions of z change the image tens of times as much
    as most others. Chains without a preconditioner take steps that suit these few, and hardly move in the others: the z
    stay there where they started, and a draw from the prior shows what no image looks like.

    J is not computed: for v ~ N(0, I), E[(Jᵀv)(Jᵀv)ᵀ] = JᵀJ. Every `INTERVAL` iterations, each z of the batch gives one
    such product; M is a running mean of them, since the weights change.

    Args:
        latent_dim: d.

    Source: Hutchinson 1990 for the estimate; for preconditioners that the chains learn, Titsias 2023, *Optimal
        preconditioning and Fisher adaptive Langevin sampling*, whose mean of gradients' products is right only where
        chains have come to their posterior: far from it, it makes the steepest directions the slowest.
    """

    def __init__(self, latent_dim: int):
        self.latent_dim = latent_dim
        self.curvature = torch.empty(0)  # M, (d, d), float64
        self.num_vectors = torch.empty(0)  # (), those of which M is the mean
        self.factor = torch.empty(0)  # L, (d, d), upper triangular

    def begin(self, model: Generator, like: Tensor, rng: Rng) -> None:
        """Measures M at draws z ~ N(0, I), the same in every process; dtype and device of z are those of ``like``."""
        rng = unrelated(rng, NUM_FIRST)
        z = standard_normal(like.new_empty(NUM_FIRST, self.latent_dim), rng)
        rounds = math.ceil(2 * self.latent_dim / NUM_FIRST)  # at least two v for each dimension
        num = rounds * NUM_FIRST
        self.curvature = self._products(model, z, None, rounds, rng) / num
        self.num_vectors = torch.full_like(self.curvature[0, 0], num)
        self.factor = z.new_empty(self.latent_dim, self.latent_dim)
        self.set_factor(model)

    def update(self, model: Generator, z: Tensor, images: Images, iteration: int, rng: Rng) -> None:
        """Before the chains of a batch move: measures M where they are, if it is time, and sets L.

        Args:
            model: the generator.
            z: (b, d), the chains' positions.
            images: Y, (b, *event), or what is seen of them.
            iteration: the iteration, from 0.
            rng: for the v, on the device of z.
        """
        if iteration % INTERVAL == 0:
            products = self._products(model, z, images, 1, rng)
            products, num = ranks.total(products, torch.full_like(self.num_vectors, len(z)))
            most = MEMORY * num.clamp(min=self.latent_dim)
            self.num_vectors.copy_(torch.minimum(self.num_vectors + num, most))
            self.curvature.lerp_(products / num, num / self.num_vectors)
        self.set_factor(model)

    def _products(self, model: Generator, z: Tensor, images: Images | None, rounds: int, rng: Rng) -> Tensor:
        """The sum of (Jᵀv)(Jᵀv)ᵀ over ``rounds`` vectors v for each z, (d, d), in float64."""
        products = torch.zeros(self.latent_dim, self.latent_dim, dtype=torch.float64, device=z.device)
        with frozen(model), torch.enable_grad():
            z = z.detach().requires_grad_()
            f = model(z)
            seen = f if images is None else observed(images).observation(f)
            for left in reversed(range(rounds)):
                v = standard_normal(seen.detach(), rng)
                (rows,) = torch.autograd.grad(seen, z, v, retain_graph=left > 0)
                products += rows.double().T @ rows.double()
        return products

    def set_factor(self, model: Generator) -> None:
        """Sets L by M and the model's σ."""
        identity = torch.eye(self.latent_dim, dtype=self.curvature.dtype, device=self.curvature.device)
        # R of I + M/σ² = RᵀR, and L = R⁻¹; if it is not finite, the guard finds it
        upper, _ = torch.linalg.cholesky_ex(identity + self.curvature / model.sigma**2, upper=True)
        self.factor.copy_(torch.linalg.solve_triangular(upper, identity, upper=True))

    def expand(self, root: Tensor) -> None:
        """Follows a change of coordinates z ← root⁻¹ (z − const), root (d, d) symmetric: J ← J root."""
        self.curvature.copy_(root @ self.curvature @ root)

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, d)."""
        return x @ self.factor.T

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, d)."""
        return gradient @ self.factor


def metric_of(kernel: Kernel) -> SharedMetric | None:
    """The kernel's preconditioner, if it is a shared metric."""
    return kernel.preconditioner if isinstance(kernel.preconditioner, SharedMetric) else None


def kept_metric(metric: SharedMetric | None) -> dict[str, Tensor]:
    """The tensors to keep of a metric, by name, not copied."""
    return {"metric.curvature": metric.curvature, "metric.num_vectors": metric.num_vectors} if metric else {}
