"""The sliced Wasserstein distance between two sets of images, at several scales."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SlicedWasserstein", "sliced_wasserstein", "swd_levels"]

PATCH = 7

Array = NDArray[np.float64]


class SlicedWasserstein(NamedTuple):
    """The distance × 10³; 0 for identical sets."""

    mean: float  # over the levels
    levels: tuple[float, ...]  # from the finest to the coarsest


def sliced_wasserstein(
    a: Tensor,
    b: Tensor,
    *,
    levels: int = 3,
    num_patches: int = 4096,
    num_directions: int = 256,
    seed: int = 0,
) -> SlicedWasserstein:
    """Mean over directions u of the Wasserstein-1 distance between the projections of two sets of patches.

        SWD = 10³ · mean_u mean_k |sort(P_a u)_k − sort(P_b u)_k|,   ‖u‖ = 1

    at each level of a Laplacian pyramid. P_a and P_b are random 7 × 7 patches, normalised by the mean and the standard
    deviation of each channel in P_b, so that the distance is not symmetric.

    Args:
        a: images, (n, c, H, W), uint8 or float in [−1, 1].
        b: reference images, (m, c, H, W), likewise.
        levels: of the pyramid; the last one is the low-pass residual.
        num_patches: patches drawn from each set at each level.
        num_directions: number of u.
        seed: determines patches and directions.

    Raises:
        ValueError: the sets are empty or differ in their images' shape, or the coarsest level is smaller than a patch.

    Source: Karras et al., *Progressive Growing of GANs*, ICLR 2018, §5.
    """
    if a.shape[1:] != b.shape[1:] or len(a) == 0 or len(b) == 0:
        raise ValueError(f"images: expected two sets of the same shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    most = swd_levels(min(a.shape[2:]))
    if not 1 <= levels <= most:
        raise ValueError(f"levels: expected 1 to {most} for {a.shape[2]} × {a.shape[3]} pixels, got {levels}")
    distances = []
    x, y = _grey_levels(a), _grey_levels(b)
    for level in range(levels):
        coarser_x, coarser_y = _down(x), _down(y)
        if level < levels - 1:
            x, y = x - _up(coarser_x, x), y - _up(coarser_y, y)
        rng = np.random.default_rng(seed + level)
        p, q = _patches(x, num_patches, rng), _patches(y, num_patches, rng)
        mean, std = q.mean((0, 1, 2)), q.std((0, 1, 2)) + 1e-9
        directions = rng.standard_normal((PATCH * PATCH * q.shape[-1], num_directions))
        directions /= np.linalg.norm(directions, axis=0)
        p, q = (np.sort(((z - mean) / std).reshape(num_patches, -1) @ directions, axis=0) for z in (p, q))
        distances.append(1e3 * float(np.abs(p - q).mean()))
        x, y = coarser_x, coarser_y
    return SlicedWasserstein(float(np.mean(distances)), tuple(distances))


def swd_levels(side: int) -> int:
    """The number of levels possible for images of ``side`` pixels: each halves the side, and a patch needs 7."""
    levels = 0
    while side >= PATCH:
        side, levels = -(-side // 2), levels + 1
    return levels


def _grey_levels(images: Tensor) -> Array:
    """(n, c, H, W), uint8 or float in [−1, 1] → float64 (n, H, W, c) in [0, 255]."""
    images = images.detach().cpu().permute(0, 2, 3, 1)
    grey: Array = (images.double() if images.dtype == torch.uint8 else (images.double() + 1) * 127.5).numpy()
    return grey


def _down(x: Array) -> Array:
    """Every second pixel along both axes, after smoothing with the binomial filter (1, 4, 6, 4, 1)/16."""
    for axis in (1, 2):
        pad = [(2, 2) if i == axis else (0, 0) for i in range(4)]
        x = np.moveaxis(np.pad(x, pad, mode="reflect"), axis, 0)
        side = len(x) - 4
        taps = (weight / 16 * x[k : k + side : 2] for k, weight in enumerate((1, 4, 6, 4, 1)))
        x = np.moveaxis(sum(taps, np.zeros(())), 0, axis)
    return x


def _up(x: Array, like: Array) -> Array:
    """Each pixel repeated twice along both axes, cropped to the size of ``like``."""
    return x.repeat(2, 1).repeat(2, 2)[:, : like.shape[1], : like.shape[2]]


def _patches(x: Array, num: int, rng: np.random.Generator) -> Array:
    """``num`` patches at random places in random images, (num, 7, 7, c)."""
    n, h, w, _ = x.shape
    image, row, column = (rng.integers(0, high, num) for high in (n, h - PATCH + 1, w - PATCH + 1))
    windows = np.lib.stride_tricks.sliding_window_view(x, (PATCH, PATCH), axis=(1, 2))
    return windows[image, row, column].transpose(0, 2, 3, 1)
