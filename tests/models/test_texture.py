"""The texture: the same f in tiles and at once, the same at every shift, and the spectrum of a stationary Gaussian."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.models import Pyramid, StationaryGaussian, Texture
from anasyn.models.pyramid import field_of_view

from ..planting import plant


def pyramid(levels: int, channels: int = 1) -> Pyramid:
    torch.manual_seed(0)
    network = Pyramid(channels, [4] * levels).double()
    for weights in network.weights:
        nn.init.normal_(weights)
    return network


def texture(levels: int = 2, tile: int = 256, channels: int = 1) -> Texture:
    reference = StationaryGaussian(channels, 16).double()
    torch.manual_seed(1)
    reference.fit(torch.randn(20, channels, 16, 16, dtype=torch.float64))
    return Texture(pyramid(levels, channels), reference, tile=tile)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def value_and_gradient(model: Texture, images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    value = model.log_density(images)
    return value.detach(), torch.autograd.grad(value.sum(), images)[0]


def agrees(levels: int, tile: int) -> bool:
    images = noise(2, 3, 48, 80)
    whole = value_and_gradient(texture(levels, channels=3), images)
    tiled = value_and_gradient(texture(levels, tile, channels=3), images)
    return all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(whole, tiled, strict=True))


@pytest.mark.parametrize(("levels", "tile"), [(1, 16), (2, 16), (2, 32), (3, 24), (3, 64)])
def test_tiles_give_the_log_density_and_gradient_of_the_whole(levels: int, tile: int) -> None:
    assert agrees(levels, tile)


def test_a_halo_that_is_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "anasyn.models.texture:Tiled.forward", {"texture.network.halo": "texture.network.grid"})
    assert not agrees(2, 16)


def is_stationary() -> bool:
    """Whether log p of a torus stays the same when the torus is moved by a multiple of the grid."""
    model, images = texture(), noise(1, 1, 32, 48)
    moved = images.roll((4, 8), (2, 3))
    return torch.allclose(model.log_density(images), model.log_density(moved), rtol=1e-10)


def test_a_torus_has_no_border() -> None:
    assert is_stationary()


def test_padding_in_one_direction_only_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = {"[x[..., -1:, :], x, x[..., :1, :]]": "[0 * x[..., :1, :], x, 0 * x[..., :1, :]]"}
    plant(monkeypatch, "anasyn.models.pyramid:Wrapped.forward", fault)
    assert not is_stationary()


def test_a_view_tells_of_f_without_bias() -> None:
    """The mean over all views of a torus is f itself: each position is in equally many of them."""
    model, torus = texture(), noise(1, 1, 32, 32)
    views = torch.cat([torus.roll((-y, -x), (2, 3))[..., :24, :24] for y in range(0, 32, 4) for x in range(0, 32, 4)])
    expected = model.f(torus, (24, 24), periodic=True)
    torch.testing.assert_close(model(views).mean(), expected[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_the_field_of_view_is_the_smallest_image(levels: int) -> None:
    side = field_of_view(levels)
    assert pyramid(levels)(noise(1, 1, side, side)).isfinite().all()
    with pytest.raises(RuntimeError):
        pyramid(levels)(noise(1, 1, side - (1 << levels), side))


class Quadratic(nn.Module):
    """−(a ∗ Y)²/2, the mean over positions: with p₀ = N(m, C) a stationary Gaussian of known spectrum."""

    grid, halo = 1, 1

    def forward(self, images: Tensor, *, periodic: bool = False, halo: int = 0) -> Tensor:
        return -(images.roll(1, 3) - images).square().mean((1, 2, 3)) / 2

    def fit(self, images: Tensor) -> None:
        """Nothing."""


def spectrum_error() -> float:
    """The largest relative error of the chains' power in bands of frequency, against 1/(1/S + |â|²)."""
    size, n, delta = (16, 24), 64, 0.3
    torch.manual_seed(3)
    reference = StationaryGaussian(1, 16)
    reference.fit(0.5 * nn.functional.avg_pool2d(torch.randn(200, 1, 20, 20), 5, 1))
    model = Texture(Quadratic(), reference, scale=200.0)
    rng = torch.Generator().manual_seed(4)
    kernel = mcmc.Langevin(delta, 1.0, reference)
    start = reference.draw(torch.zeros(n, 1, *size), rng)
    draws = mcmc.draws(kernel, model.log_density, start, num_draws=40, rng=rng, thin=5)[10:] - reference.mean
    power = torch.fft.rfft2(draws).abs().square().mean((0, 1, 2)) / math.prod(size)
    s = reference.spectrum(size)[0]
    a = 2 - 2 * torch.cos(2 * math.pi * torch.arange(size[1] // 2 + 1) / size[1])  # |â|²
    precision = 1 + 200.0 * s * a  # in units of 1/S, of the x in which chains move
    expected = s / precision / (1 - delta**2 / 4 * precision)  # with Langevin's own bias
    bands = [slice(k, k + 3) for k in range(0, 12, 3)]
    return max(abs((power[:, b] / expected[:, b]).mean().item() - 1) for b in bands)


def test_chains_have_the_spectrum_of_a_stationary_gaussian() -> None:
    assert spectrum_error() < 0.04


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("anasyn.models.stationary:StationaryGaussian.energy", {"squared / 2": "squared"}),
        ("anasyn.models.texture:Texture.f", {"self.scale * size[0] * size[1]": "self.scale * size[0] * size[0]"}),
    ],
)
def test_faults_of_the_spectrum_are_noticed(where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, where, edits)
    assert not spectrum_error() < 0.04


def autocovariance_agrees() -> bool:
    """Whether draws on a torus of another size covary over small distances as the photograph's pixels do."""
    torch.manual_seed(5)
    colours = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.5, 0.0, 2.0]])
    photograph = torch.einsum("nchw,dc->ndhw", nn.functional.avg_pool2d(torch.randn(400, 3, 36, 36), 5, 1), colours)
    reference = StationaryGaussian(3, 32)
    reference.fit(photograph)
    draws = reference.draw(torch.zeros(400, 3, 40, 24), torch.Generator().manual_seed(6)) - reference.mean
    for lag in range(3):
        found = torch.einsum("nchw,ndhw->cd", draws, draws.roll(-lag, 2)) / draws[:, 0].numel()
        before, after = photograph[..., : 32 - lag, :], photograph[..., lag:, :]
        expected = torch.einsum("nchw,ndhw->cd", before, after) / before[:, 0].numel()
        if not torch.allclose(found, expected, atol=0.05 * expected.diagonal().max().item(), rtol=0):
            return False
    return True


def test_draws_of_the_reference_covary_as_the_photograph_does() -> None:
    assert autocovariance_agrees()


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("spectrum", {"lags % height": "2 * lags % height"}),
        ("fit", {"window.square().sum().sqrt()": "window.sum().sqrt()"}),
        ("_images", {"nkhw,ck->nchw": "nkhw,kc->nchw"}),
    ],
)
def test_faults_of_the_covariance_are_noticed(
    where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, f"anasyn.models.stationary:StationaryGaussian.{where}", edits)
    assert not autocovariance_agrees()
