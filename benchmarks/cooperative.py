"""The methods that sample by short chains, beside the plain descriptor and the plain generator, in equal seconds.

1. One class of CIFAR-10 (ANASYN_PHOTOGRAPHS): every method learns for the same seconds with its defaults, its learning
   rate falling to 0 in them. Printed: KID (random features) of 512 samples to the photographs, its standard error, and
   seconds a sample.
2. 2,000 drawn cats of 64 × 64: how much sooner a sample comes from a proposal and its revision than from the same
   descriptor's chains alone, which start at the images' mean colours and run until their sliced Wasserstein distance to
   the images is that of the revisions, or until `MOST` of their lengths: the ratio is then a lower bound.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import density
import timing
from timing import Row

METHODS = ("generator", "descriptor", "cooperative", "recovery")
PHOTOGRAPHS, CATS = "CIFAR-10 cats", "drawn cats"
NUM_CATS, NUM_SAMPLES, NUM_CHAINS = 2000, 512, 32
MOST = 32  # training lengths: some minutes


def rows(fast: bool, seeds: int, seconds: float, only: list[str]) -> Iterator[Row]:
    seconds = 20 if fast else seconds
    if "ANASYN_PHOTOGRAPHS" in os.environ and PHOTOGRAPHS in (only or [PHOTOGRAPHS]):
        for seed in range(seeds):
            kids = {}
            for method in METHODS:
                found = child(PHOTOGRAPHS, method, seed, seconds)
                kids[method] = found["kid"]
                for measure, figure in found.items():
                    yield Row(f"{PHOTOGRAPHS}, {method}, seed {seed}: {measure}", figure)
            plain = min(kids["generator"], kids["descriptor"])
            for method in ("cooperative", "recovery"):
                yield Row(
                    f"{PHOTOGRAPHS}, seed {seed}: KID, {method} / better plain one", kids[method] / plain, "≤ 0.7"
                )
    if CATS in (only or [CATS]):
        for seed in range(seeds):
            found = child(CATS, "cooperative", seed, seconds)
            for measure, figure in found.items():
                target = "≥ 20" if measure == "times as fast" else ""
                yield Row(f"{CATS}, cooperative, seed {seed}: {measure}", figure, target)


def child(name: str, method: str, seed: int, seconds: float) -> dict[str, float]:
    output, _, _ = timing.child([__file__, "--child", name, method, str(seed), str(seconds)])
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def measure(name: str, method: str, seed: int, seconds: float) -> dict[str, float]:
    from anasyn.data import ImageSet, draw_cats, drawn_factors
    from anasyn.methods import METHODS as ALL
    from anasyn.rng import derive

    if name == CATS:
        images = ImageSet(tuple(map(str, range(NUM_CATS))), draw_cats(drawn_factors(NUM_CATS), 64))
    else:
        images = density.images_of(name)
    learner, gaps, taken = density.learned(method, name, images, seed, None, seconds)
    rng = derive(seed, "benchmark samples")
    if name == CATS:
        return {"seconds": taken, "iterations": len(gaps)} | against_its_own_chains(learner, images, rng)
    found = next(each for each in ALL if each.name == method)
    began = time.perf_counter()
    samples = found.sample(learner, NUM_SAMPLES, lambda: images, rng)
    each = (time.perf_counter() - began) / NUM_SAMPLES
    return {"seconds": taken, "iterations": len(gaps), "seconds a sample": each} | density.of_samples(samples, images)


def against_its_own_chains(learner: Any, images: Any, rng: Any) -> dict[str, float]:
    """Seconds a sample of proposals with revision, and of the descriptor's chains alone, at the same distance."""
    from anasyn import mcmc
    from anasyn.data import to_float, to_uint8
    from anasyn.evaluation import evenly, sliced_wasserstein
    from anasyn.methods.cooperative import revise
    from anasyn.processor import frozen

    index = evenly(len(images), NUM_CHAINS)
    pixels = images.pixels[index]

    def distance(samples: Any) -> float:
        return sliced_wasserstein(to_uint8(samples), pixels).mean

    began = time.perf_counter()
    proposed, revised = revise(learner, NUM_CHAINS, None, rng)
    quick = (time.perf_counter() - began) / NUM_CHAINS
    aim = distance(revised)

    descriptor = learner.model.descriptor
    kernel = learner.kernel.with_step_size(learner.chains.step_sizes[index])
    position = mcmc.mean_image(to_float(pixels), rng)
    spent, lengths, reached = 0.0, 0, float("inf")
    while reached > aim and lengths < MOST:
        more = max(lengths, 1)  # so that distances are computed at 1, 2, 4 … lengths
        began = time.perf_counter()
        with frozen(descriptor):
            state, _ = mcmc.run(kernel, descriptor.log_density, position, num_steps=more * learner.num_steps, rng=rng)
        spent += time.perf_counter() - began
        position, lengths = state.position, lengths + more
        reached = distance(position)
    return {
        "distance of proposals": distance(proposed),
        "distance of revisions": aim,
        "seconds a revised sample": quick,
        "distance of the descriptor's own chains": reached,
        "lengths of these chains": lengths,
        "seconds a sample of these chains": spent / NUM_CHAINS,
        "times as fast": spent / NUM_CHAINS / quick,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, method, seed, seconds = sys.argv[2:]
        print(json.dumps(measure(name, method, int(seed), float(seconds))))
    else:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--seeds", type=int, default=3)
        options.add_argument("--seconds", type=float, default=900)
        options.add_argument("--set", action="append", choices=[PHOTOGRAPHS, CATS], default=[], dest="only")
        known, sys.argv[1:] = options.parse_known_args()
        timing.main("cooperative", lambda fast: rows(fast, known.seeds, known.seconds, known.only), __doc__)
