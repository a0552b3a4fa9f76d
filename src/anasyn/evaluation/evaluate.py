"""The measures of a model, each with its protocol in words."""

from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

from .. import mcmc
from ..data import as_float, to_uint8
from ..models import Descriptor, Generator
from ..processor import frozen
from ..rng import derive
from .coverage import coverage, nearest_training
from .distance import chunks, psnr
from .inference import NUM_STARTS, infer
from .swd import sliced_wasserstein, swd_levels

__all__ = ["Measure", "against", "evaluate_chains", "evaluate_inference", "evaluate_samples", "evenly"]

NUM_SAMPLES = 512
MAX_INFERRED = 256  # images whose z is inferred, which takes about 0.05 s each at 64 × 64 on two cores
MAX_COMPARED = 512  # images that the samples are compared with
BATCH_SIZE = 64  # images synthesised at once


class Measure(TypedDict):
    """A number, and how it was measured."""

    value: float
    protocol: str


def evaluate_inference(
    model: Generator, images: Tensor, held_out: Tensor | None = None, *, seed: int
) -> dict[str, Measure]:
    """The errors of reconstructions from newly inferred z, and the size of these z.

    Args:
        model: the generator.
        images: the training images, uint8 (n, c, H, W); at most `MAX_INFERRED`, evenly spaced, are used.
        held_out: images that the model has not seen, likewise.
        seed: determines every random number.
    """
    device = next(model.parameters()).device
    measures: dict[str, Measure] = {}
    for name, what, pixels in (("training", "training images", images), ("held_out", "held-out images", held_out)):
        if pixels is None:
            continue
        chosen, which = _choose(pixels, MAX_INFERRED, what)
        inferred = infer(model, as_float(chosen.to(device)), rng=derive(seed, f"evaluate {name}", device=device))
        how = f"over {which}, z newly inferred by MALA from the best of {NUM_STARTS} cold starts (seed {seed})"
        protocol = f"Mean squared error of f(z) per pixel and channel in [−1, 1], mean {how}."
        measures[f"{name}_mse"] = _measure(inferred.mse, protocol)
        protocol = f"Peak signal-to-noise ratio of f(z) in dB for a range of 2, mean {how}."
        measures[f"{name}_psnr"] = _measure(psnr(inferred.mse), protocol)
        if name == "training":
            z = inferred.z
            measures["z_max"] = _measure(z.abs().max(), f"Largest |z_k| of any coordinate {how}.")
            protocol = f"Mean square of z per dimension, 1 under N(0, I), mean {how}."
            measures["z_mean_square"] = _measure(z**2, protocol)
    return measures


def evaluate_samples(draw: Callable[[int], Tensor], words: str, seed: int) -> tuple[Tensor, str]:
    """`NUM_SAMPLES` samples, uint8, and their description; ``draw(num)`` gives ``num`` of them, floats in [−1, 1]."""
    samples = torch.cat([to_uint8(draw(BATCH_SIZE)).cpu() for _ in range(NUM_SAMPLES // BATCH_SIZE)])
    return samples, f"{NUM_SAMPLES} samples, {words} (seed {seed})"


def evaluate_chains(
    model: Descriptor, kernel: mcmc.Kernel, num_steps: int, starts: Tensor, *, seed: int
) -> tuple[dict[str, Measure], Tensor, str]:
    """The measures of chains; the images that they synthesise, uint8; and a description of these images.

    Args:
        model: the descriptor.
        kernel: the transition; its step size, a number or one for each start, is not adapted.
        num_steps: transitions of each chain.
        starts: where the chains start, (m, c, H, W), uint8 or float in [−1, 1].
        seed: determines every random number.

    Raises:
        ValueError: a synthesised pixel is NaN.
    """
    device = next(model.parameters()).device
    rng = derive(seed, "evaluate synthesis", device=device)
    step_size = torch.as_tensor(kernel.step_size, device=device, dtype=torch.float32).expand(len(starts))
    positions, rates = [], []
    with frozen(model):
        for start, step in zip(chunks(starts, BATCH_SIZE), chunks(step_size, BATCH_SIZE), strict=True):
            fixed, position = kernel.with_step_size(step), as_float(start.to(device))
            state, info = mcmc.run(fixed, model.log_density, position, num_steps=num_steps, rng=rng)
            positions.append(state.position.cpu())
            rates.append(info.acceptance_rate)
    synthesized = torch.cat(positions)
    what = f"{len(starts)} images synthesised by a new chain of {num_steps} transitions each (seed {seed})"
    measures = {
        "acceptance_rate": _measure(torch.cat(rates), f"Mean acceptance rate of {what}."),
        "pixel_max": _measure(synthesized.abs().max(), f"Largest |pixel| of {what}, before clamping to [−1, 1]."),
    }
    return measures, to_uint8(synthesized), what


def evenly(num: int, most: int) -> Tensor:
    """At most ``most`` indices, evenly spaced over 0 … num − 1, the first and the last among them."""
    return torch.linspace(0, num - 1, min(num, most), dtype=torch.float64).round().long()


def against(samples: Tensor, what: str, images: Tensor, held_out: Tensor | None, seed: int) -> dict[str, Measure]:
    """The measures that compare samples, uint8, described by ``what``, with the training and the held-out images."""
    chosen, which = _choose(images, MAX_COMPARED, "training images")
    levels = min(3, swd_levels(min(images.shape[2:])))
    scale = f"mean over {levels} level{'s' if levels > 1 else ''} of the pyramid"

    def swd(chosen: Tensor, which: str) -> Measure:
        protocol = f"Sliced Wasserstein distance × 10³ of 7 × 7 patches, {scale}, between {what} and {which}."
        return _measure(sliced_wasserstein(samples, chosen, levels=levels, seed=seed).mean, protocol)

    error = "Mean squared error in [−1, 1] of the nearest of"
    measures = {
        "coverage_mse": _measure(coverage(chosen, samples), f"{error} {what}, mean over {which}."),
        "nearest_training_mse": _measure(nearest_training(samples, chosen), f"{error} {which}, mean over {what}."),
        "swd": swd(chosen, which),
    }
    if held_out is not None:
        measures["held_out_swd"] = swd(*_choose(held_out, MAX_COMPARED, "held-out images"))
    return measures


def _choose(images: Tensor, most: int, what: str) -> tuple[Tensor, str]:
    """The images that a measure is taken over, and their description."""
    n = len(images)
    if n <= most:
        return images.cpu(), f"the {n:,} {what}"
    return images[evenly(n, most)].cpu(), f"{most} evenly spaced of the {n:,} {what}"


def _measure(value: Tensor | float, protocol: str) -> Measure:
    return {"value": torch.as_tensor(value).double().mean().item(), "protocol": protocol}
