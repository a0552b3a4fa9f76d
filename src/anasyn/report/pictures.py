"""Images as a page holds them: WebP in data URLs, one by one or side by side."""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["fitted", "from_file", "mosaic", "resized", "sheet", "singles"]

Pixels = NDArray[np.uint8]

QUALITY = 90
"""WebP quality, 0 to 100: above it files grow, and no difference can be seen."""


def singles(images: Tensor, side: int) -> list[str]:
    """A data URL for each image, uint8 (n, c, H, W), scaled down to fit within ``side`` × ``side`` pixels."""
    return [_data_url(pixels) for pixels in resized(images, side)]


def sheet(images: Tensor, columns: int, side: int) -> str:
    """One data URL for images, uint8 (n, c, H, W), side by side in rows of ``columns``, without gaps."""
    return _data_url(mosaic(resized(images, side), columns))


def from_file(path: Path) -> str:
    """A data URL for an image file, such as a figure."""
    with Image.open(path) as image:
        return _data_url(np.asarray(image.convert("RGB")))


def fitted(images: Tensor, side: int) -> tuple[int, int]:
    """The height and width of images, (n, c, H, W), scaled down to fit within ``side`` × ``side`` pixels."""
    height, width = images.shape[2:]
    scale = min(1, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(images: Tensor, side: int) -> Pixels:
    """uint8 (n, c, H, W) → (n, h, w, c), scaled down to fit within ``side`` × ``side`` pixels."""
    pixels: Pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    height, width = fitted(images, side)
    if pixels.shape[1:3] == (height, width):
        return pixels
    small = [_image(each).resize((width, height), Image.Resampling.LANCZOS) for each in pixels]
    return np.stack([np.asarray(each) for each in small]).reshape(len(small), height, width, -1)


def mosaic(pixels: Pixels, columns: int) -> Pixels:
    """(n, h, w, c) → (rows · h, columns · w, c); the last row is filled up with black."""
    n, h, w, c = pixels.shape
    rows = -(-n // columns)
    full = np.zeros((rows * columns, h, w, c), np.uint8)
    full[:n] = pixels
    joined: Pixels = full.reshape(rows, columns, h, w, c).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)
    return joined


def _image(pixels: Pixels) -> Image.Image:
    """(h, w, c) → an image of Pillow's, which has no axis for a single channel."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _data_url(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    _image(pixels).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
