"""Whether two sets of points can come from the same distribution: a permutation test."""

import torch
from torch import Tensor

__all__ = ["same_distribution"]

NUM_PERMUTATIONS = 999


def same_distribution(x: Tensor, y: Tensor, *, rng: torch.Generator) -> float:
    """The p-value of the permutation test of the energy distance; small if the distributions differ.

        E = (2/mn) Σ_ij ‖x_i − y_j‖ − (1/m²) Σ_ij ‖x_i − x_j‖ − (1/n²) Σ_ij ‖y_i − y_j‖
        p = (1 + #{permutations with E_π ≥ E}) / (1 + number of permutations)

    π divides the m + n points anew, at random, into sets of m and n. If both sets have the same distribution,
    P(p ≤ α) ≤ α for every level α, whatever m and n.

    Args:
        x: points, for instance features of images, (m, d), m ≥ 1.
        y: points, (n, d), n ≥ 1.
        rng: draws the permutations, on the CPU.

    Raises:
        ValueError: a set is empty, or the dimensions differ.

    Source: Székely and Rizzo, *Testing for equal distributions in high dimension*, InterStat 2004.
    """
    if not len(x) or not len(y) or x.shape[1:] != y.shape[1:]:
        got = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"points: expected two sets of vectors of the same dimension, got {got}")
    m, n = len(x), len(y)
    points = torch.cat([x, y]).double().cpu()
    distances = torch.cdist(points, points)
    weights = torch.cat([torch.full((m,), 1 / m), torch.full((n,), -1 / n)]).double()  # E = −wᵀ D w
    orders = torch.stack([torch.randperm(m + n, generator=rng) for _ in range(NUM_PERMUTATIONS)])
    divisions = torch.cat([weights[None], weights[orders]])
    energies = -((divisions @ distances) * divisions).sum(1)
    tolerance = 1e-9 * distances.mean()  # equal divisions shall count as equal whatever their rounding
    return float((energies >= energies[0] - tolerance).double().mean())
