"""Distances between images."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..data import as_float
from ..models import Rows

__all__ = ["mse", "nearest", "psnr", "saturated_share"]

CHUNK = 256  # images converted to floats at once
SATURATED = 0.97  # |value| beyond which a pixel counts as saturated


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of each image, ‖a_i − b_i‖²/D, (n,); a and b are (n, *event), float in [−1, 1].

    Raises:
        ValueError: the shapes differ; broadcasting would hide a mistake.
    """
    if a.shape != b.shape:
        raise ValueError(f"images: expected two sets of the same shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return ((a - b) ** 2).flatten(1).mean(1)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(2²/MSE), for images in [−1, 1]; ``mse`` may have any shape."""
    return 10 * torch.log10(4 / mse)


def saturated_share(images: Tensor) -> float:
    """The share of values, over pixels and channels, with |value| > 0.97; images as for `nearest`, at least one."""
    counts = [(as_float(chunk).abs() > SATURATED).sum().item() for chunk in chunks(images, CHUNK)]
    return sum(counts) / images.numel()


def nearest(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each image, the index and the mean squared error of the nearest of the others, (n,) each.

    Only `CHUNK` images of each set are floats at once, so that memory does not grow with n · m · D.

    Args:
        images: (n, *event), uint8 or float in [−1, 1].
        others: (m, *event), m ≥ 1, likewise.

    Raises:
        ValueError: ``others`` is empty or has another shape.
    """
    if images.shape[1:] != others.shape[1:] or len(others) == 0:
        shape = tuple(images.shape[1:])
        raise ValueError(f"others: expected at least one image of shape {shape}, got {tuple(others.shape)}")
    indices, errors = [], []
    for chunk in chunks(images, CHUNK):
        a = as_float(chunk)
        products = []
        for other in chunks(others, CHUNK):
            b = as_float(other).flatten(1)
            products.append((b**2).sum(1) - 2 * a.flatten(1) @ b.T)  # ‖a − b‖² − ‖a‖²
        index = torch.cat(products, 1).argmin(1)
        indices.append(index)
        errors.append(mse(a, as_float(others[index])))  # not from the expanded square above, which loses digits
    return torch.cat(indices), torch.cat(errors)


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows of a tensor, or of images of which not all is seen, at most ``size`` at a time."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]
