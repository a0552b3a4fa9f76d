"""Learning from damaged images alone, and restoring them, against what fills in images otherwise.

Of every image 70 % of the pixels are hidden, or a square of 24 × 24 pixels (12 × 12 of the small ones), or a half. No
method sees what is hidden. The errors are mean squared ones in [−1, 1] over the hidden values of 64 training images:

- the mean over the images in which a pixel is seen;
- inpainting by Telea's method (OpenCV) and by biharmonic equations (scikit-image), which see one image each;
- probabilistic PCA with missing entries by EM, the better of 16 and 64 components;
- a variational auto-encoder with the same decoder, the likelihood of what is seen, and the generator's seconds.

The sets are 1,000 drawn cats of 64 × 64 and one class of CIFAR-10 (ANASYN_PHOTOGRAPHS).
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timing
from timing import Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anasyn.data import ImageSet

SETS = {"drawn cats": 64, "CIFAR-10 cats": 32}  # sides in pixels
TARGETS = {"drawn cats": "≤ 0.7", "CIFAR-10 cats": "≤ 0.9"}
NUM_CATS, NUM_RESTORED, NUM_DRAWS, NUM_EM = 1000, 64, 8, 20
COMPONENTS = (16, 64)
RATE = 0.001  # of the auto-encoder


def rows(fast: bool, sets: list[str], damages: list[str], iterations: int | None) -> Iterator[Row]:
    for name in sets or SETS:
        if name.startswith("CIFAR") and "ANASYN_PHOTOGRAPHS" not in os.environ:
            continue
        side = SETS[name]
        for damage in damages or ("salt:0.7", f"square:{side * 3 // 8}", "half"):
            found = measured(name, damage, 10 if fast else iterations)
            ours, others = found.pop("generator"), {key: e for key, e in found.items() if key.startswith("by ")}
            yield Row(f"{name}, {damage}: generator", ours)
            for key, figure in found.items():
                yield Row(f"{name}, {damage}: {key}", figure, "0.75–0.85" if key == "within the 80 % interval" else "")
            yield Row(f"{name}, {damage}: generator / best of the others", ours / min(others.values()), TARGETS[name])
    yield Row("seconds of an iteration with masks / without", cost_of_masks(3 if fast else 25), "≤ 1.05")


def images_of(name: str) -> "ImageSet":
    from anasyn.data import ImageSet, draw_cats, drawn_factors
    from anasyn.data.sources import load

    if name == "drawn cats":
        return ImageSet(tuple(map(str, range(NUM_CATS))), draw_cats(drawn_factors(NUM_CATS), SETS[name]))
    return load(str(Path(os.environ["ANASYN_PHOTOGRAPHS"], "cifar10", "cat")), (SETS[name], SETS[name]))


def measured(name: str, damage: str, iterations: int | None) -> dict[str, float]:
    """The mean squared error of each method, and other figures of the generator."""
    import torch

    from anasyn.data import occlude, spread
    from anasyn.evaluation import evenly
    from anasyn.evaluation.restoration import restore_latent, restored
    from anasyn.learning.driver import learn
    from anasyn.methods import Scale
    from anasyn.methods.build import build_learner
    from anasyn.methods.generator import GENERATOR
    from anasyn.models import floats, observe, observed
    from anasyn.rng import derive
    from anasyn.run import has_bfloat16
    from vae import learn_vae

    whole, cpu = images_of(name), torch.device("cpu")
    damaged = occlude(whole, damage)
    scale = Scale(len(whole), SETS[name], has_bfloat16(cpu), spread=spread(damaged))
    settings: Any = GENERATOR.settings(data=name, size=SETS[name], iterations=iterations).resolve(scale)
    training, held_out = damaged.split(settings.num_held_out(len(damaged)))
    seen = observe(training)
    chosen = evenly(len(training), NUM_RESTORED)
    masks = observed(seen[chosen]).observation.seen
    assert masks is not None
    places = {digest: place for place, digest in enumerate(damaged.digests)}
    truth = whole.pixels[[places[training.digests[i]] for i in chosen.tolist()]]

    learner: Any = build_learner(GENERATOR, settings, cpu)
    began = time.perf_counter()
    options = {"num_iterations": settings.iterations, "batch_size": settings.batch_size}
    for _ in learn(learner, seen, held_out=observe(held_out), **options):
        pass
    seconds = time.perf_counter() - began
    learner.model.precision = "float32"
    found = restore_latent(
        learner.model, floats(seen[chosen]), learner.chains.positions[chosen], NUM_DRAWS, derive(0, "benchmark")
    )
    errors = restored(observed(seen[chosen]), found.draws, found.noise).errors(truth)
    figures = {"generator": errors["mse"], "seconds": seconds, "within the 80 % interval": errors["within_80"]}

    def error(filled: "Tensor") -> float:
        missing = (~masks).expand_as(truth)
        return float(((filled.float() - (truth.float() / 127.5 - 1)) ** 2)[missing].mean())

    values = observed(floats(seen)).values
    visible = observed(seen).observation.seen
    assert visible is not None
    weights = visible.float()
    mean = values.sum(0) / weights.sum(0).clamp_min(1)
    figures["by the mean image"] = error(mean.expand_as(truth))
    figures["by PCA"] = min(error(pca(values, weights, mean, d)[chosen]) for d in COMPONENTS)
    auto: Any = build_learner(GENERATOR, settings, cpu)
    encode = learn_vae(auto.model, settings, seen, observe(held_out), seconds=seconds, rate=RATE)
    auto.model.precision = "float32"
    with torch.no_grad():
        figures["by an auto-encoder"] = error(auto.model(encode(floats(seen[chosen]))))
    return figures | inpainted(observed(seen[chosen]).values, masks, error)


def cost_of_masks(repeats: int) -> float:
    """The ratio of the seconds of an iteration on a batch of 32 drawn cats of 64 × 64, with masks and without."""
    import torch

    from anasyn.data import ImageSet, draw_cats, drawn_factors, occlude
    from anasyn.methods import Scale
    from anasyn.methods.build import build_learner
    from anasyn.methods.generator import GENERATOR
    from anasyn.models import floats, observe, observed
    from anasyn.rng import derive

    cats = ImageSet(tuple(map(str, range(200))), draw_cats(drawn_factors(200), 64))
    settings: Any = GENERATOR.settings(data="cats", size=64).resolve(Scale(len(cats), 64, False))
    steps = {}
    for name, images in {"whole": observe(cats), "masked": observe(occlude(cats, "salt:0.7"))}.items():
        learner: Any = build_learner(GENERATOR, settings, torch.device("cpu"))
        index, batch = torch.arange(32), floats(images[:32])
        learner.begin(observed(batch).values, len(cats), 2, rng=derive(0, "benchmark"))
        steps[name] = partial(learner.step, index, batch, rng=derive(0, "benchmark"))
    seconds = timing.interleaved(steps, repeats=repeats)
    return seconds["masked"] / seconds["whole"]


def pca(values: "Tensor", weights: "Tensor", mean: "Tensor", d: int) -> "Tensor":
    """E[Y | what is seen] by probabilistic PCA with missing entries, its W, b and σ² learned by EM from b = ``mean``.

    A mask hides all channels of a pixel: what depends on masks alone is computed for pixels, not for values.
    """
    import torch

    n, c = values.shape[:2]
    y, m = (x.flatten(2) for x in (values, weights))  # (n, c, p), (n, 1, p)
    m = m[:, 0]
    p = m.shape[1]
    w = 0.1 * torch.randn(c, p, d, generator=torch.Generator().manual_seed(0))
    b, variance = mean.flatten(1).clone(), torch.tensor(0.1)
    for _ in range(NUM_EM):
        # E step: the moments of (z_i, 1) given what is seen
        gram = m @ torch.einsum("cpi,cpj->pij", w, w).flatten(1)
        spread = variance * torch.linalg.inv(gram.view(n, d, d) + variance * torch.eye(d))
        z = torch.einsum("nij,nj->ni", spread, torch.einsum("ncp,cpi->ni", (y - b) * m[:, None], w)) / variance
        extended = torch.cat([z, torch.ones(n, 1)], 1)
        moments = extended[:, :, None] * extended[:, None]
        moments[:, :d, :d] += spread
        # M step: each pixel's rows of (W, b) from the images in which it is seen
        left = (m.T @ moments.flatten(1)).view(p, d + 1, d + 1) + 1e-3 * torch.eye(d + 1)
        right = torch.einsum("ncp,ni->pic", y * m[:, None], extended)
        rows = torch.linalg.solve(left, right).permute(2, 0, 1)  # (c, p, d + 1)
        w, b = rows[..., :d].contiguous(), rows[..., d]
        residuals = ((y - torch.einsum("ni,cpi->ncp", z, w) - b) ** 2 * m[:, None]).sum()
        uncertain = (m @ torch.einsum("cpi,cpj->pij", w, w).flatten(1) * spread.flatten(1)).sum()
        variance = (residuals + uncertain) / (c * m.sum())
    return (torch.einsum("ni,cpi->ncp", z, w) + b).view_as(values)


def inpainted(pixels: "Tensor", masks: "torch.Tensor", error: Any) -> dict[str, float]:
    """The errors of methods that fill in one image at a time."""
    import numpy as np
    import torch

    def of_all(fill: Any) -> float:
        arrays, holes = pixels.permute(0, 2, 3, 1).numpy(), (~masks[:, 0]).numpy()
        filled = [fill(np.ascontiguousarray(image), hole) for image, hole in zip(arrays, holes, strict=True)]
        return error(torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).clamp(0, 255) / 127.5 - 1)

    figures: dict[str, float] = {}
    try:
        import cv2

        def telea(image: Any, hole: Any) -> Any:
            return cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)

        figures["by Telea"] = of_all(telea)
    except ImportError:
        timing.missing("opencv-python-headless")
    try:
        from skimage.restoration import inpaint_biharmonic

        figures["by biharmonic equations"] = of_all(
            lambda image, hole: 255 * inpaint_biharmonic(image / 255 * ~hole[..., None], hole, channel_axis=-1)
        )
    except ImportError:
        timing.missing("scikit-image")
    return figures


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--set", action="append", choices=SETS, default=[], dest="sets")
    options.add_argument("--occlude", action="append", default=[], dest="damages")
    options.add_argument("--iterations", type=int, help="of the generator")
    known, sys.argv[1:] = options.parse_known_args()
    timing.main("restoration", lambda fast: rows(fast, known.sets, known.damages, known.iterations), __doc__)
