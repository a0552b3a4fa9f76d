"""Files that are not images, or damaged, or hostile: skipped by name, or refused with --strict."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anasyn.data import read_folder, read_image
from anasyn.data.decoding import MAX_BYTES
from anasyn.errors import InputError

from ..commands import Command, refused, tree, warned
from .bytes_of import (
    EPS,
    FORMATS,
    GZIP,
    HEIC,
    HTML,
    MP4,
    PDF,
    PICKLE,
    SIGNATURE,
    SUFFIX,
    SVG,
    XBM,
    ZIP,
    changed,
    chunk,
    encoded,
    grey_png,
    grey_tiff,
    header,
    noise,
    png,
    tiff,
)  # fmt: skip
from .small import SMALL


def floats(value: float) -> bytes:
    levels = np.full((8, 8), 0.5, dtype=np.float32)
    levels[3, 4] = value
    return encoded(Image.fromarray(levels), "TIFF")


def flipped(data: bytes, at: int) -> bytes:
    return changed(data, at, bytes([data[at] ^ 4]))


def bomb(size: int) -> bytes:
    """This many zeros, compressed without ever being held in memory."""
    pack = zlib.compressobj(1)
    return b"".join(pack.compress(bytes(2**20)) for _ in range(size // 2**20)) + pack.flush()


def jpeg(**options: object) -> bytes:
    return encoded(noise(), "JPEG", **options)


def jpeg_size(width: int, height: int) -> bytes:
    """A JPEG that declares another size than it has."""
    data = jpeg()
    return changed(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def gif_size(width: int, height: int) -> bytes:
    data = encoded(noise(), "GIF")
    return changed(
        changed(data, 6, struct.pack("<HH", width, height)), data.index(b",\0\0\0\0") + 5, b"\xff\xff\xff\xff"
    )


def bmp_size(width: int, height: int) -> bytes:
    return changed(encoded(noise(), "BMP"), 18, struct.pack("<ii", width, height))


UNKNOWN, LARGE = "not an image of a known format (JPEG, PNG, WEBP, BMP, TIFF, GIF)", "at most 64000000 are read"

# name: the file's name, its content, and what the message must contain
BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    # ---- nothing, or hardly anything
    "zero bytes": ("a.png", lambda: b"", UNKNOWN),
    "one byte": ("a.jpg", lambda: b"\xff", UNKNOWN),
    "a page of zeros": ("a.jpg", lambda: bytes(4096), UNKNOWN),
    "noise": ("a.gif", lambda: np.random.default_rng(1).bytes(4096), UNKNOWN),
    "only PNG's signature": ("a.png", lambda: SIGNATURE, UNKNOWN),
    "only JPEG's first marker": ("a.jpg", lambda: b"\xff\xd8", UNKNOWN),
    "JPEG's two ends": ("a.jpg", lambda: b"\xff\xd8\xff\xd9", UNKNOWN),
    "only GIF's signature": ("a.gif", lambda: b"GIF89a", UNKNOWN),
    "only WebP's signature": ("a.webp", lambda: b"RIFF\0\0\0\0WEBPVP8 ", "a.webp: "),
    "only BMP's signature": ("a.bmp", lambda: b"BM", UNKNOWN),
    "only TIFF's signature": ("a.tif", lambda: b"II*\0", UNKNOWN),
    "a transfer's error page": ("a.jpg", lambda: HTML, UNKNOWN),
    # ---- another format under an image's name
    "SVG under a JPEG's name": ("a.jpg", lambda: SVG, UNKNOWN),
    "EPS under a JPEG's name": ("a.jpg", lambda: EPS, UNKNOWN),
    "PDF under a PNG's name": ("a.png", lambda: PDF, UNKNOWN),
    "zip under a PNG's name": ("a.png", lambda: ZIP, UNKNOWN),
    "gzip under a PNG's name": ("a.png", lambda: GZIP, UNKNOWN),
    "a pickle under a JPEG's name": ("a.jpeg", lambda: PICKLE, UNKNOWN),
    "a film under a GIF's name": ("a.gif", lambda: MP4, UNKNOWN),
    "XBM under a BMP's name": ("a.bmp", lambda: XBM, UNKNOWN),
    "PPM under a PNG's name": ("a.png", lambda: encoded(noise(), "PPM"), UNKNOWN),
    "TGA under a TIFF's name": ("a.tiff", lambda: encoded(noise(), "TGA"), UNKNOWN),
    "ICO under a PNG's name": ("a.png", lambda: encoded(noise(), "ICO"), UNKNOWN),
    "JPEG 2000 under a JPEG's name": ("a.jpg", lambda: encoded(noise(), "JPEG2000"), UNKNOWN),
    "HEIC": ("a.heic", lambda: HEIC, UNKNOWN),
    "AVIF": ("a.avif", lambda: HEIC.replace(b"heic", b"avif"), UNKNOWN),
    # ---- decompression bombs
    "a PNG of 60,000 by 60,000": ("a.png", lambda: png(header(60_000, 60_000), b""), "exceeds limit"),
    # 8001² pixels are just too many; Pillow warns from 9460² on, and refuses from 13378² on.
    **{
        f"a PNG of {side:,} by {side:,}": ("a.png", lambda side=side: png(header(side, side), b""), LARGE)
        for side in (8001, 10_000, 12_000)
    },
    "a PNG of 2^31 by 1": ("a.png", lambda: png(header(2**31, 1), b""), "a.png"),
    "a JPEG of 65,500 by 65,500": ("a.jpg", lambda: jpeg_size(65_500, 65_500), "exceeds limit"),
    "a JPEG of 9,000 by 9,000": ("a.jpg", lambda: jpeg_size(9_000, 9_000), LARGE),
    "a GIF of 65,535 by 65,535": ("a.gif", lambda: gif_size(65_535, 65_535), "exceeds limit"),
    "a BMP of 30,000 by 30,000": ("a.bmp", lambda: bmp_size(30_000, 30_000), "exceeds limit"),
    "a TIFF of 50,000 by 50,000": ("a.tif", lambda: grey_tiff(width=50_000, height=50_000), "exceeds limit"),
    "a PNG with 300 MB of text": (
        "a.png",
        lambda: grey_png(before=chunk(b"zTXt", b"Comment\0\0" + bomb(300 * 2**20))),
        "a.png: ",
    ),
    "a PNG with 100 MB of colour profile": (
        "a.png",
        lambda: grey_png(before=chunk(b"iCCP", b"p\0\0" + bomb(100 * 2**20))),
        "a.png: ",
    ),
    # ---- damaged
    "a PNG whose header's checksum is wrong": ("a.png", lambda: changed(grey_png(), 16, b"\1"), UNKNOWN),
    "a PNG with one wrong bit": ("a.png", lambda: flipped(encoded(noise(), "PNG"), 900), "broken data stream"),
    "a PNG whose pixels are no zlib": (
        "a.png",
        lambda: SIGNATURE + header(9, 9) + chunk(b"IDAT", b"pixels") + chunk(b"IEND"),
        "a.png: ",
    ),
    "a PNG without pixels": ("a.png", lambda: SIGNATURE + header(9, 9) + chunk(b"IEND"), "a.png: "),
    "a PNG of no width": ("a.png", lambda: png(header(0, 9), b""), "a.png: "),
    "a PNG of no known colour": ("a.png", lambda: png(header(9, 9, 8, 5), b""), UNKNOWN),
    "a PNG of 3 bits": ("a.png", lambda: png(header(9, 9, 3, 0), b""), UNKNOWN),
    "a PNG whose chunk is 4 GB long": ("a.png", lambda: SIGNATURE + header(9, 9) + b"\xff\xff\xff\xffIDAT", "a.png: "),
    "a JPEG of no height": ("a.jpg", lambda: jpeg_size(24, 0), "a.jpg: "),
    "a JPEG without quantisation tables": ("a.jpg", lambda: jpeg().replace(b"\xff\xdb", b"\xff\xe9"), "a.jpg: "),
    "a JPEG of 12 bits": ("a.jpg", lambda: changed(jpeg(), jpeg().index(b"\xff\xc0") + 4, b"\x0c"), "a.jpg: "),
    "a GIF without a frame": ("a.gif", lambda: b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";", "a.gif: "),
    "a GIF whose codes have 40 bits": (
        "a.gif",
        lambda: (
            b"GIF89a"
            + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 9, 9, 0)
            + b"\x28\1\0\0;"
        ),
        "a.gif: ",
    ),
    "a BMP of a compression that is not known": (
        "a.bmp",
        lambda: changed(encoded(noise(), "BMP"), 30, b"\x63"),
        "a.bmp: ",
    ),
    "a BMP of negative width": ("a.bmp", lambda: bmp_size(-24, 24), "a.bmp: "),
    "a WebP whose stream is noise": ("a.webp", lambda: changed(encoded(noise(), "WEBP"), 20, b"\xa5" * 40), "a.webp: "),
    "a TIFF without a directory": ("a.tif", lambda: b"II*\0\0\0\0\0", "a.tif: "),
    "a TIFF whose directory is elsewhere": ("a.tif", lambda: b"II*\0\xff\xff\xff\x7f", "a.tif: "),
    "a TIFF of no tags": ("a.tif", lambda: tiff([]), "a.tif: "),
    "a TIFF whose pixels are elsewhere": ("a.tif", lambda: grey_tiff(offset=2**31), "a.tif: "),
    "a TIFF with too few pixels": ("a.tif", lambda: grey_tiff(data=b"\1\2\3"), "a.tif: "),
    "a TIFF of a compression that is not known": ("a.tif", lambda: grey_tiff(compression=99), "a.tif: "),
    "a TIFF of 77 bits": ("a.tif", lambda: grey_tiff(bits=77), "a.tif: "),
    "a TIFF of 60,000 samples a pixel": ("a.tif", lambda: grey_tiff(samples=60_000), "a.tif: "),
    **{
        f"a TIFF whose {name} is cut": (
            "a.tif",
            lambda code=code: grey_tiff(compression=code, data=b"\x80\1"),
            "a.tif: ",
        )
        for name, code in {"LZW": 5, "JPEG": 7, "deflate": 8, "PackBits": 32773}.items()
    },
    "a TIFF whose LZW is noise": ("a.tif", lambda: grey_tiff(compression=5, data=b"\x80\xff" * 50), "a.tif: "),
    # ---- numbers that are not grey levels
    "NaN in a TIFF of floats": ("a.tif", lambda: floats(float("nan")), "not a finite number"),
    "infinity in a TIFF of floats": ("a.tif", lambda: floats(float("inf")), "not a finite number"),
    "a negative grey in a TIFF of floats": ("a.tif", lambda: floats(-0.1), "grey levels from -0.1"),
    "a TIFF of floats on no known scale": (
        "a.tif",
        lambda: floats(4095.0),
        "from 0.5 to 4095.0, expected 0 to 255",
    ),
    "a TIFF of 32 bits beyond 16": (
        "a.tif",
        lambda: encoded(Image.fromarray(np.full((8, 8), 2**20, np.int32)), "TIFF"),
        "expected 0 to 65535",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_or_skipped_by_name(name: str, command: Command, folder: Path, tmp_path: Path) -> None:
    file, content, said = BAD[name]
    (folder / file).write_bytes(content())
    before = tree(folder)
    done = command("learn", "generator", "--data", folder, "--out", tmp_path / "run", *SMALL, "--strict")
    refused(done, folder / file, said, "repair or remove this file")
    assert not (tmp_path / "run").exists()
    images = read_folder(folder, 16)
    assert len(images) == 2
    (line,) = images.skipped
    assert line.startswith(f"{file}: ")
    assert said in line
    assert line.endswith("; skipped")
    assert tree(folder) == before


def test_all_of_them_beside_good_ones_are_a_line_of_warning_each(
    command: Command, folder: Path, tmp_path: Path, no_figures: None
) -> None:
    for number, (file, content, _) in enumerate(BAD.values()):
        (folder / f"{number}{file}").write_bytes(content())
    done = command("learn", "generator", "--data", folder, "--out", tmp_path / "run", *SMALL)
    assert done.status == 0
    lines = done.err.splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["warning", f" {number}{file}"] for number, (file, *_) in enumerate(BAD.values())
    ]
    assert all(line.isprintable() and line.endswith("; skipped") for line in lines)


@pytest.mark.parametrize(
    ("format", "animated"),
    [*((format, False) for format in FORMATS), *((format, True) for format in ("PNG", "WEBP", "TIFF", "GIF"))],
)
def test_a_file_that_is_cut_anywhere_is_refused_or_shows_the_whole_picture(
    format: str, animated: bool, tmp_path: Path
) -> None:
    frames = {"save_all": True, "append_images": [noise().rotate(90)]} if animated else {}
    data = encoded(noise(), format, **frames)
    path = tmp_path / f"a.{SUFFIX[format]}"
    path.write_bytes(data)
    whole = np.asarray(read_image(path))
    refusals = 0
    for length in range(0, len(data), len(data) // 100):
        path.write_bytes(data[:length])
        try:
            image = read_image(path)
        except InputError as error:
            said = str(error)
            refusals += 1
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
        else:
            assert np.array_equal(np.asarray(image), whole), length
    assert refusals >= 50  # of 100: the second frame of an animation is not read, and may be cut


def test_no_flipped_bit_changes_a_png_unnoticed(tmp_path: Path) -> None:
    data = encoded(noise(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    whole = np.asarray(read_image(tmp_path / "a.png"))
    for at in range(0, len(data), 7):
        (tmp_path / "a.png").write_bytes(flipped(data, at))
        try:
            image = read_image(tmp_path / "a.png")
        except InputError as error:
            said = str(error)
            assert said.isprintable()
        else:
            assert np.array_equal(np.asarray(image), whole), at


def test_a_file_of_more_than_256_mebibytes_is_skipped(
    command: Command, folder: Path, tmp_path: Path, no_figures: None
) -> None:
    with (folder / "a.bmp").open("wb") as file:
        file.write(encoded(noise(), "BMP"))
        os.truncate(file.fileno(), MAX_BYTES + 1)  # a hole: the disk holds none of it
    learn = ("learn", "generator", "--data", folder, "--out", tmp_path / "run", *SMALL)
    refused(command(*learn, "--strict"), folder / "a.bmp", "at most 268435456 are read")
    warned(command(*learn), "a.bmp: ", "skipped")
