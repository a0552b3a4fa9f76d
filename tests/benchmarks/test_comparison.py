"""Unadjusted Langevin's bias by quadrature is the closed form's, and the comparison keeps to it."""

import pytest
import torch
from torch import nn

from anasyn import mcmc
from anasyn.models import Generator
from comparison import compare_kernels, ess_per_gradient
from quadrature import tabulate, unadjusted_covariance, unadjusted_ess

pytestmark = pytest.mark.statistics  # of a benchmark, and slow

PRECISION = torch.tensor([[5.0, 2.0], [2.0, 2.0]], dtype=torch.float64)  # eigenvalues 6 and 1


def gaussian(x):
    return -0.5 * ((x @ PRECISION) * x).sum(1)


def test_a_gaussian_s_covariance_by_quadrature():
    covariance = PRECISION.inverse()
    table = tabulate(gaussian, torch.zeros(2, dtype=torch.float64), covariance, 0.12)
    torch.testing.assert_close(table.covariance(), covariance, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(table.gradient, -table.points @ PRECISION)
    with pytest.raises(ValueError, match=r"spacing: 0\.01 needs more than"):
        tabulate(gaussian, torch.zeros(2, dtype=torch.float64), covariance, 0.01)


@pytest.mark.parametrize("step_size", [0.2, 0.4])
def test_the_bias_of_unadjusted_langevin_is_the_closed_form_s(step_size):
    table = tabulate(gaussian, torch.zeros(2, dtype=torch.float64), PRECISION.inverse(), 0.12)
    values, vectors = torch.linalg.eigh(PRECISION)
    expected = vectors @ torch.diag(1 / (values * (1 - values * step_size**2 / 4))) @ vectors.T
    torch.testing.assert_close(unadjusted_covariance(table, step_size), expected, rtol=2e-3, atol=2e-3)


def test_the_effective_draws_of_unadjusted_langevin_are_the_closed_form_s():
    table = tabulate(gaussian, torch.zeros(2, dtype=torch.float64), PRECISION.inverse(), 0.12)
    # Of a coordinate, Σ of the directions' AR(1), each with its share of the variance.
    values, vectors = torch.linalg.eigh(PRECISION)
    phi = 1 - values * 0.3**2 / 2
    shares = vectors**2 / (values * (1 - values * 0.3**2 / 4))
    shares = shares / shares.sum(1, keepdim=True)
    times = shares @ ((1 + phi) / (1 - phi))
    assert unadjusted_ess(table, 0.3) == pytest.approx(1 / times.max().item(), rel=0.01)


def linear_generator():
    """f(z) = 10 z, σ = 1: the posterior is N(·, I/101)."""
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(10 * torch.eye(2))
    return Generator(network, 2, 1.0)


def test_the_comparison_on_a_gaussian_posterior():
    z = torch.tensor([[0.5, -0.5]])
    (row,) = compare_kernels(linear_generator(), 10 * z, z, ["a"], num_steps=2000, rng=torch.Generator().manual_seed(0))
    assert row.name == "a"
    assert row.stability_limit == pytest.approx(2 / 101**0.5, rel=1e-3)
    # λδ²/4 = 0.05/1.05 at the bound; the grid's next step is a factor 2^(1/6) away.
    bound = 2 * (0.05 / 1.05) ** 0.5 / 101**0.5
    assert 2 ** (-1 / 6) * bound * 0.98 < row.unadjusted_step_size <= bound * 1.02
    assert row.unadjusted_bias == pytest.approx(1 / (1 - 101 * row.unadjusted_step_size**2 / 4) - 1, rel=0.06)
    assert row.unadjusted_bias < 0.05
    assert row.mala_bias < 0.2
    # An autoregression x ← φx + δξ, φ = 1 − λδ²/2, has (1 − φ)/(1 + φ) effective draws a step.
    phi = 1 - 101 * row.unadjusted_step_size**2 / 2
    assert row.unadjusted_ess_per_gradient == pytest.approx((1 - phi) / (1 + phi), rel=0.1)
    assert row.ratio == row.mala_ess_per_gradient / row.unadjusted_ess_per_gradient > 3
    (other,) = compare_kernels(
        linear_generator(), 10 * z, z, ["a"], of="coordinates", num_steps=8, rng=torch.Generator().manual_seed(0)
    )
    assert other.unadjusted_step_size == row.unadjusted_step_size  # a round posterior: no direction is stiffer
    with pytest.raises(ValueError, match="expected two coordinates, got 3"):
        compare_kernels(linear_generator(), z, torch.zeros(1, 3), ["a"], rng=torch.Generator())


def test_effective_draws_are_counted_by_gradients():
    z = torch.zeros(2, 2)
    mala, hmc = (
        ess_per_gradient(linear_generator(), z, z, kernel, num_steps=1000, rng=torch.Generator().manual_seed(0))
        for kernel in (mcmc.Langevin(0.05), mcmc.HMC(0.0156, 10))
    )
    phi = 1 - 101 * 0.05**2 / 2
    assert mala == pytest.approx([(1 - phi) / (1 + phi)] * 2, rel=0.5)
    assert all(0.05 < value < 0.4 for value in hmc)  # about two draws a transition, for ten gradients
