"""The content of the explorer and of the film, for images of any shape."""

import base64
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.data import ImageSet, to_float, to_uint8
from anasyn.methods import Latents
from anasyn.report.explorer import POINTS, explorer
from anasyn.report.figures import class_colors
from anasyn.report.film import film, packed


class Ramp(nn.Module):
    """f(z): z₁ is the level of the upper half of the image, z₂ that of the lower half."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.shape = (channels, height, width)

    def forward(self, z: Tensor) -> Tensor:
        channels, height, width = self.shape
        return z[:, :2].div(8).repeat_interleave(height // 2, 1)[:, None, :, None].expand(-1, channels, -1, width)


class Bowl(nn.Module):
    """log p(Y) = −‖Y‖²/2: a standard normal density."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def energy(self, images: Tensor) -> Tensor:
        return self.weight * images.flatten(1).square().sum(1) / 2

    def log_density(self, images: Tensor) -> Tensor:
        return -self.energy(images)


class Chains(NamedTuple):
    """The ability to synthesise: Langevin chains from the mean colours of the images."""

    model: Any
    num_steps: int
    data_noise: float = 0.0
    proposed: bool = False

    def first_chains(self, index: Tensor, images: Tensor, rng: torch.Generator) -> tuple[mcmc.Kernel, Tensor]:
        return mcmc.Langevin(torch.full((len(index),), 0.1)), images.mean((2, 3), keepdim=True).expand_as(images)


SHAPES = [(1, 96, 64), (3, 64, 96), (3, 32, 32)]
NAMES = tuple(f"{k}.png" for k in range(30))


def pixels(shape: tuple[int, int, int]) -> Tensor:
    return to_uint8(torch.randn(30, *shape, generator=torch.Generator().manual_seed(1)) / 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [2, 5])
def test_the_explorer_has_the_models_images_on_its_grid(shape: tuple[int, int, int], dim: int) -> None:
    z = torch.randn(30, dim, generator=torch.Generator().manual_seed(0))
    content = explorer(Latents(Ramp(*shape), z), NAMES, pixels(shape), 10_000_000)
    width, height = content["tile"]
    side = min(max(shape[1:]), 128 if dim == 2 else 64)
    assert max(width, height) == side
    assert width / height == pytest.approx(shape[2] / shape[1], rel=0.03)
    sprites = content["sprites"]
    assert len(base64.b64decode(sprites["mean"])) == shape[0] * width * height
    assert len(content["planes"]) * POINTS**2 * len(sprites["units"]) * 2 == len(
        base64.b64decode(sprites["coefficients"])
    )
    assert content["classes"] == []
    assert {thumbnail["color"] for thumbnail in content["thumbnails"]} == {None}
    if dim == 2:  # the image at the left end of the top row is f(−reach, reach)
        units = np.array(sprites["units"])
        c = np.frombuffer(base64.b64decode(sprites["coefficients"]), "<i2")[: len(units)] * units
        basis = np.frombuffer(base64.b64decode(sprites["basis"]), "<i1").reshape(len(units), -1)
        image = (np.frombuffer(base64.b64decode(sprites["mean"]), "<u1") + c @ basis).reshape(height, width, shape[0])
        corner = to_uint8(Ramp(*shape)(torch.tensor([[-content["reach"], content["reach"]]])))[0].numpy()
        assert image[0].mean() == pytest.approx(corner[0, 0, 0], abs=3)
        assert image[-1].mean() == pytest.approx(corner[0, -1, 0], abs=3)


def test_the_explorer_shows_the_class_of_every_thumbnail() -> None:
    labels = [f"class {k % 25:02}" for k in range(30)]
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    content = explorer(Latents(Ramp(3, 16, 16), z), NAMES, pixels((3, 16, 16)), 10_000_000, labels)
    colors = class_colors(labels)
    assert [(each["label"], each["color"]) for each in content["thumbnails"]] == [
        (label, colors[label]) for label in labels
    ]
    assert [each["name"] for each in content["classes"]] == sorted(set(labels))[:20]
    assert all(each["color"] == colors[each["name"]] for each in content["classes"])
    assert content["more_classes"] == 5


@pytest.mark.parametrize("shape", SHAPES)
def test_a_film_keeps_the_shape_of_the_images(shape: tuple[int, int, int]) -> None:
    images = ImageSet(NAMES, pixels(shape))
    watched = film(Chains(Bowl(), 12), images, seed=0, most=4)
    assert watched.steps == list(range(13))
    assert watched.frames.shape == (13, 4, *shape)
    start = to_float(images.pixels[watched.chosen]).mean((2, 3), keepdim=True)
    torch.testing.assert_close(watched.frames[0], start.expand(-1, *shape))
    torch.testing.assert_close(watched.energy, watched.frames.square().flatten(2).sum(2) / 2)
    content = packed(watched, images, 10_000_000)
    width, height = content["tile"]
    assert max(width, height) == min(max(shape[1:]), 96)
    assert width / height == pytest.approx(shape[2] / shape[1])
    assert len(base64.b64decode(content["sprites"]["mean"])) == shape[0] * width * height


def test_a_film_ends_before_the_first_frame_that_is_not_finite() -> None:
    class Cliff(Bowl):
        """A density whose chains go to infinity at the third transition."""

        def log_density(self, images: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return super().log_density(images) * (torch.inf if self.calls > 3 else 1)

    watched = film(Chains(Cliff(), 12), ImageSet(NAMES, pixels((3, 8, 8))), seed=0, most=4)
    assert 1 < len(watched.steps) < 13
    assert watched.frames.isfinite().all()
    assert watched.num_steps == 12
