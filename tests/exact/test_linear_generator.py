"""The linear generator f(z) = Wz + b, probabilistic PCA, where all is known in closed form (cases 7–9)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from anasyn import GeneratorLearner, mcmc
from anasyn.learning import Shard, batches
from anasyn.models import Generator
from anasyn.rng import derive

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor, bias: Tensor, sigma: float, kind: type[Generator] = Generator) -> Generator:
    network = nn.Linear(weight.shape[1], weight.shape[0], dtype=FLOAT)
    with torch.no_grad():
        network.weight.copy_(weight)
        network.bias.copy_(bias)
    return kind(network, weight.shape[1], sigma)


def assert_mean(values: Tensor, expected: float, sigmas: float = 5, bias: float = 0) -> None:
    error = (values.std() / len(values) ** 0.5).item()
    assert abs(values.mean().item() - expected) <= sigmas * error + bias, (values.mean().item(), expected, error)


# ---- planted faults


class DoubledPrior(Generator):
    def log_prior(self, z):
        return 2 * super().log_prior(z)


class NoPrior(Generator):
    def log_prior(self, z):
        return 0 * super().log_prior(z)


class BatchMean(Generator):
    """Trap 1: the likelihood averaged over the batch."""

    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) / len(z)


class WrongSign(Generator):
    def log_likelihood(self, z, images):
        return -super().log_likelihood(z, images)


class SigmaUnsquared(Generator):
    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) * self.sigma


FAULTS = [DoubledPrior, NoPrior, BatchMean, SigmaUnsquared]


# ---- case 7: density and posterior at known weights

W7, B7 = torch.tensor([[3**0.5], [0.0], [0.0]], dtype=FLOAT), torch.zeros(3, dtype=FLOAT)
Y7 = torch.tensor([2.0, 0, 0], dtype=FLOAT)


def log_evidence(model: Generator, y: Tensor) -> float:
    """log ∫ p(y, z) dz by the trapezoidal rule, which on a Gaussian is exact to rounding."""
    z = torch.linspace(-12, 12, 2401, dtype=FLOAT)[:, None]
    return (torch.logsumexp(model.log_joint(z, y.expand(len(z), -1)), 0) + math.log(0.01)).item()


def test_log_evidence_is_the_marginal_gaussians():
    """Case 7, exact: log p(y) = −3.949963 at y = (2, 0, 0), and N(y; b, WWᵀ + σ²I) anywhere."""
    assert log_evidence(linear(W7, B7, 1.0), Y7) == pytest.approx(-3.949963, abs=5e-7)
    weight, bias, y = (torch.randn(s, dtype=FLOAT, generator=rng(1)) for s in ((3, 1), (3,), (3,)))
    covariance = (weight @ weight.T + 0.49 * torch.eye(3, dtype=FLOAT)).numpy()
    expected = multivariate_normal(bias.numpy(), covariance).logpdf(y.numpy())
    assert log_evidence(linear(weight, bias, 0.7), y) == pytest.approx(expected, abs=1e-10)


def check_posterior(kernel: mcmc.Kernel, kind: type[Generator] = Generator) -> None:
    """Case 7: at y = (2, 0, 0) the posterior has mean 0.866025 and variance 0.25 (M = 4)."""
    model = linear(W7, B7, 1.0, kind)
    images = Y7.expand(20_000, -1)
    start = torch.randn(20_000, 1, dtype=FLOAT, generator=rng())
    state, _ = mcmc.run(kernel, lambda z: model.log_joint(z, images), start, num_steps=40, rng=rng(1))
    z = state.position[:, 0]
    assert_mean(z, 0.866025, bias=1e-6)
    assert_mean((z - 0.866025) ** 2, 0.25)


@pytest.mark.parametrize("kernel", [mcmc.MALA(0.7), mcmc.HMC(0.4, 3)], ids=["MALA", "HMC"])
def test_posterior_by_mcmc(kernel):
    check_posterior(kernel)


@pytest.mark.parametrize("fault", FAULTS[:3])
def test_planted_faults_in_the_joint_density_move_the_posterior(fault):
    with pytest.raises(AssertionError):
        check_posterior(mcmc.MALA(0.7), fault)


# ---- case 9: Fisher's identity


def check_fisher(kind: type[Generator]) -> None:
    """Case 9, exact: E[∂/∂W log p(y, z) | y] = ∂/∂W log p(y), the expectation by Gauss-Hermite quadrature."""
    weight, bias, y = (torch.randn(s, dtype=FLOAT, generator=rng(2)) for s in ((4, 2), (4,), (4,)))
    sigma = 0.6
    model = linear(weight, bias, sigma, kind)

    w, b = (x.clone().requires_grad_() for x in (weight, bias))
    marginal = torch.distributions.MultivariateNormal(b, w @ w.T + sigma**2 * torch.eye(4, dtype=FLOAT))
    of_evidence = torch.autograd.grad(marginal.log_prob(y), (w, b))

    precision = weight.T @ weight + sigma**2 * torch.eye(2, dtype=FLOAT)  # M
    mean = torch.linalg.solve(precision, weight.T @ (y - bias))
    root = torch.linalg.cholesky(sigma**2 * torch.linalg.inv(precision))
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(6))
    z = mean + torch.cartesian_prod(nodes, nodes) @ root.T
    probability = torch.outer(weights, weights).flatten() / (2 * math.pi)
    expected_joint = (probability * model.log_joint(z, y.expand(36, -1))).sum()
    of_joint = torch.autograd.grad(expected_joint, list(model.parameters()))
    for joint, evidence in zip(of_joint, of_evidence, strict=True):
        torch.testing.assert_close(joint, evidence, rtol=0, atol=1e-10)


def test_fishers_identity():
    check_fisher(Generator)


@pytest.mark.parametrize("fault", [BatchMean, SigmaUnsquared, WrongSign])
def test_planted_faults_break_fishers_identity(fault):
    with pytest.raises(AssertionError):
        check_fisher(fault)


def test_the_learning_step_is_equation_10():
    """The weights' gradient is −(1/n) Σ (y − b − Wz) zᵀ/σ² at the z that are kept, exact."""
    weight, bias, images = (torch.randn(s, dtype=FLOAT, generator=rng(3)) for s in ((4, 2), (4,), (10, 4)))
    model = linear(weight, bias, 0.6)
    learner = GeneratorLearner(model, kernel=mcmc.MALA(0.3), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    learner.begin(images, 10, rng=rng())
    learner.step(torch.arange(10), images, rng=rng(1))
    z = learner.chains.positions
    residual = (images - bias - z @ weight.T) / 0.6**2
    ascent = residual.T @ z / 10
    torch.testing.assert_close(model.network.weight.detach(), weight + 0.1 * ascent, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.network.bias.detach(), bias + 0.1 * residual.mean(0), rtol=0, atol=1e-12)


# ---- cases 7 and 8: by learning


@dataclass(frozen=True)
class FixedMALA(mcmc.MALA):
    """MALA whose step size the learner leaves alone: exact, which one that is still adapted is not quite."""

    target_acceptance: ClassVar[float | None] = None


@dataclass(frozen=True)
class FixedHMC(mcmc.HMC):
    target_acceptance: ClassVar[float | None] = None


COPIES = 100


def data_set(*variances: float) -> Tensor:
    """Images of mean 0 and covariance exactly diag(variances), many copies of each, so that many chains run."""
    rows = torch.diag(torch.tensor(variances, dtype=FLOAT) * len(variances)).sqrt()
    return torch.cat([rows, -rows]).repeat(COPIES, 1)


def learned(
    kernel: mcmc.Kernel,
    images: Tensor,
    sigma: float,
    *,
    kind: type[Generator] = Generator,
    batch_size: int | None = None,
    shuffled: bool = True,
    num_steps: int = 5,
    num_iterations: int = 300,
    rate: float = 0.1,
    seed: int = 0,
) -> tuple[float, float, Generator]:
    """‖W‖² averaged over the second half of the learning, its standard error by batch means, and the model."""
    n, dim = images.shape
    model = linear(torch.full((dim, 1), 0.8, dtype=FLOAT), torch.zeros(dim, dtype=FLOAT), sigma, kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate * sigma**2)
    learner = GeneratorLearner(model, kernel=kernel, num_steps=num_steps, optimizer=optimizer)
    learner.begin(images, n, rng=derive(seed, "chains"))
    order = batches(Shard.own(n, batch_size or n), seed)
    norms = []
    for t in range(num_iterations):
        index = next(order) if shuffled else torch.arange(n)
        learner.step(index, images[index], rng=derive(seed, "noise", t))
        norms.append((model.network.weight.detach() ** 2).sum())
    means = torch.stack(norms[num_iterations // 2 :]).view(10, -1).mean(1)
    return means.mean().item(), (means.std() / 10**0.5).item(), model


def check_learned(kernel: mcmc.Kernel, variances, sigma, expected, **options) -> Generator:
    """‖W‖² ends at what is expected, by five standard errors and 2 % for what they miss: blocks that are correlated.

    Measured over six seeds: 3 % off at most. The biases that are to be told apart are 11 % and more.
    """
    norm, error, model = learned(kernel, data_set(*variances), sigma, **options)
    assert error < 0.015 * expected
    assert abs(norm - expected) <= 5 * error + 0.02 * expected, (norm, error, expected)
    return model


@pytest.mark.parametrize(
    "options",
    [{"shuffled": False}, {}, {"batch_size": 150, "num_iterations": 600}],
    ids=["full batch", "shuffled", "mini-batch"],
)
@pytest.mark.parametrize(
    "kernel", [FixedMALA(0.7), pytest.param(FixedHMC(0.5, 2), marks=pytest.mark.statistics)], ids=["MALA", "HMC"]
)
def test_learning_reaches_the_maximum_likelihood(kernel, options):
    """Case 7: W = (±√3, 0, 0), b = 0 at S = diag(4, 1, 1), σ = 1: all orders of the images agree with it."""
    model = check_learned(kernel, (4, 1, 1), 1.0, 3.0, **options)
    assert model.network.weight.detach()[1:].abs().max() < 0.2
    assert model.network.bias.detach().abs().max() < 0.1


@pytest.mark.parametrize(
    ("kernel", "s", "sigma", "expected", "options"),
    [
        (mcmc.Langevin(0.3), 4.0, 1.0, 2.669725, {}),
        (mcmc.Langevin(0.1), 4.0, 1.0, 2.960396, {"num_steps": 20}),
        (FixedMALA(0.3), 4.0, 1.0, 3.0, {}),
        pytest.param(FixedHMC(0.3, 3), 4.0, 1.0, 3.0, {}, marks=pytest.mark.statistics),
        (mcmc.Langevin(0.3), 1.0, 0.3, 0.71, {"num_iterations": 600}),
        (FixedMALA(0.3), 1.0, 0.3, 0.91, {"num_iterations": 600}),
    ],
    ids=["ULA 0.3", "ULA 0.1", "MALA", "HMC", "ULA, δ = σ = 0.3", "MALA, σ = 0.3"],
)
def test_learning_with_unadjusted_dynamics_has_the_predicted_bias(kernel, s, sigma, expected, options):
    """Case 8: W² = s/(1 + sδ²/4σ²) − σ² with Langevin, s − σ² (the maximum likelihood) with an adjusted kernel."""
    if isinstance(kernel, mcmc.Langevin):
        assert expected == pytest.approx(s / (1 + s * kernel.step_size**2 / (4 * sigma**2)) - sigma**2, abs=5e-3)
    check_learned(kernel, (s,), sigma, expected, **options)


@pytest.mark.parametrize(
    ("kernel", "kind", "options"),
    [
        (mcmc.Langevin(0.3), Generator, {}),
        (FixedMALA(0.7), DoubledPrior, {}),
        (FixedMALA(0.7), NoPrior, {}),
        (FixedMALA(0.7), BatchMean, {}),
        (FixedMALA(0.7), Generator, {"rate": 0.0}),
    ],
    ids=["the adjustment left out", "doubled prior", "no prior", "likelihood over the batch's size", "no learning"],
)
def test_planted_faults_keep_learning_from_the_maximum_likelihood(kernel, kind, options):
    with pytest.raises(AssertionError):
        check_learned(kernel, (4, 1, 1), 1.0, 3.0, kind=kind, **options)


def test_adapted_step_sizes_stay_close_to_the_maximum_likelihood():
    """The learner's own way, a step size adapted without end, is exact but for an adaptation bias below 2 %."""
    norm, _, _ = learned(mcmc.MALA(), data_set(4, 1, 1), 1.0)
    assert norm == pytest.approx(3.0, abs=0.06)
