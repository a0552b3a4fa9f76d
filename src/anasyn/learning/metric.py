"""Preconditioners that follow what is learned: of the chains of z, and of those of images."""

import math
from typing import TypeVar

import torch
from torch import Tensor

from .. import ranks
from ..mcmc import Kernel
from ..models import FittedGaussian, Generator, Images, observed
from ..processor import frozen
from ..rng import Rng, standard_normal, unrelated

__all__ = ["ComponentMetric", "SharedMetric", "metric_of"]

M = TypeVar("M", "SharedMetric", "ComponentMetric")

INTERVAL = 4  # iterations between measurements, each of which costs as much as a transition
NUM_FIRST = 64  # z of the first measurement
MEMORY = 10  # the running mean is over as many v as ten times d, or ten batches
GAIN = 0.02  # weight of an iteration's chains in the running mean of their gradients
OF_NORMAL = -1.27036  # E[log x²], x ~ N(0, 1): −γ − log 2, γ Euler's constant


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

    def kept(self) -> dict[str, Tensor]:
        """The tensors to keep, by name, not copied."""
        return {"metric.curvature": self.curvature, "metric.num_vectors": self.num_vectors}

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, d)."""
        return x @ self.factor.T

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, d)."""
        return gradient @ self.factor


class ComponentMetric:
    """A preconditioner of chains of images: that of a fitted reference, with scales that follow the learned density.

        L = Tᵀ s (√α I + Uᵀ (S − √α) U),   S_k² = min(α + λ_k, (D/r)^(1/3) v_k),
        v_k = exp(E[log x²] − E[log g_k²]),   g = U s T ∂ log p(Y)/∂Y,   x ~ N(0, 1)

    with T, s, U, α, λ and r of `FittedGaussian`, and the mean over the chains. Where g_k is Gaussian, v_k = 1/E[g_k²];
    under the reference, this is α + λ_k.

    Images may lie far apart along their components, or on something thinner than a Gaussian. Where f has learned this,
    it is steep along the components alone. One step size for all directions would have to suit these few, and chains
    would hardly move in the others. But the best step of a Langevin kernel in k directions is proportional to k^(−1/6)
    (Roberts and Rosenthal 1998): r of D may have one that is (D/r)^(1/6) times as large a part of the density's width.

    The mean is that of logarithms, as chains that have just started anew are not in equilibrium, and their squared
    gradients may be hundreds of times as large.

    Args:
        reference: the p₀ of the chains' density.

    Source: the diagonal of the preconditioner of Titsias 2023, as for `SharedMetric`; these chains are to be in
        equilibrium.
    """

    def __init__(self, reference: FittedGaussian):
        self.reference = reference
        self.log_precisions = torch.empty(0)  # −log v, (r,)

    def begin(self) -> None:
        """The scales of the reference as it is fitted now."""
        self.log_precisions = -2 * self.reference.scales.log()

    def update(self, gradient: Tensor) -> None:
        """Follows the gradients ∂ log p(Y)/∂Y at the chains of an iteration, (n, c, H, W)."""
        squares = self.reference.along_components(gradient).square()
        logs = squares.clamp_min(torch.finfo(squares.dtype).tiny).log().sum(0)
        logs, num = ranks.total(logs, torch.full_like(logs[:1], len(gradient)))
        self.log_precisions.lerp_(logs / num - OF_NORMAL, GAIN)

    def kept(self) -> dict[str, Tensor]:
        """The tensor to keep, by name, not copied."""
        return {"metric.log_precisions": self.log_precisions}

    @property
    def scales(self) -> Tensor:
        """S, (r,)."""
        larger = (math.prod(self.reference.shape) / max(len(self.log_precisions), 1)) ** (1 / 6)
        return torch.minimum(self.reference.scales, larger * (-self.log_precisions / 2).exp())

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, c, H, W)."""
        return self.reference.color(x, self.scales)

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, c, H, W)."""
        return self.reference.color_transposed(gradient, self.scales)


def metric_of(kernel: Kernel, kind: type[M]) -> M | None:
    """The kernel's preconditioner, if it is a metric of this kind."""
    return kernel.preconditioner if isinstance(kernel.preconditioner, kind) else None
