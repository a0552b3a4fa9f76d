"""The learned prior of a generator: an energy-based model of z."""

import math

import torch
from torch import Tensor, nn

__all__ = ["LatentPrior"]


class LatentPrior(nn.Module):
    """p_α(z) = exp[f_α(z)] N(z; 0, I_d) / Z(α),   f_α = s g_α,   0 < s ≤ 1.

    A network with linear layers at its ends grows at most linearly, so that the Gaussian bounds the tails. With f = 0
    the prior is N(0, I_d).

    Args:
        network: g_α, z (n, d) → one number per z, (n,). The scale s is 1 at first.

    Source: Pang, Han, Nijkamp, Zhu, Wu, *Learning latent space energy-based prior model*, NeurIPS 2020.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.scale: Tensor
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))  # a buffer, since it may be learned

    def forward(self, z: Tensor) -> Tensor:
        """f_α(z), (n, d) → (n,)."""
        g: Tensor = self.network(z)
        return self.scale.to(g.dtype) * g

    def log_density(self, z: Tensor) -> Tensor:
        """log p_α(z) = f_α(z) − ‖z‖²/2 − (d/2) log 2π, up to the constant −log Z(α), (n,)."""
        return self(z) - 0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
