"""The Gaussian that is fitted to images: one matrix L, whatever the products with it are computed from."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from anasyn.models import Descriptor, FittedGaussian

from ..planting import plant

SHAPE = (3, 8, 6)
D = math.prod(SHAPE)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(num: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Smooth images that vary in a few directions, with some noise, float64."""
    basis = torch.randn(4, *shape, generator=rng(1), dtype=torch.float64).cumsum(2).cumsum(3) / 10
    scores = torch.randn(num, 4, generator=rng(2), dtype=torch.float64)
    noise = torch.randn(num, *shape, generator=rng(3), dtype=torch.float64)
    return 0.2 + torch.einsum("nk,kchw->nchw", scores, basis) + 0.05 * noise


def fitted(images: Tensor, components: int = 5, noise: float = 0.2, component_noise: float = 0.0) -> FittedGaussian:
    reference = FittedGaussian(
        (images.shape[1], images.shape[2], images.shape[3]), components, component_noise
    ).double()
    reference.fit(images, noise)
    return reference


def matrix(reference: FittedGaussian) -> Tensor:
    """L, (D, D)."""
    units = torch.eye(D, dtype=torch.float64).view(D, *SHAPE)
    return reference.color(units).flatten(1).T


def check_products(reference: FittedGaussian) -> None:
    factor = matrix(reference)
    x = torch.randn(5, *SHAPE, generator=rng(4), dtype=torch.float64)
    flat = x.flatten(1)
    torch.testing.assert_close(reference.color(x).flatten(1), flat @ factor.T)
    torch.testing.assert_close(reference.color_transposed(x).flatten(1), flat @ factor)
    torch.testing.assert_close(reference.color(reference.whiten(x)) + reference.mean, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(reference.log_determinant(), torch.linalg.slogdet(factor)[1])
    density = MultivariateNormal(reference.mean.flatten(), factor @ factor.T)
    energy = reference.energy(x) + reference.log_determinant() + D / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(-energy, density.log_prob(flat), rtol=1e-5, atol=0)


@pytest.mark.parametrize("num", [2, 7, 200])
def test_all_products_are_those_of_one_matrix(num):
    check_products(fitted(pictures(num)))


@pytest.mark.parametrize(
    ("name", "edits"),
    [
        ("_transform_back", {"self.rows.T": "self.rows"}),
        ("_transform", {"nchw,ck->nkhw": "nchw,kc->nkhw"}),
        ("whiten", {"1 / self.scales": "self.scales"}),
        ("whiten", {"images - self.mean": "images"}),
        ("energy", {"/ 2": "/ 1"}),
        ("color_transposed", {"self.std * self._transform(gradient)": "self._transform(gradient)"}),
        ("log_determinant", {"remaining * ": ""}),
    ],
)
def test_planted_faults_in_the_products_are_caught(monkeypatch, name, edits):
    plant(monkeypatch, f"anasyn.models.reference:FittedGaussian.{name}", edits)
    with pytest.raises(AssertionError):
        check_products(fitted(pictures(7)))


def check_moments(num: int, components: int, noise: float = 0.2, component_noise: float = 0.0) -> None:
    """Learning compares noisy images with draws: along the components, and in total, their moments are the same."""
    images = pictures(num)
    reference = fitted(images, components, noise, component_noise)
    noisy = reference.observe(images.repeat(2000 // num, 1, 1, 1), noise, rng(5))
    white = reference.whiten(noisy).flatten(1)
    assert white.square().mean() == pytest.approx(1, abs=0.02)
    along = white @ reference.components.T
    assert along.var(0).tolist() == pytest.approx([1.0] * components, abs=0.12)
    torch.testing.assert_close(reference.mean, images.mean(0))


@pytest.mark.parametrize("component_noise", [0.0, 0.5])
@pytest.mark.parametrize(("num", "components"), [(4, 3), (20, 5), (200, 5)])
def test_noisy_images_have_the_moments_of_the_density(num, components, component_noise):
    check_moments(num, components, component_noise=component_noise)


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("FittedGaussian.fit", {"+ noise**2\n    self.rest": "\n    self.rest"}),
        ("FittedGaussian.fit", {"self.variances + self._noise_along(noise)": "self.variances"}),
        ("FittedGaussian.fit", {"self._noise_along(noise)": "noise**2"}),
        ("principal", {"values[k:].sum()": "0 * values[k:].sum()"}),
        ("principal", {"/ len(x), vectors": "/ (2 * len(x)), vectors"}),
    ],
)
def test_planted_faults_in_the_fit_are_caught(monkeypatch, where, edits):
    plant(monkeypatch, f"anasyn.models.reference:{where}", edits)
    with pytest.raises(AssertionError):
        check_moments(20, 2, noise=3.0, component_noise=0.7)


def test_draws_have_its_covariance():
    reference = fitted(pictures(20))
    draws = reference.draw(torch.empty(40_000, *SHAPE, dtype=torch.float64), rng()).flatten(1)
    factor = matrix(reference)
    torch.testing.assert_close(draws.T.cov(), factor @ factor.T, atol=0.1, rtol=0)
    torch.testing.assert_close(draws.mean(0), reference.mean.flatten(), atol=0.03, rtol=0)


def check_denoising(component_noise: float = 0.5) -> None:
    """Of images from a Gaussian fitted to images without noise, the posterior mean in closed form."""
    noise = 0.7
    clean = fitted(pictures(20), noise=0.1)
    noisy = fitted(pictures(20), noise=(0.1**2 + noise**2) ** 0.5, component_noise=component_noise)
    covariance = matrix(clean) @ matrix(clean).T
    y = noisy.draw(torch.empty(5, *SHAPE, dtype=torch.float64), rng()).requires_grad_()
    (gradient,) = torch.autograd.grad(-noisy.energy(y).sum(), y)
    total = matrix(noisy) @ matrix(noisy).T
    centred = (y - noisy.mean).detach().flatten(1)
    expected = clean.mean.flatten() + centred @ torch.linalg.solve(total, covariance)
    torch.testing.assert_close(noisy.denoise(y.detach(), gradient, noise).flatten(1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("component_noise", [0.0, 0.5])
def test_denoised_images_are_the_posterior_means(component_noise):
    check_denoising(component_noise)


@pytest.mark.parametrize(
    "edits",
    [
        {"noise**2": "noise"},
        {"_transform_back(self.std * along)": "_transform_back(along)"},
        {"self._noise_along(noise)": "noise**2"},
        {"images + ": "images - "},
    ],
)
def test_planted_faults_in_denoising_are_caught(monkeypatch, edits):
    plant(monkeypatch, "anasyn.models.reference:FittedGaussian.denoise", edits)
    with pytest.raises(AssertionError):
        check_denoising()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24)])
def test_uint8_images_of_one_colour_do_not_break_it(shape):
    images = torch.full((3, *shape), 128, dtype=torch.uint8)
    images[1] = 130
    reference = FittedGaussian(shape, 2)
    reference.fit(images, 0.2)
    assert all(tensor.isfinite().all() for tensor in reference.state_dict().values())
    assert reference.draw(torch.empty(2, *shape), rng()).isfinite().all()
    assert reference.energy(images.float() / 127.5 - 1).isfinite().all()


def test_more_components_than_images_are_left_at_zero():
    reference = fitted(pictures(4), components=10)
    assert int(reference.components.any(1).sum()) == 3
    check_products(reference)


def test_the_reference_of_a_descriptor_takes_the_place_of_the_isotropic_one():
    """log p₀ is normalised with either, so that log Z is 0 where f is."""
    images = pictures(7)
    for reference in (None, fitted(images)):
        model = Descriptor(torch.nn.Flatten(0), 0.4, reference=reference).double()
        log_p0 = -model.reference_energy(images) - model.log_reference_normalizer(D)
        if reference:
            factor = matrix(reference)
            expected = MultivariateNormal(reference.mean.flatten(), factor @ factor.T).log_prob(images.flatten(1))
        else:
            expected = torch.distributions.Normal(0, 0.4).log_prob(images).sum((1, 2, 3))
        torch.testing.assert_close(log_p0, expected)
