"""Images in memory: bytes and floats are the same images, and a set is identified by its pixels."""

import pytest
import torch
from PIL import Image

from anasyn.data import ImageSet, as_float, read_folder, save_image, to_float, to_uint8


def random_bytes(*shape):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_to_float_and_back(channels):
    pixels = torch.arange(256, dtype=torch.uint8).repeat(channels).view(1, channels, 8, 32).repeat(2, 1, 1, 1)
    images = to_float(pixels)
    assert (images.dtype, images.min(), images.max()) == (torch.float32, -1, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images, pixels.double().div(127.5).sub(1).float(), rtol=0, atol=1e-6)
    assert torch.equal(to_uint8(images), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_as_float_converts_bytes_and_keeps_floats(channels):
    pixels = random_bytes(2, channels, 8, 12)
    assert torch.equal(as_float(pixels), to_float(pixels))
    floats = to_float(pixels).contiguous()
    assert torch.equal(as_float(floats), floats)
    assert as_float(floats).is_contiguous(memory_format=torch.channels_last)
    points = torch.randn(5, 2)
    assert as_float(points) is points


def test_to_uint8_clamps_and_rounds():
    grey = torch.tensor([-7.0, -1.0, 100.4 / 127.5 - 1, 100.6 / 127.5 - 1, 1.0, 7.0], requires_grad=True)
    assert to_uint8(grey).tolist() == [0, 0, 100, 101, 255, 255]
    with pytest.raises(ValueError, match="not a number"):
        to_uint8(torch.tensor([float("nan")]))


def test_to_float_refuses_floats():
    with pytest.raises(ValueError, match="uint8"):
        to_float(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_saved_image_is_read_again(tmp_path, channels, mode):
    pixels = random_bytes(2, channels, 12, 20)
    for number in range(2):
        save_image(tmp_path / f"{number}.png", pixels[number])
    with Image.open(tmp_path / "0.png") as image:
        assert (image.mode, image.size) == (mode, (20, 12))
    assert torch.equal(read_folder(tmp_path, (12, 20), channels=None).pixels, pixels)


def test_digests_are_of_the_content():
    pixels = random_bytes(3, 3, 8, 8)
    pixels[2] = pixels[0]
    first = ImageSet(("a", "b", "c"), pixels)
    again = ImageSet(("x", "y", "z"), pixels.clone(memory_format=torch.channels_last), labels=("p", "p", "q"))
    assert first.digests[0] == first.digests[2] != first.digests[1]
    assert (first.digests, first.fingerprint) == (again.digests, again.fingerprint)
    assert ImageSet(("a", "b", "c"), pixels.flip(0)[[0, 2, 1]]).fingerprint != first.fingerprint
    assert ImageSet(("a", "b", "c"), pixels.view(3, 3, 4, 16)).fingerprint != first.fingerprint


def test_a_fingerprint_tells_grey_from_colour():
    grey = random_bytes(3, 1, 8, 8)
    sets = [ImageSet(("a", "b", "c"), pixels) for pixels in (grey, grey.expand(-1, 3, -1, -1), grey.view(3, 1, 4, 16))]
    assert len({each.fingerprint for each in sets}) == 3


def test_digests_of_colour_images_are_those_of_earlier_versions():
    images = ImageSet(("a",), (torch.arange(3 * 8 * 8) % 251).view(1, 3, 8, 8).to(torch.uint8))
    assert images.fingerprint == "7b5d0d945eec5cfe6ecebfc90bddcdc0b899d1934833b58446d2db1eafa1d243"
