"""Principal components of the images: where the chains of z can start."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from .. import ranks
from ..mcmc import WarmChains
from ..models import DataSet, Images, floats, observed

__all__ = ["principal_components", "principal_scores", "start_at_principal_scores"]

SIDE = 16  # pixels to which images are reduced: details do not matter for where a chain starts
CHUNK = 256  # images that are floats at once
MOST = 4096  # images from which components are found
RIDGE = 0.1  # keeps the coefficients of components that are hardly seen near 0


Components = tuple[Tensor, Tensor, Tensor]
"""Of images reduced to p numbers: their mean, (p,), the first components, (p, k), and √λ of these, (k,)."""


def principal_scores(images: DataSet, components: Components) -> Iterator[Tensor]:
    """The standardised scores of images on principal components, (·, k), some images at a time.

        z_ik = v_kᵀ (x_i − x̄) / √λ_k,   λ_k and v_k of the covariance of the images x, reduced to 16 × 16 pixels

    Those of the images that the components are of have mean 0 and covariance I, as N(0, I), and similar images have
    similar scores. For a linear generator and σ → 0 they are the posterior means at its maximum likelihood (Tipping and
    Bishop 1999). Where parts of images are hidden, the covariance takes x̄ for them, and the scores are those of the
    least squares fit of x̄ + Σ_k v_k √λ_k z_ik to what is seen.

    Args:
        images: (n, *event), uint8 or float in [−1, 1], or what is seen of them.
        components: of `principal_components`.
    """
    mean, basis, scale = components
    for x, seen in _centred(images, mean):
        yield _fit(x, seen, basis) / scale


def principal_components(images: DataSet, num: int) -> Components:
    """The first ``num`` principal components of images; fewer if they do not vary in as many directions.

    Args:
        images: (n, *event), uint8 or float in [−1, 1], n ≥ 2, or what is seen of them. Of more than `MOST`, as many are
            taken, evenly spaced.
        num: the number of components.
    """
    if len(images) > MOST:
        images = images[torch.linspace(0, len(images) - 1, MOST).long()]
    sums, counts = (torch.as_tensor(sum(part)) for part in zip(*_reduced_sums(images), strict=True))
    mean = sums / counts.clamp_min(1)
    covariance = sum(x.T @ x for x, _ in _centred(images, mean)) / len(images)
    values, vectors = torch.linalg.eigh(torch.as_tensor(covariance))
    ranks.broadcast(values, vectors)  # those of another machine might differ in the last bits, or in sign
    values, vectors = values.flip(0)[:num], vectors.flip(1)[:, :num]
    kept = values > 1e-6 * values[0]
    return mean, vectors[:, kept], values[kept].sqrt()


def start_at_principal_scores(
    chains: WarmChains, images: DataSet, held_out_chains: WarmChains, held_out: DataSet, whole: DataSet
) -> None:
    """Moves chains of z to the principal scores of their images, (·, *event), uint8 or float, or what is seen of them.

    Coordinates for which the images have no component stay where they are.

    Args:
        chains, held_out_chains: of these images.
        images, held_out: the images of this process.
        whole: the training images of all processes, of which the components are.
    """
    components = principal_components(whole, chains.latent_dim)
    for each, own in ((chains, images), (held_out_chains, held_out)):
        each.move(principal_scores(own, components))


def _reduced_sums(images: DataSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each chunk, the sum of the reduced images over what is seen, and the number of images that are seen there."""
    for x, seen in map(_reduced, _chunks(images)):
        yield x.sum(0), x.new_full(x.shape[1:], len(x)) if seen is None else seen.sum(0)


def _centred(images: DataSet, mean: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Of each chunk, x − x̄, 0 where it is hidden, and where it is seen, None for everywhere; on the device of x̄."""
    for x, seen in map(_reduced, _chunks(images)):
        x, seen = x.to(mean.device), None if seen is None else seen.to(mean.device)
        yield x - mean if seen is None else (x - mean) * seen, seen


def _chunks(images: DataSet) -> Iterator[Images]:
    for first in range(0, len(images), CHUNK):
        yield images[first : first + CHUNK]


def _reduced(images: Images) -> tuple[Tensor, Tensor | None]:
    """Each image by at most 16 × 16 pixels, as a row, in float64, 0 where all is hidden; and 1 where something is seen.

    A pixel of the reduced image is the mean of what is seen there. In place of ones everywhere there is None.
    """
    found = observed(floats(images))
    x, seen = found.values, found.observation.seen
    if x.dim() == 4:
        side = min(SIDE, x.shape[2]), min(SIDE, x.shape[3])
        x = functional.adaptive_avg_pool2d(x, side)
        if seen is not None:
            share = functional.adaptive_avg_pool2d(seen.to(x.dtype), side)
            x, seen = x / share.clamp_min(1e-12), share > 0
    return x.flatten(1).double(), None if seen is None else seen.expand(x.shape).flatten(1).double()


def _fit(x: Tensor, seen: Tensor | None, basis: Tensor) -> Tensor:
    """The coefficients, (n, k), of the least squares fit of an orthonormal basis (p, k) to rows x (n, p) where seen."""
    if seen is None or seen.all():
        return x @ basis
    masks, which = seen.unique(dim=0, return_inverse=True)  # many images may have few masks
    gram = torch.einsum("np,pi,pj->nij", masks, basis, basis)
    ridge = RIDGE * torch.eye(len(gram[0]), dtype=x.dtype, device=x.device)
    factors = torch.linalg.cholesky(gram + ridge)
    return torch.cholesky_solve((x @ basis)[..., None], factors[which])[..., 0]
