"""Inference draws from the exact posterior where it is known, and finds the mode where chains get stuck."""

import pytest
import torch
from torch import nn

from anasyn.evaluation import infer, inference
from anasyn.models import Generator


def linear_generator(sigma=0.5):
    """f(z) = Wz + b in float64; the posterior is N(M⁻¹Wᵀ(y − b), σ²M⁻¹), M = WᵀW + σ²I."""
    network = nn.Linear(2, 5).double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.weight.copy_(torch.randn(5, 2, generator=rng, dtype=torch.float64))
        network.bias.copy_(torch.randn(5, generator=rng, dtype=torch.float64))
    model = Generator(network, 2, sigma)
    w, b = network.weight.detach(), network.bias.detach()
    precision = w.T @ w + sigma**2 * torch.eye(2, dtype=torch.float64)

    def posterior(y):
        return torch.linalg.solve(precision, w.T @ (y - b)), sigma**2 * precision.inverse()

    return model, posterior


def distance_in_errors(z, mean, covariance):
    """How many Monte Carlo standard errors mean and covariance of z are away at most."""
    n = len(z)
    of_mean = (z.mean(0) - mean).abs() / (covariance.diagonal() / n).sqrt()
    variances = covariance.diagonal()
    of_covariance = (z.T.cov() - covariance).abs() / ((covariance**2 + variances.outer(variances)) / n).sqrt()
    return max(of_mean.max().item(), of_covariance.max().item())


def draws(model, y, companions=0, **kwargs):
    images = y.expand(1500, -1)
    others = 5 * torch.ones(companions, 5, dtype=y.dtype)
    found = infer(model, torch.cat([images, others]), rng=torch.Generator().manual_seed(1), **kwargs)
    return found.z[:1500]


@pytest.mark.parametrize("companions", [0, 300])
def test_draws_from_the_closed_form_posterior_whatever_the_batch(companions):
    model, posterior = linear_generator()
    y = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    assert distance_in_errors(draws(model, y, companions), *posterior(y)) < 4.5


class Averaged(Generator):
    """The planted fault: the likelihood is averaged over the batch, and σ silently becomes σ√B."""

    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) / 4


def test_the_bound_catches_a_likelihood_that_is_averaged():
    model, posterior = linear_generator()
    y = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    faulty = Averaged(model.network, 2, 0.5)
    assert distance_in_errors(draws(faulty, y), *posterior(y)) > 10


def test_selection_ends_before_the_last_steps(monkeypatch):
    # If the chain were chosen by its final log p, z would concentrate at the mode.
    model, posterior = linear_generator()
    y = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    monkeypatch.setattr(inference.mcmc, "run", lambda kernel, p, z, **_: (inference.mcmc.init(p, z, 1.0), _Best))
    images = y.expand(1500, -1)
    crowded = infer(model, images, num_steps=1, rng=torch.Generator().manual_seed(1)).z
    assert distance_in_errors(crowded, *posterior(y)) > 4.5


class _Best:
    acceptance_rate = torch.zeros(1)


class Ripples(nn.Module):
    """f(z) with a narrow basin at each image: a chain that starts in the wrong one stays there."""

    def forward(self, z):
        return torch.stack([torch.sin(6 * z[:, 0]), torch.cos(6 * z[:, 0]), z[:, 0], z[:, 1]], 1)


def test_finds_the_mode_among_many_where_one_cold_chain_does_not():
    model = Generator(Ripples(), 2, 0.02)
    z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    images = model(z)
    found = infer(model, images, rng=torch.Generator().manual_seed(1))
    stuck = infer(model, images, num_starts=1, num_chains=1, rng=torch.Generator().manual_seed(1))
    lost, lost_alone = (((x.z - z).abs().amax(1) > 0.2).double().mean() for x in (found, stuck))
    assert lost < 0.05  # a z far out in the prior may have no start near
    assert lost_alone > 0.3
    torch.testing.assert_close(found.log_joint, model.log_joint(found.z, images))
    torch.testing.assert_close(found.mse, ((model(found.z) - images) ** 2).mean(1))
    assert ((found.acceptance_rate > 0.2) & (found.acceptance_rate <= 1)).all()


@pytest.mark.parametrize("num_chains", [1, 3, 4])
def test_bounds_the_chains_at_once_and_keeps_the_images_order(num_chains, monkeypatch):
    monkeypatch.setattr(inference, "CHAINS_AT_ONCE", 12)
    model, posterior = linear_generator(sigma=0.01)
    largest = 0
    joint = model.log_joint

    def watched(z, images):
        nonlocal largest
        largest = max(largest, len(z))
        return joint(z, images)

    monkeypatch.setattr(model, "log_joint", watched)
    images = torch.randn(29, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = infer(model, images, num_chains=num_chains, rng=torch.Generator().manual_seed(0))
    means = torch.stack([posterior(y)[0] for y in images])
    assert largest == 12
    torch.testing.assert_close(found.z, means, atol=0.1, rtol=0)


def test_the_same_generator_gives_the_same_z_and_the_weights_stay_as_they_are():
    model, _ = linear_generator()
    images = torch.ones(3, 5, dtype=torch.float64)
    first, second = (infer(model, images, rng=torch.Generator().manual_seed(3)).z for _ in range(2))
    assert torch.equal(first, second)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_refuses_what_makes_no_sense():
    model, _ = linear_generator()
    images = torch.ones(3, 5, dtype=torch.float64)
    rng = torch.Generator()
    with pytest.raises(ValueError, match="num_chains: expected 1 to 2 with 2 starts, got 4"):
        infer(model, images, num_starts=2, rng=rng)
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        infer(model, images, num_steps=0, rng=rng)
    with pytest.raises(ValueError, match=r"images: expected floats.*uint8"):
        infer(model, images.byte(), rng=rng)
    with torch.no_grad():
        model.network.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="f\\(z\\) is not finite"):
        infer(model, images, rng=rng)


def test_the_linear_inverse_is_the_posterior_mean_of_a_linear_generator():
    """M⁻¹ Wᵀ (y − b), M = WᵀW + σ² I, where the pairs have mean 0 and covariance I exactly."""
    rng = torch.Generator().manual_seed(3)
    weight, bias = (torch.randn(size, generator=rng, dtype=torch.float64) for size in ((6, 3), (6,)))
    z = torch.randn(50, 3, generator=rng, dtype=torch.float64)
    z = torch.linalg.svd(z - z.mean(0), full_matrices=False)[0] * 50**0.5
    sigma = torch.tensor(0.5, dtype=torch.float64)
    images = torch.randn(5, 6, generator=rng, dtype=torch.float64)
    found = inference.LinearInverse(z, z @ weight.T + bias, sigma)(images)
    precision = weight.T @ weight + sigma**2 * torch.eye(3, dtype=torch.float64)
    exact = torch.linalg.solve(precision, ((images - bias) @ weight).T).T
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_in_many_dimensions_the_linear_inverse_finds_what_draws_do_not():
    """Of 64 coordinates the best of a thousand draws is far from the image's z; σ is recovered from the estimate."""
    torch.manual_seed(0)
    model = Generator(nn.Sequential(nn.Linear(64, 300), nn.Tanh()), 64, 0.05)
    images = model(torch.randn(8, 64)).detach()
    images = images + 0.05 * torch.randn(images.shape)
    found = infer(model, images, rng=torch.Generator().manual_seed(0))
    assert found.mse.mean() < 1.2 * 0.05**2
