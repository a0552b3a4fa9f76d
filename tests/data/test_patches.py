"""A photograph to be restored: what is seen of it, and the padding that brings it to a network's grid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data.patches import read_damaged
from anasyn.errors import InputError


def photograph(path: Path, height: int, width: int, *, hole: bool = True) -> np.ndarray:
    """Writes noise with a transparent hole in its lower right corner; returns (H, W, 4)."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    if hole:
        pixels[-3:, -2:, 3] = 0
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize(("size", "padding"), [((17, 40), (15, 8)), ((16, 32), (0, 0)), ((5, 7), (11, 9))])
def test_the_padding_is_hidden_and_every_seen_pixel_is_there(
    size: tuple[int, int], padding: tuple[int, int], tmp_path: Path
) -> None:
    height, width = size
    pixels = photograph(tmp_path / "a.png", height, width)
    found = read_damaged(str(tmp_path / "a.png"), longest=64, grid=16, channels=3)
    assert found.padding == padding
    assert found.shape == (1, 3, height + padding[0], width + padding[1])
    assert found.only([0]).padding == padding
    assert found.masks is not None
    seen = torch.zeros(found.shape[2:], dtype=torch.bool)
    seen[:height, :width] = torch.from_numpy(pixels[..., 3] > 0)
    assert torch.equal(found.masks[0, 0], seen)
    whole = torch.from_numpy(pixels[..., :3]).permute(2, 0, 1)
    assert torch.equal(found.pixels[0][:, seen], whole[:, seen[:height, :width]])


def test_a_whole_photograph_is_not_padded(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png", 17, 40, hole=False)
    found = read_damaged(str(tmp_path / "a.png"), longest=64, grid=16, channels=1)
    assert found.shape == (1, 1, 17, 40)
    assert not found.hides


def test_a_photograph_of_which_nothing_is_seen_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="every pixel is hidden"):
        read_damaged(str(tmp_path / "a.png"), longest=64, grid=16, channels=3)
