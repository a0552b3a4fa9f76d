"""The data of a run, named by one word: a folder, archives, a set of Hugging Face, or a published or drawn set."""

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from ..errors import InputError
from .archives import Archives, is_archives
from .drawn import DRAWN, drawn_factors
from .folders import Folder
from .hub import PREFIX, HubSet
from .masks import Transparent
from .photographs import PHOTOGRAPHS, find
from .pixels import ImageSet
from .reading import MOST_HEADERS, read_source, sides
from .resizing import Fit, Size, checked, resized
from .source import Form, Source

__all__ = ["DRAWN_IMAGES", "full", "load", "named"]

DRAWN_IMAGES = 16  # as few as in a small set of one's own photographs
DRAWN_SIDE = 64  # pixels, if no size is asked for: they can be drawn at any


def named() -> dict[str, str]:
    """The sets that have a name, and what each shows."""
    return {
        "drawn-cats": f"{DRAWN_IMAGES} big-cat faces drawn by the program, from lion to tiger and from left to right",
        "drawn-egrets": f"{DRAWN_IMAGES} egrets drawn by the program, on different backgrounds, their necks in and out",
        "lion-tiger": "11 photographs of lions' and tigers' faces, downloaded from where they were published",
        "egret": "7 photographs of egrets, downloaded from where they were published",
    }


def full(data: str) -> str:
    """The name of a named set, or the absolute path of a folder or of archives."""
    if data.startswith(PREFIX):
        return HubSet(data).full
    return data if data in named() else str(Path(data).resolve())


def load(
    data: str,
    size: Size | Callable[[int], Size],
    *,
    fit: Fit = "crop",
    channels: int | None = 3,
    strict: bool = False,
    transparent: Transparent = "white",
    masks: str | None = None,
) -> ImageSet:
    """The images of a folder, of archives, of a set of Hugging Face, or of a named set.

    A large set is decoded once, into the user's cache, and stays there: see `anasyn.data.cache`.

    A drawn set is drawn as squares of the larger side and then fitted, as a folder of its images would be.

    Args:
        data: a set's name or a folder's path; anything that contains a separator is a path. ``FILE.tar``,
            ``shards-{000..099}.tar`` and a folder of nothing but such files are archives, and ``hf:NAME[:SPLIT]`` is a
            set of Hugging Face, by its name there or by the path of its folder.
        size: side of a square or (height, width) in pixels, each from 8 to 1024; a drawn set's larger at least 16. Or
            the function that gives it of the median of the images' smaller sides, 64 for a drawn set.
        fit: ``crop`` takes the largest centred box of the right aspect ratio, ``stretch`` the whole image.
        channels: 3 for RGB, 1 for grey (colour becomes its luma), None for 1 if every image is grey and 3 otherwise.
        strict: refuse a file that cannot be read, which is otherwise skipped.
        transparent: whether transparent pixels are hidden, or white, as for `read_folder`.
        masks: a folder of masks of the images, as for `read_folder`.

    Raises:
        InputError: there is no such folder or set, it has fewer than two images, the masks are not those of its images,
            or an argument is not allowed.
    """
    if data not in DRAWN:
        source = _source(data, masks)
        if callable(size):
            # Archives would have to be read through, and so their first images do.
            few = Archives(data, MOST_HEADERS) if isinstance(source, Archives) else source
            size = size(int(median(sides(few))))
        form = Form(*checked(size, fit, channels), fit, channels, transparent, strict)
        return read_source(source, form)
    if masks is not None:
        raise InputError(f"masks: {data} is drawn by the program and has no files; expected a folder of images")
    height, width = checked(size(DRAWN_SIDE) if callable(size) else size, fit, channels)
    drawn = DRAWN[data](drawn_factors(DRAWN_IMAGES), max(height, width)).permute(0, 2, 3, 1).contiguous().numpy()
    array = np.stack([resized(Image.fromarray(image), height, width, fit, channels or 3) for image in drawn])
    names = tuple(f"{data}-{i:02d}.png" for i in range(DRAWN_IMAGES))
    return ImageSet(names, torch.from_numpy(array).permute(0, 3, 1, 2))


def _source(data: str, masks: str | None) -> Source:
    """What a word names."""
    if data in PHOTOGRAPHS or not (data.startswith(PREFIX) or is_archives(data)):
        return Folder(_folder(data), None if masks is None else Path(masks))
    if masks is not None:
        raise InputError(f"masks: {data} is no folder; expected a folder of images, each with a mask")
    return HubSet(data) if data.startswith(PREFIX) else Archives(data)


def _folder(data: str) -> Path:
    if data in PHOTOGRAPHS:
        return find(data)
    if "/" not in data and not os.path.exists(data):  # unlike Path.exists, also False for a name that is too long
        raise InputError(f"data: {data} is neither a folder nor one of {', '.join(named())}")
    return Path(data)
