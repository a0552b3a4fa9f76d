"""Descriptors against torchebm's persistent contrastive divergence: distance of samples after equal seconds.

Both learn from the same images in the seconds of ``--seconds``. anasyn learns with its defaults, the rate falling to 0
in these seconds. torchebm (`ContrastiveDivergence`, persistent, with its own defaults but for the size of its buffer,
and `LangevinDynamics` with its chains kept in [−1, 1]) learns the energy of the default descriptor with N(0, s² I), in
float32, with Adam at the best of `CHOICES`, found with the first seed. Its samples are its persistent chains, or chains
of ten times its length from noise, whichever are nearer to the images. Printed: sliced Wasserstein distances × 10³ of
as many samples as there are images, at most `NUM_SAMPLES`; infinite where the samples are not finite.

Without the photographs (ANASYN_PHOTOGRAPHS) only the drawn egrets are learned.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import density
import timing
from timing import Row

try:
    from torchebm.core import BaseModel
    from torchebm.losses import ContrastiveDivergence
    from torchebm.samplers import LangevinDynamics
except ImportError:
    ContrastiveDivergence = None

if TYPE_CHECKING:
    from torch import Tensor

    from anasyn.data import ImageSet

SETS = ("drawn-egrets", "egret", "CIFAR-10 cats")
NUM_SAMPLES, NUM_STEPS, BATCH = 64, 30, 32  # steps as many as anasyn makes
# Of torchebm: step size and noise of Langevin dynamics, and learning rate. The first noise is that of the energy's own
# density; with less the chains are nearly noiseless, as is usual for images (Du and Mordatch 2019).
DYNAMICS = ((0.005, 1.0), (0.0005, 0.1), (0.0005, 0.01))
CHOICES = [(step, noise, rate) for step, noise in DYNAMICS for rate in (1e-4, 1e-3)]


def rows(fast: bool, seeds: int, seconds: float, only: list[str]) -> Iterator[Row]:
    if ContrastiveDivergence is None:
        timing.missing("torchebm")
        return
    seconds = 3 if fast else seconds
    for name in only or SETS:
        if name in density.PHOTOGRAPHS and "ANASYN_PHOTOGRAPHS" not in os.environ:
            continue
        tried = {}
        for choice in CHOICES[:1] if fast else CHOICES:
            tried[choice] = child(name, 0, seconds, choice)
            yield Row(f"{name}, torchebm, step %g, noise %g, rate %g, seed 0" % choice, tried[choice])
        best = min(tried, key=lambda each: tried[each])
        theirs = [tried[best], *(child(name, seed, seconds, best) for seed in range(1, 1 if fast else seeds))]
        ours = [child(name, seed, seconds, None) for seed in range(1 if fast else seeds)]
        for which, figures in (("torchebm", theirs), ("anasyn", ours)):
            for seed, figure in enumerate(figures):
                yield Row(f"{name}, {which}, {seconds:g} s, seed {seed}: distance", figure)
        ratio = statistics.median(ours) / statistics.median(theirs)
        yield Row(f"{name}: distance, anasyn / torchebm, medians of {len(ours)}", ratio, "< 1")


def child(name: str, seed: int, seconds: float, choice: tuple[float, float, float] | None) -> float:
    output, _, _ = timing.child([__file__, "--child", name, str(seed), str(seconds), json.dumps(choice)])
    return float(output.splitlines()[-1])


def distance(samples: "Tensor", images: "ImageSet") -> float:
    from anasyn.data import to_uint8
    from anasyn.evaluation import evenly, sliced_wasserstein

    if not samples.isfinite().all():
        return math.inf
    return sliced_wasserstein(to_uint8(samples), images.pixels[evenly(len(images), len(samples))]).mean


def ours(name: str, seed: int, seconds: float) -> float:
    from anasyn.methods.descriptor import DESCRIPTOR
    from anasyn.rng import derive

    images = density.images_of(name)
    learner, _, _ = density.learned("descriptor", name, images, seed, None, seconds, reference="auto")
    num = min(len(images), NUM_SAMPLES)
    return distance(DESCRIPTOR.sample(learner, num, lambda: images, derive(seed, "benchmark")), images)


def theirs(name: str, seed: int, seconds: float, choice: tuple[float, float, float]) -> float:
    """Of torchebm's samples, the smaller distance."""
    import torch

    from anasyn.data import to_float
    from anasyn.methods import DescriptorSettings, Scale
    from anasyn.methods.build import build_learner
    from anasyn.methods.descriptor import DESCRIPTOR
    from anasyn.rng import derive

    step_size, noise, rate = choice
    images = density.images_of(name)
    side = images.pixels.shape[2]
    settings = DescriptorSettings(data=name, size=side, seed=seed, reference="isotropic")
    settings = settings.resolve(Scale(len(images), side, has_bfloat16=False))
    learner: Any = build_learner(DESCRIPTOR, settings, torch.device("cpu"))

    class Energy(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.model: Any = learner.model

        def forward(self, x: "Tensor") -> "Tensor":
            energy: Tensor = self.model.energy(x)
            return energy

    energy = Energy()
    sampler = LangevinDynamics(energy, step_size=step_size, noise_scale=noise, clamp=(-1.0, 1.0))
    num = min(len(images), NUM_SAMPLES)
    loss_of = ContrastiveDivergence(energy, sampler, k_steps=NUM_STEPS, persistent=True, buffer_size=num)
    optimizer = torch.optim.Adam(energy.parameters(), lr=rate)
    began = time.perf_counter()
    rng = derive(seed, "batches")
    while time.perf_counter() - began < seconds:
        index = torch.randperm(len(images), generator=rng)[:BATCH]
        loss, _ = loss_of(to_float(images.pixels[index]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise_images = torch.randn(num, *images.pixels.shape[1:])
    fresh = sampler.sample(x=noise_images, n_steps=10 * NUM_STEPS)
    return min(distance(each, images) for each in (loss_of.replay_buffer, fresh))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, seed, seconds, choice = sys.argv[2:]
        chosen = json.loads(choice)
        print(theirs(name, int(seed), float(seconds), chosen) if chosen else ours(name, int(seed), float(seconds)))
    else:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--seeds", type=int, default=3)
        options.add_argument("--seconds", type=float, default=75)
        options.add_argument("--set", action="append", choices=SETS, default=[], dest="only")
        known, sys.argv[1:] = options.parse_known_args()
        timing.main("peers", lambda fast: rows(fast, known.seeds, known.seconds, known.only), __doc__)
