"""Packed images are what they were, as near as is said."""

import base64

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.report.sprites import NUMBERS, TOLERANCE, Sprites, pack


def unpacked(sprites: Sprites, side: int) -> NDArray[np.float64]:
    """As the page does it: mean + Σ_k c_k b_k, (n, side, side, 3)."""

    def numbers(text: str, kind: str) -> NDArray[np.float64]:
        return np.frombuffer(base64.b64decode(text), kind).astype(float)

    units = np.array(sprites.units)
    c = numbers(sprites.coefficients, "<i2").reshape(-1, len(units)) * units
    made = numbers(sprites.mean, "<u1") + c @ numbers(sprites.basis, "<i1").reshape(len(units), -1)
    return made.clip(0, 255).round().reshape(-1, side, side, 3)


def faces(num: int, side: int = 24) -> Tensor:
    """Drawn faces between two, and a texture that no picture format keeps."""
    a, b = draw_cats(drawn_factors(2), side).float()
    t = torch.linspace(0, 1, num)[:, None, None, None]
    texture = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    return (a + t * (b - a) + 40 * torch.sin(6 * t) * texture).clamp(0, 255).round().to(torch.uint8)


def errors(images: Tensor, sprites: Sprites) -> NDArray[np.float64]:
    there = unpacked(sprites, images.shape[-1])
    found: NDArray[np.float64] = np.abs(there - images.permute(0, 2, 3, 1).numpy()).mean((1, 2, 3))
    return found


@pytest.mark.parametrize("num", [2, 40, 1200])
def test_they_come_back_as_near_as_is_said(num: int) -> None:
    images = faces(num)
    packed = pack(images, 10_000_000)
    assert errors(images, packed).max() == pytest.approx(packed.error, abs=0.01)
    assert packed.error <= TOLERANCE
    assert num == 2 or packed.size < 0.6 * images.numel()


def test_of_many_the_error_at_those_between_is_no_larger() -> None:
    images = faces(4000, side=16)
    packed = pack(images, 10_000_000)
    assert errors(images, packed).max() < packed.error + 1


def test_room_is_kept_to() -> None:
    noise = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sizes = [pack(noise, room) for room in (0, 100_000, 10_000_000)]
    numbers = [len(each.units) for each in sizes]
    assert numbers[0] == NUMBERS[0]
    assert numbers[-1] == NUMBERS[-1]
    assert sizes[1].size <= 100_000
    assert sizes[0].error > sizes[1].error > sizes[2].error


def test_equal_images_are_only_their_mean() -> None:
    images = faces(1).repeat(9, 1, 1, 1)
    packed = pack(images, 1000)
    assert packed.error == 0
    assert errors(images, packed).max() == 0
