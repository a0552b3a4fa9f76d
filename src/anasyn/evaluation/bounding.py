"""The measures of a generator's likelihood: how many chains a time budget allows, and whether the result is trusted."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from .. import mcmc
from ..models import Generator, Images, floats, observed
from ..processor import frozen
from ..rng import derive, standard_normal
from .evaluate import Measure, as_measure, evenly
from .laplace import num_gradients
from .likelihood import (
    CHAINS_AT_ONCE,
    PILOT_CHAINS,
    Bracket,
    DrawPrior,
    LowerBound,
    bits_per_dimension,
    bracket,
    dequantise,
    log_likelihood,
    standard_gaussian,
)
from .normalizer import log_normalizer

__all__ = ["Plan", "evaluate_likelihood", "plan", "warning"]

SECONDS, FAST_SECONDS = 240.0, 40.0  # of chains, without what a command does beside them
NUM_CHAINS = 8
MIN_IMAGES, MAX_IMAGES = 8, 64
MIN_TEMPERATURES, MAX_TEMPERATURES = 16, 512
MAX_PEAKS = 8
PEAKS_SHARE = 0.5  # of the budget, at most, for the reference, unless it has a single peak

PRIOR_CHAINS, PRIOR_TEMPERATURES = 1024, 256  # for log Z of a learned prior, whose network of z is small

WIDEST = 5.0  # nats, the widest bracket and the largest standard error that are trusted

Progress = Callable[[int, int], None]
"""What is done, and all that is to be done, such as transitions."""


class Plan(NamedTuple):
    """What is computed: real and simulated images; and of each, the chains, the temperatures and the peaks."""

    num_images: int
    num_simulated: int
    num_chains: int
    num_temperatures: int
    num_peaks: int

    @property
    def num_transitions(self) -> int:
        """Calls of the kernel: pilot and forward chains of all images, reverse chains of the simulated ones."""
        at_once = max(CHAINS_AT_ONCE // self.num_chains, 1)
        batches = 2 * -(-self.num_images // at_once) + 3 * -(-self.num_simulated // at_once)
        return batches * (self.num_temperatures - 1)


def plan(model: Generator, images: Images, seconds: float) -> Plan:
    """What can be computed in about ``seconds``, after timing the gradient of log p(Y, z) in this process.

    Peaks come first, as far as they take a part `PEAKS_SHARE` of it, since a peak that is missed costs more than any
    number of temperatures can mend; then temperatures, in powers of two; then images. Each has an upper limit.

    Args:
        model: the generator.
        images: the real images, floats, at least one.
        seconds: the budget.
    """
    values = observed(images).values
    batch = images[torch.arange(CHAINS_AT_ONCE // 2, device=values.device) % len(images)]
    z = standard_normal(values.new_empty(len(batch), model.latent_dim), derive(0, "timing", device=values.device))
    durations = []
    with frozen(model):
        for _ in range(3):
            began = time.perf_counter()
            mcmc.init(lambda z: model.log_joint(z, batch), z, 1.0).gradient.sum().item()  # waits for the device
            durations.append(time.perf_counter() - began)
    gradients = seconds / min(durations) * len(batch)
    of_a_peak = num_gradients(model.latent_dim)
    num_images = min(MIN_IMAGES, len(images))
    peaks = MAX_PEAKS
    while peaks > 1 and peaks * of_a_peak * (num_images + _simulated(num_images)) > PEAKS_SHARE * gradients:
        peaks //= 2

    def affordable(num_images: int) -> float:
        """Temperatures."""
        simulated = _simulated(num_images)
        of_a_temperature = num_images * (NUM_CHAINS + PILOT_CHAINS) + simulated * (2 * NUM_CHAINS + PILOT_CHAINS)
        return (gradients - peaks * of_a_peak * (num_images + simulated)) / of_a_temperature

    larger = min(2 * num_images, MAX_IMAGES, len(images))
    while larger > num_images and affordable(larger) >= MAX_TEMPERATURES:
        num_images, larger = larger, min(2 * larger, MAX_IMAGES, len(images))
    temperatures = min(max(affordable(num_images), MIN_TEMPERATURES), MAX_TEMPERATURES)
    return Plan(num_images, _simulated(num_images), NUM_CHAINS, 1 << int(math.log2(temperatures)), peaks)


def _simulated(num_images: int) -> int:
    return max(num_images // 2, 4)


def warning(found: LowerBound, simulated: Bracket) -> str | None:
    """Why the log-likelihood cannot be trusted, in a sentence, or None if it can."""
    reasons = []
    width = (simulated.upper - simulated.lower).mean().item()
    if not width <= WIDEST:
        reasons.append(f"the bracket on simulated images is {width:.1f} nats wide, above {WIDEST:g}")
    error = found.error.mean().item()
    if not error <= WIDEST:
        reasons.append(f"an image's chains disagree: the standard error is {error:.1f} nats, above {WIDEST:g}")
    return f"Not to be trusted: {'; '.join(reasons)}." if reasons else None


def _prior_normalizer(model: Generator, rng: torch.Generator) -> float:
    """log Z(α) of a learned prior; 0 for N(0, I)."""
    if model.prior is None:
        return 0.0
    like = next(model.parameters())
    draws = standard_normal(like.new_empty(PRIOR_CHAINS, model.latent_dim), rng)
    with frozen(model):
        found = log_normalizer(model.log_prior, standard_gaussian, draws, num_temperatures=PRIOR_TEMPERATURES, rng=rng)
    return found.value.item()


def evaluate_likelihood(
    model: Generator,
    pixels: Images,
    what: str,
    *,
    draw_prior: DrawPrior | None = None,
    seed: int,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> dict[str, Measure]:
    """The log-likelihood, bits per dimension, bracket and effective sample size; a warning with all if one is due.

    Args:
        model: the generator; log Z of a learned prior is estimated first.
        pixels: uint8 (n, c, H, W), or what is seen of them.
        what: these images in words, such as ``"held-out images"``.
        draw_prior: draws from a learned prior; not given for N(0, I).
        seed: determines every random number, but not the plan, which depends on the speed of the machine.
        seconds: a budget of time, from which the numbers of images, peaks and temperatures follow.
        progress: called after every transition.

    Raises:
        ValueError: the prior is learned, and draws from it are not given.
    """
    device = next(model.parameters()).device
    chosen = pixels[evenly(len(pixels), MAX_IMAGES)].to(device)
    numbers = plan(model, floats(chosen), seconds)
    chosen = pixels[evenly(len(pixels), numbers.num_images)].to(device)
    tick = counted(numbers.num_transitions, progress)
    images = dequantise(chosen, derive(seed, "evaluate dequantisation", device=device))
    normalizer = _prior_normalizer(model, derive(seed, "evaluate prior", device=device))
    chains, temperatures, peaks = numbers.num_chains, numbers.num_temperatures, numbers.num_peaks
    simulated = bracket(
        model,
        images,
        num_images=numbers.num_simulated,
        num_chains=chains,
        num_temperatures=temperatures,
        num_peaks=peaks,
        log_prior_normalizer=normalizer,
        draw_prior=draw_prior,
        rng=derive(seed, "evaluate bracket", device=device),
        progress=tick,
    )
    found = log_likelihood(
        model,
        images,
        num_chains=chains,
        num_temperatures=temperatures,
        num_peaks=peaks,
        log_prior_normalizer=normalizer,
        rng=derive(seed, "evaluate likelihood", device=device),
        progress=tick,
    )
    how = (
        f"annealed importance sampling from Laplace approximations at {peaks} peaks of an image's posterior, {chains} "
        f"chains of {temperatures} temperatures an image (seed {seed})"
    )
    if model.prior:
        how += f"; log Z of the learned prior, {normalizer:.2f}, by {PRIOR_CHAINS} chains from N(0, I)"
    over = f"over {len(images)} of the {len(pixels):,} {what}"
    bits = bits_per_dimension(found.value, observed(images).num_seen)
    width = simulated.upper - simulated.lower
    error = width.std().item() / len(width) ** 0.5
    untrusted = warning(found, simulated)
    verdict = "" if untrusted else f" Trusted: bracket and standard error are at most {WIDEST:g} nats."
    sides = f"lower {simulated.lower.mean():.2f}, upper {simulated.upper.mean():.2f}"
    noise = "uniform noise of one grey level added"

    measure = partial(as_measure, warning=untrusted)
    return {
        "log_likelihood": measure(
            found.value,
            f"Lower bound of log p(Y) in nats, Y in [−1, 1] with {noise}, mean {over}: {how}.{verdict}",
        ),
        "bits_per_dimension": measure(
            bits, f"−log p(Y)/(D ln 2) + log₂ 127.5, an upper bound, Y with {noise}, mean {over}: {how}.{verdict}"
        ),
        "log_likelihood_bracket": measure(
            width,
            f"Upper minus lower bound of log p(Y) in nats ({sides}; standard error {error:.2f}), mean over "
            f"{len(width)} images simulated by the model: bidirectional {how}.",
        ),
        "log_likelihood_ess": measure(
            found.effective_sample_size, f"Effective sample size of an image's {chains} weights, mean {over}: {how}."
        ),
    }


def counted(total: int, progress: Progress | None) -> Callable[[], None]:
    """A function that is called at each of ``total`` steps, and tells ``progress`` how many are done."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    return tick
