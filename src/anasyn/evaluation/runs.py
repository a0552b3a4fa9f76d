"""The measures of a run, computed in float32 whatever its precision in learning."""

import logging
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import mcmc
from ..data import ImageSet, to_float, to_uint8
from ..methods import Synthesis
from ..models import floats, observe
from ..rng import derive
from ..run import Run
from .bounding import FAST_SECONDS, SECONDS, Progress, evaluate_likelihood
from .descriptor_likelihood import NUM_CHAINS, evaluate_descriptor_likelihood
from .distance import psnr
from .evaluate import (
    Measure,
    against,
    evaluate_chains,
    evaluate_inference,
    evaluate_proposals,
    evaluate_samples,
    evenly,
)
from .features import feature_space
from .inference import NUM_STARTS, infer

__all__ = ["evaluate", "reconstruct"]

MAX_SYNTHESIZED = 512

log = logging.getLogger(__name__)


def evaluate(
    run: Run,
    held_out: ImageSet | None = None,
    *,
    features: str = "random",
    fast: bool = False,
    progress: Progress | None = None,
) -> dict[str, Measure]:
    """Every measure of a run, on its own images and on held-out ones, by default those that it keeps aside.

    Args:
        run: with a checkpoint.
        held_out: other images than those that the run keeps aside; the likelihood is that of held-out images, if any.
        features: of a `feature_space`.
        fast: a likelihood of fewer chains and temperatures, within a minute instead of five.
        progress: called while the likelihood is computed.

    Raises:
        InputError: the run's images are gone or have changed, or there are no such features.
    """
    space = feature_space(features, run.settings.shape)
    images, kept_aside = run.split_images()
    held_out = held_out or kept_aside
    pixels, others = images.pixels, held_out.pixels if held_out else None
    learner, method, seed = run.learned(precision="float32"), run.method, run.settings.seed
    device = next(learner.model.parameters()).device
    measures: dict[str, Measure] = {}
    if method.infer:
        measures |= evaluate_inference(
            method.infer(learner).model, observe(images), observe(held_out) if held_out else None, seed=seed
        )
    synthesis = method.synthesise(learner) if method.synthesise else None

    def first_chains(synthesis: Synthesis, index: Tensor, purpose: str) -> tuple[mcmc.Kernel, Tensor]:
        rng = derive(seed, purpose, device=device)
        return synthesis.first_chains(index.to(device), to_float(pixels[index].to(device)), rng)

    if synthesis:
        kernel, starts = first_chains(synthesis, evenly(len(images), MAX_SYNTHESIZED), "evaluate starts")
        found, samples, what = evaluate_chains(synthesis.model, kernel, synthesis.num_steps, starts, seed=seed)
        measures |= found
        if method.revise:
            rng = derive(seed, "evaluate proposals", device=device)
            proposals, _ = method.revise(learner, len(starts), 0, rng)
            measures |= evaluate_proposals(to_uint8(proposals).cpu(), pixels, seed)
    else:
        rng = derive(seed, "evaluate samples", device=device)

        def draw(num: int) -> Tensor:
            return method.sample(learner, num, lambda: images, rng)

        samples, what = evaluate_samples(draw, method.sampled, seed)
    chosen, which = (images, "training images") if held_out is None else (held_out, "held-out images")
    seconds = FAST_SECONDS if fast else SECONDS
    if method.likelihood:
        measures |= evaluate_likelihood(
            method.likelihood(learner),
            observe(chosen),
            which,
            draw_prior=partial(method.draw_prior, learner) if method.draw_prior else None,
            seed=seed,
            seconds=seconds,
            progress=progress,
        )
    elif synthesis:
        index = torch.arange(NUM_CHAINS) * len(images) // NUM_CHAINS  # evenly spaced, or repeated if they are few
        kernel, starts = first_chains(synthesis, index, "evaluate long starts")
        measures |= evaluate_descriptor_likelihood(
            synthesis.model,
            kernel,
            synthesis.num_steps,
            starts,
            chosen.pixels,
            which,
            data_noise=synthesis.data_noise,
            seed=seed,
            seconds=seconds,
            progress=progress,
        )
    if any(each is not None and each.hides for each in (images, held_out)):
        log.warning("%s: not all of the images is seen: samples are not compared with them", run.path)
        return measures
    return measures | against(samples, what, pixels, others, seed, space)


def reconstruct(run: Run, images: ImageSet) -> tuple[dict[str, Any], Tensor]:
    """The errors of reconstructions f(z) with newly inferred z, and the reconstructions, (n, c, H, W) in [−1, 1].

    Raises:
        InputError: the run's method does not infer z.
    """
    learner = run.learned(precision="float32")
    model = run.latents_of(learner).model
    device = next(learner.model.parameters()).device
    rng = derive(run.settings.seed, "reconstruct", device=device)
    inferred = infer(model, floats(observe(images).to(device)), rng=rng)
    result = {
        "mse": inferred.mse.mean().item(),
        "psnr": psnr(inferred.mse).mean().item(),
        "num_images": len(images),
        "protocol": "mean over pixels that are seen, in [−1, 1], and over images; "
        f"z newly inferred by MALA from the best of {NUM_STARTS} cold starts",
        "images": dict(zip(images.names, inferred.mse.tolist(), strict=True)),
    }
    return result, torch.as_tensor(inferred.reconstructions).cpu()
