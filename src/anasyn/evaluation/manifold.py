"""How well two sets of points cover each other, by the distances to nearest neighbours."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .distance import chunks

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "expected_coverage", "precision_recall"]

CHUNK = 1024  # points whose distances to all others are held at once


class PrecisionRecall(NamedTuple):
    """Shares of points within the other set's estimated manifold, each in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Both refer to the balls around real points; a density may exceed 1."""

    density: float
    coverage: float


def precision_recall(samples: Tensor, images: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision: the share of samples within the images' manifold. Recall: the share of images within the samples'.

        precision = mean_j 1[∃i: ‖x̃_j − x_i‖ ≤ r_i],   recall = mean_i 1[∃j: ‖x_i − x̃_j‖ ≤ r̃_j]

    r_i is the distance of x_i to its k-th nearest neighbour among the other images, r̃_j likewise among the samples.
    Images of low quality lower the precision, missing modes the recall. One outlier has a large ball and raises either.

    Args:
        samples: features x̃ of samples, (m, d).
        images: features x of real images, (n, d).
        k: neighbours, 1 to min(m, n) − 1.

    Raises:
        ValueError: the dimensions differ, or k is out of its range.

    Source: Kynkäänniemi et al., *Improved Precision and Recall Metric*, NeurIPS 2019, eqs. 1–2, with k = 3.
    """
    _require(samples, images, k, {"samples": samples, "images": images})
    precision = torch.cat([near.any(1) for near in _within(samples, images, _radii(images, k))])
    recall = torch.cat([near.any(1) for near in _within(images, samples, _radii(samples, k))])
    return PrecisionRecall(precision.double().mean().item(), recall.double().mean().item())


def density_coverage(samples: Tensor, images: Tensor, *, k: int = 5) -> DensityCoverage:
    """Density: how many images' balls a sample lies in, over k. Coverage: the share of balls with a sample in them.

        density = 1/(km) Σ_j Σ_i 1[‖x̃_j − x_i‖ ≤ r_i],   coverage = mean_i 1[∃j: ‖x̃_j − x_i‖ ≤ r_i]

    The balls are those of `precision_recall` around the images, so that outliers among the samples do no harm. For
    samples of the images' own distribution the density is 1 and the coverage `expected_coverage`, on average.

    Args:
        samples: features x̃ of samples, (m, d), m ≥ 1.
        images: features x of real images, (n, d).
        k: neighbours, 1 to n − 1.

    Raises:
        ValueError: the dimensions differ, there are no samples, or k is out of its range.

    Source: Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative Models*, ICML 2020, §3, with k = 5.
    """
    _require(samples, images, k, {"images": images})
    in_balls, covered = 0, torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for near in _within(samples, images, _radii(images, k)):
        in_balls += int(near.sum())
        covered |= near.any(0)
    return DensityCoverage(in_balls / (k * len(samples)), covered.double().mean().item())


def expected_coverage(num_samples: int, num_images: int, k: int) -> float:
    """The expected coverage by ``num_samples`` samples of the images' own distribution, whatever it is.

        1 − (n−1)⋯(n−k) / ((m+n−1)⋯(m+n−k))

    A ball has no sample in it if the k nearest of the m + n − 1 other points are all images.

    Source: Naeem et al. 2020, §3.
    """
    empty = 1.0
    for i in range(1, k + 1):
        empty *= (num_images - i) / (num_samples + num_images - i)
    return 1 - empty


def _radii(points: Tensor, k: int) -> Tensor:
    """Each point's distance to its k-th nearest neighbour, itself excluded, (n,)."""
    radii = []
    for number, chunk in enumerate(chunks(points, CHUNK)):
        distances = _distances(chunk, points)
        distances.diagonal(number * CHUNK).fill_(torch.inf)
        radii.append(distances.kthvalue(k, 1).values)
    return torch.cat(radii)


def _within(points: Tensor, centres: Tensor, radii: Tensor) -> Iterator[Tensor]:
    """For `CHUNK` points at a time, whether each lies within each ball, (p, n)."""
    for chunk in chunks(points, CHUNK):
        yield _distances(chunk, centres) <= radii


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i − b_j‖, not from the expanded square, which would put identical points apart."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _require(samples: Tensor, images: Tensor, k: int, centres: dict[str, Tensor]) -> None:
    if samples.dim() != 2 or samples.shape[1:] != images.shape[1:] or len(samples) == 0:
        got = f"{tuple(samples.shape)} and {tuple(images.shape)}"
        raise ValueError(f"features: expected two sets of vectors of the same dimension, got {got}")
    for name, points in centres.items():
        if not 1 <= k < len(points):
            raise ValueError(f"k: expected 1 to {len(points) - 1} with {len(points)} {name}, got {k}")
