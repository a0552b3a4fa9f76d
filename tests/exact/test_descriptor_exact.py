"""The descriptor with networks whose density is known in closed form (cases 10–14)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, mcmc
from anasyn.models import Descriptor
from anasyn.rng import derive

FLOAT = torch.float64
CHAINS = 40_000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def assert_mean(values: Tensor, expected: float, sigmas: float = 5) -> None:
    error = (values.std() / len(values) ** 0.5).item()
    assert abs(values.mean().item() - expected) <= sigmas * error + 5e-7, (values.mean().item(), expected, error)


# ---- the networks: images (n, D) → (n,)


class Zero(nn.Module):
    def forward(self, y):
        return y.new_zeros(len(y))


class Linear(nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=FLOAT))

    def forward(self, y):
        return y @ self.theta


class Quadratic(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(dim, dim, dtype=FLOAT))
        self.b = nn.Parameter(torch.zeros(dim, dtype=FLOAT))

    def forward(self, y):
        return -0.5 * ((y @ self.A) * y).sum(1) + y @ self.b


class Relu(nn.Module):
    def forward(self, y):
        return y[:, 0].clamp_min(0)


class TwoModes(nn.Module):
    def forward(self, y):
        return (2 * y**2 - y**4 / 4)[:, 0]


# ---- planted faults


class DoubledReference(Descriptor):
    def energy(self, images):
        return super().energy(images) + (images**2).flatten(1).sum(1) / (2 * self.reference_std**2)


class HalfUnsquaredReference(Descriptor):
    """‖Y‖²/2s for ‖Y‖²/2s²."""

    def energy(self, images):
        return (images**2).flatten(1).sum(1) / (2 * self.reference_std) - self(images)


class WrongSign(Descriptor):
    def energy(self, images):
        return super().energy(images) + 2 * self(images)


class NetworkTwice(Descriptor):
    def energy(self, images):
        return super().energy(images) - self(images)


# ---- normalising constants, exact


def log_z(model: Descriptor) -> float:
    """log Z(θ) of a one-dimensional descriptor by Gauss-Legendre quadrature in two pieces, the kink at 0 between."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(200))
    y = torch.cat([15 * (nodes - 1), 15 * (nodes + 1)])[:, None]
    log_w = (15 * weights).log().repeat(2)
    reference = 0.5 * math.log(2 * math.pi * model.reference_std**2)
    return (torch.logsumexp(model.log_density(y) + log_w, 0) - reference).item()


# Z of max(0, y): 1/2 + ∫₀^∞ eʸ φ(y) dy = 1/2 + √e Φ(1)
RELU = math.log(0.5 + math.exp(0.5) * 0.5 * (1 + math.erf(2**-0.5)))
CONSTANTS = {
    "f = 0 (case 10)": (Zero(), 0.7, 0.0, 1e-10),
    "f = 1.5 y (case 11)": (Linear([1.5]), 0.7, 0.7**2 * 1.5**2 / 2, 1e-10),
    "relu (case 13)": (Relu(), 1.0, RELU, 1e-10),
    "relu, published (case 13)": (Relu(), 1.0, 0.635064, 5e-7),
    "two modes, published (case 14)": (TwoModes(), 1.0, 2.159394, 5e-7),
}


@pytest.mark.parametrize(("network", "s", "expected", "tolerance"), CONSTANTS.values(), ids=CONSTANTS.keys())
def test_normalising_constant(network, s, expected, tolerance):
    assert log_z(Descriptor(network, s)) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("fault", [DoubledReference, WrongSign, NetworkTwice])
@pytest.mark.parametrize("name", ["relu (case 13)", "two modes, published (case 14)"])
def test_planted_faults_in_the_energy_move_the_normalising_constant(name, fault):
    network, s, expected, tolerance = CONSTANTS[name]
    if fault is WrongSign and isinstance(network, TwoModes):
        network = Relu()  # turned about, two modes cannot be normalised at all
    assert log_z(fault(network, s)) != pytest.approx(expected, abs=tolerance)


# ---- moments by sampling, chains started from the reference

MALA, HMC = mcmc.MALA(0.6), mcmc.HMC(0.4, 3)
MOMENTS = {
    "f = 0 (case 10)": (Zero(), 1.0, 2, {"y": 0, "y²": 1}),
    "f = θᵀy (case 11)": (Linear([0.5, -1.0]), 1.0, 2, {"y": 0.5, "y²": 1.25}),
    "relu (case 13)": (Relu(), 1.0, 1, {"relu": 0.946449}),
    "two modes (case 14)": (TwoModes(), 1.0, 1, {"y": 0, "y²": 2.585305, "y⁴": 8.755915}),
}
STATISTICS = {
    "y": lambda y: y,
    "y²": lambda y: y**2,
    "y⁴": lambda y: y**4,
    "relu": lambda y: y.clamp_min(0),
}


def check_moments(name: str, kernel: mcmc.Kernel, kind: type[Descriptor] = Descriptor) -> None:
    """The first coordinate's expectations, from independent chains that start in the reference."""
    network, s, dim, expected = MOMENTS[name]
    model = kind(network, s)
    with torch.no_grad():
        state, _ = mcmc.run(kernel, model.log_density, s * normal(CHAINS, dim), num_steps=60, rng=rng(1))
    for statistic, value in expected.items():
        assert_mean(STATISTICS[statistic](state.position[:, 0]), value)


@pytest.mark.parametrize("kernel", [MALA, HMC], ids=["MALA", "HMC"])
@pytest.mark.parametrize("name", MOMENTS)
def test_moments_by_sampling(name, kernel):
    check_moments(name, kernel)


@pytest.mark.parametrize(
    ("name", "kernel", "kind"),
    [
        ("two modes (case 14)", mcmc.Langevin(0.5), Descriptor),
        ("f = 0 (case 10)", mcmc.Langevin(0.5), Descriptor),
        ("f = 0 (case 10)", MALA, DoubledReference),
        ("relu (case 13)", MALA, WrongSign),
        ("relu (case 13)", MALA, NetworkTwice),
        ("f = θᵀy (case 11)", HMC, NetworkTwice),
    ],
)
def test_planted_faults_move_the_moments(name, kernel, kind):
    with pytest.raises(AssertionError):
        check_moments(name, kernel, kind)


def check_unadjusted_variance(kind: type[Descriptor]) -> None:
    """Case 10: with f = 0, unadjusted dynamics end at variance s²/(1 − δ²/4s²)."""
    s, delta = 0.392, 0.3
    model = kind(Zero(), s)
    state, _ = mcmc.run(mcmc.Langevin(delta), model.log_density, s * normal(2 * CHAINS, 1), num_steps=40, rng=rng(1))
    assert_mean(state.position[:, 0] ** 2, s**2 / (1 - delta**2 / (4 * s**2)))


def test_unadjusted_variance_of_the_reference():
    check_unadjusted_variance(Descriptor)


@pytest.mark.parametrize("fault", [DoubledReference, HalfUnsquaredReference])
def test_planted_faults_in_the_reference_are_caught(fault):
    with pytest.raises(AssertionError):
        check_unadjusted_variance(fault)


def test_the_equilibrium_crosses_between_the_modes():
    """Case 14: from one mode alone, long chains forget where they began: E[y] = 0."""
    start = torch.full((4000, 1), 3**0.5, dtype=FLOAT)
    model = Descriptor(TwoModes(), 1.0)
    state, _ = mcmc.run(mcmc.HMC(0.5, 5), model.log_density, start, num_steps=150, rng=rng())
    assert_mean(state.position[:, 0], 0)


# ---- cases 11 and 12: the maximum likelihood by learning


@dataclass(frozen=True)
class FixedMALA(mcmc.MALA):
    target_acceptance: ClassVar[float | None] = None


def observed(seed: int = 5) -> Tensor:
    """2000 two-dimensional images with correlation and a mean."""
    root = torch.tensor([[1.0, 0.0], [0.4, 0.9]], dtype=FLOAT)
    return normal(2000, 2, seed=seed) @ root.T + torch.tensor([0.5, -0.3], dtype=FLOAT)


def learned(network: nn.Module, s: float, chains: mcmc.Chains, num_steps: int, rate: float, kind=Descriptor):
    """Each parameter's mean and standard error (batch means) over the second half of the learning."""
    images = observed()
    model = kind(network, s)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    learner = DescriptorLearner(model, kernel=FixedMALA(0.7), num_steps=num_steps, chains=chains, optimizer=optimizer)
    learner.begin(images, len(images), rng=derive(0, "chains"))
    trace = []
    for t in range(200):
        learner.step(torch.arange(len(images)), images, rng=derive(0, "noise", t))
        trace.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    means = torch.stack(trace[100:]).view(10, 10, -1).mean(1)
    return means.mean(0), means.std(0) / 10**0.5


def check_linear_learned(chains: mcmc.Chains, num_steps: int, *, rate: float = 0.3, kind=Descriptor) -> None:
    """Case 11: the maximum likelihood is θ = ȳ/s²."""
    s = 0.8
    theta, error = learned(Linear([0.0, 0.0]), s, chains, num_steps, rate, kind)
    assert error.max() < 0.01
    assert ((theta - observed().mean(0) / s**2).abs() <= 5 * error).all(), (theta, observed().mean(0) / s**2, error)


def check_quadratic_learned(chains: mcmc.Chains, num_steps: int, *, rate: float = 0.5, kind=Descriptor) -> None:
    """Case 12: the maximum likelihood is A = Σ̂⁻¹ − I/s², b = Σ̂⁻¹ȳ."""
    s, images = 1.0, observed()
    inverse = torch.linalg.inv(torch.cov(images.T, correction=0))
    expected = torch.cat([(inverse - torch.eye(2, dtype=FLOAT) / s**2).flatten(), inverse @ images.mean(0)])
    value, error = learned(Quadratic(2), s, chains, num_steps, rate, kind)
    assert error.max() < 0.02
    assert ((value - expected).abs() <= 5 * error).all(), (value, expected, error)


CHAINS_OF = {
    "persistent": (lambda: mcmc.PersistentChains(mcmc.reference_noise(1.0)), 3),
    "cold from the reference": (lambda: mcmc.ColdChains(mcmc.reference_noise(0.8)), 15),
}


@pytest.mark.parametrize(("chains", "num_steps"), CHAINS_OF.values(), ids=CHAINS_OF.keys())
@pytest.mark.parametrize("check", [check_linear_learned, check_quadratic_learned])
def test_learning_reaches_the_maximum_likelihood(check, chains, num_steps):
    check(chains(), num_steps)


class Halved(Descriptor):
    """f scaled in sampling and not in learning would do the same: the model's density is not the stated one."""

    def energy(self, images):
        return super().energy(images) + 0.5 * self(images)


@pytest.mark.parametrize("check", [check_linear_learned, check_quadratic_learned])
@pytest.mark.parametrize(
    ("chains", "num_steps", "options"),
    [
        (lambda: mcmc.PersistentChains(mcmc.reference_noise(1.0)), 3, {"kind": DoubledReference}),
        (lambda: mcmc.PersistentChains(mcmc.reference_noise(1.0)), 3, {"kind": Halved}),
        (lambda: mcmc.PersistentChains(mcmc.reference_noise(1.0)), 3, {"rate": 0.0}),
        (lambda: mcmc.ColdChains(mcmc.reference_noise(0.8)), 1, {}),
    ],
    ids=["doubled reference", "half of f", "no learning", "chains far too short"],
)
def test_planted_faults_keep_learning_from_the_maximum_likelihood(check, chains, num_steps, options):
    with pytest.raises(AssertionError):
        check(chains(), num_steps, **options)


def test_the_learning_step_is_equation_17():
    """θ moves by γ [mean ∂f(Y)/∂θ − mean ∂f(Ỹ)/∂θ], for f = θᵀy by γ (ȳ − mean Ỹ), exact; also with ñ ≠ n."""
    for per_image in (1, 3):
        images, chains = normal(10, 2), mcmc.PersistentChains(mcmc.reference_noise(1.0))
        model = Descriptor(Linear([0.2, -0.1]), 1.0)
        learner = DescriptorLearner(
            model,
            kernel=mcmc.MALA(0.5),
            num_steps=2,
            chains=chains,
            chains_per_image=per_image,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )
        learner.begin(images, 10, rng=rng())
        learner.step(torch.arange(10), images, rng=rng(1))
        assert chains.positions.shape == (10 * per_image, 2)
        expected = torch.tensor([0.2, -0.1], dtype=FLOAT) + 0.1 * (images.mean(0) - chains.positions.mean(0))
        torch.testing.assert_close(model.network.theta.detach(), expected, rtol=0, atol=1e-12)
