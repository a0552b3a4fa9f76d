"""The parts of annealed importance sampling: schedules, paths, means of weights, pilots. Its answers: tests/exact."""

import math

import pytest
import torch

from anasyn import mcmc

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(x):
    return -0.5 * (x**2).sum(1)


def narrow(x):
    return -50 * ((x - 0.3) ** 2).sum(1)


def even(num_temperatures: int) -> torch.Tensor:
    return torch.linspace(0, 1, num_temperatures + 1, dtype=FLOAT)


def test_a_geometric_schedule_increases_from_0_to_1():
    schedule = mcmc.geometric_schedule(10, 1e4)
    assert schedule.shape == (11,)
    assert schedule.dtype == FLOAT
    assert (schedule[0], schedule[-1]) == (0, 1)
    assert (schedule.diff() > 0).all()
    steps = torch.log1p(1e4 * mcmc.geometric_schedule(10, 1e4)).diff()
    torch.testing.assert_close(steps, torch.full((10,), math.log1p(1e4) / 10, dtype=FLOAT))


@pytest.mark.parametrize("betas", [[0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.6, 1.0], [1.0, 0.0]])
def test_a_path_needs_temperatures_from_0_to_1(betas):
    with pytest.raises(ValueError, match="schedule: expected"):
        mcmc.Path(normal, narrow, torch.tensor(betas))


@pytest.mark.parametrize(
    "refused", [lambda: mcmc.geometric_schedule(0, 1.0), lambda: mcmc.geometric_schedule(5, 0.0),
                lambda: mcmc.log_mean_exp_error(torch.zeros(3, 1))]
)  # fmt: skip
def test_numbers_out_of_range_are_refused(refused):
    with pytest.raises(ValueError, match="expected"):
        refused()


def test_means_of_weights_and_their_errors():
    weights = torch.rand(3, 7, dtype=FLOAT, generator=rng())
    logs = weights.log() - 900  # their exponentials are 0 in floating point
    torch.testing.assert_close(mcmc.log_mean_exp(logs), weights.mean(1).log() - 900)
    torch.testing.assert_close(mcmc.effective_sample_size(logs), weights.sum(1) ** 2 / (weights**2).sum(1))
    without = torch.stack([weights[:, torch.arange(7) != j].mean(1).log() for j in range(7)], 1)
    jackknife = (6 / 7 * ((without - without.mean(1, keepdim=True)) ** 2).sum(1)).sqrt()
    torch.testing.assert_close(mcmc.log_mean_exp_error(logs), jackknife)
    equal = torch.zeros(5, dtype=FLOAT)
    assert mcmc.effective_sample_size(equal) == pytest.approx(5)
    assert mcmc.log_mean_exp_error(equal) == pytest.approx(0, abs=1e-12)
    alone = torch.tensor([0.0, -80.0, -80.0, -80.0], dtype=FLOAT)
    assert mcmc.effective_sample_size(alone) == pytest.approx(1)
    assert mcmc.log_mean_exp_error(alone) > 10  # the delta method would say 1


def test_one_temperature_is_importance_sampling():
    x = torch.randn(50, 2, dtype=FLOAT, generator=rng())
    path, none = mcmc.Path(normal, narrow, even(1)), torch.empty(0, 50, dtype=FLOAT)
    assert mcmc.pilot(mcmc.MALA(1.0), path, x, group_size=10, rng=rng()).shape == (0, 5)
    log_weights = mcmc.anneal_forward(mcmc.MALA(1.0), path, x, step_sizes=none, rng=rng())
    torch.testing.assert_close(log_weights, narrow(x) - normal(x))
    log_weights = mcmc.anneal_reverse(mcmc.MALA(1.0), path, x, step_sizes=none, rng=rng())
    torch.testing.assert_close(log_weights, normal(x) - narrow(x))


def test_the_target_is_evaluated_once_a_transition():
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return narrow(x)

    path = mcmc.Path(normal, counted, even(21))
    x, ticks = torch.randn(8, 2, dtype=FLOAT, generator=rng()), []
    steps = torch.full((20, 8), 0.1, dtype=FLOAT)
    mcmc.anneal_forward(mcmc.MALA(), path, x, step_sizes=steps, rng=rng(), progress=lambda: ticks.append(1))
    assert calls == 1 + 20
    assert len(ticks) == 20


def test_the_parts_of_a_density_are_those_of_a_new_evaluation():
    """The weights of a chain that cannot move are those of its start, at every temperature, in both directions."""
    path = mcmc.Path(normal, narrow, mcmc.geometric_schedule(30, 50.0))
    x = torch.randn(8, 2, dtype=FLOAT, generator=rng())
    still = torch.zeros(29, 8, dtype=FLOAT)
    forward = mcmc.anneal_forward(mcmc.MALA(), path, x, step_sizes=still, rng=rng())
    torch.testing.assert_close(forward, narrow(x) - normal(x))
    reverse = mcmc.anneal_reverse(mcmc.MALA(), path, x, step_sizes=still, rng=rng())
    torch.testing.assert_close(reverse, -forward)


def test_a_pilot_finds_the_step_sizes_of_each_group():
    """They fall as 1/√curvature, and chains of a group share theirs."""

    def two(x):
        return torch.cat([narrow(x[:32]), 100 * narrow(x[32:])])

    path = mcmc.Path(normal, two, mcmc.geometric_schedule(300, 1e4))
    x = torch.randn(64, 2, dtype=FLOAT, generator=rng())
    steps = mcmc.pilot(mcmc.MALA(1.0), path, x, group_size=32, rng=rng(1))
    assert steps.shape == (299, 2)
    ends = steps[-20:].log().mean(0).exp()
    assert ends[0] / ends[1] == pytest.approx(10, rel=0.3)
    assert steps[:20].log().mean().exp() > 5 * ends[0]


def test_misshapen_step_sizes_and_nan_are_refused():
    path = mcmc.Path(normal, lambda x: normal(x) * math.nan, even(3))
    x = torch.zeros(4, 2, dtype=FLOAT)
    with pytest.raises(ValueError, match=r"step_sizes: expected shape \(2, 4\)"):
        mcmc.anneal_forward(mcmc.MALA(), path, x, step_sizes=torch.ones(3, 4), rng=rng())
    with pytest.raises(ValueError, match="NaN"):
        mcmc.anneal_forward(mcmc.MALA(), path, x, step_sizes=torch.ones(2, 4), rng=rng())
