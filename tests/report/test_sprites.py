"""Packed images are the original ones within the error that is stated."""

import base64

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.report.sprites import NUMBERS, TOLERANCE, Sprites, pack


def unpacked(sprites: Sprites, height: int, width: int) -> NDArray[np.float64]:
    """As the page does it: mean + Σ_k c_k b_k, (n, H, W, c)."""

    def numbers(text: str, kind: str) -> NDArray[np.float64]:
        return np.frombuffer(base64.b64decode(text), kind).astype(float)

    units = np.array(sprites.units)
    c = numbers(sprites.coefficients, "<i2").reshape(-1, len(units)) * units
    made = numbers(sprites.mean, "<u1") + c @ numbers(sprites.basis, "<i1").reshape(len(units), -1)
    return made.clip(0, 255).round().reshape(len(c), height, width, -1)


def faces(num: int, side: int = 24) -> Tensor:
    """Faces between two drawn ones, with a texture that compresses badly in any image format."""
    a, b = draw_cats(drawn_factors(2), side).float()
    t = torch.linspace(0, 1, num)[:, None, None, None]
    texture = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    return (a + t * (b - a) + 40 * torch.sin(6 * t) * texture).clamp(0, 255).round().to(torch.uint8)


def errors(images: Tensor, sprites: Sprites) -> NDArray[np.float64]:
    there = unpacked(sprites, *images.shape[2:])
    found: NDArray[np.float64] = np.abs(there - images.permute(0, 2, 3, 1).numpy()).mean((1, 2, 3))
    return found


@pytest.mark.parametrize("num", [2, 40, 1200])
def test_unpacked_images_are_within_the_stated_error(num: int) -> None:
    images = faces(num)
    packed = pack(images, 10_000_000)
    assert errors(images, packed).max() == pytest.approx(packed.error, abs=0.01)
    assert packed.error <= TOLERANCE
    assert num == 2 or packed.size < 0.6 * images.numel()


@pytest.mark.parametrize("channels", [1, 3])
def test_rectangles_and_grey_images_are_packed_as_they_are(channels: int) -> None:
    images = faces(40)[:, :channels, 4:20]
    packed = pack(images, 10_000_000)
    assert len(base64.b64decode(packed.mean)) == channels * 16 * 24
    assert errors(images, packed).max() == pytest.approx(packed.error, abs=0.01)


def test_images_that_were_not_fitted_have_no_larger_error() -> None:
    images = faces(4000, side=16)
    packed = pack(images, 10_000_000)
    assert errors(images, packed).max() < packed.error + 1


def test_the_size_stays_below_the_limit() -> None:
    noise = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sizes = [pack(noise, room) for room in (0, 100_000, 10_000_000)]
    numbers = [len(each.units) for each in sizes]
    assert numbers[0] == NUMBERS[0]
    assert numbers[-1] == NUMBERS[-1]
    assert sizes[1].size <= 100_000
    assert sizes[0].error > sizes[1].error > sizes[2].error


def test_images_of_low_rank_come_back() -> None:
    ticks = torch.linspace(0, 255, 12).round().byte()
    halves = torch.cartesian_prod(ticks, ticks).repeat_interleave(8, 1)  # an upper and a lower level: rank 2
    images = halves[:, None, :, None].expand(-1, 3, -1, 16)
    assert errors(images, pack(images, 10_000_000)).max() < 1


def test_equal_images_are_their_mean() -> None:
    images = faces(1).repeat(9, 1, 1, 1)
    packed = pack(images, 1000)
    assert packed.error == 0
    assert errors(images, packed).max() == 0
