"""Transitions compiled into one: they are the kernel's own."""

import pytest
import torch

from anasyn import mcmc
from anasyn.mcmc.compiled import several

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself, at its import

KERNELS = {"Langevin": mcmc.Langevin(0.5), "MALA": mcmc.MALA(0.9), "HMC": mcmc.HMC(0.4, 3)}


def two_modes(x: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(torch.stack([-((x - 2) ** 2).sum(1), -((x + 2) ** 2).sum(1)]), 0)


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_is_the_kernel_on_the_same_numbers(name: str) -> None:
    torch.compiler.reset()
    kernel = mcmc.Compiled(KERNELS[name], num_steps=2)
    position = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    start = mcmc.init(two_modes, position, kernel.step_size)
    state, info = kernel.step(two_modes, start, torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(1)
    normal, uniform = (
        torch.randn(2, 3, 7, generator=rng).movedim(-1, 1),
        torch.rand(2 if name != "Langevin" else 0, 7, generator=rng),
    )
    expected, expected_info = several(KERNELS[name], two_modes, start, normal, uniform)
    for got, want in zip((*state, *info), (*expected, *expected_info), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_runs_like_any_kernel() -> None:
    torch.compiler.reset()
    kernel = mcmc.Compiled(mcmc.MALA(0.9), num_steps=2)
    position = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))

    def log_density(x: torch.Tensor) -> torch.Tensor:
        return -0.5 * (x**2).sum(1)

    def draws() -> torch.Tensor:
        rng = torch.Generator().manual_seed(1)
        return mcmc.draws(kernel, log_density, position, num_draws=50, rng=rng)

    x = draws()
    assert torch.equal(x, draws())
    assert x.mean().abs() < 0.03
    assert (x.var() - 1).abs() < 0.04
    assert kernel.with_step_size(0.5).step_size == 0.5


def test_num_steps_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        mcmc.Compiled(mcmc.MALA(0.5), num_steps=0)
