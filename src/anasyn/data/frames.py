"""Animated files: the frames of a GIF, WebP or APNG, as one set in the order in which they are shown."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .decoding import opened, printable, quiet, shown
from .pixels import ImageSet
from .resizing import Fit, Size, checked, resized

__all__ = ["frames_side", "is_animation", "read_frames"]

ANIMATED = ("GIF", "PNG", "WEBP")  # not JPEG or TIFF, whose further pictures are other views or pages
MAX_FRAMES = 10_000
MAX_FILM_PIXELS = 2_000_000_000  # of all frames, before they are resized: about a minute of decoding


def read_frames(file: Path | str, size: Size, *, fit: Fit = "crop", channels: int | None = 3) -> ImageSet:
    """Reads the frames of an animated GIF, WebP or APNG, as a viewer shows them, on white, resized to one size.

    The names are those of the file and the frame, as in "walk.gif#0007", the first being 0. How long each frame is
    shown is not kept.

    Args:
        file: path of the file.
        size, fit, channels: as for `read_folder`.

    Raises:
        InputError: the file is missing, damaged, cut off, too large or no animation, or an argument is not allowed.
    """
    file = Path(file)
    height, width = checked(size, fit, channels)
    rows: list[NDArray[np.uint8]] = []
    with quiet(), opened(file, printable(file)) as image:
        require_animation(image)
        # The picture that an APNG keeps for viewers without animation need not be part of it.
        place, pixels = int(bool(image.info.get("default_image"))), 0
        while sought(image, place):
            pixels += image.width * image.height
            if len(rows) == MAX_FRAMES or pixels > MAX_FILM_PIXELS:
                most = f"{MAX_FRAMES} frames and {MAX_FILM_PIXELS} pixels in all"
                raise ValueError(f"too long a film; at most {most} are read")
            # A copy, as later frames are drawn over this one.
            rows.append(resized(shown(image.copy()), height, width, fit, channels or 3))
            place += 1
        require_whole(image, file, place)
        if len(rows) < 2:
            raise ValueError("an animation of one frame; at least 2 are needed")
    array = np.stack(rows)
    if channels is None and (array == array[..., :1]).all():
        array = array[..., :1].copy()
    names = tuple(f"{printable(file.name)}#{number:04d}" for number in range(len(array)))
    return ImageSet(names, torch.from_numpy(array).permute(0, 3, 1, 2))


def frames_side(file: Path | str) -> int:
    """The smaller side, in pixels, of an animation's frames; raises `InputError` if the file is none."""
    with quiet(), opened(Path(file), printable(file)) as image:
        require_animation(image)
        return min(image.size)


def is_animation(file: Path | str) -> bool:
    """Whether a file is an animated GIF, WebP or APNG of two or more frames."""
    try:
        frames_side(file)
    except InputError:
        return False
    return True


def require_animation(image: Image.Image) -> None:
    if image.format not in ANIMATED or not getattr(image, "is_animated", False):
        raise ValueError("a single picture; expected an animated GIF, WebP or APNG, or a folder of frames")


def sought(image: Image.Image, place: int) -> bool:
    """Goes to a frame; False if there is none."""
    try:
        image.seek(place)
    except EOFError:
        return False
    return True


def require_whole(image: Image.Image, file: Path, found: int) -> None:
    """Raises ValueError if the file ends before the animation does, which decoders take for its end."""
    if image.format == "GIF":  # which does not say how many frames it has, but ends in a semicolon
        with file.open("rb") as content:
            content.seek(-min(1024, file.stat().st_size), os.SEEK_END)
            whole = content.read().rstrip(b"\0").endswith(b";")
    else:
        whole = found == getattr(image, "n_frames", found)
    if not whole:
        raise ValueError(f"cut off after {found} frames; copy the file again")
