"""Transitions compiled into one: they are the kernel's own."""

import pytest
import torch

from anasyn import mcmc
from anasyn.mcmc.compiled import draw, several, side_by_side
from anasyn.models import Descriptor, Generator, frozen, networks

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
    key = torch.randint(-(2**31), 2**31, (2,), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    numbers = draw(key, 2, 0 if name == "Langevin" else 2, side_by_side(start).position)
    expected, expected_info = several(KERNELS[name], two_modes, start, *numbers)
    for got, want in zip((*state, *info), (*expected, *expected_info), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_frozen_network_is_compiled_around_its_convolutions(precision: str, monkeypatch) -> None:
    """Both models, with images of one channel and of three; PyTorch's own layers are not called."""
    torch.compiler.reset()
    torch.manual_seed(0)
    images = 0.5 * torch.randn(3, 1, 16, 16)
    descriptor = Descriptor(networks.conv(16, (8, 12), 1, channels=1), 0.4, precision=precision)
    generator = Generator(networks.deconv(2, 16, (12, 8)), 2, 0.3, precision)
    monkeypatch.setattr(frozen.Convolutions, "as_layers", None)
    for model, log_density, start in (
        (descriptor, descriptor.log_density, images.contiguous(memory_format=torch.channels_last)),
        (generator, lambda z: generator.log_joint(z, images.expand(3, 3, 16, 16)), torch.randn(3, 2)),
    ):
        for _ in range(2):  # the second time with other weights and what is compiled already
            with frozen.frozen(model):
                state = mcmc.init(log_density, start, 0.01)
                got = mcmc.Compiled(mcmc.MALA(0.01), 1).step(log_density, state, torch.Generator().manual_seed(1))
                key = torch.randint(
                    -(2**31), 2**31, (2,), generator=torch.Generator().manual_seed(1), dtype=torch.int32
                )
                want = several(mcmc.MALA(0.01), log_density, state, *draw(key, 1, 1, side_by_side(state).position))
            tolerance = {"rtol": 1e-4, "atol": 1e-4} if precision == "float32" else {"rtol": 0.05, "atol": 0.05}
            for a, b in zip((*got[0], *got[1]), (*want[0], *want[1]), strict=True):
                torch.testing.assert_close(a, b, **tolerance)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.1)


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
