"""A folder of images: its order, its classes, its channels, and what is refused. Odd folders are in tests/badinput."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import load_images, read_folder, smaller_sides
from anasyn.errors import InputError

from ..badinput.bytes_of import header, png
from .pictures import BLACK, RED, WHITE, blocks, folder_of, is_one_line, quarters, ramp, saved


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


def test_damaged_files_are_skipped_by_name(tmp_path):
    folder_of(tmp_path, quarters(), quarters(16, 16), Image.new("RGB", (300, 300)))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    (tmp_path / "1b.jpg").write_text("<html>")
    (tmp_path / "1c.heic").write_bytes(b"....ftypheic")
    read = read_folder(tmp_path, 8)
    assert read.names == ("0.png", "2.png")
    assert read.pixels[1].max() == 0
    assert read.pixels[0].max() == 255
    assert [line.split(":")[0] for line in read.skipped] == ["1.png", "1b.jpg", "1c.heic"]
    with pytest.raises(InputError) as error:
        read_folder(tmp_path, 8, strict=True)
    assert is_one_line(error, tmp_path / "1.png")


def test_load_images(tmp_path):
    folder_of(tmp_path, Image.new("RGB", (80, 80), WHITE), Image.new("RGB", (80, 90), BLACK))
    for options, shape in (({}, (64, 64)), ({"size": (32, 48), "channels": 1}, (32, 48))):
        loaded = load_images(str(tmp_path), **options)
        assert (loaded.shape, loaded.dtype) == ((2, options.get("channels", 3), *shape), torch.float32)
        assert (loaded[0] == 1).all()
        assert (loaded[1] == -1).all()


def test_smaller_sides_come_from_the_headers(tmp_path):
    folder_of(tmp_path, quarters(50, 30), quarters(20, 40))
    (tmp_path / "2.png").write_bytes(png(header(700, 600), b""))  # it has no pixels
    (tmp_path / "3.png").write_text("")
    assert smaller_sides(tmp_path) == [30, 20, 600]


# ---- grey and colour


def grey(level):
    return Image.new("L", (20, 20), level)


def test_channels_follow_the_images(tmp_path):
    pictures = {
        "a.png": grey(50),
        "b.jpg": grey(120),
        "c.png": grey(200).convert("RGB"),
        "d.png": Image.new("1", (20, 20), 1),
    }
    saved(tmp_path, pictures)
    read = read_folder(tmp_path, 16, channels=None)
    assert read.pixels.shape == (4, 1, 16, 16)
    assert read.pixels[:, 0, 8, 8].tolist() == [50, 120, 200, 255]
    assert read.pixels.untyped_storage().nbytes() == read.pixels.numel()  # the other channels are not kept
    assert torch.equal(read.pixels, read_folder(tmp_path, 16, channels=1).pixels)
    assert torch.equal(read.pixels.expand(-1, 3, -1, -1), read_folder(tmp_path, 16).pixels)

    blocks(20, 20).save(tmp_path / "e.png")  # one image in colour, and all have three channels
    mixed = read_folder(tmp_path, 16, channels=None)
    assert torch.equal(mixed.pixels, read_folder(tmp_path, 16, channels=3).pixels)
    assert torch.equal(mixed.pixels[:4], read.pixels.expand(-1, 3, -1, -1))
    one = read_folder(tmp_path, 16, channels=1)
    assert torch.equal(one.pixels[:4], read.pixels)
    assert one.fingerprint != mixed.fingerprint


@pytest.mark.parametrize("level", [(100, 100, 101), (100, 101, 100), (101, 100, 100)])
def test_a_trace_of_colour_in_one_pixel_is_colour(tmp_path, level):
    almost = grey(100).convert("RGB")
    almost.putpixel((19, 19), level)
    assert read_folder(folder_of(tmp_path, grey(100), almost), 20, channels=None).pixels.shape == (2, 3, 20, 20)


def test_an_image_that_is_skipped_has_no_say_in_the_channels(tmp_path):
    folder_of(tmp_path, grey(1), grey(2), blocks(20, 20))
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:100])
    read = read_folder(tmp_path, 8, channels=None)
    assert read.pixels.shape == (2, 1, 8, 8)
    assert len(read.skipped) == 1


def test_grey_of_16_bits_is_one_channel_with_all_its_levels(tmp_path):
    deep, shallow = Image.fromarray(ramp(65535, np.uint16)), Image.fromarray(ramp())
    read = read_folder(saved(tmp_path, {"a.png": deep, "b.tiff": deep, "c.png": shallow}), 16, channels=None)
    assert read.pixels.shape == (3, 1, 16, 16)
    assert (read.pixels == torch.from_numpy(ramp())).all()


# ---- classes


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("b/1.png", "a/2.png", "a/10.png"), ("a", "a", "b")),
        (("a/x/1.png", "a/y/z/2.png", "b/x/1.png"), ("a", "a", "b")),  # nested: the top-level folder is the class
        (("1/a.png", "02/a.png", "10/a.png"), ("1", "02", "10")),
        (("a/1.png", "b/1.png", "stray.png"), None),
        (("a/1.png", "a/2.png"), None),  # one class tells nothing apart
        (("a/x/1.png", "a/y/2.png"), None),
        (("1.png", "2.png"), None),
        (("a/1.png", "b/1.png", ".cache/1.png", "a/.2.png"), ("a", "b")),  # hidden, so not read
        (("a/1.png", "a/2.png", ".cache/1.png"), None),
        (("two\nlines/1.png", "a\\b/1.png"), ("a\\\\b", "two\\nlines")),  # printable, as the names are
    ],
)
def test_class_folders_give_the_labels(tmp_path, names, labels):
    read = read_folder(saved(tmp_path, dict.fromkeys(names, quarters())), 8)
    assert read.labels == labels


def test_labels_belong_to_the_images_that_are_kept(tmp_path):
    names = ("a/1.png", "a/2.png", "b/1.png", "c/1.png")
    saved(tmp_path, {name: Image.new("RGB", (8, 8), RED) for name in names})
    for name in ("a/1.png", "c/1.png", "stray.png"):
        (tmp_path / name).write_text("damaged")
    read = read_folder(tmp_path, 8)
    assert (read.names, read.labels) == (("a/2.png", "b/1.png"), ("a", "b"))
    flat = tmp_path.parent / "flat"
    flat.mkdir()
    saved(flat, {"1.png": Image.new("RGB", (8, 8), RED), "2.png": Image.new("RGB", (8, 8), RED)})
    assert read_folder(flat, 8).fingerprint == read.fingerprint  # names and labels do not count


# ---- folders that cannot be used


def break_folder(tmp_path, how):
    folder = tmp_path / "faces"
    if how == "is a file":
        folder.write_text("")
    elif how != "is not there":
        folder.mkdir()
        (folder / "README.md").write_text("")
        if how != "no images":
            quarters().save(folder / "0.png")
        if how == "1 skipped: 1.png":
            (folder / "1.png").write_text("")
    return folder


@pytest.mark.parametrize("read", [load_images, smaller_sides])
@pytest.mark.parametrize("how", ["is a file", "is not there", "no images", "only 1 usable image", "1 skipped: 1.png"])
def test_an_unusable_folder(tmp_path, read, how):
    folder = break_folder(tmp_path, how)
    with pytest.raises(InputError) as error:
        read(folder)
    assert is_one_line(error, folder, how)


def test_an_unreadable_folder(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="Permission denied") as error:
        read_folder(tmp_path, 8)
    assert is_one_line(error, tmp_path, "readable")
