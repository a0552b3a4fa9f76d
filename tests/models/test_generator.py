"""The generator's densities against scipy's, normalising constants included (equations 1–4)."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from anasyn.models import Generator, networks

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype=FLOAT) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=rng(seed))


def generator(event=(3, 4, 4), sigma=0.3, kind: type[Generator] = Generator) -> Generator:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, math.prod(event)), nn.Unflatten(1, event))
    return kind(network.double(), 2, sigma)


def check_densities(model: Generator, event: tuple[int, ...]) -> None:
    z, images = normal(6, 2), normal(6, *event, seed=1)
    mean = model.network(z).detach().numpy().reshape(6, -1)
    prior = stats.norm(0, 1).logpdf(z.numpy()).sum(1)
    likelihood = stats.norm(mean, model.sigma).logpdf(images.numpy().reshape(6, -1)).sum(1)
    for value, expected in (
        (model.log_prior(z), prior),
        (model.log_likelihood(z, images), likelihood),
        (model.log_joint(z, images), prior + likelihood),
    ):
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("event", [(5,), (3, 4, 4)])
def test_densities_are_the_stated_normals(event, sigma):
    """log p(z), log p(Y|z) and log p(Y, z), with their constants, for images and for vectors (1–4)."""
    check_densities(generator(event, sigma), event)


class PixelMean(Generator):
    """The likelihood averaged over pixels."""

    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) / images[0].numel()


class DoubledPrior(Generator):
    def log_prior(self, z):
        return 2 * super().log_prior(z)


class SigmaForItsSquare(Generator):
    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) * self.sigma


@pytest.mark.parametrize("fault", [PixelMean, DoubledPrior, SigmaForItsSquare])
def test_planted_faults_in_the_densities_are_caught(fault):
    with pytest.raises(AssertionError):
        check_densities(generator(kind=fault), (3, 4, 4))


def test_samples_are_f_of_prior_draws():
    """f(z), z ~ N(0, I): with f linear, mean b and covariance WWᵀ; without the pixel noise."""
    model = Generator(nn.Linear(2, 3, dtype=FLOAT), 2, sigma=5.0)
    weight, bias = model.network.weight.detach(), model.network.bias.detach()
    x = model.sample(40_000, rng=rng()).detach()
    assert x.shape == (40_000, 3)
    z = torch.linalg.lstsq(weight, (x - bias).T).solution.T
    torch.testing.assert_close(z @ weight.T + bias, x, rtol=0, atol=1e-8)  # on the plane: no noise
    assert (z.mean(0).abs() < 5 / 200).all()
    assert ((z.T @ z / 40_000 - torch.eye(2)).abs() < 5 * 2**0.5 / 200).all()


def test_sample_is_by_rng():
    model = generator()
    first = model.sample(4, rng=rng(3))
    assert not first.requires_grad
    torch.manual_seed(99)
    assert torch.equal(first, model.sample(4, rng=rng(3)))
    assert not torch.equal(first, model.sample(4, rng=rng(4)))
    assert model.sample(0, rng=rng()).shape == (0, 3, 4, 4)


def test_bfloat16_agrees_with_float32():
    """The network alone is in bfloat16: images differ by its 8 bits, densities are float32 sums."""
    torch.manual_seed(0)
    network = networks.deconv(2, 16, (32, 16, 8))
    exact, quick = Generator(network, 2, 0.3), Generator(network, 2, 0.3, precision="bfloat16")
    z, images = normal(6, 2, dtype=torch.float32), normal(6, 3, 16, 16, dtype=torch.float32, seed=1).tanh()
    difference = (exact(z) - quick(z)).abs()
    assert quick(z).dtype == torch.float32
    assert 0 < difference.max() < 0.05
    a, b = exact.log_joint(z, images), quick.log_joint(z, images)
    assert b.dtype == torch.float32
    torch.testing.assert_close(a, b, rtol=5e-3, atol=0)
    assert torch.equal(exact.log_prior(z), quick.log_prior(z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_goes_in_decides_the_dtype(dtype):
    model = generator().to(dtype)
    z, images = normal(3, 2, dtype=dtype), normal(3, 3, 4, 4, dtype=dtype)
    assert model(z).dtype == model.log_joint(z, images).dtype == model.sample(2, rng=rng()).dtype == dtype


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -0.3}, "sigma"),
        ({"sigma": math.nan}, "sigma"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"precision": "bf16"}, "precision"),  # must not silently mean float32
    ],
)
def test_bad_arguments_are_named(options, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        Generator(nn.Linear(2, 3), **{"latent_dim": 2, "sigma": 0.3, **options})
