"""One photograph: patches of it, cut on a regular grid, or all of it, with what is seen of it."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import pad

from ..errors import InputError
from .decoding import decode, printable, quiet
from .pixels import ImageSet, chequered
from .resizing import resized_seen

__all__ = ["read_damaged", "read_patches"]

STEP = 13  # odd: patches lie at all places relative to the grid of a network's strides


def read_patches(file: str, size: tuple[int, int], *, longest: int, channels: int | None) -> ImageSet:
    """Patches of a photograph, named by where they lie, as ``x26-y13``, at most `STEP` pixels apart.

    Args:
        file: the photograph.
        size: (height, width) of a patch in pixels.
        longest: the longer side of the photograph in pixels, to which it is reduced if it is larger.
        channels: 1 or 3; None for 1 if the photograph is grey and 3 otherwise.

    Raises:
        InputError: there is no such image file, or it is smaller than a patch.
    """
    image = _reduced(file, longest)
    height, width = size
    if image.height < height or image.width < width:
        least = f"{image.width} × {image.height} pixels when reduced to --longest {longest}"
        raise InputError(f"size: patches of {width} × {height} pixels do not fit into {printable(file)}, {least}")
    pixels = np.asarray(image)
    if channels == 1 or (channels is None and (pixels == pixels[..., :1]).all()):
        pixels = np.asarray(image.convert("L"))[..., None]
    corners = [(x, y) for y in _places(image.height, height) for x in _places(image.width, width)]
    patches: NDArray[np.uint8] = np.stack([pixels[y : y + height, x : x + width] for x, y in corners])
    return ImageSet(tuple(f"x{x}-y{y}" for x, y in corners), torch.from_numpy(patches).permute(0, 3, 1, 2))


def read_damaged(file: str, *, longest: int, grid: int, channels: int) -> ImageSet:
    """A photograph with transparent pixels, which are hidden, as a set of one image.

    If any are, its sides are brought to multiples of ``grid`` by ``padding``.

    Args:
        file: the photograph.
        longest: as for `read_patches`.
        grid: in pixels.
        channels: 1 or 3.

    Raises:
        InputError: there is no such image file, or all of it is hidden.
    """
    image = _reduced(file, longest, transparent=True).convert("RGBA")
    pixels, seen = resized_seen(image, image.height, image.width, "crop", channels)
    if not seen.any():
        raise InputError(f"{printable(file)}: every pixel is hidden")
    names, images = (printable(Path(file).name),), torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    if seen.all():
        return ImageSet(names, images)
    right, below = (-side % grid for side in image.size)
    images, mask = (pad(each, (0, right, 0, below)) for each in (images, torch.from_numpy(seen)[None, None]))
    return ImageSet(names, chequered(images, mask), masks=mask, padding=(below, right))


def _reduced(file: str, longest: int, *, transparent: bool = False) -> Image.Image:
    if Path(file).is_dir():
        raise InputError(f"{printable(file)}: is a folder; a texture is learned from one photograph, an image file")
    with quiet():
        image = decode(Path(file), printable(file), transparent=transparent)
    factor = longest / max(image.size)
    if factor >= 1:
        return image
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _places(side: int, part: int) -> list[int]:
    """Where parts of a side begin, from its beginning to its end."""
    return [*range(0, side - part, STEP), side - part]
