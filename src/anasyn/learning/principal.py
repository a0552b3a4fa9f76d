"""Principal components of the images: where the chains of z can start."""

import torch
from torch import Tensor
from torch.nn import functional

from ..data import as_float
from ..mcmc import WarmChains

__all__ = ["principal_scores", "start_at_principal_scores"]

SIDE = 16  # pixels to which images are reduced: details do not matter for where a chain starts
CHUNK = 256  # images that are floats at once


def principal_scores(images: Tensor, others: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The standardised scores of the images on their first principal components, and those of other images.

        z_ik = v_kᵀ (x_i − x̄) / √λ_k,   λ_k and v_k of the covariance of the images x, reduced to 16 × 16 pixels

    They have mean 0 and covariance I, as N(0, I), and similar images have similar scores. For a linear generator and
    σ → 0 they are the posterior means at its maximum likelihood (Tipping and Bishop 1999).

    Args:
        images: (n, *event), uint8 or float in [−1, 1], n ≥ 2.
        others: (m, *event), likewise.
        num: the number of components; fewer are returned if the images do not vary in as many directions.

    Returns:
        (n, k) and (m, k), k ≤ ``num``.
    """
    mean = torch.cat([_reduced(chunk) for chunk in images.split(CHUNK)]).mean(0)
    covariance = sum(x.T @ x for x in (_reduced(chunk) - mean for chunk in images.split(CHUNK))) / len(images)
    values, vectors = torch.linalg.eigh(torch.as_tensor(covariance))
    values, vectors = values.flip(0)[:num], vectors.flip(1)[:, :num]
    kept = values > 1e-6 * values[0]
    basis = vectors[:, kept] / values[kept].sqrt()
    scores = [[(_reduced(chunk) - mean) @ basis for chunk in each.split(CHUNK)] for each in (images, others)]
    first, second = (torch.cat(parts) for parts in scores)
    return first, second


def start_at_principal_scores(
    chains: WarmChains, images: Tensor, held_out_chains: WarmChains, held_out: Tensor
) -> None:
    """Moves chains of z to the principal scores of their images, (n, *event), uint8 or float.

    Coordinates for which the images have no component stay where they are.
    """
    scores = principal_scores(images, held_out, chains.positions.shape[1])
    for each, position in zip((chains, held_out_chains), scores, strict=True):
        each.positions[:, : position.shape[1]] = position.to(each.positions)


def _reduced(images: Tensor) -> Tensor:
    """Each image by at most 16 × 16 pixels, as a row, in float64."""
    x = as_float(images).double()
    if x.dim() == 4:
        x = functional.adaptive_avg_pool2d(x, (min(SIDE, x.shape[2]), min(SIDE, x.shape[3])))
    return x.flatten(1)
