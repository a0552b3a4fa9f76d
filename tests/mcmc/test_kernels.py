"""Every kernel on one table of densities, and the contract of `run` and `draws`."""

import math

import pytest
import torch
from torch import Tensor

from anasyn import mcmc

from ..planting import plant

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def assert_mean(values: Tensor, expected: Tensor, bias: Tensor | float = 0, sigmas: float = 5) -> None:
    """Each column's mean is what is expected, by its own standard error; rows are independent."""
    error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - expected).abs() <= sigmas * error + bias).all(), (values.mean(0), expected, error)


def gaussian(mean: Tensor, covariance: Tensor) -> mcmc.LogDensity:
    precision = torch.linalg.inv(covariance)
    return lambda x: -0.5 * (((x - mean) @ precision) * (x - mean)).sum(1)


def two_humps(x: Tensor) -> Tensor:
    """½ N(−1.5, 1) + ½ N(1.5, 1) but for the constant: two modes."""
    return torch.logsumexp(torch.stack([-0.5 * (x - 1.5) ** 2, -0.5 * (x + 1.5) ** 2]), 0).sum(1)


def tensor(values) -> Tensor:
    return torch.tensor(values, dtype=FLOAT)


MEAN20, WIDTHS20 = torch.linspace(-2, 2, 20, dtype=FLOAT), torch.linspace(0.5, 1.5, 20, dtype=FLOAT)
SCALES = tensor([[0.04, 0.0], [0.0, 1.0]])
CORRELATED = tensor([[1.0, 0.8], [0.8, 1.0]])
# log-density, mean, variance of each coordinate, smallest scale (the step sizes are in its units), steps
CASES = {
    "1-d": (gaussian(tensor([1.0]), tensor([[4.0]])), tensor([1.0]), tensor([4.0]), 2.0, 60),
    "correlated 2-d": (gaussian(tensor([1.0, -1.0]), CORRELATED), tensor([1.0, -1.0]), tensor([1.0, 1.0]), 0.45, 120),
    "badly scaled": (gaussian(tensor([0.0, 3.0]), SCALES), tensor([0.0, 3.0]), SCALES.diag(), 0.2, 400),
    "20-d": (gaussian(MEAN20, torch.diag(WIDTHS20**2)), MEAN20, WIDTHS20**2, 0.5, 150),
    "bimodal": (two_humps, tensor([0.0]), tensor([1 + 1.5**2]), 1.0, 150),
}
KERNELS = {
    "Langevin": lambda scale: mcmc.Langevin(0.4 * scale),
    "MALA": lambda scale: mcmc.MALA(1.1 * scale),
    "HMC": lambda scale: mcmc.HMC(0.6 * scale, num_leapfrog_steps=3),
}


def check_moments(kernel_name: str, case: str) -> None:
    log_density, mean, variance, scale, num_steps = CASES[case]
    # Unadjusted: the bias that Langevin may have, λδ²/4 of the variance, and how far it has come by then.
    bias = 0.0
    if kernel_name == "Langevin":
        bias = 0.06 * variance
        num_steps *= 3
    start = mean + 1.5 * variance.sqrt() * normal(4000, len(mean))
    state, info = mcmc.run(KERNELS[kernel_name](scale), log_density, start, num_steps=num_steps, rng=rng(1))
    assert_mean(state.position, mean)
    assert_mean((state.position - mean) ** 2, variance, bias)
    assert not info.divergent.any()
    assert ((info.acceptance_rate > 0.2) & (info.acceptance_rate <= 1)).all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel_name", KERNELS)
def test_mean_and_variance(kernel_name, case):
    check_moments(kernel_name, case)


def test_planted_larger_unadjusted_step_is_caught(monkeypatch):
    monkeypatch.setitem(KERNELS, "Langevin", lambda scale: mcmc.Langevin(1.4 * scale))
    with pytest.raises(AssertionError):
        check_moments("Langevin", "1-d")


def test_planted_density_of_another_variance_is_caught(monkeypatch):
    log_density, *rest = CASES["20-d"]
    monkeypatch.setitem(CASES, "20-d", (lambda x: 0.85 * log_density(x), *rest))
    with pytest.raises(AssertionError):
        check_moments("MALA", "20-d")


@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_temperature_samples_the_densitys_power(temperature):
    """p^(1/T) for a density with two modes, whose second moment is computed by quadrature."""
    grid = torch.linspace(-25, 25, 20001, dtype=FLOAT)[:, None]
    weight = (two_humps(grid) / temperature).softmax(0)
    second = (weight * grid[:, 0] ** 2).sum().item()
    start = 2 * normal(20_000, 1)
    state, _ = mcmc.run(mcmc.Langevin(0.2, temperature), two_humps, start, num_steps=500, rng=rng(1))
    assert_mean(state.position[:, 0] ** 2, second, bias=0.01 * second)  # λδ²/4 ≤ 0.01
    at_one = (two_humps(grid).softmax(0) * grid[:, 0] ** 2).sum().item()
    assert abs(at_one - second) > 0.2  # the bound tells the temperatures apart


# ---- run and draws


@pytest.mark.parametrize("kernel_name", KERNELS)
@pytest.mark.parametrize("event", [(3,), (3, 4, 5), ()])
def test_events_of_any_shape(kernel_name, event):
    """(n, *event): images, vectors and plain numbers alike, and each chain's numbers are (n,)."""
    density = lambda x: -0.5 * (x**2).flatten(1).sum(1) if x.dim() > 1 else -0.5 * x**2  # noqa: E731
    if event == ():
        with pytest.raises((ValueError, IndexError, RuntimeError)):
            mcmc.run(KERNELS[kernel_name](1.0), lambda x: density(x).sum(), normal(4), num_steps=1, rng=rng())
        return
    state, info = mcmc.run(KERNELS[kernel_name](1.0), density, normal(4, *event), num_steps=2, rng=rng())
    assert state.position.shape == state.gradient.shape == (4, *event)
    for numbers in (state.log_density, state.step_size, info.acceptance_rate, info.divergent):
        assert numbers.shape == (4,)
    assert info.divergent.dtype == torch.bool


@pytest.mark.parametrize("kernel_name", KERNELS)
def test_draws_are_what_run_passes_through(kernel_name):
    """`draws` thinned by 3 gives every third position of the same chain, the start not among them."""
    kernel, start = KERNELS[kernel_name](0.5), normal(5, 2)
    density = CASES["correlated 2-d"][0]
    every = mcmc.draws(kernel, density, start, num_draws=12, rng=rng(4))
    thinned = mcmc.draws(kernel, density, start, num_draws=4, rng=rng(4), thin=3)
    assert every.shape == (12, 5, 2)
    assert torch.equal(thinned, every[2::3])
    for num_steps in (1, 7, 12):
        state, _ = mcmc.run(kernel, density, start, num_steps=num_steps, rng=rng(4))
        assert torch.equal(state.position, every[num_steps - 1])
    assert mcmc.draws(kernel, density, start, num_draws=0, rng=rng()).shape == (0, 5, 2)


@pytest.mark.parametrize("kernel_name", KERNELS)
def test_the_rng_alone_decides(kernel_name):
    kernel, start, density = KERNELS[kernel_name](0.5), normal(5, 2), CASES["correlated 2-d"][0]
    torch.manual_seed(1)
    first = mcmc.draws(kernel, density, start, num_draws=3, rng=rng(7))
    torch.manual_seed(2)
    assert torch.equal(first, mcmc.draws(kernel, density, start, num_draws=3, rng=rng(7)))
    assert not torch.equal(first, mcmc.draws(kernel, density, start, num_draws=3, rng=rng(8)))


@pytest.mark.parametrize("kernel_name", KERNELS)
def test_no_steps_leave_the_start(kernel_name):
    start = normal(5, 2)
    state, info = mcmc.run(KERNELS[kernel_name](1.0), two_humps, start, num_steps=0, rng=rng())
    assert torch.equal(state.position, start)
    assert torch.equal(state.log_density, two_humps(start))
    assert info.acceptance_rate.tolist() == [0] * 5
    assert not info.divergent.any()


@pytest.mark.parametrize("kernel_name", KERNELS)
def test_the_start_is_not_written_over(kernel_name):
    start = normal(5, 2)
    kept = start.clone()
    mcmc.run(KERNELS[kernel_name](1.0), two_humps, start, num_steps=3, rng=rng())
    assert torch.equal(start, kept)
    assert not start.requires_grad


@pytest.mark.parametrize("kernel_name", KERNELS)
def test_step_sizes_are_each_chains_own(kernel_name):
    """A chain with δ among others moves as it does where all have δ; the mean of n accepted tests is each chain's."""
    kernel, start, density = KERNELS[kernel_name](1.0), normal(3, 2), CASES["correlated 2-d"][0]
    deltas = tensor([0.05, 0.3, 0.9])
    mixed, info = mcmc.run(kernel.with_step_size(deltas), density, start, num_steps=4, rng=rng(2))
    assert torch.equal(mixed.step_size, deltas)
    for row, delta in enumerate(deltas):
        alike, other = mcmc.run(kernel.with_step_size(delta.item()), density, start, num_steps=4, rng=rng(2))
        torch.testing.assert_close(alike.position[row], mixed.position[row], rtol=0, atol=1e-12)
        torch.testing.assert_close(other.acceptance_rate[row], info.acceptance_rate[row], rtol=0, atol=1e-12)
    moved = (mixed.position - start).norm(dim=1)
    assert moved[0] < moved[2]


@pytest.mark.parametrize("shape", [(4, 1), (1,), (), (8,)])
def test_a_log_density_of_wrong_shape_is_refused(shape):
    def wrong(x: Tensor) -> Tensor:
        return (x**2).sum() * torch.ones(shape, dtype=x.dtype)

    with pytest.raises(ValueError, match=r"log_density: expected .*\(4,\).*got"):
        mcmc.run(mcmc.MALA(), wrong, normal(4, 2), num_steps=1, rng=rng())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: mcmc.Langevin(0.1, temperature=0.0), "temperature"),
        (lambda: mcmc.Langevin(0.1, temperature=-1.0), "temperature"),
        (lambda: mcmc.Langevin(0.1, temperature=math.nan), "temperature"),
        (lambda: mcmc.HMC(0.1, num_leapfrog_steps=0), "num_leapfrog_steps"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        make()


# ---- regions without a density


def cliff(outside: float) -> mcmc.LogDensity:
    """N(0, 1) inside |x| < 1.5, and beyond a value that is not finite."""
    return lambda x: torch.where(x.abs() < 1.5, -0.5 * x**2, outside * x.detach().abs() + 0 * x).sum(1)


def no_gradient(x: Tensor) -> Tensor:
    """N(0, 1), whose gradient alone is not finite where |x| ≥ 1.5: the root of 0."""
    root = torch.where(x.abs() < 1.5, torch.ones_like(x), x - x.detach()).sqrt()
    return (root - 0.5 * x**2).sum(1)


HOLES = {
    "NaN": cliff(math.nan),
    "−∞": cliff(-math.inf),
    "+∞": cliff(math.inf),
    "gradient ∞": no_gradient,
}


def check_never_accepted(kernel: mcmc.Kernel, log_density: mcmc.LogDensity) -> None:
    start = 0.5 * normal(3000, 1).clamp(-1, 1)
    drawn = mcmc.draws(kernel, log_density, start, num_draws=10, rng=rng(1))
    assert (drawn.abs() < 1.5).all()
    state, info = mcmc.run(kernel, log_density, start, num_steps=10, rng=rng(1))
    assert torch.isfinite(state.log_density).all()
    assert torch.isfinite(state.gradient).all()
    assert 0.05 < info.divergent.double().mean() < 1
    assert ((info.acceptance_rate >= 0) & (info.acceptance_rate <= 1)).all()
    assert info.acceptance_rate[info.divergent].max() <= 0.9 + 1e-12  # a rejected step counts as 0, of 10


@pytest.mark.parametrize("log_density", HOLES.values(), ids=HOLES.keys())
@pytest.mark.parametrize("kernel", [mcmc.MALA(1.5), mcmc.HMC(0.8, 3)], ids=["MALA", "HMC"])
def test_adjusted_kernels_never_accept_what_is_not_finite(kernel, log_density):
    """A proposal whose log-density or gradient is not finite is rejected and reported as divergent."""
    check_never_accepted(kernel, log_density)


def test_planted_replacement_of_nan_is_caught():
    """Trap 7: a NaN replaced by a number is accepted."""
    with pytest.raises(AssertionError):
        check_never_accepted(mcmc.MALA(1.5), lambda x: cliff(math.nan)(x).nan_to_num(nan=0.0))


def test_a_chain_outside_finds_its_way_in():
    """From where the density is 0 a finite proposal is accepted, not rejected for ever."""
    start = torch.full((500, 1), 1.6, dtype=FLOAT)
    state, _ = mcmc.run(mcmc.MALA(1.0), cliff(-math.inf), start, num_steps=50, rng=rng())
    assert (state.position.abs() < 1.5).all()


@pytest.mark.parametrize("outside", [math.nan, -math.inf], ids=str)
def test_truncation_by_rejection_is_exact(outside):
    """Inside the cliff the adjusted kernels sample the truncated normal: variance 1 − 2aφ(a)/(2Φ(a) − 1)."""
    a = 1.5
    phi, mass = math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi), math.erf(a / 2**0.5)
    expected = 1 - 2 * a * phi / mass
    for kernel in (mcmc.MALA(1.0), mcmc.HMC(0.5, 3)):
        state, _ = mcmc.run(kernel, cliff(outside), 0 * normal(30_000, 1), num_steps=40, rng=rng(1))
        assert_mean(state.position[:, 0] ** 2, expected)


def test_unadjusted_dynamics_tell_that_they_left():
    start = 0.1 * normal(500, 1)
    state, info = mcmc.run(mcmc.Langevin(1.0), cliff(math.nan), start, num_steps=10, rng=rng(1))
    left = ~state.position.isfinite()[:, 0] | ~state.log_density.isfinite()
    assert 0 < left.double().mean() < 1
    assert (info.divergent >= left).all()
    assert not info.divergent.all()
    assert ((info.acceptance_rate >= 0) & (info.acceptance_rate <= 1)).all()


class Diagonal:
    """A preconditioner L = diag(scales) Q, with a rotation Q, so that Lᵀ is not L."""

    def __init__(self, scales: Tensor) -> None:
        dim = len(scales)
        rotation = torch.linalg.qr(torch.randn(dim, dim, generator=rng(9), dtype=scales.dtype))[0]
        self.matrix = scales[:, None] * rotation

    def color(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def color_transposed(self, gradient: Tensor) -> Tensor:
        return gradient @ self.matrix


PRECONDITIONED = {
    "langevin": lambda move: mcmc.Langevin(0.3, 1.7, move),
    "mala": lambda move: mcmc.MALA(0.4, move),
    "hmc": lambda move: mcmc.HMC(0.3, 3, move),
}


def check_preconditioned(make) -> None:
    move = Diagonal(torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64))

    def log_density(y: Tensor) -> Tensor:
        z = y / torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)
        return -(z**2).sum(1) / 2 - (z**4).sum(1) / 4

    x = torch.randn(50, 3, generator=rng(1), dtype=torch.float64)
    plain, plain_info = mcmc.run(make(None), lambda x: log_density(move.color(x)), x, num_steps=8, rng=rng(2))
    state, info = mcmc.run(make(move), log_density, move.color(x), num_steps=8, rng=rng(2))
    torch.testing.assert_close(state.position, move.color(plain.position))
    torch.testing.assert_close(move.color_transposed(state.gradient), plain.gradient)
    torch.testing.assert_close(info.acceptance_rate, plain_info.acceptance_rate)
    assert 0.1 < info.acceptance_rate.mean() < 0.999


@pytest.mark.parametrize("make", PRECONDITIONED.values(), ids=PRECONDITIONED.keys())
def test_a_preconditioned_kernel_is_the_plain_one_in_other_coordinates(make):
    check_preconditioned(make)


@pytest.mark.parametrize(
    ("kernel", "where", "edits"),
    [
        ("mala", "langevin:propose", {"preconditioner.color_transposed(gradient)": "gradient"}),
        ("langevin", "langevin:propose", {"preconditioner.color(drift": "(drift"}),
        (
            "mala",
            "langevin:propose",
            {"color_transposed(preconditioner, gradient + new_gradient)": "gradient + new_gradient"},
        ),
        ("hmc", "hmc:leapfrog", {"color(preconditioner, momentum)": "momentum"}),
        ("hmc", "hmc:leapfrog", {"color_transposed(preconditioner, gradient)": "gradient"}),
    ],
)
def test_planted_faults_in_preconditioning_are_caught(monkeypatch, kernel, where, edits):
    plant(monkeypatch, f"anasyn.mcmc.{where}", edits)
    with pytest.raises(AssertionError):
        check_preconditioned(PRECONDITIONED[kernel])
