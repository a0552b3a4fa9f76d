"""Step sizes reach their target acceptance and then stay fixed; the stability limit is the true one."""

import math

import pytest
import torch
from torch import Tensor

from anasyn import mcmc

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def quadratic(matrix: Tensor) -> mcmc.LogDensity:
    """log p = −½ xᵀ A x, of curvature A."""
    return lambda x: -0.5 * ((x @ matrix) * x).sum(1)


def bimodal(x: Tensor) -> Tensor:
    return torch.logsumexp(torch.stack([-0.5 * (x - 1.5) ** 2, -0.5 * (x + 1.5) ** 2]), 0).sum(1)


SCALES = torch.tensor([25.0, 1.0], dtype=FLOAT)
WIDTHS = torch.linspace(0.5, 1.5, 20, dtype=FLOAT)  # different: HMC on equal ones returns to where it began
DENSITIES = {
    "1-d": (lambda x: -0.5 * (x**2).sum(1), 1, 0.03),
    "20-d": (lambda x: -0.5 * ((x / WIDTHS) ** 2).sum(1), 20, 0.03),
    "badly scaled": (quadratic(torch.diag(SCALES)), 2, 0.05),
    "bimodal": (bimodal, 2, 0.05),
}
KERNELS = {"MALA": lambda delta: mcmc.MALA(delta), "HMC": lambda delta: mcmc.HMC(delta, 3)}


def check_warm_up(kernel: mcmc.Kernel, density: mcmc.LogDensity, dim: int, tolerance: float, num_steps: int = 400):
    chains = 200
    warm, state = mcmc.warm_up(kernel, density, normal(chains, dim), num_steps=num_steps, rng=rng(1))
    assert warm.step_size.shape == (chains,)
    assert torch.equal(state.step_size, warm.step_size)
    after, info = mcmc.run(warm, density, state.position, num_steps=100, rng=rng(2))
    assert abs(info.acceptance_rate.mean().item() - kernel.target_acceptance) < tolerance
    assert torch.equal(after.step_size, warm.step_size)  # frozen stays frozen
    return warm.step_size


@pytest.mark.parametrize("initial", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("case", DENSITIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_warm_up_reaches_the_target_acceptance(kernel, case, initial):
    check_warm_up(KERNELS[kernel](initial), *DENSITIES[case])


def test_planted_wrong_direction_of_adaptation_is_caught(monkeypatch):
    monkeypatch.setattr(
        "anasyn.mcmc.adaptation.adapt",
        lambda kernel, step_size, rate, gain: step_size * (gain * (kernel.target_acceptance - rate)).exp(),
    )
    with pytest.raises(AssertionError):
        check_warm_up(mcmc.MALA(0.1), *DENSITIES["1-d"])


def test_planted_adaptation_that_does_nothing_is_caught(monkeypatch):
    monkeypatch.setattr("anasyn.mcmc.adaptation.adapt", lambda kernel, step_size, rate, gain: step_size)
    with pytest.raises(AssertionError):
        check_warm_up(mcmc.MALA(0.1), *DENSITIES["1-d"])


def test_each_chain_finds_its_own_step_size():
    """Chains of different widths at once: MALA's step size is in proportion to the width."""
    widths = torch.tensor([0.01, 1.0, 100.0], dtype=FLOAT).repeat_interleave(100)
    density = lambda x: -0.5 * ((x / widths[:, None]) ** 2).sum(1)  # noqa: E731
    start = widths[:, None] * normal(300, 5)
    warm, _ = mcmc.warm_up(mcmc.MALA(0.1), density, start, num_steps=600, rng=rng(1))
    in_widths = (warm.step_size / widths).log().view(3, 100).mean(1).exp()
    assert in_widths.max() / in_widths.min() < 1.1


def test_an_unadjusted_kernel_keeps_its_step_size():
    deltas = torch.linspace(0.1, 0.5, 5, dtype=FLOAT)
    warm, _ = mcmc.warm_up(mcmc.Langevin(deltas), bimodal, normal(5, 2), num_steps=20, rng=rng())
    torch.testing.assert_close(warm.step_size, deltas)


def test_adapt_is_robbins_monro():
    """log δ ← log δ + gain (acceptance − target), exact, and nothing for a kernel without a target."""
    delta, rate = torch.tensor([0.1, 0.2, 0.3], dtype=FLOAT), torch.tensor([0.0, 0.574, 1.0], dtype=FLOAT)
    moved = mcmc.adapt(mcmc.MALA(), delta, rate, gain=0.3)
    torch.testing.assert_close(moved.log(), delta.log() + 0.3 * (rate - 0.574), rtol=0, atol=1e-12)
    assert torch.equal(mcmc.adapt(mcmc.Langevin(0.1), delta, rate, gain=0.3), delta)


# ---- stability

TURN = torch.linalg.qr(torch.randn(6, 6, dtype=FLOAT, generator=rng(3)))[0]


def turned(*eigenvalues: float) -> Tensor:
    return TURN @ torch.diag(torch.tensor(eigenvalues, dtype=FLOAT)) @ TURN.T


@pytest.mark.parametrize(
    "eigenvalues",
    [
        (100.0, 30.0, 10.0, 3.0, 1.0, 0.1),
        (1e6, 1.0, 1.0, 1.0, 1.0, 1.0),
        (2.0, 2.0, 2.0, 2.0, 2.0, 2.0),
        (5.0, 1.0, 0.0, 0.0, -1.0, -50.0),  # indefinite: the eigenvalue of largest modulus is negative
        (-1.0, -6.0, -8.0, -10.0, -20.0, -50.0),  # nowhere concave
        (10.0, 0.0, 0.0, 0.0, 0.0, -9.0),
    ],
    ids=str,
)
def test_lambda_max_of_a_quadratic(eigenvalues):
    expected = max(eigenvalues)
    found = mcmc.stability(quadratic(turned(*eigenvalues)), normal(8, 6), rng=rng(), num_iterations=200)
    torch.testing.assert_close(found.lambda_max, torch.full((8,), expected, dtype=FLOAT), rtol=1e-3, atol=1e-6)
    limit = 2 / math.sqrt(expected) if expected > 0 else math.inf
    torch.testing.assert_close(found.limit, torch.full((8,), limit, dtype=FLOAT), rtol=1e-3, atol=0)


class Preconditioner:
    """L = the matrix, which is not symmetric."""

    matrix = TURN @ torch.diag(torch.tensor([0.1, 0.3, 1.0, 2.0, 1.0, 1.0], dtype=FLOAT))

    def color(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def color_transposed(self, gradient: Tensor) -> Tensor:
        return gradient @ self.matrix


def test_a_preconditioner_s_limit_is_that_of_its_own_coordinates():
    """The curvature of x ↦ log p(L x) is Lᵀ H L."""
    curvature = turned(1e4, 3e2, 1e2, 10.0, 1.0, 1.0)
    expected = torch.linalg.eigvalsh(Preconditioner.matrix.T @ curvature @ Preconditioner.matrix).max()
    found = mcmc.stability(quadratic(curvature), normal(8, 6), Preconditioner(), rng=rng(), num_iterations=200)
    torch.testing.assert_close(found.lambda_max, expected.expand(8), rtol=1e-3, atol=0)


def test_a_few_iterations_find_most_of_a_dominant_curvature():
    """Twenty products, the default: within 2 % where one curvature stands out, and never above the truth."""
    matrix = turned(1e4, 3e3, 1e2, 10.0, 1.0, 1.0)
    found = mcmc.stability(quadratic(matrix), normal(50, 6), rng=rng())
    assert (found.lambda_max > 0.98e4).all()
    assert (found.lambda_max < 1e4 * (1 + 1e-9)).all()


def test_opposite_curvatures_do_not_hide_the_limit():
    """Eigenvalues ±50: power iteration alone does not converge, and its quotient may be anything between."""
    found = mcmc.stability(quadratic(turned(50.0, 1.0, 0.0, 0.0, -1.0, -50.0)), normal(50, 6), rng=rng())
    assert (found.lambda_max > 0.9 * 50).all()


def test_each_chain_has_its_own_curvature():
    """−∂²/∂x² of −x⁴/4 is 3x²; rows do not mix."""
    x = torch.tensor([[0.5], [1.0], [3.0]], dtype=FLOAT)
    found = mcmc.stability(lambda x: -0.25 * (x**4).sum(1), x, rng=rng())
    torch.testing.assert_close(found.lambda_max, 3 * x[:, 0] ** 2)


@pytest.mark.parametrize("density", [lambda x: x.sum(1), lambda x: 3 * x[:, 0] - x[:, 1]], ids=["sum", "plane"])
def test_a_linear_density_allows_every_step(density):
    found = mcmc.stability(density, normal(4, 3), rng=rng())
    assert found.lambda_max.tolist() == [0] * 4
    assert found.limit.tolist() == [math.inf] * 4


@pytest.mark.parametrize("image", [False, True], ids=["vectors", "images"])
def test_unadjusted_langevin_explodes_just_above_the_limit_and_not_just_below(image):
    """δ² λ_max < 4: 400 steps at 0.97 of the limit stay of the size of 1, at 1.03 they do not."""
    matrix = turned(900.0, 30.0, 10.0, 3.0, 1.0, 0.1)
    density = quadratic(matrix)
    start = normal(50, 6)
    if image:
        start = start.view(50, 1, 2, 3)
        density = lambda x: quadratic(matrix)(x.flatten(1))  # noqa: E731
    limit = mcmc.stability(density, start, rng=rng()).limit.min().item()
    assert limit == pytest.approx(2 / 30, rel=1e-3)
    below, above = (
        mcmc.run(mcmc.Langevin(f * limit), density, start, num_steps=400, rng=rng(1))[0].position.abs().max().item()
        for f in (0.97, 1.03)
    )
    assert below < 20
    assert above > 1e6


def test_the_leapfrog_explodes_at_the_same_limit():
    density = quadratic(turned(900.0, 30.0, 10.0, 3.0, 1.0, 0.1))
    start = normal(50, 6)
    limit = mcmc.stability(density, start, rng=rng()).limit
    below, above = (
        mcmc.run(mcmc.HMC(f * limit, 100), density, start, num_steps=1, rng=rng(1))[1].acceptance_rate
        for f in (0.9, 1.1)
    )
    assert below.mean() > 0.2
    assert above.max() < 1e-6
