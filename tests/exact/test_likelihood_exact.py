"""The likelihood of a generator where it is known: linear generators (case 7), and few dimensions by quadrature."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.evaluation import laplace, likelihood, normalizer
from anasyn.evaluation.laplace import Mixture
from anasyn.models import Generator

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


# ---- case 7: linear generators; by the low-rank identity for any D


def linear(weight: Tensor, sigma: float, kind: type[Generator] = Generator) -> Generator:
    network = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=FLOAT)
    with torch.no_grad():
        network.weight.copy_(weight)
    return kind(network, weight.shape[1], sigma)


def log_evidence(weight: Tensor, sigma: float, images: Tensor) -> Tensor:
    """log N(Y; 0, WWᵀ + σ²I), with determinant and inverse through M = WᵀW + σ²I (Woodbury)."""
    dim, d = weight.shape
    m = weight.T @ weight + sigma**2 * torch.eye(d, dtype=FLOAT)
    projected = images @ weight
    square = ((images**2).sum(1) - (projected * torch.linalg.solve(m, projected.T).T).sum(1)) / sigma**2
    log_det = torch.logdet(m) + (dim - d) * 2 * math.log(sigma)
    return -0.5 * (square + log_det + dim * math.log(2 * math.pi))


def simulated(weight: Tensor, sigma: float, num: int) -> Tensor:
    return normal(num, weight.shape[1], seed=8) @ weight.T + sigma * normal(num, len(weight), seed=9)


def test_the_low_rank_identity_is_the_marginal_gaussian():
    weight, images = normal(6, 2), normal(3, 6, seed=1)
    covariance = weight @ weight.T + 0.49 * torch.eye(6, dtype=FLOAT)
    expected = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=FLOAT), covariance).log_prob(images)
    torch.testing.assert_close(log_evidence(weight, 0.7, images), expected)


def check_linear(d: int, dim: int, sigma: float, kind: type[Generator] = Generator) -> None:
    """The bounds are within 0.1 nat of the exact values on average, and not by luck: so are their standard errors."""
    weight = normal(dim, d, seed=7) * torch.linspace(0.5, 0.1, d, dtype=FLOAT)
    images = simulated(weight, sigma, 2)
    settings = {"num_chains": 64, "num_temperatures": 30, "num_peaks": 2}
    found = likelihood.log_likelihood(linear(weight, sigma, kind), images, **settings, rng=rng(10))
    difference = found.value - log_evidence(weight, sigma, images)
    assert found.error.mean() < 0.1, found.error
    assert difference.abs().mean() < 0.1, difference


@pytest.mark.parametrize(("d", "dim", "sigma"), [(1, 3, 0.3), (2, 12, 0.3), (8, 192, 0.3)])
def test_linear_generators_within_a_tenth_of_a_nat(d, dim, sigma):
    check_linear(d, dim, sigma)


def test_a_sharp_posterior_of_32_dimensions(monkeypatch):
    """A Gaussian posterior needs little inflation, and with little of it few temperatures."""
    monkeypatch.setattr(laplace, "INFLATION", 1.1)
    check_linear(32, 12_288, 0.1)


class SigmaUnsquared(Generator):
    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) * self.sigma


class NoConstant(Generator):
    def log_prior(self, z):
        return -0.5 * (z**2).sum(1)


@pytest.mark.parametrize("fault", [SigmaUnsquared, NoConstant])
def test_planted_faults_in_the_joint_density_are_seen(fault):
    with pytest.raises(AssertionError):
        check_linear(2, 12, 0.3, fault)


# ---- the bracket, on a hundred images of a linear generator


WEIGHT, SIGMA = normal(4, 2, seed=7), 0.3


def exact_posterior(images: Tensor, spread: float = 1.0) -> Tensor:
    """A draw from N(M⁻¹WᵀY, σ²M⁻¹) for each image, (n, d)."""
    m = WEIGHT.T @ WEIGHT + SIGMA**2 * torch.eye(2, dtype=FLOAT)
    root = torch.linalg.cholesky(SIGMA**2 * torch.linalg.inv(m))
    mean = torch.linalg.solve(m, (images @ WEIGHT).T).T
    return mean + spread * normal(*mean.shape, seed=15) @ root.T


def check_every_image(spread: float = 1.0, start: type[Mixture] = Mixture, kind: type[Generator] = Generator) -> None:
    """From 16 independent forward and reverse chains: in 95 of 100 images the bounds, ± 3 errors, hold the truth."""
    images, model = simulated(WEIGHT, SIGMA, 100), linear(WEIGHT, SIGMA, kind)
    copies = images.repeat_interleave(16, 0)
    reference = start(*laplace.laplace(model, copies, num_peaks=2, rng=rng(16)))
    chains = likelihood._Chains(model, copies, reference, 2, 20, rng(17), None)
    forward, reverse = chains.lower().value.view(100, 16), -chains.upper(exact_posterior(copies, spread)).view(100, 16)
    lower = mcmc.log_mean_exp(forward) - 3 * mcmc.log_mean_exp_error(forward)
    upper = -mcmc.log_mean_exp(reverse) + 3 * mcmc.log_mean_exp_error(reverse)
    truth = log_evidence(WEIGHT, SIGMA, images)
    assert ((lower <= truth) & (truth <= upper)).sum() >= 95
    assert (upper - lower).mean() < 0.5


def test_bounds_from_independent_draws_hold_the_exact_value_of_each_image():
    check_every_image()


class Brighter(Generator):
    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) + 0.5


class NoDeterminant(Mixture):
    def coordinates(self, components):
        found = super().coordinates(components)
        return found._replace(log_dets=torch.zeros_like(found.log_dets))


class NoInflation(Mixture):
    """The chains move in coordinates that are wider than those of which the determinant is taken."""

    def coordinates(self, components):
        found = super().coordinates(components)
        return found._replace(factors=found.factors / 1.5)


class NoWeights(Mixture):
    def coordinates(self, components):
        found = super().coordinates(components)
        return found._replace(log_weights=torch.zeros_like(found.log_weights))


@pytest.mark.parametrize(
    "fault",
    [{"spread": 3.0}, {"kind": Brighter}, {"start": NoDeterminant}, {"start": NoInflation}, {"start": NoWeights}],
    ids=["reverse from a wider posterior", "constant", "determinant", "inflation", "weights of the components"],
)
def test_planted_faults_leave_the_bounds_of_images(fault):
    with pytest.raises(AssertionError):
        check_every_image(**fault)


def at_least(values: Tensor, least: float) -> bool:
    """Whether the mean over independent images may be ``least`` or more, by three standard errors."""
    return bool(values.mean() + 3 * values.std() / len(values) ** 0.5 >= least)


def check_bracket(monkeypatch, draw_prior=None, fault=None) -> None:
    """In expectation lower ≤ truth ≤ upper; the chains of an image share its z, so that only images are independent."""
    seen = []
    original = likelihood._Chains

    class Spy(original):
        def __init__(self, model, images, *rest):
            seen.append(images)
            super().__init__(model, images, *rest)

        def upper(self, exact):
            return super().upper(fault(exact) if fault else exact)

    monkeypatch.setattr(likelihood, "_Chains", Spy)
    settings = {"num_images": 100, "num_chains": 16, "num_temperatures": 20, "num_peaks": 2}
    found = likelihood.bracket(linear(WEIGHT, SIGMA), normal(1, 4), **settings, draw_prior=draw_prior, rng=rng(11))
    truth = log_evidence(WEIGHT, SIGMA, torch.cat(seen))
    assert at_least(truth - found.lower, 0)
    assert at_least(found.upper - truth, 0)
    assert (found.upper - found.lower).mean() < 0.2


def test_the_bracket_holds_the_exact_value(monkeypatch):
    check_bracket(monkeypatch)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": lambda exact: normal(*exact.shape, seed=12)},
        {"fault": torch.zeros_like},
        {"draw_prior": lambda num, rng: 3 * torch.randn(num, 2, dtype=FLOAT, generator=rng)},
    ],
    ids=["reverse from the prior", "reverse from 0", "another prior"],
)
def test_planted_faults_break_the_bracket(monkeypatch, fault):
    with pytest.raises(AssertionError):
        check_bracket(monkeypatch, **fault)


# ---- a prior that is not N(0, I), and not normalised


class Shifted(Generator):
    """log_prior = αᵀz + log N(z; 0, I): the prior is N(α, I), and log Z_α = ‖α‖²/2."""

    alpha = torch.tensor([0.8, -0.5], dtype=FLOAT)

    def log_prior(self, z):
        return super().log_prior(z) + z @ self.alpha


def test_an_unnormalised_prior():
    weight, sigma, alpha = normal(5, 2, seed=7), 0.3, Shifted.alpha
    model = linear(weight, sigma, Shifted)
    log_z = normalizer.log_normalizer(
        model.log_prior, likelihood.standard_gaussian, normal(2000, 2), num_temperatures=20, rng=rng()
    )
    exact = 0.5 * (alpha @ alpha).item()
    assert log_z.value.item() == pytest.approx(exact, abs=5 * log_z.error.item())
    images = (normal(4, 2, seed=8) + alpha) @ weight.T + sigma * normal(4, 5, seed=9)
    settings = {"num_temperatures": 20, "num_peaks": 2, "log_prior_normalizer": exact}
    found = likelihood.log_likelihood(model, images, num_chains=64, **settings, rng=rng(1))
    truth = log_evidence(weight, sigma, images - weight @ alpha)
    assert ((found.value - truth).abs() <= 4 * found.error).all()
    assert (found.error < 0.15).all()

    def draw(num: int, rng: torch.Generator) -> Tensor:
        return alpha + torch.randn(num, 2, dtype=FLOAT, generator=rng)

    held = likelihood.bracket(model, images, num_images=20, num_chains=64, draw_prior=draw, **settings, rng=rng(2))
    assert at_least(held.upper - held.lower, 0)
    assert (held.upper - held.lower).mean() < 0.2
