"""Whether samples copy the training images: a test that compares them with held-out images."""

from typing import NamedTuple

import torch
from torch import Tensor

from .distance import nearest

__all__ = ["Memorisation", "memorisation"]


class Memorisation(NamedTuple):
    """The comparison of the distances to the nearest training image."""

    z: float  # approximately N(0, 1) if samples and held-out images have the same distances; negative for copies
    nearer: float  # share of pairs in which the sample is nearer to the training images than the held-out image is


def memorisation(samples: Tensor, held_out: Tensor, training: Tensor) -> Memorisation:
    """The Mann–Whitney test of whether samples lie nearer to the training images than new images do.

        U = Σ_ij 1[d(x̃_i) > d(h_j)] + ½ 1[d(x̃_i) = d(h_j)],   z = (U − lm/2) / √(lm/12 · (l + m + 1 − T))

    d is the distance to the nearest training image and T = Σ(t³ − t)/((l + m)(l + m − 1)) corrects for ties, t points
    at the same distance. A model of the images' own distribution has z ~ N(0, 1), approximately; z well below 0 says
    that the samples repeat training images, z well above 0 that they lie farther from them than real images do. If all
    distances are the same, z is 0.

    Args:
        samples: features x̃ of samples, (m, d), m ≥ 1.
        held_out: features h of images that were not learned from, (l, d), l ≥ 1.
        training: features of the training images, (n, d), n ≥ 1.

    Raises:
        ValueError: a set is empty, or the dimensions differ.

    Source: Meehan, Chaudhuri and Dasgupta, *A Non-Parametric Test to Detect Data-Copying in Generative Models*, AISTATS
    2020, §3; over the whole space, without its division into cells. Ties: Lehmann, *Nonparametrics*, 1975, ch. 1.
    """
    if len(samples) == 0 or len(held_out) == 0:
        raise ValueError(f"features: expected points in each set, got {len(samples)} and {len(held_out)}")
    of_samples, of_held_out = (nearest(points, training)[1].double() for points in (samples, held_out))
    m, total = len(samples), len(samples) + len(held_out)
    pairs = m * len(held_out)
    in_order = of_held_out.sort().values
    below, upto = (torch.searchsorted(in_order, of_samples, right=right).sum().item() for right in (False, True))
    u = (below + upto) / 2
    ties = torch.cat([of_samples, of_held_out]).unique(return_counts=True)[1].double()
    variance = pairs / 12 * (total + 1 - ((ties**3 - ties).sum() / (total * (total - 1))).item())
    z = (u - pairs / 2) / variance**0.5 if variance > 0 else 0.0
    return Memorisation(z, 1 - u / pairs)
