"""The measures of a run, in float32 whatever it was learned in."""

from typing import Any

import torch
from torch import Tensor

from ..data import ImageSet, to_float
from ..learning import GeneratorLearner
from ..rng import derive
from ..run import Run
from .distance import psnr
from .evaluate import Measure, evaluate_descriptor, evaluate_generator, evenly
from .inference import NUM_STARTS, infer

__all__ = ["evaluate", "reconstruct"]

MOST_SYNTHESIZED = 512


def evaluate(run: Run, held_out: ImageSet | None = None) -> dict[str, Measure]:
    """Every measure of a run on its own images and on held-out ones, each with its protocol.

    Raises:
        InputError: the run's images are gone or have changed.
    """
    images = run.images().pixels
    others = held_out.pixels if held_out else None
    learner = run.learned(precision="float32")
    seed = run.recipe.seed
    if isinstance(learner, GeneratorLearner):
        return evaluate_generator(learner.model, images, others, seed=seed)
    index = evenly(len(images), MOST_SYNTHESIZED)
    device = next(learner.model.parameters()).device
    rng = derive(seed, "evaluate starts", device=device)
    kernel, starts = learner.first_chains(index.to(device), to_float(images[index].to(device)), rng)
    return evaluate_descriptor(learner.model, kernel, learner.num_steps, starts, images, others, seed=seed)


def reconstruct(run: Run, images: ImageSet) -> tuple[dict[str, Any], Tensor]:
    """The error of f(z) with z inferred afresh for each image, and the reconstructions, (n, 3, H, W) in [−1, 1]."""
    learner = run.learned(precision="float32")
    assert isinstance(learner, GeneratorLearner)
    device = next(learner.model.parameters()).device
    rng = derive(run.recipe.seed, "reconstruct", device=device)
    inferred = infer(learner.model, to_float(images.pixels.to(device)), rng=rng)
    result = {
        "mse": inferred.mse.mean().item(),
        "psnr": psnr(inferred.mse).mean().item(),
        "num_images": len(images),
        "protocol": "mean over pixels in [−1, 1] and over images; "
        f"z inferred afresh by MALA, the best of {NUM_STARTS} cold starts",
        "images": dict(zip(images.names, inferred.mse.tolist(), strict=True)),
    }
    return result, torch.as_tensor(inferred.reconstructions).cpu()
