"""Whether descriptors with a fitted reference are densities, and their samples as good as a generator's.

Few images (`egret-convergent`; `descriptor-convergent` on the drawn egrets): the verdict; how far chains from the data,
from the persistent ones and from the reference are from the images after the training length and after 100 of it;
how many more of their pixels are saturated than the images', once the noise whose density this is has been removed; and
the mean of d_t over the last third of the iterations, in standard errors that count its autocorrelation. As many chains
as images find some of these more often than others: the distance of independent draws of noisy images is given too.

Many images (1,000 drawn cats of 64 × 64; one class of CIFAR-10): the same, and samples of `learn descriptor` with its
defaults beside those of `learn generator`, whose learning rate falls to 0 in the same seconds. Distances of samples are
to the training images.

The photographs are found by ANASYN_PHOTOGRAPHS; sets of it are left out without.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timing
from timing import Row

if TYPE_CHECKING:
    import torch

    from anasyn.data import ImageSet
    from anasyn.learning import DescriptorLearner

FEW = {"egret": "≤ 1.2", "drawn-egrets": "≤ 1.2"}
MANY = {"drawn cats": 64, "CIFAR-10 cats": 32}  # sides in pixels
PHOTOGRAPHS = ("egret", "CIFAR-10 cats")
NUM_CATS, NUM_SAMPLES, NUM_LONG, LONG = 1000, 512, 32, 100  # LONG: training lengths


def rows(fast: bool, seeds: int, only: list[str], iterations: int | None) -> Iterator[Row]:
    for name in only or [*FEW, *MANY]:
        if name in PHOTOGRAPHS and "ANASYN_PHOTOGRAPHS" not in os.environ:
            continue
        found = [child(name, seed, fast, iterations) for seed in range(seeds)]
        for measure in found[0]:
            figures = [each[measure] for each in found]
            for seed, figure in enumerate(figures):
                yield Row(f"{name}, seed {seed}: {measure}", figure)
            yield Row(f"{name}, median of {seeds}: {measure}", statistics.median(figures), target(measure))


def target(measure: str) -> str:
    if "after 100" in measure:
        return "≤ 1.2 × that after 1"
    return {"verdict is density": "1", "mean d_t, standard errors": "within ± 2"}.get(measure, "")


def child(name: str, seed: int, fast: bool, iterations: int | None) -> dict[str, float]:
    output, _, _ = timing.child([__file__, "--child", name, str(seed), str(int(fast)), str(iterations or 0)])
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def images_of(name: str) -> "ImageSet":
    from anasyn.data import ImageSet, draw_cats, drawn_factors
    from anasyn.data.sources import load

    if name == "drawn cats":
        return ImageSet(tuple(map(str, range(NUM_CATS))), draw_cats(drawn_factors(NUM_CATS), MANY[name]))
    if name in MANY:
        return load(str(Path(os.environ["ANASYN_PHOTOGRAPHS"], "cifar10", "cat")), (MANY[name], MANY[name]))
    return load(name, (64, 64), fit="stretch")


def learned(
    method: str,
    name: str,
    images: "ImageSet",
    seed: int,
    iterations: int | None,
    seconds: float | None = None,
    *,
    reference: str = "fitted",
) -> tuple[Any, list[float], float]:
    """A learner with its defaults, its d_t, and the seconds; with ``seconds`` it learns for so long.

    ``reference`` is a descriptor's for few images.
    """
    import torch

    from anasyn.data import spread
    from anasyn.learning import linear_decay
    from anasyn.learning.driver import learn
    from anasyn.methods import METHODS, Scale
    from anasyn.methods.build import build_learner
    from anasyn.run import has_bfloat16

    cpu = torch.device("cpu")
    found = next(each for each in METHODS if each.name == method)
    asked: dict[str, Any] = {"reference": reference} if name in FEW else {}
    open_settings = found.settings(data=name, size=images.pixels.shape[2], seed=seed, iterations=iterations, **asked)
    scale = Scale(len(images), images.pixels.shape[2], has_bfloat16(cpu), spread=spread(images))
    settings: Any = open_settings.resolve(scale)
    training, held_out = images.split(settings.num_held_out(len(images)))
    learner = build_learner(found, settings, cpu)
    began, gaps = time.perf_counter(), []
    records = learn(
        learner,
        training.pixels,
        held_out=held_out.pixels,
        num_iterations=10**6 if seconds else settings.iterations,
        seed=seed,
        batch_size=settings.batch_size,
        schedule=(lambda _: max(1 - (time.perf_counter() - began) / seconds, 0.0)) if seconds else linear_decay,
    )
    for record in records:
        gaps.append(float(record.measures.get("energy_gap", 0)))
        if seconds and time.perf_counter() - began > seconds:
            break
    return learner, gaps, time.perf_counter() - began


def of_chains(learner: "DescriptorLearner", images: "ImageSet", gaps: list[float], seed: int) -> dict[str, float]:
    """The verdict, and where long chains come to."""
    import torch

    from anasyn import mcmc
    from anasyn.data import to_float, to_uint8
    from anasyn.diagnostics import diagnose_descriptor
    from anasyn.evaluation import evenly, saturated_share, sliced_wasserstein
    from anasyn.processor import frozen
    from anasyn.rng import derive

    rng = derive(seed, "benchmark chains")
    index = evenly(len(images), NUM_LONG)
    pixels = images.pixels[index]
    clean = to_float(pixels)
    kernel, bank = learner.first_chains(index, clean, rng)
    model, steps = learner.model, learner.num_steps
    assert model.reference
    assert isinstance(learner.chains, mcmc.PersistentChains)
    records = [{"energy_gap": gap} for gap in gaps]
    found = diagnose_descriptor(
        model, kernel, steps, bank, clean, records, data_noise=learner.data_noise, num_images=len(images), rng=rng
    )
    figures = {"verdict is density": float(found.verdict == "density")}
    chain, clean, _ = learner._chains_of(index, clean, rng)
    each = pixels.repeat_interleave(learner.chains_per_image, 0)
    kernel = learner.kernel.with_step_size(learner.chains.step_sizes[chain])
    data, noise = model.observe(clean, learner.data_noise, rng), model.draw_reference(clean, rng)
    drawn = model.observe(clean[torch.randint(len(clean), (len(clean),), generator=rng)], learner.data_noise, rng)
    figures["distance of independent draws of noisy images"] = sliced_wasserstein(to_uint8(drawn), each).mean
    starts = {"the data": data, "the bank": learner.chains.positions[chain], "noise": noise}
    for start, position in starts.items():
        for lengths in (1, LONG):
            with frozen(model):
                state, _ = mcmc.run(kernel, model.log_density, position, num_steps=steps * lengths, rng=rng)
            figures[f"distance from {start} after {lengths}"] = sliced_wasserstein(to_uint8(state.position), each).mean
            if lengths == LONG:
                end = model.reference.denoise(state.position, state.gradient, learner.data_noise)
                more = saturated_share(to_uint8(end)) - saturated_share(pixels)
                figures[f"saturated pixels from {start}, more than the images', %"] = 100 * more
    third = torch.tensor(gaps[-max(len(gaps) // 3, 2) :], dtype=torch.float64)
    return figures | {"mean d_t, nats": third.mean().item(), "mean d_t, standard errors": in_standard_errors(third)}


def in_standard_errors(values: "torch.Tensor") -> float:
    """Mean over its standard error by means of 20 batches, which are nearly independent."""
    batches = [batch.mean() for batch in values.tensor_split(min(20, len(values)))]
    error = statistics.stdev(map(float, batches)) / math.sqrt(len(batches))
    return values.mean().item() / max(error, 1e-12)


def of_samples(samples: "torch.Tensor", images: "ImageSet") -> dict[str, float]:
    from anasyn.data import to_uint8
    from anasyn.evaluation.evaluate import against

    found = against(to_uint8(samples), "samples", images.pixels, None, 0)
    names = ("precision", "recall", "density", "neighbourhood_coverage", "kid", "swd", "coverage_mse",
             "nearest_training_mse", "saturated_share")  # fmt: skip
    return {each: found[each]["value"] for each in names} | {"kid_standard_error": found["kid"]["standard_error"]}


def measure(name: str, seed: int, fast: bool, iterations: int | None) -> dict[str, float]:
    from anasyn.methods.descriptor import DESCRIPTOR
    from anasyn.methods.generator import GENERATOR
    from anasyn.rng import derive

    images = images_of(name)
    learner, gaps, seconds = learned("descriptor", name, images, seed, 20 if fast else iterations)
    figures = {"seconds": seconds}
    num = NUM_SAMPLES if name in MANY else len(images)
    rng = derive(seed, "benchmark samples")
    samples = {"descriptor": DESCRIPTOR.sample(learner, num, lambda: images, rng)}
    figures |= of_chains(learner, images, gaps, seed)
    if name in MANY:
        generator, _, _ = learned("generator", name, images, seed, None, seconds)
        samples["generator"] = GENERATOR.sample(generator, num, lambda: images, rng)
        for method, drawn in samples.items():
            figures |= {f"{method}: {key}": value for key, value in of_samples(drawn, images).items()}
    else:
        from anasyn.data import to_uint8
        from anasyn.evaluation import sliced_wasserstein

        figures["distance of samples"] = sliced_wasserstein(to_uint8(samples["descriptor"]), images.pixels).mean
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, seed, fast, iterations = sys.argv[2:]
        print(json.dumps(measure(name, int(seed), bool(int(fast)), int(iterations) or None)))
    else:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--seeds", type=int, default=3)
        options.add_argument("--set", action="append", choices=[*FEW, *MANY], default=[], dest="only")
        options.add_argument("--iterations", type=int)
        known, sys.argv[1:] = options.parse_known_args()
        timing.main("density", lambda fast: rows(fast, known.seeds, known.only, known.iterations), __doc__)
