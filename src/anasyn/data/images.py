r"""A folder of images, safely decoded: whatever people keep as pictures becomes uint8 (n, 3, H, W)."""

__all__ = [
    "ImageSet",
    "as_float",
    "load_images",
    "read_folder",
    "read_image",
    "save_image",
    "smaller_sides",
    "to_float",
    "to_uint8",
]  # fmt: skip

import ctypes
import hashlib
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError, _imaging
from torch import Tensor

from anasyn.errors import InputError

# Of Pillow's forty decoders, only these are ever given a stranger's bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_FORMATS = ", ".join(FORMATS)
# The last five are not read, but not passed over in silence either: a telephone's folder is full of them.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff", ".gif",
            ".heic", ".heif", ".avif", ".jp2", ".jxl")  # fmt: skip
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20
SIZES = range(8, 1025)
FEWEST = 2

# What Pillow raises on damaged files: the first line by its own choice; the second from parsing them (struct,
# zlib, a tag that is missing or of the wrong type), which it lets through.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError,
           EOFError, LookupError, OverflowError, TypeError, struct.error, zlib.error)  # fmt: skip

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    r"""Images as they are stored: uint8, and float32 in [−1, 1] only when a batch is drawn.

    Arguments:
        names: File names relative to the folder, in natural order, unique and printable.
        pixels: The images, uint8 (n, 3, H, W).
        skipped: One line for each file that was left out: its name and the reason.
    """

    names: tuple[str, ...]
    pixels: Tensor
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        r"""The SHA-256 of each image's pixels as rows of RGB: the same picture has one under any name."""
        rows = self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        return tuple(hashlib.sha256(image).hexdigest() for image in rows)

    @cached_property
    def fingerprint(self) -> str:
        r"""The SHA-256 of the shape and of the digests in order: the data set's identity."""
        content = [str(tuple(self.pixels.shape)), *self.digests]
        return hashlib.sha256(" ".join(content).encode()).hexdigest()


def to_float(pixels: Tensor) -> Tensor:
    r"""uint8 (n, 3, H, W) → float32 in [−1, 1], x / 127.5 − 1, channels-last in memory."""
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels: expected uint8, got {pixels.dtype}")
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1)


def as_float(images: Tensor) -> Tensor:
    r"""What is stored as uint8 becomes float32 when its batch is drawn; floats are what they are.

    Images come out channels-last in memory, whatever they were.
    """
    if images.dtype == torch.uint8:
        return to_float(images)
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def to_uint8(images: Tensor) -> Tensor:
    r"""Floats in [−1, 1] of any shape, clamped and rounded → uint8.

    Raises:
        ValueError: A value is not a number.
    """
    if images.isnan().any():
        raise ValueError("images: a value is not a number")
    return images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def read_folder(folder: Path | str, size: int, *, fit: Fit = "crop", strict: bool = False) -> ImageSet:
    r"""Reads every image in a folder and its subfolders as squares of `size` pixels.

    Hidden files and files whose suffix is no image's are passed over; folders that are links are not entered.

    Arguments:
        folder: Where the images are.
        size: The side in pixels, 8 to 1024.
        fit: `crop` takes the centre square, `stretch` the whole image; then it is resized with antialiasing.
        strict: Whether a file that cannot be read is an error, rather than a line in `skipped`.

    Raises:
        InputError: The folder, its content or an argument is not as it should be.
    """
    folder = Path(folder)
    if not isinstance(size, int) or size not in SIZES:
        raise InputError(f"size: expected an integer from {SIZES[0]} to {SIZES[-1]} (pixels), got {size!r}")
    if fit not in ("crop", "stretch"):
        raise InputError(f"fit: expected crop or stretch, got {fit!r}")
    files = _image_files(folder)
    array = np.empty((len(files), size, size, 3), dtype=np.uint8)

    def read(index: int) -> str | None:
        name, path = files[index]
        try:
            image = _decode(path, name, least=2 * size)  # twice, as JPEG's own scaling is coarse
        except InputError as error:
            if strict:
                raise InputError(f"{_printable(folder)}/{error}; mend or remove this file") from error
            return f"{error}; left out"
        array[index] = np.asarray(_square(image, size, fit))
        return None

    with _quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without the GIL
        outcomes = list(pool.map(read, range(len(files))))

    kept = [index for index, outcome in enumerate(outcomes) if outcome is None]
    skipped = tuple(outcome for outcome in outcomes if outcome is not None)
    _require_enough(folder, len(kept), skipped)
    names = tuple(files[index][0] for index in kept)
    pixels = torch.from_numpy(array[kept] if skipped else array).permute(0, 3, 1, 2)
    return ImageSet(names, pixels, skipped)


def load_images(folder: Path | str, size: int = 64, *, fit: Fit = "crop", strict: bool = False) -> Tensor:
    r"""The images of a folder as float32 (n, 3, size, size) in [−1, 1], in the natural order of their names.

    What cannot be read is left out, or refused if `strict`; `read_folder` tells what, and has the arguments.
    """
    return to_float(read_folder(folder, size, fit=fit, strict=strict).pixels)


def read_image(path: Path | str) -> Image.Image:
    r"""One image file (of an animation, the first frame) as RGB, upright, white where it is transparent.

    Raises:
        InputError: The file is missing, damaged, not an image of a known format, or too big.
    """
    with _quiet():
        return _decode(Path(path), _printable(path))


def smaller_sides(folder: Path | str) -> list[int]:
    r"""The smaller side in pixels of each image in a folder, from the headers alone.

    Raises:
        InputError: As for `read_folder`.
    """
    sides, skipped = [], []
    with _quiet():
        for name, path in _image_files(Path(folder)):
            try:
                with _opened(path, name) as image:
                    sides.append(min(image.size))
            except InputError as error:
                skipped.append(f"{error}; left out")
    _require_enough(Path(folder), len(sides), skipped)
    return sides


def save_image(path: Path | str, pixels: Tensor) -> None:
    r"""Writes one image, uint8 (3, H, W), as PNG."""
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy()).save(path, format="PNG")


# ---- the folder


def _image_files(folder: Path) -> list[tuple[str, Path]]:
    r"""The printable name and the path of every image file under a folder, in natural order: 2 before 10."""
    shown = _printable(folder)
    if not os.path.isdir(folder):  # unlike Path.is_dir, False too for what may not be looked at
        what = "is a file" if os.path.exists(folder) else "is not there"
        raise InputError(f"{shown}: {what}; expected a folder with at least {FEWEST} images in it")

    def refuse(error: OSError) -> None:
        shown = _printable(error.filename)
        raise InputError(f"{shown}: cannot be listed ({error.strerror}); make it readable") from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"{shown}: no images in it; put at least {FEWEST} in it ({_FORMATS})")
    named = [(_printable(path.relative_to(folder)), path) for path in files]
    return sorted(named, key=lambda item: (_natural(item[0]), item[0]))


def _natural(name: str) -> list[str | int]:
    parts = re.split("([0-9]+)", name.casefold())  # text and digits alternate: like is compared with like
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _printable(name: Path | str) -> str:
    r"""A name on one line, whatever its bytes; the backslash is escaped too, so that names stay unique."""
    shown = Path(name).as_posix()
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in shown)


def _require_enough(folder: Path, usable: int, skipped: Sequence[str]) -> None:
    if usable < FEWEST:
        found = f"only {usable} usable image" if usable == 1 else "no usable image"
        reason = f" ({len(skipped)} left out: {skipped[0]})" if skipped else ""
        raise InputError(f"{_printable(folder)}: {found}{reason}; put at least {FEWEST} in it")


# ---- one file


@contextmanager
def _quiet() -> Iterator[None]:
    r"""Keeps from the user what Pillow says beside: sizes are checked here, and what matters is an error."""
    # Filters and handlers are the process's, not the thread's: entered once, around all workers, never in one.
    log, silent = logging.getLogger("PIL"), logging.NullHandler()
    log.addHandler(silent)
    printing = _libtiff_handlers((None, None))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        _libtiff_handlers(printing)
        log.removeHandler(silent)


def _libtiff_handlers(handlers: tuple[int | None, ...]) -> tuple[int | None, ...]:
    r"""Exchanges what libtiff calls on errors and warnings; its own print to standard error, and Pillow lets them."""
    library = ctypes.CDLL(_imaging.__file__)  # Pillow's decoders: what they are linked with is found through them
    before: list[int | None] = []
    for name, handler in zip(("TIFFSetErrorHandler", "TIFFSetWarningHandler"), handlers, strict=False):
        try:
            exchange = library[name]
        except AttributeError:  # a Pillow whose libtiff is hidden or missing
            break
        exchange.argtypes, exchange.restype = (ctypes.c_void_p,), ctypes.c_void_p
        before.append(exchange(handler))
    return tuple(before)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    r"""The image at `path`, its header read, its size checked; what goes wrong inside is one InputError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"{status.st_size} bytes, at most {MAX_BYTES} are read")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels, at most {MAX_PIXELS} are read")
            yield image
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image of a known format ({_FORMATS}), or cut short") from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: {reason}") from error


def _decode(path: Path, name: str, least: int | None = None) -> Image.Image:
    r"""Decodes as `read_image` does; a JPEG perhaps at 1/2, 1/4 or 1/8, its sides still `least` or more."""
    with _opened(path, name) as image:
        if least is not None:
            image.draft(None, (least, least))
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _deep_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    r"""Grey of 16 bits or more, or float, in 8 bits: Pillow's own conversion would clip it at 255."""
    levels = np.asarray(image)
    if not np.isfinite(levels).all():
        raise ValueError("a pixel is not a finite number")
    # Integers are 16-bit. Floats are in [0, 1], or in 8-bit grey levels where one is above 1.
    top = 65535 if image.mode != "F" else 1 if levels.max() <= 1 else 255
    if levels.min() < 0 or levels.max() > top:
        raise ValueError(f"grey levels from {levels.min()} to {levels.max()}, expected 0 to {top}")
    grey = Image.fromarray(np.rint(levels * np.float32(255 / top)).astype(np.uint8))
    clear = image.info.get("transparency")  # the one grey level that a 16-bit PNG may declare transparent
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return grey


def _square(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    width, height, side = *image.size, min(image.size)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, width, height)
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
