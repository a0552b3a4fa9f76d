"""One image file: decoded as a viewer shows it, or refused in one line. Damaged and odd files are in tests/badinput."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anasyn.data import read_image
from anasyn.errors import InputError

from .pictures import BLACK, BLUE, GREEN, RED, WHITE, assert_near, is_one_line, quarters, ramp


def corners(image):
    """The pixels of the four corners: top left, top right, bottom left, bottom right."""
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("jpg", {"quality": 95, "subsampling": 0}, 3),
        ("png", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("tif", {"compression": "tiff_lzw"}, 0),
        ("gif", {}, 0),
    ],
)
def test_formats(tmp_path, suffix, options, tolerance):
    path = tmp_path / f"a.{suffix}"
    quarters().save(path, **options)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (32, 16))
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE], tolerance)


def test_a_jpeg_with_a_second_picture(tmp_path):
    second = Image.new("RGB", (32, 16))
    quarters().save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    assert_near(corners(read_image(tmp_path / "a.jpg")), [RED, GREEN, BLUE, WHITE], 12)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    # From the upright picture to the one that the camera stores: the inverse of what a viewer does.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(quarters()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.size == (32, 16)
    assert_near(corners(image), [RED, GREEN, BLUE, WHITE], 3)


@pytest.mark.parametrize(
    ("mode", "stored", "shown"),
    [
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), WHITE),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), WHITE),
        ("RGBA", (*BLACK, 128), (127, 127, 127)),
        ("1", 1, WHITE),
        ("1", 0, BLACK),
        ("RGB", BLUE, BLUE),
    ],
)
def test_modes(tmp_path, mode, stored, shown):
    Image.new(mode, (9, 9), stored).save(tmp_path / "a.png")
    assert (np.asarray(read_image(tmp_path / "a.png")) == shown).all()


def test_deep_grey_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(ramp(65535, np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert (np.asarray(read_image(tmp_path / "a.png"))[..., 0].ravel() == np.arange(256)[::-1]).all()


def test_deep_grey_with_a_transparent_level(tmp_path):
    Image.fromarray(ramp(65535, np.uint16)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    chunk = b"tRNS" + struct.pack(">H", 257 * 7)
    end_of_header = 8 + 25  # the signature and IHDR
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(data[:end_of_header] + chunk + data[end_of_header:])
    grey = np.asarray(read_image(tmp_path / "a.png"))[..., 0].ravel()
    assert grey[7] == 255
    assert (np.delete(grey, 7) == np.delete(np.arange(256), 7)).all()


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, os.mkfifo])
def test_what_is_not_a_file_is_refused(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(InputError) as error:
        read_image(tmp_path / "a.png")
    assert is_one_line(error, tmp_path / "a.png")
