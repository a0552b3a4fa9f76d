"""Many images that resemble each other, packed small: a few principal images, of which each is a sum.

    image_i ≈ mean + Σ_k c_ik · b_k

Over a plane of z, and along a chain, images change smoothly, while their fine texture is the despair of any picture
format: at the size of a WebP sheet, principal images have a fifth of its error. Blending images is blending their c,
so that a page adds up what is under the pointer in a few milliseconds.
"""

import base64
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Sprites", "pack"]

NUMBERS = (16, 24, 32, 48, 64, 96, 128)
"""Of principal images that are tried."""

TOLERANCE = 2.5
"""Levels, of 255: a mean absolute error that nobody sees."""

MOST_FITTED = 1500
"""Images that principal images are found from; of more, so many evenly spaced."""


class Sprites(NamedTuple):
    """Packed images, n of them; numbers as text in base64, little-endian."""

    mean: str  # uint8 (side · side · 3,)
    basis: str  # int8 (k, side · side · 3)
    coefficients: str  # int16 (n, k), of which each column has a unit
    units: list[float]  # (k,)
    error: float  # the largest mean absolute error of a fitted image, in levels of 255

    @property
    def size(self) -> int:
        """Bytes, nearly."""
        return len(self.mean) + len(self.basis) + len(self.coefficients)


def pack(images: Tensor, most: int) -> Sprites:
    """As many principal images as bring the error below the tolerance, or as there is room for.

    Args:
        images: uint8 (n, 3, H, W).
        most: bytes that they may take; the least number of principal images is used even where it takes more.
    """
    rows = images.permute(0, 2, 3, 1).flatten(1)
    mean = rows.float().mean(0).round()
    fitted = rows[:: -(-len(rows) // MOST_FITTED)].float() - mean
    # The principal directions of p pixels from the n × n products of the images: n is far less than p.
    variances, shares = torch.linalg.eigh(fitted @ fitted.T)
    order = variances.argsort(descending=True)[: NUMBERS[-1]]
    directions = torch.nn.functional.normalize(fitted.T @ shares[:, order], dim=0)
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
    """Images of p pixels as a mean (p,) and weights (n, k) of a rounded basis (p, k); the error is at ``fitted``."""
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
