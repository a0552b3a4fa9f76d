"""The verdicts on a ladder: draws from its conditional densities, or not learned."""

import json

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.diagnostics import RecoveryDiagnosis, diagnose_recovery
from anasyn.models import DescriptorLadder, FittedGaussian, FittedLadder, Ladder
from anasyn.rng import standard_normal

from ..planting import plant

STD = 0.5  # of the data, N(0, STD² I)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


DATA = STD * standard_normal(torch.empty(32, 3, 8, 8), rng())


class Gaussian(nn.Module):
    """The network of each level for the log-density of y_t, if the data's variance is ``factor`` · STD²."""

    def __init__(self, ladder: Ladder, factor: float):
        super().__init__()
        self.ladder, self.factor, self.unused = ladder, factor, nn.Parameter(torch.zeros(()))

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        here = self.ladder.alpha_bar(level)
        variance = self.ladder.shrinkage(level) ** 2 * (here * self.factor * STD**2 + 1 - here)
        return Square((1 - self.ladder.spread(level) ** 2 / variance) / 200)


class Square(nn.Module):
    """a ‖y‖², which the scale 100/s² of the ladder multiplies."""

    def __init__(self, a: float):
        super().__init__()
        self.a = a

    def forward(self, y: Tensor) -> Tensor:
        return self.a * (y**2).sum((1, 2, 3))


def diagnosis(factor: float = 1.0, b: float = 0.7, num_steps: int = 60) -> RecoveryDiagnosis:
    ladder = Ladder((0.2, 0.5, 1.0, 20.0))
    model = DescriptorLadder(Gaussian(ladder, factor), ladder)
    return diagnose_recovery(model, mcmc.MALA(b), num_steps, DATA, rng=rng(1))


def test_exact_densities_are_sampled() -> None:
    found = diagnosis()
    assert found.verdict == "samples its conditional densities"
    for level in found.levels:
        for each in (level.short, level.long, level.long_from_data):
            assert each.removed == pytest.approx(1, abs=0.06)
            assert abs(each.gap) < 0.8  # five standard errors of a difference of two means of 32
        assert level.acceptance_rate > 0.5
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["levels"][2]["level"] == 2


class Linear(nn.Module):
    """a Σ y at every level."""

    def __init__(self, a: float):
        super().__init__()
        self.a = a

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        return self

    def forward(self, y: Tensor) -> Tensor:
        return self.a * y.sum((1, 2, 3))


@pytest.mark.parametrize(("a", "learned"), [(0.0, False), (0.02, False), (0.1, True)])
def test_the_divergence_from_fitted_references_is_exact(a: float, learned: bool) -> None:
    """p_θ is p₀ = N(μ, L Lᵀ) moved by L Lᵀ ∂f/∂y, and the divergences in both directions are ‖Lᵀ ∂f/∂y‖² together."""
    model = FittedLadder(Linear(a), Ladder((0.3, 1.0, 4.0)), FittedGaussian((3, 8, 8), 4))
    model.fit(DATA)
    found = diagnose_recovery(model, mcmc.MALA(0.7), 60, DATA, rng=rng(1))
    exact = []
    for t in range(2):
        y = torch.zeros_like(DATA[:1]).requires_grad_()
        (gradient,) = torch.autograd.grad(model.at(t)(y), y)
        exact.append(float(model.posterior(t, DATA).color_transposed(gradient).square().sum()))
    # The mean of 32 differences of f at two independent draws, each of whose variances is the exact value
    for level, expected in zip(found.levels, exact, strict=True):
        assert level.reference_divergence == pytest.approx(expected, abs=5 * (2 * expected / 32) ** 0.5)
    assert (sum(exact) > 10) == learned
    assert (found.verdict == "not learned") or learned


@pytest.mark.parametrize("factor", [0.05, 20.0])
def test_other_densities_are_not_learned(factor: float) -> None:
    assert diagnosis(factor).verdict == "not learned"


def test_chains_that_hardly_move_are_not_learned_whatever_the_density() -> None:
    found = diagnosis(num_steps=1, b=0.05)
    assert found.verdict == "not learned"
    assert all(level.short.removed < 0.5 for level in found.levels)
    assert "disagree with the data at levels 0, 1, 2" in found.reasons[0]


def test_long_chains_that_leave_the_data_make_a_short_run_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a density that is too narrow, chains of one transition from the data have not noticed it yet."""
    plant(
        monkeypatch,
        "anasyn.diagnostics.recovery:_level",
        {"log_density, y_start, num_steps": "log_density, y, num_steps"},
    )
    assert diagnosis(factor=0.0, num_steps=1, b=0.3).verdict == "short-run sampler"
