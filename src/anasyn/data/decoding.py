"""Image files, decoded safely: bytes of unknown origin become an RGB image or one `InputError`."""

import ctypes
import io
import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, _imaging

from ..errors import InputError

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "decode", "is_opaque", "opened", "printable", "quiet", "read_image",
           "shown"]  # fmt: skip

# Of Pillow's forty decoders only these are given bytes of unknown origin.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20

# What Pillow raises on damaged files: first its own errors, then those of its parsing, which it does not catch (struct,
# zlib, a tag that is missing or of the wrong type).
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError,
           EOFError, LookupError, OverflowError, TypeError, struct.error, zlib.error)  # fmt: skip


def read_image(path: Path | str) -> Image.Image:
    """Reads one image file as RGB: the first frame if it is animated, turned upright, and white where transparent.

    Raises:
        InputError: the file is missing, damaged, too large, or not an image in a known format.
    """
    with quiet():
        return decode(Path(path), printable(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the warnings of Pillow and libtiff: sizes are checked in this module, and real faults raise errors."""
    # Filters and handlers belong to the process, not to a thread: enter this around a pool of threads, not inside it.
    log, silent = logging.getLogger("PIL"), logging.NullHandler()
    log.addHandler(silent)
    previous = _libtiff_handlers((None, None))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        _libtiff_handlers(previous)
        log.removeHandler(silent)


def _libtiff_handlers(handlers: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Replaces libtiff's error and warning handlers, which print to standard error, and returns the previous ones."""
    library = ctypes.CDLL(_imaging.__file__)  # Pillow's extension module: libtiff's symbols are found through it
    previous: list[int | None] = []
    for name, handler in zip(("TIFFSetErrorHandler", "TIFFSetWarningHandler"), handlers, strict=False):
        try:
            exchange = library[name]
        except AttributeError:  # this build of Pillow hides libtiff or has none
            break
        exchange.argtypes, exchange.restype = (ctypes.c_void_p,), ctypes.c_void_p
        previous.append(exchange(handler))
    return tuple(previous)


@contextmanager
def opened(file: Path | bytes, name: str) -> Iterator[Image.Image]:
    """Opens an image file and checks its size; faults here and in the block, where it is decoded, are `InputError`s.

    Args:
        file: its path, or its bytes.
        name: what messages call it.
    """
    try:
        if isinstance(file, Path):
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("not a regular file")
        num_bytes = status.st_size if isinstance(file, Path) else len(file)
        if num_bytes > MAX_BYTES:
            raise ValueError(f"{num_bytes} bytes, at most {MAX_BYTES} are read")
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels, at most {MAX_PIXELS} are read")
            yield image
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image of a known format ({', '.join(FORMATS)}), or truncated") from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: {reason}") from error


def decode(file: Path | bytes, name: str, least: int | None = None, *, transparent: bool = False) -> Image.Image:
    """Decodes as `read_image` does; a JPEG is reduced to 1/2, 1/4 or 1/8 as long as no side is below ``least``.

    With ``transparent``, an image that is not opaque everywhere is returned as RGBA.
    """
    with opened(file, name) as image:
        if least is not None:
            image.draft(None, (least, least))  # a square, as the image may be stored on its side
        return shown(image, transparent=transparent)


def shown(image: Image.Image, *, transparent: bool = False) -> Image.Image:
    """An opened image as RGB on white, turned upright; the image itself is turned as well.

    With ``transparent``, an image that is not opaque remains RGBA.
    """
    ImageOps.exif_transpose(image, in_place=True)
    upright = _deep_grey(image) if image.mode.startswith(("I", "F")) else image
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if transparent and not is_opaque(upright):
            return upright
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    return upright.convert("RGB")


def is_opaque(image: Image.Image) -> bool:
    """Whether no pixel of an RGBA image is transparent, not even a little."""
    return image.getchannel("A").getextrema() == (255, 255)


def _deep_grey(image: Image.Image) -> Image.Image:
    """Converts grey levels of 16 or 32 bits, or floats, to 8 bits; Pillow's own conversion would clip them at 255."""
    levels = np.asarray(image)
    if not np.isfinite(levels).all():
        raise ValueError("a pixel is not a finite number")
    # Integers have 16 bits. Floats are in [0, 1], or in [0, 255] if one is above 1.
    top = 65535 if image.mode != "F" else 1 if levels.max() <= 1 else 255
    if levels.min() < 0 or levels.max() > top:
        raise ValueError(f"grey levels from {levels.min()} to {levels.max()}, expected 0 to {top}")
    grey = Image.fromarray(np.rint(levels * np.float32(255 / top)).astype(np.uint8))
    clear = image.info.get("transparency")  # a 16-bit PNG may declare one grey level transparent
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return grey


def printable(name: Path | str) -> str:
    """A name with unprintable characters escaped, and backslashes too, so that different names stay different."""
    shown = name.as_posix() if isinstance(name, Path) else name.replace(os.sep, "/")
    if shown.isprintable() and "\\" not in shown:
        return shown
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in shown)
