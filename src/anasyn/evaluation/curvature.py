"""The curvature of the posterior p(z | Y) of images, and chains that move as it allows in every direction."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..models import Generator, Images, observed
from .distance import chunks

__all__ = ["PosteriorMetric", "precision_of"]

DIFFERENCE = 1e-3  # of z, for J; well above float32 rounding, and below the width of a sharp posterior
ROWS_AT_ONCE = 256


class PosteriorMetric(NamedTuple):
    """The preconditioner of chains of z, one for each of n images: L = R⁻¹, L Lᵀ = (I + JᵀJ/σ²)⁻¹, J where it was made.

    A direction in which the image does not change is as wide as the prior, one in which it changes much more is narrow.
    Without a preconditioner the narrowest direction sets the step for all.
    """

    factors: Tensor  # R, (n, d, d), upper triangular

    @classmethod
    def at(cls, model: Generator, images: Images, z: Tensor) -> "PosteriorMetric":
        """The metric at z, (n, d), of these images' posteriors."""
        # In double precision, since the eigenvalues of a precision may range from 1 to 1e6.
        return cls(torch.linalg.cholesky(precision_of(model, images, z).double(), upper=True).to(z))

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, d)."""
        return torch.linalg.solve_triangular(self.factors, x[..., None], upper=True)[..., 0]

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, d)."""
        return torch.linalg.solve_triangular(self.factors.mT, gradient[..., None], upper=False)[..., 0]


def precision_of(model: Generator, images: Images, z: Tensor) -> Tensor:
    """I + JᵀJ/σ², (n, d) → (n, d, d), J of what is seen of the images, A f(z)."""
    d = z.shape[1]
    identity = torch.eye(d, dtype=z.dtype, device=z.device)
    steps = torch.cat([torch.zeros_like(identity[:1]), DIFFERENCE * identity])
    found = []
    with torch.no_grad():
        for rows in torch.arange(len(z), device=z.device).split(max(ROWS_AT_ONCE // (d + 1), 1)):
            moved = (z[rows, None] + steps).flatten(0, 1)
            f = torch.cat([model(part) for part in chunks(moved, ROWS_AT_ONCE)])
            observation = observed(images).observation[rows.repeat_interleave(d + 1)]
            f = observation(f).flatten(1).unflatten(0, (len(rows), d + 1))
            jacobian = (f[:, 1:] - f[:, :1]) / DIFFERENCE
            found.append(identity + (jacobian @ jacobian.transpose(1, 2) / model.sigma**2).to(z))
    return torch.cat(found)
