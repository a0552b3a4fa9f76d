"""The generator: a latent-variable model of images."""

import math

import torch
from torch import Tensor, nn

from ..rng import Rng, standard_normal
from .observation import Images, observed
from .prior import LatentPrior

__all__ = ["Generator"]


class Generator(nn.Module):
    """Y = f(Z; W) + ε,   Z ~ N(0, I_d),   ε ~ N(0, σ² I_D).                                   (1, 2)

    Z may have a learned prior p_α instead of N(0, I_d).

    Args:
        network: f, z (n, d) → images (n, *event).
        latent_dim: d.
        sigma: σ, the standard deviation of a pixel's noise, in the images' units ([−1, 1]).
        precision: arithmetic of the network, ``"float32"`` or ``"bfloat16"``; densities have the precision of z.
        prior: p_α; None for N(0, I_d).

    Raises:
        ValueError: σ or d is not positive, or the precision is unknown.

    Source: Han, Lu, Zhu, Wu, *Alternating Back-Propagation for Generator Network*, AAAI 2017.
    """

    def __init__(
        self,
        network: nn.Module,
        latent_dim: int,
        sigma: float,
        precision: str = "float32",
        *,
        prior: LatentPrior | None = None,
    ):
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma: expected a number above 0, got {sigma}")
        if latent_dim < 1:
            raise ValueError(f"latent_dim: expected at least 1, got {latent_dim}")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, got {precision}")
        self.network = network
        self.latent_dim = latent_dim
        self.sigma: Tensor
        self.register_buffer("sigma", torch.tensor(sigma, dtype=torch.float64))  # a buffer, since it may be learned
        self.precision = precision
        self.prior = prior

    def forward(self, z: Tensor) -> Tensor:
        """f(z), (n, d) → (n, *event)."""
        with torch.autocast(z.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            images: Tensor = self.network(z)
        return images.to(z.dtype)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) = −‖z‖²/2 − (d/2) log 2π, (n,); of a learned prior, log p_α(z) up to the constant −log Z(α)."""
        if self.prior is not None:
            return self.prior.log_density(z)
        return -0.5 * (z**2).sum(1) - 0.5 * self.latent_dim * math.log(2 * math.pi)

    def squares(self, z: Tensor, images: Images) -> Tensor:
        """‖A f(z) − A Y‖², (n,), over what is seen of the images; A = I if they are seen whole."""
        # not mse_loss: its gradient is not channels-last, which makes the backward pass slow
        residuals = observed(images).residuals(self(z))
        return (residuals**2).sum(tuple(range(1, residuals.dim())))

    def log_likelihood(self, z: Tensor, images: Images) -> Tensor:
        """log p(A Y | z) = −‖A f(z) − A Y‖²/2σ² − (D/2) log 2πσ², (n,); D of their values are seen."""
        squares = self.squares(z, images)
        num_seen = observed(images).num_seen.to(squares.dtype)
        return -squares / (2 * self.sigma**2) - num_seen / 2 * (2 * math.pi * self.sigma**2).log()

    def log_joint(self, z: Tensor, images: Images) -> Tensor:
        """log p(Y, z; W) = log p(Y | z) + log p(z), (n,); the log-posterior of z, up to a constant.   (3, 4)

        It is summed over pixels and not averaged over the batch, so that ∂/∂z_i depends on Y_i and z_i alone.

        Args:
            z: latent factors, (n, d).
            images: Y, (n, *event), or what is seen of them.
        """
        return self.log_likelihood(z, images) + self.log_prior(z)

    @torch.no_grad()
    def sample(self, num: int, *, rng: Rng) -> Tensor:
        """f(z) at ``num`` draws z ~ N(0, I_d), (num, *event), without the pixel noise ε.

        Raises:
            ValueError: the prior is learned; only chains draw from it (`anasyn.learning.draw_prior`).
        """
        if self.prior is not None:
            raise ValueError(
                "prior: a learned one is drawn from by MCMC; give draw_prior(model, num, rng=rng) to the model"
            )
        weight = next(self.parameters())
        z = standard_normal(weight.new_empty(num, self.latent_dim), rng)
        images: Tensor = self(z)
        return images
