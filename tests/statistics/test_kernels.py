"""One table of densities drives every kernel: moments, quantiles, log-density and distribution (`cases.CASES`)."""

import numpy as np
import pytest
import torch
from scipy import stats

from . import cases, comparing, moments
from .cases import CASES, FAST, KERNELS, tensor


def marked(case: str) -> object:
    return pytest.param(case, marks=[] if case in FAST else pytest.mark.statistics)


@pytest.mark.parametrize("case", [*map(marked, CASES)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_moments_quantiles_and_log_density(kernel, case):
    moments.check_moments(case, kernel)


@pytest.mark.parametrize("case", [*map(marked, CASES)])
@pytest.mark.parametrize("kernel", ["MALA", "HMC"])
def test_distribution(kernel, case):
    moments.check_distribution(case, kernel)


# ---- the truths themselves


def test_quadrature_agrees_with_the_published_numbers():
    """Cases 7, 13 and 14, and the closed forms of Student's t, the funnel and the linear posterior."""
    ramp = CASES["descriptor max(0, y)"].target
    right = np.exp(0.5) * stats.norm.cdf(1)  # the mass of y > 0, whose share is E y by Stein's identity
    assert ramp.mean.item() == pytest.approx(right / (right + 0.5), abs=1e-6)
    assert ramp.log_density == pytest.approx(0.946449 - (1 + 0.946449) / 2, abs=1e-6)  # E[f − y²/2], E y² = 1 + E f
    two_modes = CASES["descriptor 2y² − y⁴/4"].target
    assert two_modes.second.item() == pytest.approx(2.585305, abs=1e-6)
    posterior = CASES["linear posterior 1-d"].target
    assert (posterior.mean.item(), posterior.second.item()) == pytest.approx((0.866025, 0.25), abs=1e-6)
    assert CASES["Student-t"].target.second.item() == pytest.approx(10 / 8, abs=1e-6)
    funnel = CASES["funnel"].target
    assert funnel.second == pytest.approx([cases.FUNNEL**2, np.exp(cases.FUNNEL**2 / 2)], abs=1e-4)
    model = cases.linear_generator(2, 0.8)
    weight, bias = model.network.weight, model.network.bias
    m = weight.T @ weight + 0.64 * torch.eye(2, dtype=cases.FLOAT)
    mean = torch.linalg.solve(m, weight.T @ (cases.observed(model, [0.8, -1.0])[0] - bias))
    ours = CASES["linear posterior 2-d"].target
    assert ours.mean == pytest.approx(mean.numpy(), abs=1e-9)
    assert ours.second == pytest.approx(0.64 * torch.linalg.inv(m).diagonal().numpy(), abs=1e-9)


def test_quantiles_are_those_of_the_distribution():
    assert CASES["1-d"].quantiles[:, 0] == pytest.approx(1 + 2 * stats.norm.ppf([0.1, 0.5, 0.9]), abs=1e-9)
    assert CASES["Student-t"].quantiles[:, 0] == pytest.approx(stats.t.ppf([0.1, 0.5, 0.9], 10), abs=1e-4)


@pytest.mark.parametrize("name", ["1-d", "correlated 2-d"])
def test_the_law_of_unadjusted_langevin_on_a_grid_is_the_gaussians(name):
    """The fixed point on a grid equals N(m, Σ (I − δ²Σ⁻¹/4)⁻¹) to 1e-6."""
    case = CASES[name]
    box = tuple((m - 8 * s**0.5, m + 8 * s**0.5) for m, s in zip(case.target.mean, case.unadjusted.second, strict=True))
    found = cases.langevin_law(case.log_density, box, case.langevin, case.target.mean)
    assert found.mean == pytest.approx(case.unadjusted.mean, abs=1e-6)
    assert found.second == pytest.approx(case.unadjusted.second, rel=1e-6)
    assert found.log_density == pytest.approx(case.unadjusted.log_density, rel=1e-6)
    ours = [[f(q).item() for q in row] for f, row in zip(found.cdf, case.quantiles.T, strict=True)]
    theirs = [[f(q).item() for q in row] for f, row in zip(case.unadjusted.cdf, case.quantiles.T, strict=True)]
    assert np.array(ours) == pytest.approx(np.array(theirs), abs=1e-6)


@pytest.mark.statistics
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.box])
def test_the_law_of_unadjusted_langevin_does_not_depend_on_the_grid(name):
    case = CASES[name]
    finer = cases.langevin_law(case.log_density, case.box, case.langevin, case.target.mean, finer=1.3)
    tolerance = 1e-4 * tensor(case.target.second).sqrt().max().item()
    assert finer.mean == pytest.approx(case.unadjusted.mean, abs=10 * tolerance)
    assert finer.second == pytest.approx(case.unadjusted.second, rel=1e-3)
    assert finer.log_density == pytest.approx(case.unadjusted.log_density, abs=1e-3)


def test_the_standard_errors_are_honest():
    """z-scores of mean, variance, quantiles and log-density over 100 dimensions have a mean square of 1 within 0.25."""
    case = CASES["100-d"]
    values = case.functionals(moments.sample(case, "HMC", moments.Size(chains=100, draws=60), 7))
    estimates = np.array([comparing.mean_error(values[..., j]) for j in range(values.shape[-1])])
    scores = (estimates[:, 0] - case.expected("HMC")) / estimates[:, 1]
    assert (scores**2).mean() == pytest.approx(1, abs=0.25)
