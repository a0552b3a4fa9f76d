"""The adjusted kernels: acceptance and leapfrog exactly, stationarity by Monte Carlo (cases 2–6)."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc import hmc, langevin
from anasyn.mcmc.kernel import Info, State, evaluate, inner, per_chain

FLOAT = torch.float64


def standard_gaussian(x: Tensor) -> Tensor:
    return -0.5 * (x**2).sum(1)


def skewed(x: Tensor) -> Tensor:
    """A density that is no Gaussian and has no symmetry."""
    return -0.25 * (x**4).sum(1) - 0.3 * x[:, 0] * x[:, 1] ** 2 + x.sin().sum(1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def assert_mean(values: Tensor, expected: float, sigmas: float = 5, rounding: float = 0) -> None:
    error = (values.std() / len(values) ** 0.5).item()
    assert abs(values.mean().item() - expected) <= sigmas * error + rounding, (values.mean().item(), expected, error)


# ---- planted faults


def swapped_proposal_terms(log_density, state, rng, *options):
    """log α with q(y|x) and q(x|y) the wrong way round."""
    proposal, log_alpha = PROPOSE(log_density, state, rng, *options)
    difference = proposal.log_density - state.log_density
    return proposal, 2 * difference - log_alpha


def no_proposal_terms(log_density, state, rng, *options):
    proposal, _ = PROPOSE(log_density, state, rng, *options)
    return proposal, proposal.log_density - state.log_density


def always_accepted(state, proposal, log_alpha, rng):
    return proposal, Info(langevin.acceptance_rate(log_alpha), ~log_alpha.isfinite())


def stale_gradient_after_acceptance(state, proposal, log_alpha, rng):
    new, info = ACCEPT(state, proposal, log_alpha, rng)
    return new._replace(gradient=state.gradient), info


def stale_gradient_after_rejection(state, proposal, log_alpha, rng):
    new, info = ACCEPT(state, proposal, log_alpha, rng)
    return new._replace(gradient=proposal.gradient), info


def stale_log_density(state, proposal, log_alpha, rng):
    new, info = ACCEPT(state, proposal, log_alpha, rng)
    return new._replace(log_density=proposal.log_density), info


def inverted_acceptance(state, proposal, log_alpha, rng):
    return ACCEPT(state, proposal, -log_alpha, rng)


def one_uniform_for_all_chains(state, proposal, log_alpha, rng):
    u = torch.rand(1, generator=rng, dtype=FLOAT)
    chosen = (
        torch.where(per_chain(u.log() < log_alpha, new), new, old)
        for new, old in zip(proposal[:3], state[:3], strict=True)
    )
    return State(*chosen, state.step_size), Info(langevin.acceptance_rate(log_alpha), ~log_alpha.isfinite())


def euler(log_density, state, momentum, num_steps, preconditioner=None):
    """Both variables moved at once: neither reversible nor volume-preserving."""
    position, value, gradient, step_size = state
    epsilon = per_chain(step_size, position)
    for _ in range(num_steps):
        position, momentum = position + epsilon * momentum, momentum + epsilon * gradient
        value, gradient = evaluate(log_density, position)
    return State(position, value, gradient, step_size), momentum


def full_kicks(log_density, state, momentum, num_steps):
    """ε for ε/2 in both kicks: still reversible, so only its own formula can tell it."""
    position, value, gradient, step_size = state
    epsilon = per_chain(step_size, position)
    for _ in range(num_steps):
        momentum = momentum + epsilon * gradient
        position = position + epsilon * momentum
        value, gradient = evaluate(log_density, position)
        momentum = momentum + epsilon * gradient
    return State(position, value, gradient, step_size), momentum


PROPOSE, ACCEPT = langevin.propose, langevin.accept


# ---- case 2: the acceptance probability


def alpha_from_the_definition(log_density, x: Tensor, y: Tensor, delta: Tensor, temperature: float) -> Tensor:
    """log [p(y) q(x|y) / p(x) q(y|x)] under p^(1/T), written out with the densities of the two normals."""
    (log_px, gx), (log_py, gy) = evaluate(log_density, x), evaluate(log_density, y)

    def log_q(to: Tensor, origin: Tensor, gradient: Tensor) -> Tensor:
        centre = origin + 0.5 * per_chain(delta**2, x) * gradient
        scale = per_chain(delta, x) * math.sqrt(temperature)
        return torch.distributions.Normal(centre, scale.expand_as(centre)).log_prob(to).flatten(1).sum(1)

    return (log_py - log_px) / temperature + log_q(x, y, gy) - log_q(y, x, gx)


def check_acceptance_probability(propose: Callable) -> None:
    """Case 2, exact: the reduced formula equals the definition, on any density, step size and temperature."""
    delta = torch.rand(500, dtype=FLOAT, generator=rng(1)) + 0.1
    for density, temperature in [(standard_gaussian, 1.0), (skewed, 1.0), (skewed, 0.3)]:
        state = mcmc.init(density, normal(500, 3), delta)
        proposal, log_alpha = propose(density, state, rng(2), temperature)
        expected = alpha_from_the_definition(density, state.position, proposal.position, delta, temperature)
        torch.testing.assert_close(log_alpha, expected, rtol=1e-12, atol=1e-10)


def test_acceptance_probability_is_the_definitions():
    check_acceptance_probability(langevin.propose)


@pytest.mark.parametrize("fault", [swapped_proposal_terms, no_proposal_terms])
def test_planted_faults_in_the_acceptance_probability_are_caught(fault):
    with pytest.raises(AssertionError):
        check_acceptance_probability(fault)


def acceptance_at_the_published_point(monkeypatch) -> float:
    """δ = 1, from x = 1 to y = x − x/2 + 1.5 = 2."""
    for module in (langevin, hmc):
        monkeypatch.setattr(module, "standard_normal", lambda like, rng: torch.full_like(like, 1.5))
    x = torch.ones(1, 1, dtype=FLOAT)
    unadjusted, info = mcmc.run(mcmc.Langevin(1.0), standard_gaussian, x, num_steps=1, rng=rng())
    assert unadjusted.position.item() == 2
    for kernel in (mcmc.MALA(1.0), mcmc.HMC(1.0, 1)):  # all three tell the same acceptance
        _, other = mcmc.run(kernel, standard_gaussian, x, num_steps=1, rng=rng())
        assert other.acceptance_rate.item() == pytest.approx(info.acceptance_rate.item(), abs=1e-12)
    return info.acceptance_rate.item()


def test_published_acceptance(monkeypatch):
    """Case 2: log α = −(δ²/8)(y² − x²), α = 0.687289."""
    assert acceptance_at_the_published_point(monkeypatch) == pytest.approx(math.exp(-3 / 8), abs=1e-12)
    assert math.exp(-3 / 8) == pytest.approx(0.687289, abs=5e-7)


def test_published_acceptance_with_swapped_terms():
    """Case 2: the planted fault is the one that swapping the terms gives, 0.072440."""
    log_alpha = 2 * (-0.5 * (2**2 - 1)) - -3 / 8
    state = mcmc.init(standard_gaussian, normal(100, 1), 1.0)
    right, wrong = (f(standard_gaussian, state, rng(1))[1] for f in (PROPOSE, swapped_proposal_terms))
    assert not torch.allclose(right, wrong)
    assert math.exp(log_alpha) == pytest.approx(0.072440, abs=5e-7)


# ---- case 3: MALA is HMC with one leapfrog step


def check_same_transition(a: mcmc.Kernel, b: mcmc.Kernel) -> None:
    for density in (standard_gaussian, skewed):
        (left, told), (right, other) = (
            mcmc.run(kernel, density, normal(1000, 2), num_steps=5, rng=rng(3)) for kernel in (a, b)
        )
        torch.testing.assert_close(told.acceptance_rate, other.acceptance_rate, rtol=0, atol=1e-12)
        for x, y in zip(left, right, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


def test_mala_is_hmc_with_one_leapfrog_step():
    """Case 3, exact: the same acceptance to 1e-12, and with the same rng the same chain."""
    check_same_transition(mcmc.MALA(0.8), mcmc.HMC(0.8, num_leapfrog_steps=1))


def test_two_leapfrog_steps_are_not_mala():
    with pytest.raises(AssertionError):
        check_same_transition(mcmc.MALA(0.8), mcmc.HMC(0.8, num_leapfrog_steps=2))


# ---- cases 4 and 5: the mean acceptance at stationarity


def check_mean_acceptance(delta: float, dim: int, expected: float, rounding: float) -> None:
    start = normal(500_000 // dim, dim)
    _, info = mcmc.run(mcmc.MALA(delta), standard_gaussian, start, num_steps=1, rng=rng(1))
    assert_mean(info.acceptance_rate, expected, rounding=rounding)


@pytest.mark.parametrize(("delta", "published"), [(0.5, 0.990054), (1.0, 0.920833), (1.5, 0.745848)])
def test_mean_acceptance_in_one_dimension(delta, published):
    """Case 4: 1 − (2/π) arctan(δ³/8)."""
    expected = 1 - 2 / math.pi * math.atan(delta**3 / 8)
    assert expected == pytest.approx(published, abs=5e-7)
    check_mean_acceptance(delta, 1, expected, 0)


def test_mean_acceptance_in_a_hundred_dimensions():
    """Case 5: δ = 1.65 · 100^(−1/6), acceptance 0.576 (three digits known)."""
    check_mean_acceptance(1.65 * 100 ** (-1 / 6), 100, 0.576, 5e-4)


@pytest.mark.parametrize("fault", [swapped_proposal_terms, no_proposal_terms])
def test_planted_faults_show_in_the_mean_acceptance(monkeypatch, fault):
    monkeypatch.setattr(langevin, "propose", fault)
    with pytest.raises(AssertionError):
        check_mean_acceptance(1.0, 1, 1 - 2 / math.pi * math.atan(1 / 8), 0)


# ---- stationarity, whatever the step size

KERNELS = {"MALA": mcmc.MALA(1.3), "HMC": mcmc.HMC(0.9, num_leapfrog_steps=3)}


def check_stationarity(kernel: mcmc.Kernel) -> None:
    """Chains that start in N(0, 1) stay in it: mean, variance, fourth moment after 12 transitions."""
    state, _ = mcmc.run(kernel, standard_gaussian, normal(100_000, 1), num_steps=12, rng=rng(1))
    x = state.position[:, 0]
    for power, expected in {1: 0, 2: 1, 4: 3}.items():
        assert_mean(x**power, expected)
    assert_mean((x.reshape(-1, 100).mean(1) * 10) ** 2, 1)  # chains are independent of one another


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_stationarity(kernel):
    check_stationarity(kernel)


@pytest.mark.parametrize(
    ("name", "module", "attribute", "fault"),
    [
        ("MALA", langevin, "propose", swapped_proposal_terms),
        ("MALA", langevin, "propose", no_proposal_terms),
        ("MALA", langevin, "accept", always_accepted),
        ("MALA", langevin, "accept", stale_gradient_after_acceptance),
        ("MALA", langevin, "accept", stale_gradient_after_rejection),
        ("MALA", langevin, "accept", stale_log_density),
        ("MALA", langevin, "accept", inverted_acceptance),
        ("MALA", langevin, "accept", one_uniform_for_all_chains),
        ("HMC", hmc, "accept", always_accepted),
        ("HMC", hmc, "accept", stale_gradient_after_acceptance),
        ("HMC", hmc, "accept", stale_gradient_after_rejection),
        ("HMC", hmc, "leapfrog", euler),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_planted_faults_break_stationarity(monkeypatch, name, module, attribute, fault):
    monkeypatch.setattr(module, attribute, fault)
    with pytest.raises(AssertionError):
        check_stationarity(KERNELS[name])


def test_what_is_rejected_leaves_all_of_the_state():
    """Position, log-density and gradient go together: after any step they belong to one another, exact."""
    for kernel in (mcmc.MALA(1.0), mcmc.HMC(0.9, 3), mcmc.Langevin(0.5)):
        state, info = mcmc.run(kernel, skewed, normal(500, 2), num_steps=1, rng=rng(1))
        assert info.acceptance_rate.min() < 0.5  # some were rejected, if the kernel rejects at all
        value, gradient = evaluate(skewed, state.position)
        torch.testing.assert_close(state.log_density, value, rtol=0, atol=1e-12)
        torch.testing.assert_close(state.gradient, gradient, rtol=0, atol=1e-12)


# ---- case 6: the leapfrog


def orbit(leapfrog: Callable, epsilon: float, q: Tensor, p: Tensor, num_steps: int, density=standard_gaussian):
    state, momentum = leapfrog(density, mcmc.init(density, q, epsilon), p, num_steps)
    return state.position, momentum


def check_leapfrog_matrix(leapfrog: Callable, epsilon: float) -> None:
    """Case 6, exact: [[1−ε²/2, ε], [−ε(1−ε²/4), 1−ε²/2]], determinant 1."""
    e = epsilon
    q, p = torch.eye(2, dtype=FLOAT).split(1, dim=1)
    matrix = torch.cat(orbit(leapfrog, e, q, p, 1), dim=1).T
    expected = torch.tensor([[1 - e**2 / 2, e], [-e * (1 - e**2 / 4), 1 - e**2 / 2]], dtype=FLOAT)
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-12)
    assert torch.linalg.det(matrix).item() == pytest.approx(1, abs=1e-12)


def check_leapfrog_conserves(leapfrog: Callable) -> None:
    """Case 6, exact: q²(1 − ε²/4) + p² is conserved, so that orbits are bounded for every ε < 2."""
    q, p = normal(20, 1), normal(20, 1, seed=1)
    for e in (0.1, 1.0, 1.9):
        new_q, new_p = orbit(leapfrog, e, q, p, 200)
        before, after = (x**2 * (1 - e**2 / 4) + y**2 for x, y in ((q, p), (new_q, new_p)))
        torch.testing.assert_close(before, after, rtol=1e-10, atol=1e-10)


def check_leapfrog_reverses(leapfrog: Callable) -> None:
    """Case 6: forward, p → −p, forward again returns to the start, on any density."""
    q, p = 0.5 * normal(50, 2), normal(50, 2, seed=1)
    there = orbit(leapfrog, 0.1, q, p, 20, skewed)
    back = orbit(leapfrog, 0.1, there[0], -there[1], 20, skewed)
    torch.testing.assert_close(back[0], q, rtol=0, atol=1e-10)
    torch.testing.assert_close(-back[1], p, rtol=0, atol=1e-10)


def check_leapfrog_keeps_volume(leapfrog: Callable) -> None:
    """The Jacobian of (q, p) → (q', p') has determinant 1 on any density, by central differences."""
    h, start = 1e-5, 0.5 * normal(1, 4)
    nudges = torch.cat([torch.eye(4, dtype=FLOAT), -torch.eye(4, dtype=FLOAT)]) * h
    end = torch.cat(orbit(leapfrog, 0.2, *(start + nudges).split(2, dim=1), 5, skewed), dim=1)
    jacobian = (end[:4] - end[4:]).T / (2 * h)
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 0.7, 1.9, 2.5])
def test_leapfrog_matrix(epsilon):
    check_leapfrog_matrix(mcmc.leapfrog, epsilon)


@pytest.mark.parametrize("check", [check_leapfrog_conserves, check_leapfrog_reverses, check_leapfrog_keeps_volume])
def test_leapfrog(check):
    check(mcmc.leapfrog)


@pytest.mark.parametrize(
    "check",
    [
        lambda leapfrog: check_leapfrog_matrix(leapfrog, 0.7),
        check_leapfrog_conserves,
        check_leapfrog_reverses,
        check_leapfrog_keeps_volume,
    ],
    ids=["matrix", "conserves", "reverses", "keeps volume"],
)
def test_planted_euler_is_caught(check):
    with pytest.raises(AssertionError):
        check(euler)


@pytest.mark.parametrize("check", [lambda f: check_leapfrog_matrix(f, 0.7), check_leapfrog_conserves])
def test_planted_full_kicks_are_caught(check):
    with pytest.raises(AssertionError):
        check(full_kicks)


def test_leapfrog_is_unstable_from_two():
    """Case 6: stable for ε < 2 and not above, on N(0, 1)."""
    q, p = normal(20, 1), normal(20, 1, seed=1)
    sizes = {e: inner(*[orbit(mcmc.leapfrog, e, q, p, 300)[0]] * 2).max().item() for e in (1.95, 2.05)}
    assert sizes[1.95] < 1e3
    assert sizes[2.05] > 1e20
