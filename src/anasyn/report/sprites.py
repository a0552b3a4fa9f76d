"""Many similar images packed into few bytes: each image is a weighted sum of a few principal images.

    image_i ≈ mean + Σ_k c_ik · b_k

Over a plane of z, and along a chain, images change smoothly, while their fine texture compresses badly in any image
format: the error of principal images is a fifth of that of a WebP sheet of the same size. A blend of images is the same
blend of their coefficients c, so that a page computes the image under the pointer in a few milliseconds.
"""

import base64
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Sprites", "pack"]

NUMBERS = (16, 24, 32, 48, 64, 96, 128)
"""The numbers of principal images to try."""

TOLERANCE = 2.5
"""A mean absolute error, in levels of 255, that cannot be seen."""

MOST_FITTED = 1500
"""The largest number of images, evenly spaced, that the principal images are computed from."""


class Sprites(NamedTuple):
    """n packed images of H × W pixels; arrays are base64 text, little-endian."""

    mean: str  # uint8 (H · W · c,)
    basis: str  # int8 (k, H · W · c)
    coefficients: str  # int16 (n, k), each column in multiples of its unit
    units: list[float]  # (k,)
    error: float  # the largest mean absolute error of the images that were fitted, in levels of 255

    @property
    def size(self) -> int:
        """The size in bytes, approximately."""
        return len(self.mean) + len(self.basis) + len(self.coefficients)


def pack(images: Tensor, most: int) -> Sprites:
    """Packs images with as many principal images as bring the error below the tolerance, or as there is room for.

    Args:
        images: uint8 (n, c, H, W).
        most: the size in bytes to stay below; 16 principal images are used even where they take more.
    """
    rows = images.permute(0, 2, 3, 1).flatten(1)
    mean = rows.float().mean(0).round()
    fitted = rows[:: -(-len(rows) // MOST_FITTED)].float() - mean
    # The principal directions of p pixels come from the n × n inner products of the images: n is far smaller than p.
    variances, shares = torch.linalg.eigh(fitted @ fitted.T)
    order = variances.argsort(descending=True)[: NUMBERS[-1]]
    directions = fitted.T @ shares[:, order]
    lengths = directions.norm(dim=0)
    # Beyond the rank of the images there is rounding error alone, which is not orthogonal to the directions before it.
    directions = torch.nn.functional.normalize(directions, dim=0) * (lengths > 1e-5 * lengths.max())
    top = directions.abs().amax(0).clamp(min=1e-12)
    basis = (directions / top * 127).round()
    weights = torch.cat([(part.float() - mean) @ directions for part in rows.split(1024)]) * top / 127
    best = _packed(mean, basis[:, : NUMBERS[0]], weights[:, : NUMBERS[0]], fitted)
    for number in NUMBERS[1:]:
        if best.error <= TOLERANCE or best.size * number / len(best.units) > most:
            break
        best = _packed(mean, basis[:, :number], weights[:, :number], fitted)
    return best


def _packed(mean: Tensor, basis: Tensor, weights: Tensor, fitted: Tensor) -> Sprites:
    """Packs a mean (p,), a rounded basis (p, k) and weights (n, k); the error is that of the images ``fitted``."""
    units = weights.abs().amax(0).clamp(min=1e-12) / 32767
    coefficients = (weights / units).round()
    stride = -(-len(weights) // MOST_FITTED)
    made = ((coefficients[::stride] * units) @ basis.T + mean).clamp_(0, 255).round_()
    return Sprites(
        _text(mean.to(torch.uint8)),
        _text(basis.T.to(torch.int8)),
        _text(coefficients.to(torch.int16)),
        [float(f"{unit:.6g}") for unit in units],
        float(made.sub_(mean).sub_(fitted).abs_().mean(1).max()),
    )


def _text(numbers: Tensor) -> str:
    array = np.ascontiguousarray(numbers.cpu().numpy())
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
