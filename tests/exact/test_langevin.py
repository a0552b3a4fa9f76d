"""Unadjusted Langevin dynamics against its exact law on a Gaussian (cases 1 and 10; equations 7 and 16)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc.kernel import Info, State, evaluate, per_chain

CHAINS = 200_000


def gaussian(precision: float) -> mcmc.LogDensity:
    return lambda x: -0.5 * precision * (x**2).sum(1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_mean(values: Tensor, expected: float, sigmas: float = 5) -> None:
    """The mean of independent numbers, (n,), is what is expected, by their own standard error."""
    error = (values.std() / len(values) ** 0.5).item()
    assert abs(values.mean().item() - expected) <= sigmas * error, (values.mean().item(), expected, error)


def assert_gaussian_moments(x: Tensor, mean: float, variance: float) -> None:
    assert_mean(x, mean)
    assert_mean((x - mean) ** 2, variance)


@dataclass(frozen=True)
class Planted:
    """Langevin dynamics with drift(δ) and noise(δ, T) of one's own: right for δ²/2 and √T δ, else a fault."""

    step_size: float | Tensor
    temperature: float = 1.0
    drift: Callable[[Tensor], Tensor] = lambda delta: 0.5 * delta**2
    noise: Callable[[Tensor, float], Tensor] = lambda delta, t: math.sqrt(t) * delta

    target_acceptance: ClassVar[float | None] = None

    def step(self, log_density: mcmc.LogDensity, state: State, rng: torch.Generator) -> tuple[State, Info]:
        delta = per_chain(state.step_size, state.position)
        u = torch.randn(state.position.shape, generator=rng, dtype=state.position.dtype)
        position = state.position + self.drift(delta) * state.gradient + self.noise(delta, self.temperature) * u
        value, gradient = evaluate(log_density, position)
        return State(position, value, gradient, state.step_size), Info(value.exp(), ~value.isfinite())

    def with_step_size(self, step_size: float | Tensor) -> "Planted":
        return replace(self, step_size=step_size)


FAULTS = {
    "drift δ for δ²/2": lambda delta, t=1.0: Planted(delta, t, drift=lambda d: d),
    "drift δ² for δ²/2": lambda delta, t=1.0: Planted(delta, t, drift=lambda d: d**2),
    "noise δ² for δ": lambda delta, t=1.0: Planted(delta, t, noise=lambda d, t: math.sqrt(t) * d**2),
    "noise √δ for δ": lambda delta, t=1.0: Planted(delta, t, noise=lambda d, t: math.sqrt(t) * d**0.5),
    "no noise": lambda delta, t=1.0: Planted(delta, t, noise=lambda d, t: 0 * d),
}


def check_stationary(make: Callable[..., mcmc.Kernel], precision: float, delta: float, temperature: float) -> None:
    """Case 1: the stationary variance is T/(λ(1 − λδ²/4)), not T/λ."""
    start = torch.randn(CHAINS, 1, dtype=torch.float64, generator=rng()) * math.sqrt(temperature / precision)
    contraction = abs(1 - 0.5 * precision * delta**2)
    num_steps = math.ceil(math.log(1e-4) / (2 * math.log(contraction)))
    state, _ = mcmc.run(make(delta, temperature), gaussian(precision), start, num_steps=num_steps, rng=rng(1))
    assert_gaussian_moments(state.position[:, 0], 0, temperature / (precision * (1 - precision * delta**2 / 4)))


STATIONARY = [(1.0, 0.3, 1.0), (1.0, 1.5, 1.0), (4.0, 0.5, 1.0), (1.0, 0.5, 0.25), (0.5, 1.0, 3.0)]


@pytest.mark.parametrize(("precision", "delta", "temperature"), STATIONARY)
def test_stationary_variance_has_the_step_sizes_own_bias(precision, delta, temperature):
    check_stationary(mcmc.Langevin, precision, delta, temperature)


def test_the_published_number_of_case_1():
    assert abs(1 / (1 - 0.3**2 / 4) - 1.023018) < 5e-7


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_planted_faults_in_the_proposal_are_caught(fault):
    with pytest.raises(AssertionError):
        check_stationary(fault, 1.0, 0.3, 1.0)


def test_planted_temperature_without_root_is_caught():
    with pytest.raises(AssertionError):
        check_stationary(lambda d, t: Planted(d, t, noise=lambda d, t: t * d), 1.0, 0.5, 0.25)


def test_the_planted_kernel_without_a_fault_passes():
    """The negative controls fail for their fault, not for the scaffold that carries it."""
    check_stationary(Planted, 1.0, 0.3, 1.0)


def check_transient(kernel: mcmc.Kernel) -> None:
    """Case 1: after 30 steps of δ = 0.3 from x₀ the mean is 0.251247 x₀ and the variance 0.958440."""
    start = torch.full((CHAINS, 1), 3.0, dtype=torch.float64)
    state, _ = mcmc.run(kernel, gaussian(1.0), start, num_steps=30, rng=rng())
    assert_gaussian_moments(state.position[:, 0], 0.251247 * 3, 0.958440)


def test_thirty_steps_from_a_point():
    check_transient(mcmc.Langevin(0.3))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_planted_faults_show_in_thirty_steps_too(fault):
    with pytest.raises(AssertionError):
        check_transient(fault(0.3))


def test_thirty_steps_without_noise_contract_exactly(monkeypatch):
    """Equation 7 without U: x₃₀ = (1 − δ²/2)³⁰ x₀, exact."""
    monkeypatch.setattr("anasyn.mcmc.langevin.standard_normal", lambda like, rng: torch.zeros_like(like))
    start = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    state, _ = mcmc.run(mcmc.Langevin(0.3), gaussian(1.0), start, num_steps=30, rng=rng())
    torch.testing.assert_close(state.position, (1 - 0.045) ** 30 * start, rtol=0, atol=1e-12)


def test_one_step_is_equation_7(monkeypatch):
    """x + (δ²/2) ∂log p/∂x + √T δ U at a density that is no Gaussian, each chain with its own δ, exact."""
    x = torch.randn(50, 3, dtype=torch.float64, generator=rng())
    u = torch.randn(50, 3, dtype=torch.float64, generator=rng(1))
    delta = torch.rand(50, dtype=torch.float64, generator=rng(2)) + 0.1
    monkeypatch.setattr("anasyn.mcmc.langevin.standard_normal", lambda like, rng: u)
    density = lambda x: -(x**4).sum(1) + x.sin().sum(1)  # noqa: E731
    state, _ = mcmc.run(mcmc.Langevin(delta, temperature=0.5), density, x, num_steps=1, rng=rng())
    gradient = -4 * x**3 + x.cos()
    expected = x + 0.5 * delta[:, None] ** 2 * gradient + math.sqrt(0.5) * delta[:, None] * u
    torch.testing.assert_close(state.position, expected, rtol=0, atol=1e-12)
