"""The data of a run by one word: a folder of images, a published set, or a drawn one."""

import os
from pathlib import Path
from statistics import median

from ..errors import InputError
from .drawn import DRAWN, drawn_factors
from .images import Fit, ImageSet, read_folder, smaller_sides
from .photographs import PHOTOGRAPHS, find

__all__ = ["DRAWN_IMAGES", "full", "load", "named", "smaller_side"]

DRAWN_IMAGES = 16
"""Images of a drawn set, as few as a person photographs."""


def named() -> dict[str, str]:
    """The sets that have a name, and what each shows."""
    return {
        "drawn-cats": f"{DRAWN_IMAGES} big-cat faces drawn by the program, from lion to tiger and from left to right",
        "drawn-egrets": f"{DRAWN_IMAGES} egrets drawn by the program, on differing grounds and with necks in and out",
        "lion-tiger": "11 photographs of lions' and tigers' faces, fetched from where they were published",
        "egret": "7 photographs of egrets, fetched from where they were published",
    }


def full(data: str) -> str:
    """The word under which the data are found from any working directory: a set's name, or a full path."""
    return data if data in named() else str(Path(data).resolve())


def smaller_side(data: str) -> int | None:
    """The median of the images' smaller sides in pixels; None for a set that is drawn at any size.

    Raises:
        InputError: there is no such folder or set, or it has no images.
    """
    return None if data in DRAWN else int(median(smaller_sides(_folder(data))))


def load(data: str, size: int, *, fit: Fit = "crop", strict: bool = False) -> ImageSet:
    """The images of a folder or of a set that has a name.

    Args:
        data: a set's name, or else a folder's path; what contains a separator is always a path.
        size: side of the images in pixels.
        fit: how an image becomes square.
        strict: refuse a bad file where it would be skipped.

    Raises:
        InputError: there is no such folder or set, or it has fewer than two images.
    """
    if data in DRAWN:
        names = tuple(f"{data}-{i:02d}.png" for i in range(DRAWN_IMAGES))
        return ImageSet(names, DRAWN[data](drawn_factors(DRAWN_IMAGES), size))
    return read_folder(_folder(data), size, fit=fit, strict=strict)


def _folder(data: str) -> Path:
    if data in PHOTOGRAPHS:
        return find(data)
    if "/" not in data and not os.path.exists(data):  # unlike Path.exists, False too for what is too long a name
        raise InputError(f"data: {data} is neither a folder nor one of {', '.join(named())}")
    return Path(data)
