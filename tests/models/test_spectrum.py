"""The stationary Gaussian of a texture: its fit, its densities, and chains under them, against dense matrices."""

import math

import pytest
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.learning import recovery
from anasyn.models import Ladder, OnTorus, StationaryConv, StationaryGaussian, TextureLadder
from anasyn.models.spectrum import WINDOW, Posterior, filtered

from ..planting import plant

T = 1
LADDER = Ladder((0.1, 0.3, 1.0, 30.0))
SPECTRUM = "anasyn.models.spectrum"


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(num: int, channels: int, side: int) -> Tensor:
    """Averages of white noise over 3 × 3 pixels, with covariance (3 − |τ_y|)₊ (3 − |τ_x|)₊ / 9² at a lag τ."""
    white = torch.randn(num, channels, side + 2, side + 2, dtype=torch.float64, generator=rng(1))
    return torch.nn.functional.avg_pool2d(white, 3, 1)


def fitted(channels: int = 3) -> StationaryGaussian:
    gaussian = StationaryGaussian(channels).double()
    mix = torch.randn(channels, channels, dtype=torch.float64, generator=rng(2))
    gaussian.fit(0.4 * torch.einsum("kc,nchw->nkhw", mix, clouds(40, channels, 48)) - 0.2)
    return gaussian


def covariance(gaussian: StationaryGaussian, t: int, height: int, width: int) -> Tensor:
    """C_t of a torus, (c H W, c H W), column by column from its action on the pixels."""
    variances = gaussian.variances_of(LADDER, t, (height, width), whole=True)
    channels = len(gaussian.mean)
    pixels = torch.eye(channels * height * width, dtype=torch.float64).view(-1, channels, height, width)
    return filtered(pixels, gaussian.colours, variances).flatten(1)


def test_the_covariances_of_images_are_found() -> None:
    gaussian = StationaryGaussian(1).double()
    gaussian.fit(clouds(400, 1, 48))
    found = gaussian.covariances[0] / gaussian.covariances[0, 0, 0]
    assert float(gaussian.covariances[0, 0, 0]) == pytest.approx(1 / 9, rel=0.05)
    for y, x in ((0, 1), (1, 1), (2, 0), (-1, 2), (0, 3), (8, 8)):
        exact = max(3 - abs(y), 0) * max(3 - abs(x), 0) / 9
        assert float(found[y, x]) == pytest.approx(exact, abs=0.05)


def test_covariances_of_slanting_lines_slant() -> None:
    """z(y, x) = cos((x + y)/2) is alike along x + y = const only."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    gaussian = StationaryGaussian(1)
    gaussian.fit(((x + y + torch.arange(40.0)[:, None, None]) / 2).cos()[:, None])
    assert gaussian.covariances[0, 4, -4] > 0.6 * gaussian.covariances[0, 0, 0]
    assert gaussian.covariances[0, 4, 4] < -0.3 * gaussian.covariances[0, 0, 0]


def test_tori_of_all_sizes_have_one_spectral_density() -> None:
    gaussian = fitted()
    small, large = gaussian.spectrum(20, 30, whole=False), gaussian.spectrum(40, 60, whole=False)
    assert torch.allclose(small, large[:, ::2, ::2], rtol=1e-9, atol=1e-12)
    assert (gaussian.spectrum(17, 64, whole=False) >= 0).all()


@pytest.mark.parametrize("whole", [True, False])
def test_whole_images_have_the_mean_colour_and_patches_vary(whole: bool) -> None:
    """What varies in the mean of a whole x_T is the noise alone, of variance (1 − ᾱ_T)/(H W)."""
    ladder, (height, width) = Ladder((0.01, 0.05)), (32, 48)
    made = StationaryConv(ladder, [4], 1, 0.5).double()
    made.gaussian.load_state_dict(fitted(1).state_dict())
    model = TextureLadder(OnTorus(made) if whole else made, ladder)
    x = model.noisiest(torch.empty(400, 1, height, width, dtype=torch.float64), rng())
    alpha_bar = ladder.alpha_bar(1)
    deviation = x.mean((1, 2, 3)) - math.sqrt(alpha_bar) * made.gaussian.mean
    of_noise = (1 - alpha_bar) / (height * width)
    of_image = float(made.gaussian.covariances.sum()) * alpha_bar / (height * width)
    expected = of_noise + (0 if whole else of_image)
    assert of_image > of_noise
    assert float(deviation.square().mean()) == pytest.approx(expected, rel=5 * math.sqrt(2 / 400))


def test_patches_that_are_smaller_than_a_window_do() -> None:
    """A standard error from 64 of them, of about one independent value each, is a sixth."""
    gaussian = StationaryGaussian(1)
    gaussian.fit(clouds(400, 1, 6).float())
    assert float(gaussian.covariances[0, 0, 0]) == pytest.approx(1 / 9, rel=0.5)


def energies(size: tuple[int, int] = (10, 12)) -> tuple[Tensor, Tensor]:
    """The reference's energy of tori, and the same from the dense matrix."""
    gaussian = fitted()
    ladder = TextureLadder(OnTorus(StationaryConv(LADDER, [4], 3, 0.5).double()), LADDER)
    ladder.gaussian.load_state_dict(gaussian.state_dict())
    images = torch.randn(4, 3, *size, dtype=torch.float64, generator=rng(3))
    deviation = (images - gaussian.mean_of(LADDER, T)).flatten(1)
    exact = (deviation @ torch.linalg.inv(covariance(gaussian, T, *size)) * deviation).sum(1) / 2
    return ladder.at(T).reference_energy(images), exact


def test_the_energy_is_that_of_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.allclose(*energies(), rtol=1e-8)
    plant(monkeypatch, f"{SPECTRUM}:StationaryDescriptor.reference_energy", {"variances.rsqrt()": "variances.sqrt()"})
    assert not torch.allclose(*energies(), rtol=0.1)


def test_beyond_the_border_is_the_mean_colour() -> None:
    made = StationaryConv(LADDER, [4], 3, 0.5).double()
    made.gaussian.load_state_dict(fitted().state_dict())
    patch = torch.randn(2, 3, 20, 20, dtype=torch.float64, generator=rng(3))
    deviation = torch.zeros(2, 3, 20 + WINDOW, 20 + WINDOW, dtype=torch.float64)
    deviation[..., 5:25, 7:27] = patch - made.gaussian.mean_of(LADDER, T)
    root = made.gaussian.variances_of(LADDER, T, deviation.shape[2:], whole=False).rsqrt()
    expected = filtered(deviation, made.gaussian.colours, root).square().sum((1, 2, 3)) / 2
    assert torch.allclose(TextureLadder(made, LADDER).at(T).reference_energy(patch), expected, rtol=1e-9)


def error_of_the_posterior() -> float:
    """Of the mean and the covariance of y_t given x_{t+1}, relative to their largest entry."""
    gaussian, size = fitted(), (8, 10)
    x_next = torch.randn(2, 3, *size, dtype=torch.float64, generator=rng(4))
    found = Posterior(gaussian, LADDER, T, x_next, whole=True)
    prior = torch.linalg.inv(covariance(gaussian, T, *size))
    mean = gaussian.mean_of(LADDER, T).expand(3, *size).flatten()
    precision = LADDER.sigma(T + 1) ** -2
    exact = torch.linalg.inv(prior + precision * torch.eye(len(prior), dtype=torch.float64))
    expected = (mean @ prior + precision * x_next.flatten(1)) @ exact
    pixels = torch.eye(len(prior), dtype=torch.float64).view(-1, 3, *size)
    of_covariance = found.color(found.color_transposed(pixels)).flatten(1) - exact
    of_mean = found.mean.flatten(1) - expected
    return max(float(of_covariance.abs().max() / exact.abs().max()), float(of_mean.abs().max() / expected.abs().max()))


def test_the_posterior_is_that_of_the_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert error_of_the_posterior() < 1e-8
    plant(monkeypatch, f"{SPECTRUM}:Posterior.__init__", {"posterior * precision": "posterior / (1 + precision)"})
    assert error_of_the_posterior() > 0.05


def variance_of_chains(b: float) -> float:
    """Of chains under the reference alone, given x_{t+1}, in the units of the exact conditional density: 1."""
    ladder = TextureLadder(OnTorus(StationaryConv(LADDER, [4], 1, 0.5).double()), LADDER)
    ladder.gaussian.load_state_dict(fitted(1).state_dict())
    x_next = torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=rng(4)).expand(400, 1, 16, 16)
    kernel = mcmc.Langevin(b, 1 - b**2 / 4)
    found, _ = recovery.recover(ladder, T, kernel, x_next, 12, rng(5))
    posterior = ladder.posterior(T, x_next)
    whitened = filtered(found - posterior.mean, posterior.colours, 1 / posterior.root)
    return float(whitened.square().mean())


def test_chains_leave_the_gaussian_as_it_is_at_any_step_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 standard errors of the mean square of 400 × 256 numbers are 0.022."""
    error = 5 * math.sqrt(2 / (400 * 256))
    for b in (0.3, 0.8, 1.2):
        assert variance_of_chains(b) == pytest.approx(1, abs=error)
    fault = {"math.sqrt(temperature) * delta": "delta"}
    plant(monkeypatch, "anasyn.mcmc.langevin:propose", fault)
    assert variance_of_chains(0.8) == pytest.approx(1 / (1 - 0.16), abs=2 * error)


def test_chains_are_held_at_the_border_of_patches() -> None:
    made = StationaryConv(LADDER, [4], 1, 0.5).double()
    made.gaussian.load_state_dict(fitted(1).state_dict())
    ladder, x_next = TextureLadder(made, LADDER), torch.zeros(2, 1, 48, 64, dtype=torch.float64)
    y = torch.ones_like(x_next)
    found, _ = recovery.recover(ladder, T, mcmc.Langevin(0.8), x_next, 2, rng(), held=ladder.held(y))
    moved = (found != 1).all(0)[0]
    assert not moved[:12].any()
    assert moved[12:-12, 16:-16].all()
    assert int(moved.sum()) == (48 - 2 * 12) * (64 - 2 * 16)


def error_of_the_contrast() -> float:
    """Of the variances of corrected y_t that were too pale, in the texture's principal colours, relative."""
    made = StationaryConv(LADDER, [4], 3, 0.5).double()
    made.gaussian.load_state_dict(fitted().state_dict())
    model, (height, width) = TextureLadder(OnTorus(made), LADDER), (96, 128)
    mean = made.gaussian.mean_of(LADDER, T)
    root = made.gaussian.variances_of(LADDER, T, (height, width), whole=True).sqrt()
    white = torch.randn(4, 3, height, width, dtype=torch.float64, generator=rng(3))
    y = mean + filtered(white, made.gaussian.colours, root)
    pale = mean + 0.9 * (y - mean)
    error = (model.corrected(T, pale) - y).square().mean() / (y - mean).square().mean()
    return float(error.sqrt())


def test_whole_images_are_given_the_contrast_of_the_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of exact draws, the mean squares of 4 × 12288 correlated numbers are within 3 % of their variances."""
    assert error_of_the_contrast() < 0.03
    fault = {"ladder.variance(t, self.covariances[:, 0, 0])": "self.covariances[:, 0, 0]"}
    plant(monkeypatch, f"{SPECTRUM}:StationaryGaussian.pixel_variances_of", fault)
    assert error_of_the_contrast() > 0.05


def test_patches_are_left_as_their_chains_leave_them() -> None:
    made = StationaryConv(LADDER, [4], 3, 0.5)
    y = torch.randn(2, 3, 16, 16, generator=rng(3))
    assert TextureLadder(made, LADDER).corrected(T, y) is y
