"""Folders of images: every image file in a folder and its subfolders, as one set."""

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path

from torch import Tensor

from ..errors import InputError
from .decoding import FORMATS, printable
from .frames import is_animation
from .masks import MaskFile, Transparent, matched
from .pixels import ImageSet, to_float
from .reading import read_source, sides
from .resizing import Fit, Size, checked
from .source import FEWEST, Form, Source

__all__ = ["Folder", "load_images", "read_folder", "smaller_sides"]

# The last five cannot be decoded, but such files are reported as skipped, since telephones produce them.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff", ".gif",
            ".heic", ".heif", ".avif", ".jp2", ".jxl")  # fmt: skip


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
    height, width = checked(size, fit, channels)
    source = Folder(Path(folder), None if masks is None else Path(masks))
    return read_source(source, Form(height, width, fit, channels, transparent, strict))


def load_images(
    folder: Path | str, size: Size = 64, *, fit: Fit = "crop", channels: int | None = 3, strict: bool = False
) -> Tensor:
    """The images of a folder as float32 (n, c, H, W) in [−1, 1], in natural order of their names.

    The arguments and errors are those of `read_folder`, which also returns the images' names and the files skipped.
    """
    return to_float(read_folder(folder, size, fit=fit, channels=channels, strict=strict).pixels)


def smaller_sides(folder: Path | str) -> list[int]:
    """The smaller side, in pixels, of each image in a folder, read from the file headers alone.

    Of more than a thousand images, these are the sides of a thousand of them, evenly spaced.

    Raises:
        InputError: the folder cannot be read or has fewer than two images.
    """
    return sides(Folder(Path(folder)))


class Folder(Source):
    """The images of a folder and its subfolders, in natural order: 2 before 10.

    Args:
        folder: its path.
        masks: the folder of their masks, if there is one.
    """

    def __init__(self, folder: Path, masks: Path | None = None):
        self.folder, self.masks = folder, masks

    @property
    def title(self) -> str:
        return printable(self.folder)

    @property
    def place(self) -> str:
        return " under ".join(printable(os.path.realpath(each)) for each in (self.folder, self.masks) if each)

    @cached_property
    def identity(self) -> str:
        content = hashlib.sha256()
        for folder, files in ((self.folder, self._unsorted), (self.masks, self._unsorted_masks)):
            for file in sorted(files):
                try:
                    status = os.stat(f"{folder}/{file}")
                    about = f"{status.st_size} {status.st_mtime_ns}"
                except OSError:  # a link to nothing
                    about = "gone"
                content.update(os.fsencode(file) + f"\0{about}\0".encode())
            content.update(b"\0")
        return content.hexdigest()

    def __len__(self) -> int:
        return len(self._unsorted)

    def name(self, index: int) -> str:
        return printable(self._files[index])

    def label(self, index: int) -> str | None:
        """The top-level folder."""
        top, slash, _ = self.name(index).partition("/")
        return top if slash else None

    def content(self, index: int) -> Path:
        return self.folder / self._files[index]

    def mask(self, index: int) -> MaskFile | None:
        return self._matched[index] if self.masks else None

    @cached_property
    def _unsorted(self) -> list[str]:
        return _image_files(self.folder)

    @cached_property
    def _unsorted_masks(self) -> list[str]:
        if self.masks is None:
            return []
        try:
            return _image_files(self.masks)
        except InputError as error:
            raise InputError(f"masks: {error}") from error

    @cached_property
    def _files(self) -> list[str]:
        return sorted(self._unsorted, key=_natural)

    @cached_property
    def _matched(self) -> list[MaskFile]:
        """The mask of each image."""
        assert self.masks is not None
        masks = [(printable(file), self.masks / file) for file in sorted(self._unsorted_masks, key=_natural)]
        return matched([self.name(index) for index in range(len(self))], masks, self.masks)


def _image_files(folder: Path) -> list[str]:
    """The path of every image file in a folder, relative to it."""
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
        inside = os.path.relpath(parent, folder)
        prefix = "" if inside == "." else inside + "/"
        files += [prefix + name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    if not files:
        raise InputError(f"{shown}: no images in it; at least {FEWEST} are needed ({', '.join(FORMATS)})")
    return files


def _natural(file: str) -> str:
    """A key by which numbers in names are compared as numbers: 2 before 10."""
    name = printable(file)
    parts = re.split("([0-9]+)", name.casefold())  # text and digits alternate
    for place in range(1, len(parts), 2):
        digits = parts[place].lstrip("0")
        parts[place] = f"\0{chr(1 + len(digits))}{digits}"  # of two numbers, the one with more digits is larger
    return f"{''.join(parts)}\0\0{name}"
