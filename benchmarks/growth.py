"""How the cost of learning grows with the number of images, with their size, and with the number of Langevin steps.

Each number is measured in its own process: seconds per iteration without the first, and peak memory.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import timing
from timing import Row

if TYPE_CHECKING:
    from torch import Tensor


def rows(fast: bool) -> Iterator[Row]:
    sizes, repeats = ((11, 1000), 1) if fast else ((11, 1000, 20_000), 5)
    of = {size: [measured("images", size, 3 if fast else 30) for _ in range(repeats)] for size in sizes[:1]}
    for _ in range(repeats):  # alternately, so that other load on the machine affects both alike
        for size in sizes[1:]:
            of.setdefault(size, []).append(measured("images", size, 3 if fast else 30))
    per_image = {
        size: statistics.median(seconds for seconds, _ in pairs) / min(size, 100) for size, pairs in of.items()
    }
    for size, pairs in of.items():
        yield Row(f"generator, {size} images of 32 × 32: ms an image-iteration", 1000 * per_image[size])
        yield Row(f"generator, {size} images of 32 × 32: peak memory, MiB", max(memory for _, memory in pairs))
    if not fast:
        growth = per_image[20_000] / per_image[1000]
        yield Row("generator: seconds an image-iteration, 20,000 images over 1,000", growth, "0.9 to 1.1")
    for side in (64,) if fast else (64, 128, 256):
        seconds, memory = measured("side", side, 2 if fast else 5)
        yield Row(f"descriptor, 7 chains of {side} × {side}, 30 steps: s an iteration", seconds)
        yield Row(f"descriptor, 7 chains of {side} × {side}, 30 steps: peak memory, MiB", memory)
    peaks = {}
    for num_steps in (1, 10) if fast else (1, 10, 100, 1000):
        seconds, peaks[num_steps] = measured("steps", num_steps, 1)
        yield Row(f"descriptor, 7 chains of 64 × 64, {num_steps} steps: s a step", seconds / num_steps)
        yield Row(f"descriptor, 7 chains of 64 × 64, {num_steps} steps: peak memory, MiB", peaks[num_steps])
    yield Row("descriptor: peak memory, most steps over 10", peaks[max(peaks)] / peaks[10], "0.9 to 1.1")


def measured(what: str, size: int, iterations: int) -> tuple[float, float]:
    """Median seconds of an iteration and peak memory in MiB."""
    output, _, memory = timing.child([__file__, what, str(size), str(iterations)])
    return json.loads(output), memory


def learn(what: str, size: int, iterations: int) -> float:
    import torch

    from anasyn import mcmc
    from anasyn.learning import DescriptorLearner, GeneratorLearner, Learner
    from anasyn.learning.driver import learn
    from anasyn.models import Descriptor, Generator, networks

    torch.manual_seed(0)
    if what == "images":
        images = drawn(size, 32)
        model = Generator(networks.deconv(8, 32), latent_dim=8, sigma=0.3)
        learner: Learner = GeneratorLearner(model, num_steps=5)
    else:
        side, num_steps = (size, 30) if what == "side" else (64, size)
        images = drawn(7, side)
        descriptor = Descriptor(networks.conv(side), reference_std=0.4, scale=2 / 0.01**2)
        learner = DescriptorLearner(descriptor, kernel=mcmc.Langevin(0.01), num_steps=num_steps)
    seconds = []
    records = learn(learner, images, num_iterations=iterations + 1, batch_size=min(len(images), 100))
    began = time.perf_counter()
    for _ in records:
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(seconds[1:])


def drawn(num: int, side: int) -> "Tensor":
    """``num`` images, uint8: up to a hundred are drawn and then repeated, each with different noise."""
    import torch

    from anasyn.data.drawn import draw_cats, drawn_factors

    pixels = draw_cats(drawn_factors(min(num, 100)), side)
    noise = torch.randint(
        -8, 9, (num, *pixels.shape[1:]), generator=torch.Generator().manual_seed(0), dtype=torch.int16
    )
    return (pixels[torch.arange(num) % len(pixels)] + noise).clamp_(0, 255).to(torch.uint8)


if __name__ == "__main__":
    if sys.argv[1:2] and not sys.argv[1].startswith("--"):  # a child of `measured`
        print(json.dumps(learn(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        timing.main("growth", rows, __doc__)
