"""Annealed importance sampling where the normalising constants are known in closed form (cases 7 and 16)."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.evaluation import likelihood
from anasyn.models import Generator

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def steps(kernel: mcmc.Kernel, path: mcmc.Path, draws: Tensor, num_chains: int, seed: int = 100) -> Tensor:
    return mcmc.pilot(kernel, path, draws, group_size=len(draws), rng=rng(seed)).expand(-1, num_chains)


# ---- case 16: the log of a gamma(5, 10) variable, x = log t, unnormalised


def log_gamma(x: Tensor) -> Tensor:
    """log of t⁵ e^(−10 t) at t = eˣ; its integral over x is Γ(5)/10⁵, whose log is −8.334872."""
    return (5 * x - 10 * x.exp())[:, 0]


def wide_normal(x: Tensor) -> Tensor:
    """log N(x; −1, 1)."""
    return (-0.5 * (x + 1) ** 2 - 0.5 * math.log(2 * math.pi))[:, 0]


TRUTH16 = math.lgamma(5) - 5 * math.log(10)
MALA = mcmc.MALA(1.0)
PATH16 = mcmc.Path(wide_normal, log_gamma, mcmc.sigmoid_schedule(30))


def log_mean(log_weights: Tensor) -> Tensor:
    return mcmc.log_mean_exp(log_weights)


def mean_of_logs(log_weights: Tensor) -> Tensor:
    return log_weights.mean(-1)


class OffByOne(mcmc.Path):
    """Each transition leaves the density of the next temperature but one invariant."""

    def step(self, kernel, beta, state, rng):
        return super().step(kernel, min(beta + 0.15, 1.0), state, rng)


def check_log_gamma(kernel: mcmc.Kernel = MALA, path: mcmc.Path = PATH16, mean=log_mean, start=None) -> None:
    """Case 16: the weights' mean is exact in both directions; truth between the bounds of four chains each."""
    num = 20_000
    sizes = steps(kernel, path, normal(64, 1, seed=1) - 1, num)
    forward = mcmc.anneal_forward(kernel, path, normal(num, 1, seed=2) - 1, step_sizes=sizes, rng=rng(3))
    if start is None:
        exponential = -torch.rand(num, 5, dtype=FLOAT, generator=rng(4)).log() / 10
        start = exponential.sum(1, keepdim=True).log()  # gamma(5, 10): the sum of five exponential variables
    reverse = mcmc.anneal_reverse(kernel, path, start, step_sizes=sizes, rng=rng(5))
    error = 5 * mcmc.log_mean_exp_error(forward).item() + 5 * mcmc.log_mean_exp_error(reverse).item()
    assert error < 0.1
    assert abs(mean(forward).item() - TRUTH16) < error, "forward"
    assert abs(-mean(reverse).item() - TRUTH16) < error, "reverse"
    lower, upper = mean(forward.view(-1, 4)), -mean(reverse.view(-1, 4))
    assert lower.mean() < TRUTH16 < upper.mean(), "bracket"


@pytest.mark.parametrize("kernel", [MALA, mcmc.HMC(0.6, 3)], ids=["MALA", "HMC"])
def test_log_gamma(kernel):
    assert pytest.approx(-8.334872, abs=5e-7) == TRUTH16
    check_log_gamma(kernel)


@pytest.mark.parametrize(
    "fault",
    [
        {"mean": mean_of_logs},
        {"start": normal(20_000, 1, seed=6) - 1},
        {"path": mcmc.Path(log_gamma, wide_normal, mcmc.sigmoid_schedule(30))},
        {"path": OffByOne(wide_normal, log_gamma, mcmc.sigmoid_schedule(30))},
        {"path": mcmc.Path(lambda x: 2 * wide_normal(x), log_gamma, mcmc.sigmoid_schedule(30))},
        {"kernel": mcmc.Langevin(0.9)},
    ],
    ids=["mean of log weights", "reverse from the reference", "ends swapped", "temperatures off", "doubled reference",
         "unadjusted kernel"],
)  # fmt: skip
def test_planted_faults_miss_the_log_gamma_constant(fault):
    with pytest.raises(AssertionError):
        check_log_gamma(**fault)


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


def check_linear(d: int, dim: int, num_chains: int, num_temperatures: int, kind: type[Generator] = Generator) -> None:
    """The bounds are within 0.1 nat of the exact values on average, and not by luck: so are their standard errors."""
    weight = normal(dim, d, seed=7) * torch.linspace(0.5 if d < 32 else 0.1, 0.1, d, dtype=FLOAT) * (12 / dim) ** 0.5
    images = simulated(weight, 0.3, 1 if d == 32 else 4)
    settings = {"num_chains": num_chains, "num_temperatures": num_temperatures}
    found = likelihood.log_likelihood(linear(weight, 0.3, kind), images, **settings, rng=rng(10))
    difference = found.value - log_evidence(weight, 0.3, images)
    assert found.error.mean() < 0.1, found.error
    assert difference.abs().mean() < 0.1, difference


@pytest.mark.parametrize(
    ("d", "dim", "num_chains", "num_temperatures"),
    [
        (1, 3, 256, 60),
        (2, 12, 256, 120),
        (8, 192, 128, 400),
        pytest.param(32, 12_288, 32, 1500, marks=pytest.mark.statistics),
    ],
)
def test_linear_generators_within_a_tenth_of_a_nat(d, dim, num_chains, num_temperatures):
    check_linear(d, dim, num_chains, num_temperatures)


class SigmaUnsquared(Generator):
    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) * self.sigma


class NoConstant(Generator):
    def log_prior(self, z):
        return -0.5 * (z**2).sum(1)


@pytest.mark.parametrize("fault", [SigmaUnsquared, NoConstant])
def test_planted_faults_in_the_joint_density_are_seen(fault):
    with pytest.raises(AssertionError):
        check_linear(2, 12, 256, 120, fault)


# ---- the bracket, on a hundred images of a linear generator


WEIGHT, SIGMA = normal(4, 2, seed=7), 0.3


def exact_posterior(images: Tensor, num_chains: int, spread: float = 1.0) -> Tensor:
    """Independent draws from N(M⁻¹WᵀY, σ²M⁻¹), (n · num_chains, d), those of an image together."""
    m = WEIGHT.T @ WEIGHT + SIGMA**2 * torch.eye(2, dtype=FLOAT)
    root = torch.linalg.cholesky(SIGMA**2 * torch.linalg.inv(m))
    mean = torch.linalg.solve(m, (images @ WEIGHT).T).T.repeat_interleave(num_chains, 0)
    return mean + spread * normal(*mean.shape, seed=15) @ root.T


def check_every_image(spread: float = 1.0, shift: float = 0.0) -> None:
    """Forward and reverse chains are independent: in 95 of 100 images the bounds, ± 3 errors, hold the truth."""
    num_chains, images, model = 16, simulated(WEIGHT, SIGMA, 100), linear(WEIGHT, SIGMA)
    repeated = images.repeat_interleave(num_chains, 0)
    path = mcmc.Path(
        likelihood.standard_gaussian,
        lambda z: model.log_joint(z, repeated) + shift,
        mcmc.geometric_schedule(80, 50.0),
    )
    sizes = mcmc.pilot(MALA, path, normal(1600, 2, seed=16), group_size=num_chains, rng=rng(17))
    sizes = sizes.repeat_interleave(num_chains, 1)
    forward = mcmc.anneal_forward(MALA, path, normal(1600, 2, seed=18), step_sizes=sizes, rng=rng(19))
    start = exact_posterior(images, num_chains, spread)
    reverse = mcmc.anneal_reverse(MALA, path, start, step_sizes=sizes, rng=rng(20))
    forward, reverse = forward.view(100, -1), reverse.view(100, -1)
    lower = mcmc.log_mean_exp(forward) - 3 * mcmc.log_mean_exp_error(forward)
    upper = -mcmc.log_mean_exp(reverse) + 3 * mcmc.log_mean_exp_error(reverse)
    truth = log_evidence(WEIGHT, SIGMA, images)
    assert ((lower <= truth) & (truth <= upper)).sum() >= 95
    assert (upper - lower).mean() < 2


def test_bounds_from_independent_draws_hold_the_exact_value_of_each_image():
    check_every_image()


@pytest.mark.parametrize("fault", [{"spread": 4.0}, {"shift": 1.5}], ids=["reverse from a wider posterior", "constant"])
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
    settings = {"num_images": 100, "num_chains": 16, "num_temperatures": 40}
    found = likelihood.bracket(linear(WEIGHT, SIGMA), normal(1, 4), **settings, draw_prior=draw_prior, rng=rng(11))
    truth = log_evidence(WEIGHT, SIGMA, torch.cat(seen))
    assert at_least(truth - found.lower, 0)
    assert at_least(found.upper - truth, 0)
    assert (found.upper - found.lower).mean() < 0.5


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
    log_z = likelihood.log_normalizer(
        model.log_prior, likelihood.standard_gaussian, normal(2000, 2), num_temperatures=20, rng=rng()
    )
    exact = 0.5 * (alpha @ alpha).item()
    assert log_z.value.item() == pytest.approx(exact, abs=5 * log_z.error.item())
    images = (normal(4, 2, seed=8) + alpha) @ weight.T + sigma * normal(4, 5, seed=9)
    settings = {"num_temperatures": 60, "log_prior_normalizer": exact}
    found = likelihood.log_likelihood(model, images, num_chains=256, **settings, rng=rng(1))
    truth = log_evidence(weight, sigma, images - weight @ alpha)
    assert ((found.value - truth).abs() <= 4 * found.error).all()
    assert (found.error < 0.15).all()

    def draw(num: int, rng: torch.Generator) -> Tensor:
        return alpha + torch.randn(num, 2, dtype=FLOAT, generator=rng)

    held = likelihood.bracket(model, images, num_images=20, num_chains=64, draw_prior=draw, **settings, rng=rng(2))
    assert at_least(held.upper - held.lower, 0)
    assert (held.upper - held.lower).mean() < 0.2
