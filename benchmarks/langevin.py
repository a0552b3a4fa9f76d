"""The speed of chains through convolutional networks: this package, torchebm, and the convolutions alone.

1. Langevin on the egret descriptor: 30 steps at 64 × 64, 7 and 64 chains.
2. The lion-tiger inference step: 3 steps of MALA on 11 posteriors. torchebm has no MALA and makes 3 unadjusted steps.

All of them run with malloc's settings of `anasyn learn`.

The bound is the time of the convolutions alone, forward and backward to their input, without activations, head,
density or random numbers, as often as this package evaluates the gradient: once more than there are steps. torchebm
evaluates it once a step. It is measured with this package's network, which is channels-last in memory, and with the
same network in PyTorch's default memory format.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import timing
from anasyn import mcmc
from anasyn.cli.learn import reused_memory
from anasyn.models import Descriptor, Generator, networks
from anasyn.processor import frozen
from anasyn.run import has_bfloat16
from timing import Row

try:
    from torchebm.core import BaseModel
    from torchebm.samplers import LangevinDynamics
except ImportError:
    LangevinDynamics = None

DELTA = 0.01
TARGETS = {
    (7, "bfloat16"): "≥ 4",
    (7, "float32"): "≥ 2.5",
    (64, "bfloat16"): "≥ 2.5",
    (64, "float32"): "≥ 1.4",
}
PRECISIONS = ("float32", "bfloat16")


def rows(fast: bool) -> Iterator[Row]:
    if LangevinDynamics is None:
        timing.missing("torchebm")
    if not has_bfloat16(torch.device("cpu")):
        print("this processor has no bfloat16: the rows show the cost of emulating it")
    reused_memory().__enter__()
    repeats = 1 if fast else 9
    for num_chains in (7,) if fast else (7, 64):
        name, targets = f"egret descriptor, {num_chains} chains", {p: TARGETS[num_chains, p] for p in PRECISIONS}
        yield from compared(name, descriptor_functions(num_chains, 6 if fast else 30), targets, repeats)
    yield from compared("lion-tiger inference, 11 chains", generator_functions(3), {}, 1 if fast else 31)


def compared(
    name: str, functions: dict[str, Callable[[], object]], targets: dict[str, str], repeats: int
) -> Iterator[Row]:
    seconds = timing.interleaved(functions, repeats=repeats)
    for what, of in seconds.items():
        yield Row(f"{name}: {what}, ms", 1000 * of)
    for precision in PRECISIONS:
        own = seconds[f"anasyn {precision}"]
        for peer, target in {"torchebm": targets.get(precision, ""), "torchebm, default memory format": ""}.items():
            if peer in seconds:
                yield Row(f"{name}: {precision}, times as fast as {peer}", seconds[peer] / own, target)
        share = seconds[f"convolutions {precision}"] / own
        yield Row(f"{name}: {precision}, share of the bound", share, "≥ 0.7")


def descriptor_functions(num_chains: int, num_steps: int) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    network = networks.conv(64)
    start = 0.4 * torch.randn(num_chains, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(0)

    def ours(precision: str) -> Callable[[], object]:
        model = Descriptor(network, reference_std=0.4, scale=2 / DELTA**2, precision=precision)

        def sample() -> None:
            with frozen(model):
                mcmc.run(mcmc.Langevin(DELTA), model.log_density, start, num_steps=num_steps, rng=rng)

        return sample

    functions = {f"anasyn {precision}": ours(precision) for precision in PRECISIONS}
    model = Descriptor(network, reference_std=0.4, scale=2 / DELTA**2)
    functions |= peers(model, lambda model: model.energy, start, DELTA, num_steps)
    return functions | bounds(network, start, num_steps + 1)


def generator_functions(num_steps: int) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    delta = 0.02
    network = networks.deconv(2, 64, (256, 128, 64, 32))
    z = torch.randn(11, 2)
    images = torch.rand(11, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(0)

    def ours(precision: str) -> Callable[[], object]:
        model = Generator(network, latent_dim=2, sigma=0.3, precision=precision)

        def log_density(z: Tensor) -> Tensor:
            return model.log_joint(z, images)

        def sample() -> None:
            with frozen(model):
                mcmc.run(mcmc.MALA(delta), log_density, z, num_steps=num_steps, rng=rng)

        return sample

    functions = {f"anasyn {precision}": ours(precision) for precision in PRECISIONS}
    model = Generator(network, latent_dim=2, sigma=0.3)

    def energy(model: Generator) -> Callable[[Tensor], Tensor]:
        return lambda z: -model.log_joint(z, images)

    functions |= peers(model, energy, z, delta, num_steps)
    with torch.no_grad():
        square = network[:2](z)
    return functions | bounds(network, square, num_steps + 1)


def peers(
    model: nn.Module,
    energy: Callable[[Any], Callable[[Tensor], Tensor]],
    start: Tensor,
    delta: float,
    num_steps: int,
) -> dict[str, Callable[[], object]]:
    """torchebm's Langevin dynamics on the energy; its step size is our δ²/2."""
    if LangevinDynamics is None:
        return {}

    class Energy(BaseModel):
        def __init__(self, model: nn.Module):
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return energy(self.model)(x)

    default = copy.deepcopy(model)
    for parameter in default.parameters():
        parameter.data = parameter.data.contiguous()
    same, other = (LangevinDynamics(Energy(each), step_size=delta**2 / 2) for each in (model, default))
    return {
        "torchebm": lambda: same.sample(x=start, n_steps=num_steps),
        "torchebm, default memory format": lambda: other.sample(x=start.contiguous(), n_steps=num_steps),
    }


def bounds(network: nn.Sequential, start: Tensor, num_evaluations: int) -> dict[str, Callable[[], object]]:
    """The network's convolutions alone, forward and backward to their input."""
    convolutions: list[Any] = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]

    def bound(dtype: torch.dtype) -> Callable[[], object]:
        x = start.to(dtype).contiguous(memory_format=torch.channels_last)
        layers = [
            (
                layer.weight.detach().to(dtype),
                layer.bias.detach().to(dtype),
                *(layer.stride, layer.padding, (1, 1), isinstance(layer, nn.ConvTranspose2d), (0, 0), 1),
            )
            for layer in convolutions
        ]

        def evaluate() -> None:
            for _ in range(num_evaluations):
                inputs = [x]
                for weight, bias, *how in layers:
                    inputs.append(torch.ops.aten.convolution(inputs[-1], weight, bias, *how))
                gradient = inputs.pop()
                for (weight, bias, *how), into in zip(reversed(layers), reversed(inputs), strict=True):
                    gradient, *_ = torch.ops.aten.convolution_backward(
                        gradient, into, weight, [len(bias)], *how, [True, False, False]
                    )

        return evaluate

    return {f"convolutions {precision}": bound(getattr(torch, precision)) for precision in PRECISIONS}


if __name__ == "__main__":
    timing.main("langevin", rows, __doc__)
