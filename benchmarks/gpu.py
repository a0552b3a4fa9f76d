"""The speed of learning on a GPU: iterations, transitions, and the share of the card's matrix rate.

1. The descriptor: 512 images of 64 × 64, each with a chain, the built-in network of width 128, 30 steps of Langevin.
2. The generator: a batch of 128 images of 64 × 64, the built-in network of width 256, 2 steps of MALA.

Both in float32 and in bfloat16, each with the transitions' kernels launched one by one and captured as a CUDA graph. An
iteration is all of it; the transitions are also measured alone, without the learning step.

FLOPs are those of convolutions and matrix products, forward and backward to the input, as often as the gradient is
evaluated: once more than there are steps. The card's matrix rate is that of a large product of bfloat16 matrices, which
is measured in the same run. In float32, PyTorch lets a GPU compute convolutions in TF32.

With two GPUs, an iteration of the descriptor by two processes is compared with one's. Without any GPU everything but
the graphs runs on the CPU, which shows that it runs and measures no GPU.
"""

import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import timing
from anasyn import mcmc, ranks
from anasyn.data import to_float
from anasyn.learning import DescriptorLearner, GeneratorLearner, learn
from anasyn.learning.inference import infer
from anasyn.models import Descriptor, Generator, networks
from anasyn.processor import frozen
from anasyn.rng import Streams, streams
from anasyn.run.processes import joined
from growth import drawn
from langevin import peers
from timing import Row

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NOMINAL = {"A100-SXM4": 312, "H100 80GB HBM3": 989, "H200": 989}  # TFLOP/s, dense, as their maker states them
DELTA = 0.01
PRECISIONS = ("float32", "bfloat16")
CAPTURED, LAUNCHED = "captured", "launched one by one"
WAYS = (CAPTURED, LAUNCHED) if DEVICE.type == "cuda" else (LAUNCHED,)


class Sizes(NamedTuple):
    """What is measured."""

    side: int = 64
    chains: int = 512
    steps: int = 30
    widths: tuple[int, ...] = (32, 64, 128, 128)
    batch: int = 128
    latent_dim: int = 100
    generator_widths: tuple[int, ...] = (256, 128, 64, 32)
    matrix: int = 8192
    repeats: int = 15


SMALL = Sizes(16, 6, 2, (8, 8, 8, 8), 4, 4, (16, 8, 8), 256, 1)


class Measured(NamedTuple):
    """A learner, and what is timed of it."""

    iteration: Callable[[], object]
    transitions: Callable[[], object]
    moves: int  # transitions of single chains in one call
    flops: int  # of the transitions


def rows(fast: bool) -> Iterator[Row]:
    sizes = SMALL if fast else Sizes()
    card = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "no GPU: these are figures of the CPU"
    print(f"{card}; PyTorch {torch.__version__}")
    if find_spec("torchebm") is None:
        timing.missing("torchebm")
    rate = matrix_rate(sizes)
    yield Row(f"product of bfloat16 matrices, {sizes.matrix} × {sizes.matrix}: TFLOP/s", rate / 1e12)
    for nominal in (nominal for name, nominal in NOMINAL.items() if name in card):
        yield Row(f"the same: share of the nominal {nominal} TFLOP/s", rate / 1e12 / nominal)
    made = (descriptor, f"descriptor, {sizes.chains} chains"), (generator, f"generator, batch of {sizes.batch}")
    for make, name in made:
        learners = {precision: make(sizes, precision) for precision in PRECISIONS}
        functions: dict[str, Callable[[], object]] = {}
        for precision, way in itertools.product(PRECISIONS, WAYS):
            measured = learners[precision]
            functions[f"{precision}, {way}: iteration"] = switched(way, measured.iteration)
            functions[f"{precision}, {way}: transitions"] = switched(way, measured.transitions)
        if make is descriptor:
            functions |= torchebm(sizes)
        seconds = timing.interleaved(functions, repeats=sizes.repeats)
        for precision, way in itertools.product(PRECISIONS, WAYS):
            kind, measured = f"{precision}, {way}", learners[precision]
            of = seconds[f"{kind}: transitions"]
            yield Row(f"{name}, {kind}: ms an iteration", 1000 * seconds[f"{kind}: iteration"])
            yield Row(f"{name}, {kind}: images' transitions a second", measured.moves / of)
            yield Row(f"{name}, {kind}: TFLOP/s of the transitions", measured.flops / of / 1e12)
        for precision in PRECISIONS:
            best, of = f"{precision}, {WAYS[0]}", seconds[f"{precision}, {WAYS[0]}: transitions"]
            asked = make is descriptor and precision == "bfloat16"
            if precision == "bfloat16":
                share = learners[precision].flops / of / rate
                yield Row(f"{name}, {best}: share of the matrix rate", share, "≥ 0.35" if asked else "")
            if CAPTURED in WAYS:
                for what in ("iteration", "transitions"):
                    slow, quick = (seconds[f"{precision}, {way}: {what}"] for way in (LAUNCHED, CAPTURED))
                    yield Row(f"{name}, {precision}: {what}, times as fast captured", slow / quick)
            for peer in (each for each in seconds if each.startswith(f"{precision}, torchebm")):
                yield Row(f"{name}, {best}: times as fast as {peer}", seconds[peer] / of, "≥ 3" if asked else "")
    if torch.cuda.device_count() > 1:
        yield from two_processes(fast)


def matrix_rate(sizes: Sizes) -> float:
    """That of bfloat16 matrices, FLOP/s."""
    a, b = (torch.randn(sizes.matrix, sizes.matrix, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    times = 20 if DEVICE.type == "cuda" else 1

    def products() -> None:
        for _ in range(times):
            a @ b
        wait()

    seconds = timing.interleaved({"products": products}, repeats=sizes.repeats)
    return times * 2 * sizes.matrix**3 / seconds["products"]


def descriptor(sizes: Sizes, precision: str) -> Measured:
    learner = descriptor_learner(sizes, precision)
    images, index = pictures(sizes.chains, sizes.side), places(sizes.chains)
    learner.begin(images, sizes.chains, rng=streams(0, "chains", 0, index))
    model, kernel = learner.model, learner.kernel.with_step_size(learner.chains.step_sizes)
    start = mcmc.mean_image(images, streams(0, "chains", 0, index))

    def transitions(rng: Streams) -> None:
        with frozen(model):
            learner.run(kernel, model.log_density, start, num_steps=sizes.steps, rng=rng)

    return Measured(
        repeated(lambda rng: learner.step(index, images, rng=rng), index),
        repeated(transitions, index),
        sizes.chains * sizes.steps,
        (sizes.steps + 1) * flops(model, model.log_density, start),
    )


def descriptor_learner(sizes: Sizes, precision: str) -> DescriptorLearner:
    torch.manual_seed(0)
    model = Descriptor(networks.conv(sizes.side, sizes.widths), 0.4, 2 / DELTA**2, precision).to(DEVICE)
    return DescriptorLearner(model, kernel=mcmc.Langevin(DELTA), num_steps=sizes.steps, data_noise=0.03)


def generator(sizes: Sizes, precision: str) -> Measured:
    torch.manual_seed(0)
    network = networks.deconv(sizes.latent_dim, sizes.side, sizes.generator_widths)
    learner = GeneratorLearner(Generator(network, sizes.latent_dim, 0.3, precision).to(DEVICE), num_steps=2)
    images, index = pictures(sizes.batch, sizes.side), places(sizes.batch)
    learner.begin(images, sizes.batch, rng=streams(0, "chains", 0, index))
    model, z = learner.model, learner.chains.positions

    def transitions(rng: Streams) -> None:
        infer(learner.run, model, learner.kernel, learner.chains, index, images, learner.num_steps, rng)

    return Measured(
        repeated(lambda rng: learner.step(index, images, rng=rng), index),
        repeated(transitions, index),
        sizes.batch * learner.num_steps,
        (learner.num_steps + 1) * flops(model, lambda z: model.log_joint(z, images), z),
    )


def torchebm(sizes: Sizes) -> dict[str, Callable[[], object]]:
    """Its Langevin dynamics on the descriptor's network, in each precision."""
    start = pictures(sizes.chains, sizes.side)
    found: dict[str, Callable[[], object]] = {}
    for precision in PRECISIONS:
        model = descriptor_learner(sizes, precision).model
        for name, function in peers(model, lambda model: model.energy, start, DELTA, sizes.steps).items():
            found[f"{precision}, {name}"] = finished(function)
    return found


def pictures(num: int, side: int) -> Tensor:
    return to_float(drawn(num, side)).to(DEVICE).contiguous(memory_format=torch.channels_last)


def places(num: int) -> Tensor:
    return torch.arange(num, device=DEVICE)


def repeated(function: Callable[[Streams], object], index: Tensor) -> Callable[[], None]:
    """The function with the random numbers of one iteration after the other, until the GPU has finished."""
    count = itertools.count()
    return finished(lambda: function(streams(0, "chain noise", next(count), index)))


def finished(function: Callable[[], object]) -> Callable[[], None]:
    """The function, until the GPU has finished."""

    def done() -> None:
        function()
        wait()

    return done


def switched(way: str, function: Callable[[], object]) -> Callable[[], object]:
    """The function with transitions that are captured, or are not."""

    def done() -> None:
        os.environ["ANASYN_GRAPHS"] = "on" if way == CAPTURED else "off"
        function()

    return done


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def flops(model: nn.Module, log_density: mcmc.LogDensity, position: Tensor) -> int:
    """Those of convolutions and matrix products in one evaluation of the log-density and its gradient."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        mcmc.init(lambda x: log_density(x.clone()), position, DELTA)  # the counter cannot follow a leaf into a module
    for weight in trained:
        weight.requires_grad_(True)
    return counter.get_total_flops()


def two_processes(fast: bool) -> Iterator[Row]:
    """An iteration of the descriptor by two processes and by one."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    small = ["small"] if fast else []
    seconds = {num: json.loads(timing.child([*launch, str(num), __file__, "child", *small])[0]) for num in (1, 2)}
    for name, of in zip(("one process", "two processes"), seconds.values(), strict=True):
        yield Row(f"descriptor, bfloat16, {name}: ms an iteration", 1000 * of)
    yield Row("descriptor, bfloat16: two processes, times as fast as one", seconds[1] / seconds[2])


def child(sizes: Sizes) -> None:
    """In each process of torchrun: prints the median seconds of an iteration."""
    with joined(DEVICE.type):
        images = drawn(sizes.chains, sizes.side)
        records = learn(descriptor_learner(sizes, "bfloat16"), images, num_iterations=sizes.repeats + 5)
        seconds = [record.seconds for record in records]
        if ranks.rank() == 0:
            print(statistics.median(seconds[5:]))  # the records of the first five are read together


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:  # of `two_processes`
        child(SMALL if sys.argv[2:] else Sizes())
    else:
        timing.main("gpu", rows, __doc__)
