"""Seconds to a quality, the process's start included: lion-tiger and egret, over five seeds.

A child process learns; every 20 iterations it stops its clock, measures, and goes on. Three of the seeds learn in each
precision for as many iterations, to tell what bfloat16 changes. Where the photographs are absent (ANASYN_PHOTOGRAPHS)
the drawn sets stand in and no target applies.
"""

import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator

import timing
from timing import Row

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
    """What `learn` tells, in a process of its own whose start counts."""
    output, _, _ = timing.child([__file__, name, str(seed), precision, str(iterations), str(time.time())])
    told: dict[str, float] = json.loads(output)
    return told


def learn(name: str, seed: int, precision: str, iterations: int, began: float) -> dict[str, float]:
    """Seconds since ``began`` at which each measure first reached its figure (never: infinite), and the last ones.

    It learns, and is measured at the end of, so many iterations; if 0, until every figure is reached, measured often.
    """
    import torch

    from anasyn.data.sources import load, smaller_side
    from anasyn.learning import linear_decay
    from anasyn.learning.driver import learn
    from anasyn.recipes import RECIPES, Scale
    from anasyn.run import build_learner, has_bfloat16

    cpu = torch.device("cpu")
    recipe = dataclasses.replace(RECIPES[name], seed=seed, precision=precision)
    images = load(recipe.data, recipe.size, fit=recipe.fit).pixels
    scale = Scale(len(images), smaller_side(recipe.data) or recipe.size, has_bfloat16(cpu))
    recipe = recipe.resolve(scale)
    learner = build_learner(recipe, cpu)
    reached: dict[str, float] = {}
    measured: dict[str, float] = {}
    acceptance: list[float] = []
    paused = 0.0
    records = learn(
        learner,
        images,
        num_iterations=recipe.iterations,
        seed=seed,
        batch_size=recipe.batch_size,
        schedule=linear_decay,
    )
    for record in records:
        acceptance.append(record.acceptance_rate)
        if record.iteration % (iterations or EVERY) and record.iteration != recipe.iterations:
            continue
        now = time.time()
        measured = measure(learner, images)
        for what, figure in measured.items():
            if figure <= REACHED[what]:
                reached.setdefault(what, now - began - paused)
        paused += time.time() - now
        if record.iteration == iterations or (not iterations and reached.keys() == measured.keys()):
            break
    seconds = {f"seconds to {what} ≤ {REACHED[what]:g}": reached.get(what, float("inf")) for what in measured}
    measured["acceptance, mean of 100 iterations"] = statistics.fmean(acceptance[-100:])
    return seconds | {f"last {what}": figure for what, figure in measured.items()}


def measure(learner: object, images: object) -> dict[str, float]:
    """Training MSE at the inferred z and coverage by 512 samples; or the sliced Wasserstein distance."""
    import torch

    from anasyn import mcmc
    from anasyn.data import to_float, to_uint8
    from anasyn.evaluation import coverage, sliced_wasserstein
    from anasyn.learning import GeneratorLearner
    from anasyn.processor import frozen
    from anasyn.rng import derive

    rng = derive(0, "benchmark")
    if isinstance(learner, GeneratorLearner):
        with torch.no_grad():
            reconstructed = learner.model(learner.chains.positions)
            samples = to_uint8(learner.model.sample(512, rng=rng))
        return {
            "mse": (reconstructed - to_float(images)).square().mean().item(),
            "coverage": coverage(images, samples).mean().item(),
        }
    index = torch.arange(len(images))
    kernel, start = learner.first_chains(index, to_float(images), rng)
    with frozen(learner.model):
        state, _ = mcmc.run(kernel, learner.model.log_density, start, num_steps=learner.num_steps, rng=rng)
    return {"swd": sliced_wasserstein(to_uint8(state.position), images).mean}


if __name__ == "__main__":
    if sys.argv[1:2] and not sys.argv[1].startswith("--"):  # a child of `rows`
        name, seed, precision, iterations, began = sys.argv[1:]
        print(json.dumps(learn(name, int(seed), precision, int(iterations), float(began))))
    else:
        timing.main("quality", rows, __doc__)
