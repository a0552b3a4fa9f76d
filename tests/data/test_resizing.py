"""Images become the height, width and number of channels asked for: cropped or stretched, antialiased, unbiased."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anasyn.data import read_folder, read_image, resizing
from anasyn.data.resizing import resized
from anasyn.errors import InputError

from .pictures import BLUE, GREEN, RED, WHITE, assert_near, blocks, folder_of, quarters, ramp, stripes

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
sides = st.integers(1, 300)
asked = st.integers(8, 80)


@given(sides, sides, asked, asked)
@few
def test_the_box_is_the_largest_one_of_its_aspect_ratio_and_centred(image_width, image_height, height, width):
    left, top, right, bottom = resizing._centred_box(image_width, image_height, height, width)
    assert 0 <= left < right <= image_width
    assert 0 <= top < bottom <= image_height
    assert right - left == image_width or bottom - top == image_height
    scale = min(image_width / width, image_height / height)
    assert abs((right - left) - scale * width) < 1
    assert abs((bottom - top) - scale * height) < 1
    assert 0 <= (image_width - right) - left <= 1
    assert 0 <= (image_height - bottom) - top <= 1


@given(sides, sides, asked, asked, st.sampled_from(["crop", "stretch"]), st.sampled_from([1, 3]))
@few
def test_the_size_is_exact_and_a_plain_picture_stays_plain(image_width, image_height, height, width, fit, channels):
    array = resized(Image.new("RGB", (image_width, image_height), (70, 70, 70)), height, width, fit, channels)
    assert (array.dtype, array.shape) == (np.uint8, (height, width, channels))
    assert (array == 70).all()


# ---- crop and stretch


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_crop_takes_the_centre(tmp_path, turned, suffix):
    picture = stripes().rotate(90, expand=True) if turned else stripes()
    pixels = read_folder(folder_of(tmp_path, picture, picture, suffix=suffix), 32).pixels
    inside = pixels[:, :, 8:-8, 8:-8]
    assert_near(inside, torch.tensor(GREEN).view(3, 1, 1).expand_as(inside), 3)


def test_crop_at_the_size_itself_is_exact(tmp_path):
    folder_of(tmp_path, stripes(), stripes())
    square = read_folder(tmp_path, 32).pixels
    assert (square == torch.tensor(GREEN).view(3, 1, 1)).all()
    wide = read_folder(tmp_path, (32, 64)).pixels[0]
    assert (wide == torch.from_numpy(np.asarray(stripes())[:, 16:80].copy()).permute(2, 0, 1)).all()


def test_a_rectangle_of_the_pictures_own_shape_is_the_whole_picture(tmp_path):
    folder_of(tmp_path, quarters(96, 64), quarters(96, 64))
    for size in ((32, 48), (64, 96), (128, 192)):
        read = read_folder(tmp_path, size)
        assert read.pixels.shape == (2, 3, *size)
        assert torch.equal(read.pixels, read_folder(tmp_path, size, fit="stretch").pixels)
        corners = read.pixels[0][:, [0, 0, -1, -1], [0, -1, 0, -1]].T
        assert_near(corners, [RED, GREEN, BLUE, WHITE], 1)


def test_a_tall_rectangle_is_cut_from_the_middle(tmp_path):
    read = read_folder(folder_of(tmp_path, stripes(), stripes()), (32, 16))
    assert read.pixels.shape == (2, 3, 32, 16)
    assert (read.pixels == torch.tensor(GREEN).view(3, 1, 1)).all()


def test_stretch_keeps_the_edges(tmp_path):
    folder_of(tmp_path, stripes(), stripes())
    for height in (32, 80):
        pixels = read_folder(tmp_path, (height, 32), fit="stretch").pixels
        for column, colour in ((0, RED), (16, GREEN), (31, BLUE)):
            assert_near(pixels[0, :, :, column], torch.tensor(colour).view(3, 1).expand(3, height), 6)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("size", [8, (8, 40), (40, 8)])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (20_000, 1), (1, 5000), (7, 300)])
def test_extreme_shapes(tmp_path, fit, size, width, height):
    picture = Image.new("RGB", (width, height), (10, 200, 30))
    pixels = read_folder(folder_of(tmp_path, picture, picture), size, fit=fit).pixels
    assert (pixels == torch.tensor((10, 200, 30), dtype=torch.uint8).view(3, 1, 1)).all()


@pytest.mark.parametrize(
    "size", [7, 1025, 0, -8, 64.0, "64", True, None, (64, 7), (1025, 64), (64,), (64, 64, 3), (64, 64.0), [64, 64]]
)
def test_a_wrong_size(tmp_path, size):
    with pytest.raises(InputError, match=r"size: expected an integer from 8 to 1024 \(pixels\), or a pair of them"):
        read_folder(tmp_path, size)


def test_a_wrong_fit(tmp_path):
    with pytest.raises(InputError, match="fit: expected crop or stretch, got 'squash'"):
        read_folder(tmp_path, 8, fit="squash")


@pytest.mark.parametrize("channels", [0, 2, 4, "auto"])
def test_a_wrong_number_of_channels(tmp_path, channels):
    with pytest.raises(InputError, match=f"channels: expected 1, 3, or None .*, got {channels!r}"):
        read_folder(tmp_path, 8, channels=channels)


# ---- antialiasing, and JPEGs decoded at reduced size


@pytest.mark.parametrize("size", [64, (64, 32)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_reduction_is_antialiased(tmp_path, suffix, size):
    # A chessboard of single pixels is grey from afar; taking every 8th pixel would make it black or white.
    board = Image.fromarray((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8))
    pixels = read_folder(folder_of(tmp_path, board, board, suffix=suffix), size).pixels
    assert_near(pixels, torch.full_like(pixels, 127), 3)


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((200, 200), 32),
        ((640, 640), 32),
        ((2000, 2000), 32),
        ((2000, 800), (32, 80)),
        ((800, 2000), (80, 32)),
        ((2000, 800), (80, 32)),
        ((800, 2000), (32, 80)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_big_jpeg_decoded_at_reduced_size_is_the_same_picture(tmp_path, picture, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number in range(2):
        blocks(*picture).save(tmp_path / f"{number}.jpg", quality=95, exif=exif)
    height, width = size if isinstance(size, tuple) else (size, size)
    whole = resized(read_image(tmp_path / "0.jpg"), height, width, "crop", 3)
    assert_near(read_folder(tmp_path, size).pixels[0].permute(1, 2, 0), whole, 5)


@pytest.mark.parametrize(
    ("picture", "size", "decoded"),
    [
        ((1600, 1600), 64, (200, 200)),  # an eighth
        ((1600, 1600), 101, (400, 400)),  # a quarter: an eighth would be less than twice the size
        ((1600, 800), 64, (400, 200)),
        ((1600, 800), (32, 64), (400, 200)),
        ((1600, 800), (101, 8), (800, 400)),
        ((1600, 800), 400, (1600, 800)),
    ],
)
def test_a_jpeg_is_decoded_at_no_less_than_twice_the_size_asked_for(tmp_path, monkeypatch, picture, size, decoded):
    seen = []

    def spy(image, *arguments):
        seen.append(image.size)
        return resized(image, *arguments)

    monkeypatch.setattr("anasyn.data.source.resized", spy)
    read_folder(folder_of(tmp_path, blocks(*picture), blocks(*picture), suffix="jpg"), size)
    assert seen == [decoded] * 2


# ---- grey and colour


def test_colour_becomes_its_luma():
    array = resized(quarters(32, 16), 16, 32, "crop", 1)
    assert array[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist() == [76, 150, 29, 255]  # ITU-R BT.601
    picture = blocks(40, 40)
    luma = np.asarray(picture, dtype=float) @ (0.299, 0.587, 0.114)
    assert_near(resized(picture, 40, 40, "crop", 1)[..., 0], np.rint(luma), 1)


def test_grey_levels_are_kept():
    picture = Image.fromarray(ramp()).convert("RGB")
    grey = resized(picture, 16, 16, "crop", 1)
    assert (grey[..., 0] == ramp()).all()
    assert (resized(picture, 24, 10, "stretch", 3) == resized(picture, 24, 10, "stretch", 1)).all()
