"""Images on a page keep their shape, their order and their grey."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.report import pictures


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


@pytest.mark.parametrize(
    ("height", "width", "side", "expected"),
    [(96, 64, 48, (48, 32)), (64, 96, 48, (32, 48)), (9, 9, 8, (8, 8)), (64, 96, 99, (64, 96)), (900, 8, 64, (64, 1))],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_images_fit_within_the_side_and_keep_their_shape(
    height: int, width: int, side: int, expected: tuple[int, int], channels: int
) -> None:
    images = torch.full((2, channels, height, width), 77, dtype=torch.uint8)
    assert pictures.fitted(images, side) == expected
    small = pictures.resized(images, side)
    assert small.shape == (2, *expected, channels)
    assert (small == 77).all()
    assert [decoded(url).size for url in pictures.singles(images, side)] == [expected[::-1]] * 2


def test_a_resized_image_is_not_turned() -> None:
    ramp = torch.linspace(0, 255, 96).round().byte().expand(1, 1, 64, 96)  # brighter from left to right
    columns = pictures.resized(ramp, 24)[0, :, :, 0].astype(int)
    assert (np.diff(columns, axis=1) > 0).all()
    assert (np.diff(columns, axis=0) == 0).all()


def test_grey_is_shown_as_grey() -> None:
    grey = torch.linspace(0, 255, 64 * 96).round().byte().view(1, 1, 64, 96)
    shown = np.asarray(decoded(pictures.singles(grey, 128)[0]), int)
    assert abs(shown - grey[0].permute(1, 2, 0).numpy()).mean() < 3
    assert np.ptp(shown, axis=2).max() <= 3


def test_a_sheet_has_the_images_row_by_row() -> None:
    levels = torch.tensor([0, 60, 120, 180, 240], dtype=torch.uint8)
    sheet = decoded(pictures.sheet(levels[:, None, None, None].expand(-1, 1, 16, 24), 3, 128))
    assert sheet.size == (3 * 24, 2 * 16)
    centres = np.asarray(sheet, int)[8::16, 12::24, 0]
    np.testing.assert_allclose(centres, [[0, 60, 120], [180, 240, 0]], atol=4)
