"""Seconds until a given quality is reached, including the process's start: lion-tiger and egret, over five seeds.

A child process learns; every 20 iterations it stops its clock, measures, and continues. Three of the seeds also learn
in each precision for the same number of iterations, to show the effect of bfloat16. Without the photographs
(ANASYN_PHOTOGRAPHS) the drawn sets are used and no target applies.
"""

import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import timing
from timing import Row

if TYPE_CHECKING:
    from torch import Tensor

    from anasyn.learning import Learner
    from anasyn.methods import Method

EVERY = 20  # iterations between two measurements
REACHED = {"mse": 0.0057, "coverage": 0.015, "swd": 90.0}
COMPARED = {"lion-tiger": 700, "egret": 200, "drawn-cats": 450, "drawn-egrets": 200}  # iterations in each precision


def rows(fast: bool) -> Iterator[Row]:
    photographs = "ANASYN_PHOTOGRAPHS" in os.environ
    for recipe, target in {"lion-tiger": "≤ 12", "egret": "≤ 75"}.items():
        name = recipe if photographs else {"lion-tiger": "drawn-cats", "egret": "drawn-egrets"}[recipe]
        target = target if photographs else ""
        of_seeds: dict[str, list[float]] = {}
        for seed in range(1 if fast else 5):
            for measure, figure in child(name, seed, "auto", 40 if fast else 0).items():
                of_seeds.setdefault(measure, []).append(figure)
                yield Row(f"{name}, seed {seed}: {measure}", figure)
        for measure, figures in of_seeds.items():
            if measure.startswith("seconds"):
                yield Row(f"{name}, median of {len(figures)} seeds: {measure}", statistics.median(figures), target)
        for precision in ("float32", "bfloat16"):
            iterations = 20 if fast else COMPARED[name]
            each = [child(name, seed, precision, iterations) for seed in range(1 if fast else 3)]
            for measure in [measure for measure in each[0] if measure.startswith("last")]:
                median = statistics.median(figures[measure] for figures in each)
                what = f"{name}, {precision}, {iterations} iterations, median of {len(each)} seeds: {measure}"
                yield Row(what, median)


def child(name: str, seed: int, precision: str, iterations: int) -> dict[str, float]:
    """The result of `learn` in a new process, whose start is included in the seconds."""
    output, _, _ = timing.child([__file__, name, str(seed), precision, str(iterations), str(time.time())])
    result: dict[str, float] = json.loads(output)
    return result


def learn(name: str, seed: int, precision: str, iterations: int, began: float) -> dict[str, float]:
    """Seconds since ``began`` until each measure first reached its goal (infinite if never), and the last measures.

    Learns for ``iterations`` and measures at the end; if 0, measures every `EVERY` iterations until all goals are met.
    """
    import torch

    from anasyn.data.sources import load
    from anasyn.learning import linear_decay
    from anasyn.learning.driver import learn
    from anasyn.methods import Scale
    from anasyn.methods.build import build_learner
    from anasyn.recipes import RECIPES
    from anasyn.run import has_bfloat16

    cpu = torch.device("cpu")
    settings: Any = RECIPES[name].settings
    settings = dataclasses.replace(settings, seed=seed, precision=precision)
    images = load(settings.data, settings.size, fit=settings.fit).pixels
    settings = settings.resolve(Scale(len(images), settings.size, has_bfloat16(cpu)))
    learner = build_learner(RECIPES[name].method, settings, cpu)
    reached: dict[str, float] = {}
    measured: dict[str, float] = {}
    acceptance: list[float] = []
    paused = 0.0
    records = learn(
        learner,
        images,
        num_iterations=settings.iterations,
        seed=seed,
        batch_size=settings.batch_size,
        schedule=linear_decay,
    )
    for record in records:
        acceptance.append(record.acceptance_rate)
        if record.iteration % (iterations or EVERY) and record.iteration != settings.iterations:
            continue
        now = time.time()
        measured = measure(RECIPES[name].method, learner, images)
        for what, figure in measured.items():
            if figure <= REACHED[what]:
                reached.setdefault(what, now - began - paused)
        paused += time.time() - now
        if record.iteration == iterations or (not iterations and reached.keys() == measured.keys()):
            break
    seconds = {f"seconds to {what} ≤ {REACHED[what]:g}": reached.get(what, float("inf")) for what in measured}
    measured["acceptance, mean of 100 iterations"] = statistics.fmean(acceptance[-100:])
    return seconds | {f"last {what}": figure for what, figure in measured.items()}


def measure(method: "Method", learner: "Learner", images: "Tensor") -> dict[str, float]:
    """Training MSE at the inferred z and coverage by 512 samples; or the sliced Wasserstein distance."""
    import torch

    from anasyn.data import to_float, to_uint8
    from anasyn.evaluation import coverage, sliced_wasserstein
    from anasyn.methods.synthesis import synthesize
    from anasyn.rng import derive

    rng = derive(0, "benchmark")
    if method.infer:
        model, z = method.infer(learner)
        with torch.no_grad():
            reconstructed = model(z)
            samples = to_uint8(model.sample(512, rng=rng))
        return {
            "mse": (reconstructed - to_float(images)).square().mean().item(),
            "coverage": coverage(images, samples).mean().item(),
        }
    assert method.synthesise
    _, ends = synthesize(method.synthesise(learner), torch.arange(len(images)), to_float(images), rng=rng)
    return {"swd": sliced_wasserstein(to_uint8(ends), images).mean}


if __name__ == "__main__":
    if sys.argv[1:2] and not sys.argv[1].startswith("--"):  # a child of `rows`
        name, seed, precision, iterations, began = sys.argv[1:]
        print(json.dumps(learn(name, int(seed), precision, int(iterations), float(began))))
    else:
        timing.main("quality", rows, __doc__)
