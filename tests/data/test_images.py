r"""Whatever people keep as pictures is read as the picture that it shows, or refused in one line."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import images
from anasyn.data.images import (
    ImageSet,
    load_images,
    read_folder,
    read_image,
    save_image,
    smaller_sides,
    to_float,
    to_uint8,
)  # fmt: skip
from anasyn.errors import InputError

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def quarters(width=32, height=16):
    """A picture that looks different in every orientation: red, green over blue, white."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = slice(height // 2), slice(width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    picture[top, left], picture[top, right] = RED, GREEN
    picture[bottom, left], picture[bottom, right] = BLUE, WHITE
    return Image.fromarray(picture)


def corners(image):
    """The pixels of the four corners: top left, top right, bottom left, bottom right."""
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


def assert_near(pixels, expected, tolerance):
    assert np.abs(np.asarray(pixels, dtype=int) - np.asarray(expected, dtype=int)).max() <= tolerance


def is_one_line(error, *parts):
    message = str(error.value)
    return "\n" not in message and all(str(part) in message for part in parts)


# ---- one file


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


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    assert_near(read_image(tmp_path / f"a.{suffix}").getpixel((8, 8)), RED, 2)


def test_a_jpeg_with_a_second_picture(tmp_path):
    second = Image.new("RGB", (32, 16))
    quarters().save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    assert_near(corners(read_image(tmp_path / "a.jpg")), [RED, GREEN, BLUE, WHITE], 12)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    # The camera's way from the upright picture to the stored one: the inverse of what a viewer does.
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
    assert set(np.asarray(read_image(tmp_path / "a.png")).reshape(-1, 3).mean(0)) == set(shown)
    assert read_image(tmp_path / "a.png").getpixel((4, 4)) == shown


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk(tmp_path, suffix):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"a.{suffix}")
    assert_near(read_image(tmp_path / f"a.{suffix}").getpixel((8, 8)), RED, 3)


@pytest.mark.parametrize(("suffix", "transparency"), [("png", 1), ("png", bytes([255, 0, 128])), ("gif", 1)])
def test_a_transparent_palette_is_white(tmp_path, suffix, transparency):
    image = Image.frombytes("P", (3, 3), bytes([0, 1, 2] * 3))
    image.putpalette([*RED, *GREEN, *BLACK])
    image.save(tmp_path / f"a.{suffix}", transparency=transparency)
    last = BLACK if transparency == 1 else (127, 127, 127)
    assert [read_image(tmp_path / f"a.{suffix}").getpixel((x, 1)) for x in range(3)] == [RED, WHITE, last]


RAMP16 = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)


@pytest.mark.parametrize(
    ("suffix", "levels"),
    [
        ("png", RAMP16),
        ("tiff", RAMP16),
        ("tiff", RAMP16.astype(np.int32)),
        ("tiff", (RAMP16 / 65535).astype(np.float32)),
        ("tiff", (RAMP16 / 257).astype(np.float32)),
    ],
)
def test_a_deep_ramp_keeps_256_levels(tmp_path, suffix, levels):
    Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    grey = np.asarray(read_image(tmp_path / f"a.{suffix}"))
    assert (grey == np.arange(256).reshape(16, 16, 1)).all()


def test_deep_grey_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(RAMP16).save(tmp_path / "a.png", exif=exif)
    assert (np.asarray(read_image(tmp_path / "a.png"))[..., 0].ravel() == np.arange(256)[::-1]).all()


def test_deep_grey_with_a_transparent_level(tmp_path):
    Image.fromarray(RAMP16).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    chunk = b"tRNS" + struct.pack(">H", 257 * 7)
    end_of_header = 8 + 25  # the signature and IHDR
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(data[:end_of_header] + chunk + data[end_of_header:])
    grey = np.asarray(read_image(tmp_path / "a.png"))[..., 0].ravel()
    assert grey[7] == 255
    assert (np.delete(grey, 7) == np.delete(np.arange(256), 7)).all()


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        (np.full((4, 4), np.nan, dtype=np.float32), "not a finite number"),
        (np.full((4, 4), np.inf, dtype=np.float32), "not a finite number"),
        (np.full((4, 4), -0.5, dtype=np.float32), "from -0.5"),
        (np.full((4, 4), 300, dtype=np.float32), "from 300"),
        (np.full((4, 4), 70000, dtype=np.int32), "from 70000"),
    ],
)
def test_grey_levels_without_a_scale_are_refused(tmp_path, levels, reason):
    Image.fromarray(levels).save(tmp_path / "a.tiff")
    with pytest.raises(InputError) as error:
        read_image(tmp_path / "a.tiff")
    assert is_one_line(error, "a.tiff", reason)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
@pytest.mark.parametrize("share", [0, 0.1, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError) as error:
        read_image(path)
    assert is_one_line(error, path)


def png_header(width, height):
    """A PNG that declares a size, and has no pixels at all."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"")]
    data = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + data


# 8001² is just too many; Pillow warns from 9460² on, and refuses from 13378² on.
@pytest.mark.parametrize("side", [8001, 10_000, 12_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    with pytest.raises(InputError, match=r"64000000 are read|exceeds limit") as error:
        read_image(tmp_path / "a.png")
    assert is_one_line(error, "a.png")


def test_too_many_bytes_are_refused(tmp_path):
    quarters().save(tmp_path / "a.bmp")
    os.truncate(tmp_path / "a.bmp", images.MAX_BYTES + 1)
    with pytest.raises(InputError, match="bytes, at most"):
        read_image(tmp_path / "a.bmp")


def test_other_formats_are_not_decoded(tmp_path):
    quarters().save(tmp_path / "a.png", format="PPM")
    with pytest.raises(InputError, match="known format"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(InputError) as error:
        read_image(tmp_path / "a.png")
    assert is_one_line(error, tmp_path / "a.png")


# ---- squares


def folder_of(tmp_path, *pictures, suffix="png"):
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    return tmp_path


def stripes():
    """Three squares of 32 side by side: red, green, blue."""
    return Image.fromarray(np.array([[RED, GREEN, BLUE]], dtype=np.uint8)).resize((96, 32), resample=0)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_crop_takes_the_centre(tmp_path, turned, suffix):
    picture = stripes().rotate(90, expand=True) if turned else stripes()
    pixels = read_folder(folder_of(tmp_path, picture, picture, suffix=suffix), 32).pixels
    inside = pixels[:, :, 8:-8, 8:-8]
    assert_near(inside, torch.tensor(GREEN).view(3, 1, 1).expand_as(inside), 3)


def test_crop_at_the_size_itself_is_exact(tmp_path):
    pixels = read_folder(folder_of(tmp_path, stripes(), stripes()), 32).pixels
    assert (pixels == torch.tensor(GREEN).view(3, 1, 1)).all()


def test_stretch_keeps_the_edges(tmp_path):
    pixels = read_folder(folder_of(tmp_path, stripes(), stripes()), 32, fit="stretch").pixels
    for column, colour in ((0, RED), (16, GREEN), (31, BLUE)):
        assert_near(pixels[0, :, :, column], torch.tensor(colour).view(3, 1).expand(3, 32), 6)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_reduction_is_antialiased(tmp_path, suffix):
    # A chessboard of single pixels is grey from afar; taking every 8th pixel would make it black or white.
    board = Image.fromarray((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8))
    pixels = read_folder(folder_of(tmp_path, board, board, suffix=suffix), 64).pixels
    assert_near(pixels, torch.full_like(pixels, 127), 3)


@pytest.mark.parametrize("side", [200, 640, 2000])
def test_a_big_jpeg_decoded_small_is_the_same_picture(tmp_path, side):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((side, side), 3)
    folder_of(tmp_path, picture, picture, suffix="jpg")
    whole = read_image(tmp_path / "0.jpg").resize((32, 32), Image.Resampling.LANCZOS)
    pixels = read_folder(tmp_path, 32).pixels
    assert_near(pixels[0].permute(1, 2, 0), np.asarray(whole), 4)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (20_000, 1), (1, 5000), (7, 300)])
def test_extreme_shapes(tmp_path, fit, width, height):
    picture = Image.new("RGB", (width, height), (10, 200, 30))
    pixels = read_folder(folder_of(tmp_path, picture, picture), 8, fit=fit).pixels
    assert (pixels == torch.tensor((10, 200, 30), dtype=torch.uint8).view(3, 1, 1)).all()


# ---- a folder


def test_a_folder_in_natural_order(tmp_path):
    names = ["10.png", "2.png", "B1.png", "a2.png", "sub/deeper/1.PNG", "sub/1.jpeg", "2.jpg"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / name, quality=100)
    for name in ("README.md", "Thumbs.db", "SHA256SUMS", ".hidden.png", "sub/.DS_Store"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / ".trash").mkdir()
    quarters().save(tmp_path / ".trash/9.png")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    read = read_folder(tmp_path, 8)
    expected = ("2.jpg", "2.png", "10.png", "a2.png", "B1.png", "sub/1.jpeg", "sub/deeper/1.PNG")
    assert (read.names, read.skipped, len(read)) == (expected, (), 7)
    assert read.pixels[:, 0, 4, 4].tolist() == [names.index(name) for name in expected]
    assert (read.pixels.dtype, read.pixels.shape) == (torch.uint8, (7, 3, 8, 8))


def test_damaged_files_are_left_out_by_name(tmp_path):
    folder_of(tmp_path, quarters(), quarters(16, 16), Image.new("RGB", (300, 300)))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    (tmp_path / "1b.jpg").write_text("<html>")
    (tmp_path / "1c.heic").write_bytes(b"....ftypheic")
    read = read_folder(tmp_path, 8)
    assert read.names == ("0.png", "2.png")
    assert read.pixels[1].max() == 0
    assert read.pixels[0].max() == 255
    assert [line.split(":")[0] for line in read.skipped] == ["1.png", "1b.jpg", "1c.heic"]
    assert all(line.endswith("; left out") for line in read.skipped)
    with pytest.raises(InputError) as error:
        read_folder(tmp_path, 8, strict=True)
    assert is_one_line(error, tmp_path / "1.png", "remove")


def test_names_that_are_no_text(tmp_path):
    raw = [b"a\xff.png", b"a\\udcff.png", b"b\nb.png", "caf\u00e9.png".encode()]
    for name in raw:
        quarters().save(os.path.join(tmp_path, os.fsdecode(name)))
    read = read_folder(tmp_path, 8)
    assert sorted(read.names) == ["a\\\\udcff.png", "a\\udcff.png", "b\\nb.png", "caf\u00e9.png"]
    assert all(name.encode() and name.isprintable() for name in read.names)


def break_folder(tmp_path, how):
    folder = tmp_path / "faces"
    if how == "is a file":
        folder.write_text("")
    elif how != "is not there":
        folder.mkdir()
        (folder / "README.md").write_text("")
        if how != "no images":
            quarters().save(folder / "0.png")
        if how == "1 left out: 1.png":
            (folder / "1.png").write_text("")
    return folder


@pytest.mark.parametrize("read", [lambda folder: read_folder(folder, 8), load_images, smaller_sides])
@pytest.mark.parametrize("how", ["is a file", "is not there", "no images", "only 1 usable image", "1 left out: 1.png"])
def test_an_unusable_folder(tmp_path, read, how):
    folder = break_folder(tmp_path, how)
    with pytest.raises(InputError, match="at least 2") as error:
        read(folder)
    assert is_one_line(error, folder, how)


def test_an_unreadable_folder(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="Permission denied") as error:
        read_folder(tmp_path, 8)
    assert is_one_line(error, tmp_path, "readable")


@pytest.mark.parametrize("size", [7, 1025, 0, -8, 64.0, "64", True, None])
def test_a_wrong_size(tmp_path, size):
    folder_of(tmp_path, quarters(), quarters())
    with pytest.raises(InputError, match="size: expected an integer from 8 to 1024"):
        read_folder(tmp_path, size)


def test_a_wrong_fit(tmp_path):
    with pytest.raises(InputError, match="fit: expected crop or stretch, got 'squash'"):
        read_folder(tmp_path, 8, fit="squash")


def test_smaller_sides_come_from_the_headers(tmp_path):
    folder_of(tmp_path, quarters(50, 30), quarters(20, 40))
    (tmp_path / "2.png").write_bytes(png_header(700, 600))  # it has no pixels
    (tmp_path / "3.png").write_text("")
    assert smaller_sides(tmp_path) == [30, 20, 600]


def test_many_files_stay_in_order(tmp_path):
    for number in range(500):
        Image.new("L", (40, 30), number % 256).save(tmp_path / f"{number}.png")
    read = read_folder(tmp_path, 16)
    assert read.pixels[:, 2, 8, 8].tolist() == [number % 256 for number in range(500)]


# ---- numbers


def test_to_float_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16).repeat(2, 1, 1, 1)
    images = to_float(pixels)
    assert (images.dtype, images.min(), images.max()) == (torch.float32, -1, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images, pixels.double().div(127.5).sub(1).float(), rtol=0, atol=1e-6)
    assert (to_uint8(images) == pixels).all()


def test_to_uint8_clamps_and_rounds():
    grey = torch.tensor([-7.0, -1.0, 100.4 / 127.5 - 1, 100.6 / 127.5 - 1, 1.0, 7.0], requires_grad=True)
    assert to_uint8(grey).tolist() == [0, 0, 100, 101, 255, 255]
    with pytest.raises(ValueError, match="not a number"):
        to_uint8(torch.tensor([float("nan")]))


def test_to_float_refuses_floats():
    with pytest.raises(ValueError, match="uint8"):
        to_float(torch.zeros(1, 3, 8, 8))


def test_load_images(tmp_path):
    folder_of(tmp_path, Image.new("RGB", (80, 80), WHITE), Image.new("RGB", (80, 90), BLACK))
    loaded = load_images(str(tmp_path))
    assert (loaded.shape, loaded.dtype) == ((2, 3, 64, 64), torch.float32)
    assert (loaded[0] == 1).all()
    assert (loaded[1] == -1).all()


def test_save_image_is_read_again(tmp_path):
    pixels = torch.randint(256, (2, 3, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for number in range(2):
        save_image(tmp_path / f"{number}.png", pixels[number])
    assert (read_folder(tmp_path, 12).pixels == pixels).all()


def test_digests_are_of_the_content():
    pixels = torch.randint(256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pixels[2] = pixels[0]
    first = ImageSet(("a", "b", "c"), pixels)
    again = ImageSet(("x", "y", "z"), pixels.clone(memory_format=torch.channels_last))
    assert first.digests[0] == first.digests[2] != first.digests[1]
    assert (first.digests, first.fingerprint) == (again.digests, again.fingerprint)
    assert ImageSet(("a", "b", "c"), pixels.flip(0)[[0, 2, 1]]).fingerprint != first.fingerprint
    assert ImageSet(("a", "b", "c"), pixels.view(3, 3, 4, 16)).fingerprint != first.fingerprint
