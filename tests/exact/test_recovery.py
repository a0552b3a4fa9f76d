"""A ladder of quadratic descriptors on Gaussian data: every density, conditional density and sample in closed form.

Data N(μ, C) give y_t ~ N(m, S), m = √((1 − σ²_{t+1}) ᾱ_t) μ, S = (1 − σ²_{t+1}) (ᾱ_t C + (1 − ᾱ_t) I), and
y_t | x_{t+1} ~ N(P⁻¹(S⁻¹m + x_{t+1}/σ²_{t+1}), P⁻¹), P = S⁻¹ + I/σ²_{t+1}.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.learning import RecoveryLearner, learn, recovery
from anasyn.models import DescriptorLadder, Ladder
from anasyn.models.ladder import GAIN
from anasyn.rng import standard_normal

from ..planting import plant

FLOAT = torch.float64
LEARNING, LADDER = "anasyn.learning.recovery", "anasyn.models.ladder:Ladder"
LADDERS = "anasyn.models.ladder:DescriptorLadder"
MU = torch.tensor([0.4, -0.2], dtype=FLOAT)
C = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=FLOAT)
EYE = torch.eye(2, dtype=FLOAT)
NOISE = (0.5, 1.0, 2.0, 40.0)
LEVELS = range(3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marginal(t: int, mu: Tensor = MU, c: Tensor = C) -> tuple[Tensor, Tensor]:
    """The mean and covariance of y_t."""
    here, above = (1 / (1 + NOISE[each] ** 2) for each in (t, t + 1))
    return math.sqrt(above) * mu, (above / here) * (here * c + (1 - here) * EYE)


def variance_above(t: int) -> float:
    """σ²_{t+1}."""
    return 1 - (1 + NOISE[t] ** 2) / (1 + NOISE[t + 1] ** 2)


def given(t: int, x_next: Tensor, mu: Tensor = MU, c: Tensor = C) -> tuple[Tensor, Tensor]:
    """The mean and covariance of y_t given x_{t+1}."""
    mean, covariance = marginal(t, mu, c)
    posterior = torch.linalg.inv(torch.linalg.inv(covariance) + EYE / variance_above(t))
    return (mean @ torch.linalg.inv(covariance) + x_next / variance_above(t)) @ posterior, posterior


class Quadratic(nn.Module):
    """A network yᵀAy/2 + bᵀy."""

    def __init__(self, a: Tensor, b: Tensor):
        super().__init__()
        self.A, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def forward(self, y: Tensor) -> Tensor:
        return ((y @ self.A) * y).sum(1) / 2 + y @ self.b


class FixedMALA(mcmc.MALA):
    """In two dimensions the usual acceptance belongs to steps with which chains need long to come from afar."""

    target_acceptance = None


class Quadratics(nn.Module):
    def __init__(self, *networks: Quadratic):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        return self.networks[level]


def optimal() -> DescriptorLadder:
    """The descriptors of the densities of y_t."""
    ladder, networks = Ladder(NOISE), []
    for t in LEVELS:
        mean, covariance = marginal(t)
        precision = torch.linalg.inv(covariance)
        unit = GAIN / ladder.spread(t) ** 2
        networks.append(Quadratic((EYE / ladder.spread(t) ** 2 - precision) / unit, precision @ mean / unit))
    return DescriptorLadder(Quadratics(*networks), ladder)


def assert_gaussian(draws: Tensor, mean: Tensor, covariance: Tensor, slack: float = 0.0) -> None:
    """Independent draws, (n, d): mean and covariance within five standard errors, and a relative ``slack``."""
    n, scale = len(draws), covariance.diagonal()
    error = 5 * (scale / n).sqrt() + slack
    assert ((draws.mean(0) - mean).abs() < error).all(), (draws.mean(0), mean)
    spread = (scale[:, None] * scale + covariance**2).sqrt()
    error = (5 / math.sqrt(n) + slack) * spread
    assert ((draws.T.cov() - covariance).abs() < error).all(), (draws.T.cov(), covariance)


def check_diffusion() -> None:
    data = MU + standard_normal(torch.empty(40_000, 2, dtype=FLOAT), rng(1)) @ torch.linalg.cholesky(C).T
    for t in LEVELS:
        y, x_next = Ladder(NOISE).diffuse(data, t, rng(2))
        assert_gaussian(y, *marginal(t))
        mean, posterior = given(t, x_next)
        assert_gaussian(y - mean, torch.zeros(2, dtype=FLOAT), posterior)
        above = 1 / (1 + NOISE[t + 1] ** 2)
        assert_gaussian(x_next, math.sqrt(above) * MU, above * C + (1 - above) * EYE)


def check_recovery() -> None:
    """Chains from one x_{t+1} sample its conditional density."""
    model, x_next = optimal(), torch.tensor([0.7, -0.3], dtype=FLOAT)
    for t in LEVELS:
        found, _ = recovery.recover(model, t, mcmc.MALA(1.0), x_next.expand(10_000, 2), 60, rng(t))
        assert_gaussian(found, *given(t, x_next))


def check_sampling() -> None:
    """Down the ladder to x_0, and to E[x | x_0], of covariance C (C + c_0² I)⁻¹ C."""
    learner = RecoveryLearner(optimal(), kernel=mcmc.MALA(1.0), num_steps=30)
    learner.begin(MU[None], 1, rng=rng())
    shrunk = C @ torch.linalg.inv(C + NOISE[0] ** 2 * EYE) @ C
    assert_gaussian(learner.draw(10_000, rng=rng(3)), MU, shrunk)


def check_learning() -> None:
    """From f = 0 beside the reference, f becomes the log-density of y_t at every level."""
    n = 4000
    data = standard_normal(torch.empty(n, 2, dtype=FLOAT), rng(4))
    data = MU + (data - data.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(data.T.cov(correction=0))).T @ (
        torch.linalg.cholesky(C).T
    )  # of exactly this mean and covariance
    zero = [Quadratic(torch.zeros(2, 2, dtype=FLOAT), torch.zeros(2, dtype=FLOAT)) for _ in LEVELS]
    model = DescriptorLadder(Quadratics(*zero), Ladder(NOISE))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.5, 0.999))
    learner = RecoveryLearner(model, kernel=FixedMALA(1.0), num_steps=10, optimizer=optimizer)
    for _ in learn(learner, data, num_iterations=600, batch_size=500):
        pass
    for t in LEVELS:
        mean, covariance = marginal(t)
        network, unit, s = model.network.at(t), model.scale(t), model.ladder.spread(t)
        learned = torch.linalg.inv(EYE / s**2 - unit * (network.A + network.A.T) / 2)
        torch.testing.assert_close(learned, covariance, atol=0.06 * covariance.max().item(), rtol=0)
        error = 0.06 * covariance.diagonal().max().sqrt().item()
        torch.testing.assert_close(learned @ network.b * unit, mean, atol=error, rtol=0)


CHECKS = {"diffusion": check_diffusion, "recovery": check_recovery, "sampling": check_sampling,
          "learning": check_learning}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_it_agrees_with_the_closed_form(check) -> None:
    check()


@pytest.mark.parametrize(
    ("check", "where", "edits"),
    [
        ("diffusion", f"{LADDER}.diffuse", {"self.alpha_bar(t)": "self.alpha_bar(t + 1)"}),
        ("diffusion", f"{LADDER}.diffuse", {"self.sigma(t + 1)": "self.sigma(max(t, 1))"}),
        ("diffusion", f"{LADDER}.diffuse", {"y = self.shrinkage(t) * x": "y = x"}),
        ("diffusion", f"{LADDER}.sigma", {"math.sqrt(": "("}),
        ("recovery", f"{LEARNING}:conditional", {"- model.noise_energy": "+ model.noise_energy"}),
        ("recovery", f"{LADDERS}.noise_energy", {"squared / 2": "squared"}),
        ("recovery", f"{LEARNING}:conditional", {"ladder.sigma(t + 1)": "ladder.sigma(max(t, 1))"}),
        ("sampling", f"{LEARNING}:descend", {"/ ladder.shrinkage(t)": ""}),
        ("sampling", f"{LEARNING}:descend", {"(x + (1": "(x - (1"}),
        ("sampling", f"{LEARNING}:descend", {"recover(model, t,": "recover(model, max(t, 1),"}),
        ("learning", f"{LEARNING}:RecoveryLearner.step", {"cat([y, recovered])": "cat([images, recovered])"}),
        ("learning", f"{LEARNING}:RecoveryLearner.step", {"self.model.at(t,": "self.model.at((t + 1) % 3,"}),
    ],
)  # fmt: skip
def test_a_planted_fault_is_caught(check: str, where: str, edits, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, where, edits)
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check]()


def test_what_the_network_has_to_learn_is_convex_and_bounds_the_curvature() -> None:
    for t in LEVELS:
        network = optimal().network.at(t)
        assert (torch.linalg.eigvalsh(network.A) > 0).all()
        _, posterior = given(t, MU)
        assert torch.linalg.eigvalsh(posterior).min() > Ladder(NOISE).narrowest(t) ** 2
    alone = RecoveryLearner(optimal(), kernel=mcmc.Langevin(1.0))
    alone.begin(MU[None], 5, rng=rng())
    found = alone.stability(torch.arange(5), MU.expand(5, 2), rng=rng())
    _, posterior = given(0, MU)
    expected = Ladder(NOISE).narrowest(0) ** 2 / torch.linalg.eigvalsh(posterior).min()
    torch.testing.assert_close(found.lambda_max, expected.expand(5), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.limit, 2 / expected.sqrt().expand(5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("noise", [(), (1.0,), (0.0, 1.0), (-1.0, 1.0), (0.5, 0.5), (1.0, 0.5, 2.0), (1.0, math.inf),
                                   (math.nan, 1.0)])  # fmt: skip
def test_a_ladder_that_does_not_rise_is_refused(noise: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^noise: expected two or more increasing numbers above 0"):
        Ladder(noise)


def test_a_geometric_ladder_has_equal_ratios_and_the_variances_add_up() -> None:
    ladder = Ladder.geometric(4, 0.1, 10.0)
    assert ladder.noise == pytest.approx((0.1, 10**-0.5, 1.0, 10**0.5, 10.0))
    for t in range(4):
        assert ladder.shrinkage(t) ** 2 + ladder.sigma(t + 1) ** 2 == pytest.approx(1)
