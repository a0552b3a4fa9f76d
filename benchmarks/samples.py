"""Whether samples belong to the data: lion-tiger with and without parameter expansion, over ten seeds.

Each run is its own process, timed from its start. The nearest training image of 512 samples, of the 64 cells of the
panel over [−2, 2]² and of 64 images around the rim, ‖z‖ = 3, where one draw in ninety lies further out; the share of
saturated pixels, coverage, training error, and the mean square of the inferred z.
Without the photographs (ANASYN_PHOTOGRAPHS) the drawn cats are used and no target applies.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import timing
from timing import Row

TARGETS = {
    "nearest training MSE of 512 samples": "≤ 0.044",
    "nearest training MSE of the panel": "≤ 0.045",
    "saturated pixels of samples, %": "≤ 0.6",
    "training MSE": "≤ 0.002",
    "coverage": "≤ 0.0035",
    "seconds": "≤ 16",
    "mean square of z": "0.9 to 1.1",
}


def rows(fast: bool, seeds: int) -> Iterator[Row]:
    photographs = "ANASYN_PHOTOGRAPHS" in os.environ
    recipe = "lion-tiger" if photographs else "drawn-cats"
    for expand in ("auto", "off"):
        of_seeds: list[dict[str, float]] = []
        for seed in range(1 if fast else seeds if expand == "auto" else min(seeds, 3)):
            output, _, _ = timing.child(
                [__file__, "--child", recipe, expand, str(seed), str(int(fast)), str(time.time())]
            )
            of_seeds.append(json.loads(output))
            for measure, figure in of_seeds[-1].items():
                yield Row(f"{recipe}, expansion {expand}, seed {seed}: {measure}", figure)
        goals = TARGETS if photographs and expand == "auto" else {}
        for measure in of_seeds[0]:
            figures = [each[measure] for each in of_seeds]
            what = f"{recipe}, expansion {expand}, {len(figures)} seeds: {measure}"
            yield Row(f"{what}, median", statistics.median(figures), goals.get(measure, ""))
            if measure == "training MSE":
                yield Row(f"{what}, largest", max(figures), "≤ 0.0025" if goals else "")


def learn(recipe: str, expand: str, seed: int, fast: bool, began: float) -> dict[str, float]:
    """Learns a recipe and measures its samples."""
    import torch

    from anasyn.data import to_float, to_uint8
    from anasyn.data.sources import load
    from anasyn.evaluation import coverage, nearest_training, saturated_share
    from anasyn.learning.driver import learn
    from anasyn.methods import Scale
    from anasyn.methods.build import build_learner
    from anasyn.recipes import RECIPES
    from anasyn.rng import derive
    from anasyn.run import has_bfloat16

    cpu = torch.device("cpu")
    settings: Any = RECIPES[recipe].settings
    settings = dataclasses.replace(settings, seed=seed, expand=expand)
    images = load(settings.data, settings.size, fit=settings.fit).pixels
    settings = settings.resolve(Scale(len(images), settings.size, has_bfloat16(cpu)))
    learner: Any = build_learner(RECIPES[recipe].method, settings, cpu)
    iterations = 20 if fast else settings.iterations
    for _ in learn(learner, images, num_iterations=iterations, seed=seed, batch_size=settings.batch_size):
        pass
    seconds = time.time() - began
    side = torch.linspace(-2, 2, 8)
    angle = 2 * torch.pi * torch.arange(64) / 64
    with torch.no_grad():
        z = learner.chains.positions
        reconstructed = learner.model(z)
        panel = to_uint8(learner.model(torch.cartesian_prod(side, side)))
        rim = to_uint8(learner.model(3 * torch.stack([angle.cos(), angle.sin()], 1)))
    samples = learner.model.sample(512, rng=derive(0, "benchmark"))
    return {
        "nearest training MSE of 512 samples": nearest_training(to_uint8(samples), images).mean().item(),
        "nearest training MSE of the panel": nearest_training(panel, images).mean().item(),
        "nearest training MSE at the rim": nearest_training(rim, images).mean().item(),
        "saturated pixels at the rim, %": 100 * saturated_share(rim),
        "saturated pixels of samples, %": 100 * saturated_share(to_uint8(samples)),
        "training MSE": (reconstructed - to_float(images)).square().mean().item(),
        "coverage": coverage(images, to_uint8(samples)).mean().item(),
        "seconds": seconds,
        "mean square of z": z.square().mean().item(),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        recipe, expand, seed, fast, began = sys.argv[2:]
        print(json.dumps(learn(recipe, expand, int(seed), bool(int(fast)), float(began))))
    else:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--seeds", type=int, default=10)
        known, sys.argv[1:] = options.parse_known_args()
        timing.main("samples", lambda fast: rows(fast, known.seeds), __doc__)
