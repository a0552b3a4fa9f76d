"""Folders of images: every image file in a folder and its subfolders, as one set."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .decoding import FORMATS, decode, opened, printable, quiet
from .frames import is_animation
from .masks import MaskFile, Transparent, matched, under_mask
from .pixels import ImageSet, chequered, to_float
from .resizing import Fit, Size, checked, resized, resized_seen

__all__ = ["load_images", "read_folder", "smaller_sides"]

# The last five cannot be decoded, but such files are reported as skipped, since telephones produce them.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff", ".gif",
            ".heic", ".heif", ".avif", ".jp2", ".jxl")  # fmt: skip
FEWEST = 2  # images in a set


def read_folder(
    folder: Path | str,
    size: Size,
    *,
    fit: Fit = "crop",
    channels: int | None = 3,
    strict: bool = False,
    transparent: Transparent = "white",
    masks: Path | str | None = None,
) -> ImageSet:
    """Reads every image in a folder and its subfolders, resized to one size.

    Hidden files and folders, files without an image's suffix, and links to folders are ignored. Where every image lies
    in a subfolder, and there are at least two of them, the subfolders are classes: they become the images' labels.

    Args:
        folder: path of the folder.
        size: side of a square or (height, width) in pixels, each from 8 to 1024.
        fit: ``crop`` takes the largest centred box of the right aspect ratio, ``stretch`` the whole image.
        channels: 3 for RGB, 1 for grey (colour becomes its luma), None for 1 if every image is grey and 3 otherwise.
        strict: refuse a file that cannot be read, which is otherwise skipped and reported in ``skipped``; and one of
            which every pixel is hidden.
        transparent: ``hidden``: pixels whose alpha, after resizing, is below one half are not seen; ``white``: images
            are seen as on white paper.
        masks: a folder with a mask for each image, of its name (the suffix may differ) and its size in pixels; where a
            mask's luma is below 128, the image counts as transparent and hidden.

    Raises:
        InputError: the folder cannot be read, has fewer than two images, a mask is missing, too many, or of another
            size, or an argument is not allowed.
    """
    folder = Path(folder)
    height, width = checked(size, fit, channels)
    files = _image_files(folder)
    array = np.empty((len(files), height, width, channels or 3), dtype=np.uint8)
    hidden = np.zeros((len(files), 1, height, width), dtype=bool)  # takes no memory before it is written to
    is_grey = np.zeros(len(files), dtype=bool)
    mask_of = None if masks is None else _masks([name for name, _ in files], Path(masks))
    # Twice the size, as JPEG's own reduction is coarse; no reduction under a mask, which has the size of the file.
    least = 2 * max(height, width) if mask_of is None else None

    def read(index: int) -> str | None:
        name, path = files[index]
        try:
            image = decode(path, name, least, transparent=transparent == "hidden")
        except InputError as error:
            return refused(str(error))
        if mask_of is not None:
            image = under_mask(image, mask_of[index])
        if image.mode == "RGBA":
            array[index], seen = resized_seen(image, height, width, fit, channels or 3)
            if not seen.any():
                return refused(f"{name}: every pixel is hidden")
            hidden[index] = ~seen
        else:
            array[index] = resized(image, height, width, fit, channels or 3)
        is_grey[index] = channels is None and (array[index] == array[index, :, :, :1])[~hidden[index, 0]].all()
        return None

    def refused(fault: str) -> str:
        if strict:
            raise InputError(f"{printable(folder)}/{fault}; repair or remove this file")
        return f"{fault}; skipped"

    with quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without the GIL
        outcomes = list(pool.map(read, range(len(files))))

    kept = [index for index, outcome in enumerate(outcomes) if outcome is None]
    skipped = tuple(outcome for outcome in outcomes if outcome is not None)
    _require_enough(folder, len(kept), skipped)
    names = tuple(files[index][0] for index in kept)
    array = array[kept] if skipped else array
    if is_grey[kept].all():
        array = array[..., :1].copy()  # a copy, so that the other two channels are freed
    pixels, seen = torch.from_numpy(array).permute(0, 3, 1, 2), None
    if hidden[kept].any():
        seen = torch.from_numpy(~hidden[kept])
        pixels = chequered(pixels, seen)
    return ImageSet(names, pixels, skipped, _labels(names), seen)


def load_images(
    folder: Path | str, size: Size = 64, *, fit: Fit = "crop", channels: int | None = 3, strict: bool = False
) -> Tensor:
    """The images of a folder as float32 (n, c, H, W) in [−1, 1], in natural order of their names.

    The arguments and errors are those of `read_folder`, which also returns the images' names and the files skipped.
    """
    return to_float(read_folder(folder, size, fit=fit, channels=channels, strict=strict).pixels)


def smaller_sides(folder: Path | str) -> list[int]:
    """The smaller side, in pixels, of each image in a folder, read from the file headers alone.

    Raises:
        InputError: the folder cannot be read or has fewer than two images.
    """
    sides, skipped = [], []
    with quiet():
        for name, path in _image_files(Path(folder)):
            try:
                with opened(path, name) as image:
                    sides.append(min(image.size))
            except InputError as error:
                skipped.append(f"{error}; skipped")
    _require_enough(Path(folder), len(sides), skipped)
    return sides


def _masks(names: Sequence[str], folder: Path) -> list[MaskFile]:
    """The mask of each of the images with these names."""
    try:
        files = _image_files(folder)
    except InputError as error:
        raise InputError(f"masks: {error}") from error
    return matched(names, files, folder)


def _image_files(folder: Path) -> list[tuple[str, Path]]:
    """The printable name and the path of every image file in a folder, in natural order: 2 before 10."""
    shown = printable(folder)
    if not os.path.isdir(folder):  # unlike Path.is_dir, also False where access is denied
        fault = "is a file" if os.path.exists(folder) else "is not there"
        advice = ", or --frames to learn a generator of this animation's frames" if is_animation(folder) else ""
        raise InputError(f"{shown}: {fault}; expected a folder with at least {FEWEST} images in it{advice}")

    def refuse(error: OSError) -> None:
        shown = printable(error.filename)
        raise InputError(f"{shown}: cannot be listed ({error.strerror}); make it readable") from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"{shown}: no images in it; at least {FEWEST} are needed ({', '.join(FORMATS)})")
    named = [(printable(path.relative_to(folder)), path) for path in files]
    return sorted(named, key=lambda item: (_natural(item[0]), item[0]))


def _natural(name: str) -> list[str | int]:
    parts = re.split("([0-9]+)", name.casefold())  # text and digits alternate: numbers are compared with numbers
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _labels(names: Sequence[str]) -> tuple[str, ...] | None:
    """Each image's top-level folder as its class, if there are two or more and every image lies in one."""
    labels = tuple(name.partition("/")[0] for name in names)
    return labels if all("/" in name for name in names) and len(set(labels)) >= 2 else None


def _require_enough(folder: Path, usable: int, skipped: Sequence[str]) -> None:
    if usable < FEWEST:
        found = f"only {usable} usable image" if usable == 1 else "no usable image"
        reason = f" ({len(skipped)} skipped: {skipped[0]})" if skipped else ""
        raise InputError(f"{printable(folder)}: {found}{reason}; at least {FEWEST} are needed")
