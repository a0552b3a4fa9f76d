"""Pixels that are not seen: transparency, folders of masks, resizing at the border of a hole, and the chequerboard."""

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import ImageSet, chequered, read_folder, spread
from anasyn.data.sources import load
from anasyn.errors import InputError

from ..planting import plant
from .pictures import RED, assert_near, blocks, folder_of, is_one_line, quarters, saved

COLOUR = (100, 150, 200)


def holed(picture, alpha):
    """The picture with this alpha, (height, width) or one number."""
    clear = picture.convert("RGBA")
    clear.putalpha(Image.fromarray(np.broadcast_to(alpha, picture.size[::-1]).astype(np.uint8)))
    return clear


def hole(height, width, level=0):
    """Alpha, 255 but for a rectangle off the centre that is cut by no pixel of the sizes below."""
    alpha = np.full((height, width), 255)
    alpha[height // 4 : height // 2 + 3, width // 8 : width // 2 + 5] = level
    return alpha


def under_hole(hidden, size=(96, 64)):
    """A picture of one colour whose hidden pixels are of another."""
    alpha = hole(*size[::-1])
    array = np.where(alpha[..., None] == 255, COLOUR, hidden).astype(np.uint8)
    return holed(Image.fromarray(array), alpha)


def mask_of(alpha):
    return Image.fromarray(alpha.astype(np.uint8))


# ---- transparency


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_transparent_pixels_are_hidden(tmp_path, suffix):
    alpha = hole(32, 32)
    picture = holed(blocks(32, 32), alpha)
    for number in range(2):
        picture.save(tmp_path / f"{number}.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    read = read_folder(tmp_path, 32, transparent="hidden")
    assert read.masks.dtype == torch.bool
    assert torch.equal(read.masks, torch.from_numpy(alpha == 255).expand(2, 1, 32, 32))
    shown = torch.from_numpy(np.array(blocks(32, 32))).permute(2, 0, 1).expand(2, -1, -1, -1)
    assert torch.equal(read.pixels, chequered(shown, read.masks))


def half_or_more(tmp_path):
    """Whether alpha 127 is hidden and 128 is seen, at the size itself; and a quarter of a hole in resized pixels."""
    folder_of(tmp_path, *(holed(blocks(16, 16), level) for level in (127, 128, 254, 255)))
    read = read_folder(tmp_path, 16, transparent="hidden")
    halves = np.full((64, 64), 255)
    halves[:, 32:] = 0
    halves[1::4, 30] = halves[1::4, 31] = 0  # the column of two pixels before the border keeps three quarters
    folder_of(tmp_path / "two", holed(blocks(64, 64), halves), holed(blocks(64, 64), halves))
    two = read_folder(tmp_path / "two", (16, 32), transparent="hidden", fit="stretch")
    return (
        read.names == ("1.png", "2.png", "3.png")
        and read.masks is None
        and torch.equal(two.masks, (torch.arange(32) < 16).expand(2, 1, 16, 32))
    )


@pytest.mark.parametrize("threshold", ["alpha > 0", "alpha >= 255 / 4", "alpha > 255 * 0.9"])
def test_a_pixel_is_seen_where_alpha_is_at_least_one_half(tmp_path, monkeypatch, threshold):
    (tmp_path / "right").mkdir()
    assert half_or_more(tmp_path / "right")
    plant(monkeypatch, "anasyn.data.resizing:resized_seen", {"alpha >= 255 / 2": threshold})
    (tmp_path / "wrong").mkdir()
    assert not half_or_more(tmp_path / "wrong")


def test_an_image_with_nothing_hidden_is_read_as_ever(tmp_path):
    opaque = blocks(80, 80).convert("RGBA")
    folder_of(tmp_path, opaque, blocks(300, 200), holed(blocks(80, 80), hole(80, 80)))
    read, plain = read_folder(tmp_path, 32, transparent="hidden"), read_folder(tmp_path, 32)
    assert plain.masks is None
    assert torch.equal(read.pixels[:2], plain.pixels[:2])
    assert read.digests[:2] == plain.digests[:2]
    assert read.digests[2] != plain.digests[2]
    (tmp_path / "2.png").unlink()
    read, plain = read_folder(tmp_path, 32, transparent="hidden"), read_folder(tmp_path, 32)
    assert read.masks is None
    assert read.fingerprint == plain.fingerprint
    assert torch.equal(read.pixels, plain.pixels)


def test_grey_images_with_holes_have_one_channel(tmp_path):
    grey = [Image.new("L", (40, 40), level).convert("RGB") for level in (10, 200)]
    folder_of(tmp_path, holed(grey[0], hole(40, 40)), grey[1])
    read = read_folder(tmp_path, 16, channels=None, transparent="hidden")
    assert read.pixels.shape == (2, 1, 16, 16)
    assert read.masks.shape == (2, 1, 16, 16)
    assert (read.pixels[0][read.masks[0]] == 10).all()
    colour = read_folder(folder_of(tmp_path / "c", under_hole(RED), grey[0]), 16, channels=None, transparent="hidden")
    assert colour.pixels.shape == (2, 3, 16, 16)


# ---- colours at the border of a hole


def border_is_clean(folder, size, channels=3):
    """Whether every seen pixel has the picture's one colour, whatever is under the hole."""
    folder_of(folder, under_hole((255, 0, 0)), under_hole((0, 255, 255)))
    read = read_folder(folder, size, channels=channels, transparent="hidden", fit="stretch")
    seen = read.masks.expand_as(read.pixels)
    assert 0.1 < 1 - seen.float().mean() < 0.3
    colour = torch.tensor(COLOUR if channels == 3 else [140])  # its luma
    return (read.pixels.int() - colour.view(-1, 1, 1)).abs()[seen].max() <= 1


@pytest.mark.parametrize("size", [(64, 96), (29, 41), (8, 12), (100, 130)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_hidden_colour_mixes_into_seen_pixels(tmp_path, size, channels):
    assert border_is_clean(tmp_path, size, channels)


@pytest.mark.parametrize(
    "fault",
    [
        {'image.convert("RGBa")': "image"},  # colours averaged without their weights
        {'.convert("F")': ""},  # products and alpha clipped before their ratio is taken
        {"np.where(seen, alpha, 255)": "np.float32(255)"},  # the products themselves: dark at the border
    ],
    ids=["not premultiplied", "clipped", "not divided"],
)
def test_colours_that_leak_at_the_border_are_found(tmp_path, monkeypatch, fault):
    plant(monkeypatch, "anasyn.data.resizing:resized_seen", fault)
    assert not border_is_clean(tmp_path, (29, 41))


def test_far_from_the_hole_an_image_is_resized_as_a_whole_one(tmp_path):
    alpha = np.full((200, 300), 255)
    alpha[:80, :80] = 0
    folder_of(tmp_path, holed(blocks(300, 200), alpha), blocks(300, 200))
    for fit, clear in (("crop", np.s_[40:, 40:]), ("stretch", np.s_[40:, 30:])):
        read = read_folder(tmp_path, 64, transparent="hidden", fit=fit)
        assert not read.masks[0].all()
        assert_near(read.pixels[0][:, *clear], read.pixels[1][:, *clear], 1)


# ---- a folder of masks


@pytest.fixture
def masked(tmp_path):
    """Two photographs, one on its side in a file that says so, and their masks under other suffixes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "masks/sub").mkdir(parents=True)
    blocks(400, 400).save(tmp_path / "images/a.jpg", quality=95)
    blocks(100, 200).rotate(90, expand=True).save(tmp_path / "images/sub/b.jpg", quality=95, exif=exif)
    mask_of(hole(400, 400)).save(tmp_path / "masks/a.png")
    mask_of(hole(200, 100, level=127)).convert("RGB").save(tmp_path / "masks/sub/b.webp", lossless=True)
    return tmp_path


def seen_in(folder):
    """The masks that are read, and those in the files, at the images' own sizes."""
    read = {
        name: read_folder(folder / "images", size, masks=folder / "masks", fit="stretch")
        for name, size in (("a", 400), ("b", (200, 100)))
    }
    return (
        torch.equal(read["a"].masks[0, 0], torch.from_numpy(hole(400, 400) == 255))
        and torch.equal(read["b"].masks[1, 0], torch.from_numpy(hole(200, 100) == 255))
        and bool(read["a"].pixels[0][:, :90].float().std() > 20)  # what is seen is the picture
    )


def test_white_in_the_mask_of_the_same_name_is_seen(masked):
    assert seen_in(masked)
    small = read_folder(masked / "images", 32, masks=masked / "masks")
    assert small.names == ("a.jpg", "sub/b.jpg")
    assert 0.1 < 1 - small.masks.float().mean() < 0.3


@pytest.mark.parametrize(
    "fault",
    [
        {"[0] * WHITE + [255] * (256 - WHITE)": "[255] * WHITE + [0] * (256 - WHITE)"},
        {"[0] * WHITE + [255] * (256 - WHITE)": "[0] + [255] * 255"},
    ],
    ids=["inverted", "all but black is seen"],
)
def test_a_wrong_mask_is_found(masked, monkeypatch, fault):
    plant(monkeypatch, "anasyn.data.masks:under_mask", fault)
    assert not seen_in(masked)


def test_a_pixel_is_seen_if_mask_and_transparency_both_let_it(tmp_path):
    left, top = np.full((2, 16, 16), 255)
    left[:, :8] = 0
    top[:8] = 0
    folder_of(tmp_path / "images", holed(blocks(16, 16), left), blocks(16, 16))
    folder_of(tmp_path / "masks", mask_of(top), mask_of(top))
    read = read_folder(tmp_path / "images", 16, masks=tmp_path / "masks", transparent="hidden")
    assert torch.equal(read.masks[0, 0], torch.from_numpy((left > 0) & (top > 0)))
    assert torch.equal(read.masks[1, 0], torch.from_numpy(top > 0))
    white = read_folder(tmp_path / "images", 16, masks=tmp_path / "masks")
    assert torch.equal(white.masks, torch.from_numpy(top > 0).expand(2, 1, 16, 16))
    assert (white.pixels[0, :, 8:, :8] == 255).all()


def test_an_image_whose_every_pixel_is_hidden_is_skipped_by_name(tmp_path):
    folder_of(tmp_path / "images", *[blocks(16, 16)] * 3)
    folder_of(tmp_path / "masks", *(mask_of(np.full((16, 16), level)) for level in (255, 0, 255)))
    read = read_folder(tmp_path / "images", 16, masks=tmp_path / "masks")
    assert (read.names, read.skipped) == (("0.png", "2.png"), ("1.png: every pixel is hidden; skipped",))
    assert read.masks is None
    with pytest.raises(InputError) as error:
        read_folder(tmp_path / "images", 16, masks=tmp_path / "masks", strict=True)
    assert is_one_line(error, "1.png: every pixel is hidden")
    mask_of(np.zeros((16, 16))).save(tmp_path / "masks/2.png")
    with pytest.raises(InputError) as error:
        read_folder(tmp_path / "images", 16, masks=tmp_path / "masks")
    assert is_one_line(error, "only 1 usable image (2 skipped: 1.png: every pixel is hidden")


BAD = {
    "of another size": ({"0.png": (16, 16), "1.png": (32, 17)}, ["1.png: 32 × 17 pixels", "32 × 16 pixels"]),
    "on its side": ({"0.png": (32, 16), "1.png": (16, 32)}, ["1.png: 16 × 32 pixels", "32 × 16 pixels"]),
    "missing": ({"0.png": (32, 16)}, ["none for 1.png", "one mask for each image"]),
    "too many": ({"0.png": (32, 16), "1.jpg": (32, 16), "2.png": (32, 16)}, ["no image for 2.png"]),
    "in other folders": ({"0.png": (32, 16), "a/1.png": (32, 16)}, ["none for 1.png"]),
    "two of one image": ({"0.png": (32, 16), "1.png": (32, 16), "1.jpg": (32, 16)}, ["1.jpg and 1.png are of one"]),
    "none": ({}, ["is not there"]),
}


@pytest.mark.parametrize("name", BAD)
def test_masks_that_are_not_those_of_the_images_are_refused(tmp_path, name):
    masks, said = BAD[name]
    folder_of(tmp_path / "images", quarters(32, 16), quarters(32, 16))
    saved(tmp_path / "masks", {file: Image.new("L", size, 255) for file, size in masks.items()})
    with pytest.raises(InputError) as error:
        read_folder(tmp_path / "images", 16, masks=tmp_path / "masks")
    assert is_one_line(error, "masks: ", tmp_path / "masks", *(said if masks.get("0.png") != (16, 16) else ["0.png"]))


def test_a_drawn_set_has_no_files_that_masks_could_be_of(tmp_path):
    with pytest.raises(InputError, match="masks: drawn-cats is drawn"):
        load("drawn-cats", 16, masks=str(tmp_path))


# ---- sets with hidden pixels


def some(num=6, side=16):
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (num, 3, side, side), generator=rng).to(torch.uint8)
    masks = torch.rand(num, 1, side, side, generator=rng) < 0.5
    masks[0] = True
    return ImageSet(tuple("abcdef"[:num]), chequered(pixels, masks), masks=masks)


def test_chequers_show_the_mask_and_nothing_that_is_hidden():
    masks = torch.zeros(1, 1, 64, 96, dtype=torch.bool)
    masks[..., :32, :] = True
    pixels = torch.full((1, 3, 64, 96), 7, dtype=torch.uint8)
    board = chequered(pixels, masks)
    assert (board[..., :32, :] == 7).all()
    assert board[0, :, 32:36, 0:4].unique().tolist() == [102]
    assert board[0, :, 32:36, 4:8].unique().tolist() == [153]
    assert board[0, :, 36:40, 0:4].unique().tolist() == [153]
    pixels[..., 32:, :] = 200
    assert torch.equal(board, chequered(pixels, masks))


def test_a_digest_tells_masks_apart():
    images = some()
    whole, again = (ImageSet(images.names, images.pixels, masks=masks) for masks in (None, images.masks.clone()))
    assert [a == b for a, b in zip(images.digests, whole.digests, strict=True)] == [True] + [False] * 5
    assert images.fingerprint != whole.fingerprint
    assert images.fingerprint == again.fingerprint


def test_parts_of_a_set_keep_their_masks():
    images = some()
    part = images.only([4, 0, 2])
    assert part.names == ("e", "a", "c")
    assert torch.equal(part.masks, images.masks[[4, 0, 2]])
    assert part.digests == tuple(images.digests[i] for i in (4, 0, 2))
    assert images.only([0, 0]).masks is None  # it is seen as a whole
    for half in images.split(3):
        places = [images.names.index(name) for name in half.names]
        assert torch.equal(half.pixels, images.pixels[places])
        assert torch.equal(half.masks, images.masks[places])


def test_the_spread_is_that_of_seen_pixels():
    images = some()
    pixels = images.pixels.double().div(127.5)
    seen = images.masks.expand_as(pixels)
    weights = seen.double()
    centre = (weights * pixels).sum(0) / weights.sum(0)
    expected = (weights * (pixels - centre) ** 2).sum() / weights.sum()
    assert spread(images) == pytest.approx(float(expected.sqrt()), rel=1e-9)
    everything = ImageSet(images.names, images.pixels, masks=torch.ones_like(images.masks))
    assert (
        spread(everything)
        == spread(ImageSet(images.names, images.pixels))
        == pytest.approx(float(pixels.std(0, unbiased=False).square().mean().sqrt()))
    )
    one_row = torch.zeros_like(images.masks[:2]).index_fill_(2, torch.tensor([3]), True)
    assert spread(ImageSet(images.names[:2], images.pixels[:2], masks=one_row)) > 0


def test_the_spread_is_estimated_from_2000_evenly_spaced_images():
    many = ImageSet(tuple(map(str, range(4000))), (torch.arange(4000) % 2 * 255).to(torch.uint8).view(-1, 1, 1, 1))
    assert spread(many) == 0  # every second image, all of them black
    assert spread(many.only(range(2000))) == pytest.approx(1)
