"""The descriptor: an energy-based model of images."""

import math

import torch
from torch import Tensor, nn

from ..rng import Rng, standard_normal
from .reference import FittedGaussian

__all__ = ["Descriptor"]


class Descriptor(nn.Module):
    """p_θ(Y) = exp[f_θ(Y)] p₀(Y) / Z(θ),   p₀ = N(0, s² I_D), or a Gaussian fitted to the images.   (11, 12)

    Args:
        network: images (n, *event) → one number per image, (n,).
        reference_std: s of the Gaussian reference, in the images' units ([−1, 1]).
        scale: f = scale · network. With scale = 2/δ², the drift (δ²/2) ∂f/∂Y of a Langevin step at temperature 1 is the
            gradient of the network itself (Nijkamp et al. 2020 write U = f/(ε²/2)).
        precision: arithmetic of the network, ``"float32"`` or ``"bfloat16"``.
        reference: p₀ in place of N(0, s² I).

    Raises:
        ValueError: s or the scale is not positive, or the precision is unknown.

    Source: Xie, Lu, Zhu, Wu, *A Theory of Generative ConvNet*, ICML 2016.
    """

    def __init__(
        self,
        network: nn.Module,
        reference_std: float,
        scale: float = 1.0,
        precision: str = "float32",
        reference: FittedGaussian | None = None,
    ):
        super().__init__()
        for name, value in {"reference_std": reference_std, "scale": scale}.items():
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, got {precision}")
        self.network = network
        self.reference_std = reference_std
        self.scale = scale
        self.precision = precision
        self.reference = reference

    def forward(self, images: Tensor) -> Tensor:
        """f_θ(Y), (n, *event) → (n,)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            f: Tensor = self.network(images)
        return self.scale * f.to(images.dtype)

    def energy(self, images: Tensor) -> Tensor:
        """E_θ(Y) = −log p₀(Y) − f_θ(Y), up to a constant, (n,); ‖Y‖²/2s² − f_θ(Y) with p₀ = N(0, s² I).      (13)"""
        return self.reference_energy(images) - self(images)

    def log_density(self, images: Tensor) -> Tensor:
        """log p_θ(Y) = −E_θ(Y), up to the constant −log Z(θ) − `log_reference_normalizer`, (n,)."""
        return -self.energy(images)

    def reference_energy(self, images: Tensor) -> Tensor:
        """−log p₀(Y) − `log_reference_normalizer`, (n,)."""
        if self.reference:
            return self.reference.energy(images)
        norm: Tensor = (images**2).sum(tuple(range(1, images.dim()))) / (2 * self.reference_std**2)
        return norm

    def log_reference_normalizer(self, dimension: int) -> float:
        """log ∫ exp(−`reference_energy`) = (D/2) log 2π + log √det C, D = ``dimension``."""
        root = self.reference.log_determinant().item() if self.reference else dimension * math.log(self.reference_std)
        return dimension / 2 * math.log(2 * math.pi) + root

    def draw_reference(self, like: Tensor, rng: Rng) -> Tensor:
        """Exact draws from p₀, as many as there are images in ``like``, (n, *event)."""
        return self.reference.draw(like, rng) if self.reference else self.reference_std * standard_normal(like, rng)

    def observe(self, images: Tensor, noise: float, rng: Rng) -> Tensor:
        """Images with the noise with which they are learned, (n, *event): white with standard deviation ``noise``.

        With a fitted reference it has the images' own spectrum, ``noise`` times as strong (`FittedGaussian.observe`).
        """
        if self.reference:
            return self.reference.observe(images, noise, rng)
        return images + noise * standard_normal(images, rng)
