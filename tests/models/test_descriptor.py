"""The descriptor's energy and density against numpy (equations 11–13)."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.models import Descriptor, networks

FLOAT = torch.float64


def normal(*shape: int, seed: int = 0, dtype=FLOAT) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class Smooth(nn.Module):
    def __init__(self, pixels: int):
        super().__init__()
        self.weight = nn.Parameter(normal(pixels, seed=7))

    def forward(self, images):
        return (images.flatten(1) @ self.weight).sin()


def check_density(event: tuple[int, ...], s: float, scale: float, kind: type[Descriptor] = Descriptor) -> None:
    """E = ‖Y‖²/2s² − f, and log p − log p₀ = f but for the reference's constant, f = scale · network."""
    model, images = kind(Smooth(math.prod(event)), s, scale), normal(6, *event)
    flat = images.numpy().reshape(6, -1)
    f = scale * np.sin(flat @ model.network.weight.detach().numpy())
    reference = stats.norm(0, s).logpdf(flat).sum(1)
    constant = 0.5 * flat.shape[1] * math.log(2 * math.pi * s**2)
    for value, expected in (
        (model(images), f),
        (model.energy(images), (flat**2).sum(1) / (2 * s**2) - f),
        (model.log_density(images), f + reference + constant),
    ):
        assert value.shape == (6,)
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("s", "scale"), [(1.0, 1.0), (0.392, 1.0), (0.4, 2 / 0.01**2)])
@pytest.mark.parametrize("event", [(5,), (3, 4, 4)])
def test_density_is_the_tilted_reference(event, s, scale):
    check_density(event, s, scale)


class WrongSign(Descriptor):
    def energy(self, images):
        return super().energy(images) + 2 * self(images)


class ScaleForgotten(Descriptor):
    def forward(self, images):
        return super().forward(images) / self.scale


class PixelMean(Descriptor):
    def energy(self, images):
        return (images**2).flatten(1).mean(1) / (2 * self.reference_std**2) - self(images)


@pytest.mark.parametrize("fault", [WrongSign, ScaleForgotten, PixelMean])
def test_planted_faults_in_the_density_are_caught(fault):
    with pytest.raises(AssertionError):
        check_density((3, 4, 4), 0.4, 200.0, fault)


def test_gradient_is_equation_16s():
    """∂log p/∂Y = −Y/s² + ∂f/∂Y, exact."""
    model, images = Descriptor(Smooth(48), 0.4, 3.0), normal(6, 3, 4, 4)
    weight = model.network.weight.detach()
    cosine = (images.flatten(1) @ weight).cos()
    expected = -images / 0.16 + 3 * (cosine[:, None] * weight).view_as(images)
    gradient = mcmc.init(model.log_density, images, 0.1).gradient
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


def test_bfloat16_agrees_with_float32():
    torch.manual_seed(0)
    network = networks.conv(16, (16, 32), strides=2)
    exact, quick = Descriptor(network, 0.4, 100.0), Descriptor(network, 0.4, 100.0, precision="bfloat16")
    images = 0.5 * normal(8, 3, 16, 16, dtype=torch.float32)
    assert quick(images).dtype == quick.log_density(images).dtype == torch.float32
    difference = (exact(images) - quick(images)).abs()
    assert 0 < difference.max() < 0.03 * exact(images).abs().max()
    a, b = (mcmc.init(model.log_density, images, 0.1).gradient for model in (exact, quick))
    assert b.dtype == torch.float32
    assert (a - b).norm() < 0.02 * a.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_goes_in_decides_the_dtype(dtype):
    model = Descriptor(networks.conv(16, (8, 8), strides=2).to(dtype), 0.4)
    images = normal(3, 3, 16, 16, dtype=dtype)
    assert model(images).dtype == model.energy(images).dtype == model.log_density(images).dtype == dtype


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"reference_std": 0.0}, "reference_std"),
        ({"reference_std": math.nan}, "reference_std"),
        ({"scale": -1.0}, "scale"),
        ({"scale": 0.0}, "scale"),
        ({"precision": "half"}, "precision"),  # must not silently mean float32
    ],
)
def test_bad_arguments_are_named(options, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        Descriptor(Smooth(5), **{"reference_std": 0.4, **options})
