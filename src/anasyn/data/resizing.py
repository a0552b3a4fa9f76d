"""Resizing: an image of any size becomes an array of a given height, width and number of channels."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError

__all__ = ["SIDES", "Fit", "Size", "checked", "resized", "resized_seen"]

SIDES = range(8, 1025)  # the heights and widths, in pixels, that images may be resized to
Size = int | tuple[int, int]  # the side of a square, or (height, width), in pixels
Fit = Literal["crop", "stretch"]  # resize the largest centred box of the right aspect ratio, or the whole image


def checked(size: Size, fit: Fit, channels: int | None) -> tuple[int, int]:
    """The height and width of a size; raises `InputError` if the size, the fit or ``channels`` is not allowed."""
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side in SIDES for side in sides):
        expected = f"an integer from {SIDES[0]} to {SIDES[-1]} (pixels), or a pair of them (height, width)"
        raise InputError(f"size: expected {expected}, got {size!r}")
    if fit not in ("crop", "stretch"):
        raise InputError(f"fit: expected crop or stretch, got {fit!r}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels: expected 1, 3, or None to let the images decide, got {channels!r}")
    return sides


def resized(image: Image.Image, height: int, width: int, fit: Fit, channels: int) -> NDArray[np.uint8]:
    """An RGB image as uint8 (height, width, channels), resized with antialiasing.

    One channel is the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, which leaves grey levels as they are.
    """
    box = _centred_box(*image.size, height, width) if fit == "crop" else (0, 0, *image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.asarray(image if channels == 3 else image.convert("L")).reshape(height, width, channels)


def resized_seen(
    image: Image.Image, height: int, width: int, fit: Fit, channels: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An RGBA image as `resized` returns it, and where it is seen, (height, width): where alpha is at least one half.

    Colours c are averaged with the weights of the filter times alpha α, Σ w α c / Σ w α, so that those of transparent
    pixels never mix into those that are seen.
    """
    box = _centred_box(*image.size, height, width) if fit == "crop" else (0, 0, *image.size)
    # As floats: the filter overshoots at the border of a hole, and clipping would change the ratio there.
    *products, alpha = (
        np.asarray(band.convert("F").resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))
        for band in image.convert("RGBa").split()  # Pillow's RGBa are colours times alpha
    )
    seen = alpha >= 255 / 2
    colours = np.stack(products, -1) * (255 / np.where(seen, alpha, 255))[..., None]
    rgb = np.rint(colours.clip(0, 255)).astype(np.uint8)
    return rgb if channels == 3 else np.asarray(Image.fromarray(rgb).convert("L"))[..., None], seen


def _centred_box(image_width: int, image_height: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the largest centred box, in whole pixels, of aspect ratio width : height."""
    box_width = min(image_width, max(1, image_height * width // height))
    box_height = min(image_height, max(1, image_width * height // width))
    left, top = (image_width - box_width) // 2, (image_height - box_height) // 2
    return left, top, left + box_width, top + box_height
