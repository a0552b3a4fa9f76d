"""All measures of a model, each with its protocol in words."""

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

__all__ = ["Measure", "evaluate_descriptor", "evaluate_generator", "evenly"]

NUM_SAMPLES = 512
MOST_INFERRED = 256  # images whose z is inferred: it costs about 0.05 s on two cores each at 64 × 64
MOST_COMPARED = 512  # images held against the samples
AT_ONCE = 64  # images synthesised at once


class Measure(TypedDict):
    """A number and how it came about; without the second the first means little."""

    value: float
    protocol: str


def evaluate_generator(
    model: Generator, images: Tensor, held_out: Tensor | None = None, *, seed: int
) -> dict[str, Measure]:
    """A generator's measures: reconstruction by fresh inference, and its samples against the images.

    Args:
        model: the generator.
        images: the training images, uint8 (n, 3, H, W). Of large sets an evenly spaced part is used, and the
            protocol says so.
        held_out: images that the model has not seen, likewise.
        seed: of every random number.
    """
    device = next(model.parameters()).device
    measures: dict[str, Measure] = {}
    for name, what, pixels in (("training", "training images", images), ("held_out", "held-out images", held_out)):
        if pixels is None:
            continue
        chosen, which = _choose(pixels, MOST_INFERRED, what)
        inferred = infer(model, as_float(chosen.to(device)), rng=derive(seed, f"evaluate {name}", device=device))
        how = f"over {which}, z inferred afresh by MALA, the best of {NUM_STARTS} cold starts (seed {seed})"
        measures[f"{name}_mse"] = _measure(
            inferred.mse, f"Mean squared error of f(z) per pixel and channel in [−1, 1], mean {how}."
        )
        measures[f"{name}_psnr"] = _measure(
            psnr(inferred.mse), f"Peak signal-to-noise ratio of f(z) in dB for a range of 2, mean {how}."
        )
        if name == "training":
            z = inferred.z
            measures["z_max"] = _measure(z.abs().max(), f"Largest |z_k| of any coordinate {how}.")
            measures["z_mean_square"] = _measure(
                z**2, f"Mean square of z per dimension, 1 under the prior, mean {how}."
            )
    rng = derive(seed, "evaluate samples", device=device)
    samples = torch.cat([to_uint8(model.sample(AT_ONCE, rng=rng)) for _ in range(NUM_SAMPLES // AT_ONCE)])
    what = f"{NUM_SAMPLES} samples f(z), z ~ N(0, I) (seed {seed})"
    return measures | _against(samples.cpu(), what, images, held_out, seed)


def evaluate_descriptor(
    model: Descriptor,
    kernel: mcmc.Kernel,
    num_steps: int,
    starts: Tensor,
    images: Tensor,
    held_out: Tensor | None = None,
    *,
    seed: int,
) -> dict[str, Measure]:
    """A descriptor's measures: what it synthesises, against the images.

    Args:
        model: the descriptor.
        kernel: the transition; its step size, a number or one a start, stays as it is.
        num_steps: transitions of each chain.
        starts: where the chains start, one each, (m, 3, H, W), uint8 or float in [−1, 1].
        images: the training images, uint8 (n, 3, H, W). Of large sets an evenly spaced part is used, and the
            protocol says so.
        held_out: images that the model has not seen, likewise.
        seed: of every random number.

    Raises:
        ValueError: a synthesised pixel is not a number.
    """
    device = next(model.parameters()).device
    rng = derive(seed, "evaluate synthesis", device=device)
    step_size = torch.as_tensor(kernel.step_size, device=device, dtype=torch.float32).expand(len(starts))
    positions, rates = [], []
    with frozen(model):
        for start, step in zip(chunks(starts, AT_ONCE), chunks(step_size, AT_ONCE), strict=True):
            state, info = mcmc.run(
                kernel.with_step_size(step),
                model.log_density,
                as_float(start.to(device)),
                num_steps=num_steps,
                rng=rng,
            )
            positions.append(state.position.cpu())
            rates.append(info.acceptance_rate)
    synthesized = torch.cat(positions)
    what = f"{len(starts)} images synthesised by a fresh chain of {num_steps} transitions each (seed {seed})"
    measures = {
        "acceptance_rate": _measure(torch.cat(rates), f"Mean acceptance rate of {what}."),
        "pixel_max": _measure(synthesized.abs().max(), f"Largest |pixel| of {what}, before they are cut to [−1, 1]."),
    }
    return measures | _against(to_uint8(synthesized), what, images, held_out, seed)


def evenly(num: int, most: int) -> Tensor:
    """At most ``most`` indices, evenly spaced over 0 … num − 1, the first and the last among them."""
    return torch.linspace(0, num - 1, min(num, most), dtype=torch.float64).round().long()


def _against(samples: Tensor, what: str, images: Tensor, held_out: Tensor | None, seed: int) -> dict[str, Measure]:
    """The measures of samples, uint8, against the training and held-out images."""
    chosen, which = _choose(images, MOST_COMPARED, "training images")
    levels = min(3, swd_levels(min(images.shape[2:])))
    scale = f"mean over {levels} level{'s' if levels > 1 else ''} of the pyramid"
    measures = {
        "coverage_mse": _measure(
            coverage(chosen, samples),
            f"Mean squared error in [−1, 1] of the nearest of {what}, mean over {which}.",
        ),
        "nearest_training_mse": _measure(
            nearest_training(samples, chosen),
            f"Mean squared error in [−1, 1] of the nearest of {which}, mean over {what}.",
        ),
        "swd": _measure(
            sliced_wasserstein(samples, chosen, levels=levels, seed=seed).mean,
            f"Sliced Wasserstein distance × 10³ of 7 × 7 patches, {scale}, between {what} and {which}.",
        ),
    }
    if held_out is not None:
        chosen, which = _choose(held_out, MOST_COMPARED, "held-out images")
        measures["held_out_swd"] = _measure(
            sliced_wasserstein(samples, chosen, levels=levels, seed=seed).mean,
            f"Sliced Wasserstein distance × 10³ of 7 × 7 patches, {scale}, between {what} and {which}.",
        )
    return measures


def _choose(images: Tensor, most: int, what: str) -> tuple[Tensor, str]:
    """The images a measure is taken over, and in words which ones."""
    n = len(images)
    if n <= most:
        return images.cpu(), f"the {n:,} {what}"
    return images[evenly(n, most)].cpu(), f"{most} evenly spaced of the {n:,} {what}"


def _measure(value: Tensor | float, protocol: str) -> Measure:
    return {"value": torch.as_tensor(value).double().mean().item(), "protocol": protocol}
