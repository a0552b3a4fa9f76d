"""The kernel inception distance, in any feature space."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["KernelDistance", "kernel_distance"]

FEWEST = 3  # points in each set: one is left out, and the estimate needs two


class KernelDistance(NamedTuple):
    """An estimate of the squared maximum mean discrepancy, which may be negative, and its standard error."""

    value: float
    standard_error: float


def kernel_distance(samples: Tensor, images: Tensor) -> KernelDistance:
    """The squared maximum mean discrepancy of two distributions, estimated without bias (KID).

        KID = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) − 2 mean_{ij} k(x_i, y_j),   k(x, y) = (x·y/d + 1)³

    It is 0 on average for samples of the images' own distribution, whatever the numbers m and n of points. The standard
    error is the jackknife's over the points of both sets,

        SE² = (m−1)/m Σ_i (KID₋ᵢ − KID̄)² + the same over the y_j,

    whose square is on average not too small (Efron and Stein 1981): where the distributions differ it is nearly exact,
    where they are the same it is about √2 times too large. The usual standard deviation over random subsets is no
    standard error of the estimate: it is that of an estimate from a subset. Hence this is not torchmetrics'
    `KernelInceptionDistance`, which gives the latter, and needs subsets of equal size.

    Args:
        samples: features x of samples, (m, d), m ≥ 3.
        images: features y of real images, (n, d), n ≥ 3. Memory grows with m² + n².

    Raises:
        ValueError: the dimensions differ, or there are fewer than three points in a set.

    Source: Bińkowski et al., *Demystifying MMD GANs*, ICLR 2018, §4, with Inception features; Gretton et al., *A kernel
    two-sample test*, JMLR 2012, lemma 6; Efron and Stein, *The jackknife estimate of variance*, 1981.
    """
    if samples.dim() != 2 or samples.shape[1:] != images.shape[1:]:
        got = f"{tuple(samples.shape)} and {tuple(images.shape)}"
        raise ValueError(f"features: expected two sets of vectors of the same dimension, got {got}")
    m, n = len(samples), len(images)
    if min(m, n) < FEWEST:
        raise ValueError(f"features: expected at least {FEWEST} points in each set, got {m} and {n}")
    x, y = samples.double(), images.double()
    of_x, of_y, cross = _others(x), _others(y), _kernel(x, y)
    sum_x, sum_y, sum_cross = of_x.sum(), of_y.sum(), cross.sum()
    value = sum_x / (m * (m - 1)) + sum_y / (n * (n - 1)) - 2 * sum_cross / (m * n)
    without_x = (sum_x - 2 * of_x) / ((m - 1) * (m - 2)) - 2 * (sum_cross - cross.sum(1)) / ((m - 1) * n)
    without_y = (sum_y - 2 * of_y) / ((n - 1) * (n - 2)) - 2 * (sum_cross - cross.sum(0)) / (m * (n - 1))
    variance = (m - 1) * without_x.var(correction=0) + (n - 1) * without_y.var(correction=0)
    return KernelDistance(value.item(), variance.sqrt().item())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _others(x: Tensor) -> Tensor:
    """Σ_{j≠i} k(x_i, x_j), (n,)."""
    kernel = _kernel(x, x)
    return kernel.sum(1) - kernel.diagonal()
