"""Annealed importance sampling where the normalising constant is known in closed form (case 16)."""

import math

import pytest
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc import init

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
EVEN = torch.linspace(0, 1, 31, dtype=FLOAT)
PATH16 = mcmc.Path(wide_normal, log_gamma, EVEN)


def log_mean(log_weights: Tensor) -> Tensor:
    return mcmc.log_mean_exp(log_weights)


def mean_of_logs(log_weights: Tensor) -> Tensor:
    return log_weights.mean(-1)


class OffByOne(mcmc.MALA):
    """Each transition leaves the density of some other temperature invariant, whose state it returns."""

    def step(self, log_density, state, rng):
        moved, info = super().step(lambda x: log_density(x) + 0.15 * (log_gamma(x) - wide_normal(x)), state, rng)
        return init(log_density, moved.position, moved.step_size), info


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
        {"path": mcmc.Path(log_gamma, wide_normal, EVEN)},
        {"kernel": OffByOne(1.0)},
        {"path": mcmc.Path(lambda x: 2 * wide_normal(x), log_gamma, EVEN)},
        {"kernel": mcmc.Langevin(0.9)},
    ],
    ids=["mean of log weights", "reverse from the reference", "ends swapped", "temperatures off", "doubled reference",
         "unadjusted kernel"],
)  # fmt: skip
def test_planted_faults_miss_the_log_gamma_constant(fault):
    with pytest.raises(AssertionError):
        check_log_gamma(**fault)
