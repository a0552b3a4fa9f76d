"""Unusual files that are images nevertheless: each is read as a viewer shows it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from anasyn.data import read_folder, read_image

from ..commands import Command
from .bytes_of import chunk, encoded, grey_png, grey_tiff, header, png, rows
from .small import SMALL

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
DEEP = RAMP.astype(np.uint16) * 257


def quarters() -> Image.Image:
    """Red and green above blue and white, 32 × 16: it looks different in every orientation."""
    small = np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8)
    return Image.fromarray(small.repeat(8, 0).repeat(16, 1))


QUARTERS: Pixels = np.asarray(quarters())
GREY: Pixels = np.repeat(RAMP[..., None], 3, 2)


def on_its_side(format: str) -> bytes:
    """The quarters as a camera stores them when it is held upright. All orientations are in tests/data."""
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    return encoded(Image.fromarray(np.ascontiguousarray(np.rot90(QUARTERS))), format, exif=exif, **options)


def palette(transparency: int | bytes, format: str) -> bytes:
    """Columns of red, green and black, some of them transparent."""
    image = Image.frombytes("P", (3, 3), bytes([0, 1, 2] * 3))
    image.putpalette([*RED, *GREEN, 0, 0, 0])
    return encoded(image, format, transparency=transparency)


def columns(*colours: tuple[int, int, int]) -> Pixels:
    return np.array([colours] * 3, dtype=np.uint8)


def animation(format: str) -> bytes:
    blank = Image.new("RGB", (32, 16))
    return encoded(quarters(), format, save_all=True, append_images=[blank] * 3, duration=40, **lossless(format))


def lossless(format: str) -> dict[str, object]:
    return {"lossless": True} if format == "WEBP" else {}


def flat(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (10, 200, 30))


def plain(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), (10, 200, 30), dtype=np.uint8)


def deep_colour() -> bytes:
    return png(header(16, 16, 16, 2), rows(np.repeat(DEEP[..., None], 3, 2)))


def without_huffman_tables() -> bytes:
    """As frames of motion JPEG are stored; decoders then use the standard tables."""
    return encoded(quarters(), "JPEG", quality=95, subsampling=0).replace(b"\xff\xc4", b"\xff\xe9")


def orientation_nine() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 9
    return encoded(quarters(), "JPEG", exif=exif, quality=95, subsampling=0)


# name: the file's name, its content, the picture, and by how many grey levels a pixel may differ
ODD: dict[str, tuple[str, Callable[[], bytes], Pixels, int]] = {
    "1 by 20,000": ("a.jpg", lambda: encoded(flat(1, 20_000), "JPEG", quality=95), plain(1, 20_000), 3),
    "CMYK in a JPEG": ("a.jpg", lambda: encoded(quarters().convert("CMYK"), "JPEG", quality=100), QUARTERS, 5),
    "CMYK in a TIFF": ("a.tif", lambda: encoded(quarters().convert("CMYK"), "TIFF"), QUARTERS, 0),
    "YCbCr in a TIFF": ("a.tif", lambda: encoded(quarters().convert("YCbCr"), "TIFF"), QUARTERS, 2),
    "a palette with one transparent colour": ("a.png", lambda: palette(1, "PNG"), columns(RED, WHITE, (0, 0, 0)), 0),
    "a palette with half-transparent colours": (
        "a.png",
        lambda: palette(bytes([255, 0, 128]), "PNG"),
        columns(RED, WHITE, (127, 127, 127)),
        0,
    ),
    "a GIF with a transparent colour": ("a.gif", lambda: palette(1, "GIF"), columns(RED, WHITE, (0, 0, 0)), 0),
    "16 bits of grey in a PNG": ("a.png", lambda: encoded(Image.fromarray(DEEP), "PNG"), GREY, 0),
    "16 bits of grey in a TIFF": ("a.tif", lambda: encoded(Image.fromarray(DEEP), "TIFF"), GREY, 0),
    "16 bits of grey, big end first": (
        "a.tif",
        lambda: encoded(Image.frombytes("I;16B", (16, 16), DEEP.astype(">u2").tobytes()), "TIFF"),
        GREY,
        0,
    ),
    "32 bits of grey in a TIFF": ("a.tif", lambda: encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), GREY, 0),
    "floats from 0 to 1 in a TIFF": (
        "a.tif",
        lambda: encoded(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
        GREY,
        0,
    ),
    "floats from 0 to 255 in a TIFF": (
        "a.tif",
        lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
        GREY,
        0,
    ),
    "16 bits of colour in a PNG": ("a.png", deep_colour, GREY, 0),
    "16 bits of grey and of opacity in a PNG": (
        "a.png",
        lambda: png(header(16, 16, 16, 4), rows(np.stack([DEEP, np.full_like(DEEP, 65535)], -1))),
        GREY,
        0,
    ),
    "1 bit in a PNG": (
        "a.png",
        lambda: png(header(8, 1, 1, 0), b"\0\xf0"),
        np.repeat([[np.array(WHITE, np.uint8), np.zeros(3, np.uint8)]], 4, 1),
        0,
    ),
    "an animated PNG": ("a.png", lambda: animation("PNG"), QUARTERS, 0),
    "an animated GIF": ("a.gif", lambda: animation("GIF"), QUARTERS, 0),
    "an animated WebP": ("a.webp", lambda: animation("WEBP"), QUARTERS, 0),
    "a TIFF of four pages": ("a.tif", lambda: animation("TIFF"), QUARTERS, 0),
    "a JPEG stored on its side": ("a.jpg", lambda: on_its_side("JPEG"), QUARTERS, 3),
    "a TIFF stored on its side, under a JPEG's name": ("a.jpg", lambda: on_its_side("TIFF"), QUARTERS, 0),
    "EXIF that is noise": (
        "a.jpg",
        lambda: encoded(quarters(), "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0noise"),
        QUARTERS,
        3,
    ),
    "EXIF of orientation 9": ("a.jpg", orientation_nine, QUARTERS, 3),
    "a progressive JPEG": (
        "a.jpg",
        lambda: encoded(quarters(), "JPEG", progressive=True, quality=95, subsampling=0),
        QUARTERS,
        3,
    ),
    "a JPEG without Huffman tables": ("a.jpg", without_huffman_tables, QUARTERS, 3),
    "a PNG under a JPEG's name": ("a.jpg", lambda: encoded(quarters(), "PNG"), QUARTERS, 0),
    "a JPEG under a PNG's name": ("A.PNG", lambda: encoded(quarters(), "JPEG", quality=95, subsampling=0), QUARTERS, 3),
    "a PNG with more behind its end": ("a.png", lambda: encoded(quarters(), "PNG") + b"trailing" * 99, QUARTERS, 0),
    "a JPEG with more behind its end": (
        "a.jpg",
        lambda: encoded(quarters(), "JPEG", quality=95, subsampling=0) + b"trailing" * 99,
        QUARTERS,
        3,
    ),
    "a PNG with a chunk of its own": (
        "a.png",
        lambda: grey_png(8, before=chunk(b"prVt", b"\0" * 99)),
        np.full((8, 8, 3), 90, np.uint8),
        0,
    ),
    "a TIFF by hand": ("a.tif", grey_tiff, np.full((8, 8, 3), 90, np.uint8), 0),
    "a TIFF whose black is white": ("a.tif", lambda: grey_tiff(photometric=0), np.full((8, 8, 3), 165, np.uint8), 0),
    "a BMP of 32 bits": ("a.bmp", lambda: encoded(quarters().convert("RGBA"), "BMP"), QUARTERS, 0),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_the_picture_that_it_shows(name: str, folder: Path) -> None:
    file, content, picture, tolerance = ODD[name]
    (folder / file).write_bytes(content())
    image = read_image(folder / file)
    assert (image.mode, image.size) == ("RGB", picture.shape[1::-1])
    assert np.abs(np.asarray(image, dtype=int) - picture).max() <= tolerance
    read = read_folder(folder, 16, fit="stretch", strict=True)
    shown = Image.fromarray(picture).resize((16, 16), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = read.pixels[read.names.index(file)].permute(1, 2, 0).numpy()
    assert np.abs(pixels.astype(int) - np.asarray(shown)).max() <= tolerance + 3


def test_all_of_them_are_learned_from_without_a_warning(command: Command, tmp_path: Path, no_figures: None) -> None:
    (tmp_path / "data").mkdir()
    for number, (file, content, *_) in enumerate(ODD.values()):
        (tmp_path / "data" / f"{number}{file}").write_bytes(content())
    done = command("learn", "generator", "--data", tmp_path / "data", "--out", tmp_path / "run", *SMALL, "--strict")
    assert (done.status, done.err) == (0, "")
