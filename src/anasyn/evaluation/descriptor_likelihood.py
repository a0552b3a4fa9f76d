"""The measures of a descriptor's likelihood, whose normalising constant is bracketed."""

import math
import time
from functools import partial

import torch
from torch import Tensor

from .. import mcmc
from ..methods.synthesis import LONG_RUN
from ..models import Descriptor
from ..processor import frozen
from ..rng import derive
from .bounding import WIDEST, Progress, counted
from .evaluate import Measure, as_measure, evenly
from .likelihood import bits_per_dimension, dequantise
from .normalizer import NormalizerBracket, bracket_normalizer

__all__ = ["NUM_CHAINS", "evaluate_descriptor_likelihood"]

NUM_CHAINS = 16  # forward, and reverse
NUM_PILOTS = 6  # beside them: a quarter of all that start from the reference
MAX_IMAGES = 512
MIN_TEMPERATURES, MAX_TEMPERATURES = 64, 16_384


def evaluate_descriptor_likelihood(
    model: Descriptor,
    kernel: mcmc.Kernel,
    num_steps: int,
    starts: Tensor,
    pixels: Tensor,
    what: str,
    *,
    data_noise: float,
    seed: int,
    seconds: float,
    progress: Progress | None = None,
) -> dict[str, Measure]:
    """log Z with its bracket, the log-likelihood and bits per dimension; a warning with all if one is due.

        log p(Y) = f(Y) − log Z + log p₀(Y),   log Z from annealed importance sampling between the reference p₀ and p

    The forward chains bound log Z from below. The reverse chains bound it from above if they start at draws from p:
    here the ends of chains of `LONG_RUN` training lengths from the learner's starts. log p(Y) is stated with the upper
    bound of log Z, and is then a lower bound itself.

    Args:
        model: the descriptor.
        kernel: the transition with which long chains run; its step size is not adapted.
        num_steps: l, transitions in the training length.
        starts: where the learner's chains start, (`NUM_CHAINS`, c, H, W) in [−1, 1].
        pixels: uint8 (n, c, H, W).
        what: these images in words, such as ``"held-out images"``.
        data_noise: of the noise that learning adds to the images (`Descriptor.observe`): p is the density of their sum.
        seed: determines every random number, but not the number of temperatures, which depends on the machine's speed.
        seconds: a budget of time, from which the number of temperatures follows.
        progress: called after every transition.
    """
    device = next(model.parameters()).device
    rng = derive(seed, "evaluate normaliser", device=device)
    dimension = starts[0].numel()
    images = dequantise(pixels[evenly(len(pixels), MAX_IMAGES)].to(device), rng)
    images = model.observe(images, data_noise, rng)

    def reference(y: Tensor) -> Tensor:
        return -model.reference_energy(y)

    with frozen(model):
        began = time.perf_counter()
        state, _ = mcmc.run(kernel, model.log_density, starts, num_steps=LONG_RUN * num_steps, rng=rng)
        each = (time.perf_counter() - began) / (LONG_RUN * num_steps)  # seconds of a transition
        affordable = seconds / (each * (2 + NUM_PILOTS / NUM_CHAINS))  # temperatures
        temperatures = 1 << int(math.log2(min(max(affordable, MIN_TEMPERATURES), MAX_TEMPERATURES)))
        found = bracket_normalizer(
            model.log_density,
            reference,
            model.draw_reference(starts.new_empty(NUM_CHAINS + NUM_PILOTS, *starts.shape[1:]), rng),
            state.position,
            kernel=mcmc.MALA(1.0, model.reference) if model.reference else mcmc.MALA(model.reference_std),
            num_temperatures=temperatures,
            rng=rng,
            progress=counted(3 * (temperatures - 1), progress),
        )
        log_ratio = torch.cat([model(batch) for batch in images.split(64)])
        gaussian = reference(images) - model.log_reference_normalizer(dimension)
    log_likelihood = (log_ratio + gaussian).double() - found.upper

    untrusted = warning(found)
    p0 = "the Gaussian N(m, C) fitted to the images" if model.reference else f"N(0, {model.reference_std:g}² I)"
    how = (
        f"annealed importance sampling between {p0} and p, {NUM_CHAINS} chains of {temperatures} "
        f"temperatures each way, the reverse ones from the ends of chains of {LONG_RUN * num_steps} transitions, "
        f"{LONG_RUN} training lengths (seed {seed})"
    )
    verdict = "" if untrusted else f" Trusted: bracket and standard errors are at most {WIDEST:g} nats."
    noise = f"uniform noise of one grey level{f' and that of learning, {data_noise:g},' if data_noise else ''} added"
    over = f"over {len(images)} of the {len(pixels):,} {what}, {noise}"

    measure = partial(as_measure, warning=untrusted)
    return {
        "log_normalizer": measure(
            found.lower, f"Lower bound of log Z, p(Y) = exp[f(Y)] p₀(Y)/Z with p₀ {p0}, in nats: {how}.{verdict}"
        ),
        "log_normalizer_bracket": measure(
            found.upper - found.lower,
            f"Upper minus lower bound of log Z in nats (standard errors {found.lower_error:.2f} and "
            f"{found.upper_error:.2f}): {how}.",
        ),
        "log_likelihood": measure(
            log_likelihood, f"log p(Y) in nats by the upper bound of log Z, mean {over}: {how}.{verdict}"
        ),
        "bits_per_dimension": measure(
            bits_per_dimension(log_likelihood, dimension),
            f"−log p(Y)/(D ln 2) + log₂ 127.5, mean {over}: {how}.{verdict}",
        ),
    }


def warning(found: NormalizerBracket) -> str | None:
    """Why log Z cannot be trusted, in a sentence, or None if it can."""
    reasons = []
    width = (found.upper - found.lower).item()
    error = max(found.lower_error.item(), found.upper_error.item())
    if width < -WIDEST:
        reasons.append(f"the bounds of log Z are {-width:.1f} nats apart in the wrong order")
    elif not width <= WIDEST:
        reasons.append(f"the bounds of log Z are {width:.1f} nats apart, above {WIDEST:g}")
    if not error <= WIDEST:
        reasons.append(f"the chains disagree: the standard error is {error:.1f} nats, above {WIDEST:g}")
    return f"Not to be trusted: {'; '.join(reasons)}." if reasons else None
