"""Effective sample size and R-hat of chains for which they are known."""

import subprocess
import sys

import pytest
import torch

from anasyn import mcmc
from anasyn.diagnostics import ChainDraws, chains, effective_sample_size, r_hat
from anasyn.errors import InputError


def autoregressive(phi: float, num_draws: int = 4000, num_images: int = 2, dim: int = 2) -> torch.Tensor:
    """x ← φ x + √(1 − φ²) ξ, stationary N(0, 1): (4, t, n, d)."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4, num_images, dim, generator=rng, dtype=torch.float64)
    rows = []
    for _ in range(num_draws):
        x = phi * x + (1 - phi**2) ** 0.5 * torch.randn(x.shape, generator=rng, dtype=torch.float64)
        rows.append(x)
    return torch.stack(rows, 1)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_the_effective_sample_size_of_autoregressive_chains(phi):
    expected = 4 * 4000 * (1 - phi) / (1 + phi)
    assert all(value == pytest.approx(expected, rel=0.2) for value in effective_sample_size(autoregressive(phi)))


def test_the_worst_coordinate_of_each_image_decides():
    positions = autoregressive(0.0)
    positions[:, :, 1, 1] = autoregressive(0.9)[:, :, 1, 1]
    first, second = effective_sample_size(positions)
    assert first > 10_000
    assert second < 1500


def test_r_hat_is_one_of_chains_that_agree_and_not_of_one_that_is_elsewhere():
    positions = autoregressive(0.5)
    assert all(abs(value - 1) < 0.01 for value in r_hat(positions))
    positions[3, :, 1, 0] += 3
    first, second = r_hat(positions)
    assert abs(first - 1) < 0.01
    assert second > 1.2


def test_r_hat_sees_chains_that_drift_together():
    positions = autoregressive(0.5) + torch.linspace(-3, 3, 4000, dtype=torch.float64)[:, None, None]
    assert min(r_hat(positions)) > 1.2  # split: their halves differ


def test_an_image_s_chains_share_the_step_size_found_and_keep_it():
    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)

    def log_density(z):
        return -0.5 * (scale.repeat(4)[:, None] * z).square().sum(1)

    starts = torch.zeros(4, 3, 1, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    draws, step_size = chains.sample(mcmc.MALA(0.1), log_density, starts, num_warm_up=300, num_draws=2000, rng=rng)
    assert (step_size * scale).tolist() == pytest.approx([1.85] * 3, rel=0.2)  # 1 − (2/π) arctan(δ³/8) = 0.574
    assert draws.acceptance_rate.mean((0, 1)).tolist() == pytest.approx([0.574] * 3, abs=0.08)
    assert (draws.positions.std((0, 1))[:, 0] * scale).tolist() == pytest.approx([1] * 3, rel=0.06)
    expected = log_density(draws.positions[:, 7].reshape(12, 1)).view(4, 3)
    torch.testing.assert_close(draws.log_density[:, 7], expected)


def test_the_chains_as_inference_data():
    positions = autoregressive(0.5, num_draws=6)
    draws = ChainDraws(positions, positions[..., 0], positions[..., 1])
    data = draws.inference_data(("a.png", "b.png"))
    assert data.posterior["z"].dims == ("chain", "draw", "image", "coordinate")
    assert data.posterior["z"].sel(image="b.png", coordinate=2).values == pytest.approx(positions[:, :, 1, 1].numpy())
    assert data.sample_stats["acceptance_rate"].dims == ("chain", "draw", "image")
    assert data.sample_stats["lp"].sel(image="b.png").values == pytest.approx(positions[:, :, 1, 0].numpy())


def test_without_arviz_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(InputError, match=r"pip install \"anasyn\[diagnostics\]\""):
        r_hat(torch.zeros(2, 4, 1, 1))


def test_the_diagnostics_are_imported_without_arviz():
    code = "import sys; sys.modules['arviz'] = None; import anasyn.diagnostics"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_what_json_cannot_hold_becomes_null():
    found = chains.finite({"a": (1.0, float("nan")), "b": {"c": float("inf")}, "d": "x", "e": None, "f": 2})
    assert found == {"a": [1.0, None], "b": {"c": None}, "d": "x", "e": None, "f": 2}


def test_gradients_of_a_transition():
    assert chains.gradients_per_step(mcmc.MALA()) == chains.gradients_per_step(mcmc.Langevin(0.1)) == 1
    assert chains.gradients_per_step(mcmc.HMC(0.1, 7)) == 7
