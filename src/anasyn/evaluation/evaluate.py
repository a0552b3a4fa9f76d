"""The measures of a model, each with its protocol in words."""

import logging
from collections.abc import Callable
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from .. import mcmc
from ..data import as_float, to_uint8
from ..models import Descriptor, Generator, Images, Rows, floats
from ..processor import frozen
from ..rng import derive
from .coverage import coverage, nearest_training
from .distance import SATURATED, chunks, psnr, saturated_share
from .features import FeatureSpace, feature_space, features
from .inference import NUM_STARTS, infer
from .kernel_distance import FEWEST, kernel_distance
from .manifold import density_coverage, expected_coverage, precision_recall
from .memorisation import memorisation
from .swd import sliced_wasserstein, swd_levels

__all__ = [
    "Measure",
    "against",
    "as_measure",
    "evaluate_chains",
    "evaluate_inference",
    "evaluate_proposals",
    "evaluate_samples",
    "evenly",
]

log = logging.getLogger(__name__)

NUM_SAMPLES = 512
MAX_INFERRED = 256  # images whose z is inferred, which takes about 0.05 s each at 64 × 64 on two cores
MAX_COMPARED = 512  # images that the samples are compared with
MAX_LEARNED = 2048  # training images among which copies are looked for
BATCH_SIZE = 64  # images synthesised at once
K_PRECISION, K_DENSITY = 3, 5  # nearest neighbours, as their authors have them
SIGNIFICANT = 3  # |z| of the test of memorisation


class Measure(TypedDict):
    """A number, how it was measured, and why it cannot be trusted if it cannot."""

    value: float
    protocol: str
    standard_error: NotRequired[float]
    meaning: NotRequired[str]  # what this value says, in a sentence
    warning: NotRequired[str]


def evaluate_inference(
    model: Generator, images: Images, held_out: Images | None = None, *, seed: int
) -> dict[str, Measure]:
    """The errors of reconstructions from newly inferred z, and the size of these z.

    Args:
        model: the generator.
        images: the training images, uint8 (n, c, H, W), or what is seen of them; at most `MAX_INFERRED`, evenly
            spaced, are used.
        held_out: images that the model has not seen, likewise.
        seed: determines every random number.
    """
    device = next(model.parameters()).device
    measures: dict[str, Measure] = {}
    for name, what, pixels in (("training", "training images", images), ("held_out", "held-out images", held_out)):
        if pixels is None:
            continue
        chosen, which = _choose(pixels, MAX_INFERRED, what)
        inferred = infer(model, floats(chosen.to(device)), rng=derive(seed, f"evaluate {name}", device=device))
        how = f"over {which}, z newly inferred by MALA from the best of {NUM_STARTS} cold starts (seed {seed})"
        protocol = f"Mean squared error of f(z) per pixel and channel in [−1, 1], mean {how}."
        measures[f"{name}_mse"] = as_measure(inferred.mse, protocol)
        protocol = f"Peak signal-to-noise ratio of f(z) in dB for a range of 2, mean {how}."
        measures[f"{name}_psnr"] = as_measure(psnr(inferred.mse), protocol)
        if name == "training":
            z = inferred.z
            measures["z_max"] = as_measure(z.abs().max(), f"Largest |z_k| of any coordinate {how}.")
            protocol = f"Mean square of z per dimension, 1 under N(0, I), mean {how}."
            measures["z_mean_square"] = as_measure(z**2, protocol)
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
        "acceptance_rate": as_measure(torch.cat(rates), f"Mean acceptance rate of {what}."),
        "pixel_max": as_measure(synthesized.abs().max(), f"Largest |pixel| of {what}, before clamping to [−1, 1]."),
    }
    return measures, to_uint8(synthesized), what


def evenly(num: int, most: int) -> Tensor:
    """At most ``most`` indices, evenly spaced over 0 … num − 1, the first and the last among them."""
    return torch.linspace(0, num - 1, min(num, most), dtype=torch.float64).round().long()


def against(
    samples: Tensor, what: str, images: Tensor, held_out: Tensor | None, seed: int, space: FeatureSpace | None = None
) -> dict[str, Measure]:
    """The measures that compare samples, uint8, described by ``what``, with the training and the held-out images.

    A measure that needs more images than there are is left out; a warning says so.

    Args:
        samples, images, held_out: uint8, (·, c, H, W).
        what: the samples in words.
        seed: determines the sliced Wasserstein distance's patches and directions.
        space: in which neighbours and the kernel distance are computed; by default the random network's.
    """
    chosen, which = _choose(images, MAX_COMPARED, "training images")
    error = "Mean squared error in [−1, 1] of the nearest of"
    saturated = f"Share of values with |value| > {SATURATED} of {what}; {saturated_share(chosen):.2g} of {which}."
    measures = {
        "coverage_mse": as_measure(coverage(chosen, samples), f"{error} {what}, mean over {which}."),
        "nearest_training_mse": as_measure(nearest_training(samples, chosen), f"{error} {which}, mean over {what}."),
        "saturated_share": as_measure(saturated_share(samples), saturated),
        "swd": _swd(samples, what, chosen, which, seed),
    }
    space = space or feature_space("random", (images.shape[1], images.shape[2], images.shape[3]))
    x = features(space.network, samples)
    measures |= _in_features(x, what, features(space.network, chosen), which, space.words)
    if held_out is not None:
        chosen, which = _choose(held_out, MAX_COMPARED, "held-out images")
        measures["held_out_swd"] = _swd(samples, what, chosen, which, seed)
        found = _in_features(x, what, features(space.network, chosen), which, space.words, "held_out_")
        measures |= found | _of_copies(x, what, images, held_out, space)
    return measures


def evaluate_proposals(proposals: Tensor, images: Tensor, seed: int) -> dict[str, Measure]:
    """The distance of a generator's proposals, uint8, to the training images; revisions are to lie nearer."""
    chosen, which = _choose(images, MAX_COMPARED, "training images")
    what = f"{len(proposals)} proposals before their revision (seed {seed})"
    return {"proposals_swd": _swd(proposals, what, chosen, which, seed)}


def _swd(samples: Tensor, what: str, images: Tensor, which: str, seed: int) -> Measure:
    levels = min(3, swd_levels(min(images.shape[2:])))
    scale = f"mean over {levels} level{'s' if levels > 1 else ''} of the pyramid"
    protocol = f"Sliced Wasserstein distance × 10³ of 7 × 7 patches, {scale}, between {what} and {which}."
    return as_measure(sliced_wasserstein(samples, images, levels=levels, seed=seed).mean, protocol)


def _in_features(x: Tensor, what: str, y: Tensor, which: str, space: str, prefix: str = "") -> dict[str, Measure]:
    """The measures of samples with features x, (m, k), by images with features y, (n, k)."""
    m, n = len(x), len(y)
    measures: dict[str, Measure] = {}
    where = f"{what} and {which}, by {space}"
    if _enough("kid", prefix, min(m, n), FEWEST):
        kid = kernel_distance(x, y)
        protocol = f"Kernel distance (KID): squared maximum mean discrepancy, kernel (x·y/d + 1)³, of {where}. "
        protocol += "Estimated without bias, 0 on average for the same distribution; standard error by the jackknife."
        measures["kid"] = as_measure(kid.value, protocol) | {"standard_error": kid.standard_error}
    if _enough("precision and recall", prefix, min(m, n), K_PRECISION + 1):
        precision, recall = precision_recall(x, y, k=K_PRECISION)
        ball = f"within the distance to its {K_PRECISION}rd nearest neighbour among the"
        measures["precision"] = as_measure(precision, f"Share of samples that some image has {ball} images: {where}.")
        measures["recall"] = as_measure(recall, f"Share of images that some sample has {ball} samples: {where}.")
    if _enough("density and neighbourhood_coverage", prefix, n, K_DENSITY + 1):
        density, covered = density_coverage(x, y, k=K_DENSITY)
        ball = f"within the distance to its {K_DENSITY}th nearest neighbour among the images"
        protocol = f"Samples that an image has {ball}, relative to those expected of the same distribution: {where}."
        measures["density"] = as_measure(density, protocol)
        expected = f"{expected_coverage(m, n, K_DENSITY):.3f} expected of the same distribution"
        protocol = f"Share of images that have a sample {ball}, {expected}: {where}."
        measures["neighbourhood_coverage"] = as_measure(covered, protocol)
    return {f"{prefix}{name}": measure for name, measure in measures.items()}


def _of_copies(x: Tensor, what: str, images: Tensor, held_out: Tensor, space: FeatureSpace) -> dict[str, Measure]:
    """The test of memorisation of samples with features x by the held-out images that are no training images."""
    learned = {hash(image.cpu().numpy().tobytes()) for image in images}
    new = held_out[[hash(image.cpu().numpy().tobytes()) not in learned for image in held_out]]
    reach = (3 * len(x) * len(new) / (len(x) + len(new) + 1)) ** 0.5  # the largest |z| of so many
    if reach < SIGNIFICANT:
        log.warning("memorisation left out: %d samples and %d new images are too few to tell", len(x), len(new))
        return {}
    chosen, which = _choose(new, MAX_COMPARED, "held-out images that are no training images")
    training, among = _choose(images, MAX_LEARNED, "training images")
    h, y = features(space.network, chosen), features(space.network, training)
    found = memorisation(x, h, y)
    compared = f"distances to the nearest of {among} of {what} and of {which}, by {space.words}"
    protocol = f"z-score of the Mann–Whitney test of {compared}. N(0, 1) without memorisation, negative with copies."
    pairs = f"in {found.nearer:.0%} of pairs a sample is nearer to the training images than a held-out image"
    if found.z < -SIGNIFICANT:
        meaning = f"The samples copy training images: {pairs}."
    elif found.z > SIGNIFICANT:
        meaning = f"The samples lie farther from the training images than real images do: {pairs}."
    else:
        meaning = f"No sign that the samples copy training images: {pairs}."
    return {"memorisation": as_measure(found.z, protocol) | {"meaning": meaning}}


def _enough(names: str, prefix: str, num: int, least: int) -> bool:
    if num < least:
        log.warning("%s left out%s: %d images, at least %d needed", names, " (held-out)" if prefix else "", num, least)
    return num >= least


def _choose(images: Rows, most: int, what: str) -> tuple[Rows, str]:
    """The images that a measure is taken over, and their description."""
    n = len(images)
    if n <= most:
        return images.to("cpu"), f"the {n:,} {what}"
    return images[evenly(n, most)].to("cpu"), f"{most} evenly spaced of the {n:,} {what}"


def as_measure(value: Tensor | float, protocol: str, warning: str | None = None) -> Measure:
    """The mean of a value as a measure, with a warning if there is one."""
    measure: Measure = {"value": torch.as_tensor(value, dtype=torch.float64).mean().item(), "protocol": protocol}
    return measure | {"warning": warning} if warning else measure
