"""Images as a page holds them: WebP in data addresses, one by one or side by side."""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["from_file", "mosaic", "resized", "sheet", "singles"]

Pixels = NDArray[np.uint8]

QUALITY = 90
"""Of WebP, 0 to 100: above it files grow faster than what is seen."""


def singles(images: Tensor, side: int) -> list[str]:
    """Each image, uint8 (n, 3, H, W), as an address of its own, at most ``side`` pixels wide."""
    return [_address(pixels) for pixels in resized(images, side)]


def sheet(images: Tensor, columns: int, side: int) -> str:
    """Images, uint8 (n, 3, H, W), side by side in rows of ``columns``, without gaps, as one address."""
    return _address(mosaic(resized(images, side), columns))


def from_file(path: Path) -> str:
    """A figure in a file as an address."""
    with Image.open(path) as image:
        return _address(np.asarray(image.convert("RGB")))


def resized(images: Tensor, side: int) -> Pixels:
    """uint8 (n, 3, H, W) → (n, h, w, 3), no larger than ``side``."""
    pixels: Pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    if max(pixels.shape[1:3]) <= side:
        return pixels
    small = [Image.fromarray(each).resize((side, side), Image.Resampling.LANCZOS) for each in pixels]
    return np.stack([np.asarray(each) for each in small])


def mosaic(pixels: Pixels, columns: int) -> Pixels:
    """(n, h, w, 3) → (rows · h, columns · w, 3); the last row is filled up with black."""
    n, h, w, _ = pixels.shape
    rows = -(-n // columns)
    full = np.zeros((rows * columns, h, w, 3), np.uint8)
    full[:n] = pixels
    joined: Pixels = full.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    return joined


def _address(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
