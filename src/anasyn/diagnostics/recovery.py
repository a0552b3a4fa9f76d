"""Whether the chains of a ladder recover images from noise: each level's, after one training length and after many."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .. import mcmc
from ..learning.recovery import chains_given, with_held
from ..methods.synthesis import LONG_RUN
from ..models import DescriptorLadder
from ..processor import frozen
from .chains import finite
from .verdict import APART

__all__ = ["LevelDiagnosis", "RecoveryDiagnosis", "diagnose_recovery"]

AGREES = 0.1  # difference from 1 of the noise that is removed
NEAR = 1.0  # difference of log-densities, in standard deviations over the images

Verdict = Literal["samples its conditional densities", "short-run sampler", "not learned"]


@dataclass(frozen=True)
class Comparison:
    """Chains at one level compared with the y_t from which their x_{t+1} were made.

    Given x_{t+1}, the true y_t is a draw from the conditional density of the data. So are the chains' ỹ_t, if the level
    is learned and they have converged: of any statistic both then have the same distribution.
    """

    removed: float  # E‖x_{t+1} − ỹ_t‖² / D σ²_{t+1} (by `noise_energy`), 1 for the true y_t in expectation
    gap: float  # E[log p(y_t | x_{t+1}) − log p(ỹ_t | x_{t+1})], in standard deviations of the first over the images

    @property
    def agrees(self) -> bool:
        return abs(self.removed - 1) < AGREES and abs(self.gap) < NEAR


@dataclass(frozen=True)
class LevelDiagnosis:
    """One level of the ladder, in its conditional densities given x_{t+1}."""

    level: int
    sigma: float  # σ_{t+1}
    acceptance_rate: float  # of a Metropolis–Hastings correction over the training length, applied or not
    short: Comparison  # after the training length from x_{t+1}
    long: Comparison  # after a long run from x_{t+1}
    long_from_data: Comparison  # after a long run from the true y_t
    # KL(p_θ ‖ p₀) + KL(p₀ ‖ p_θ) of the conditional density and that of a fitted reference, by the long chains from p₀,
    # in nats; None for a level whose reference gives no conditional density
    reference_divergence: float | None


@dataclass(frozen=True)
class RecoveryDiagnosis:
    """The result of `diagnose_recovery`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    protocol: str
    num_images: int
    num_steps: int
    levels: tuple[LevelDiagnosis, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return dict(finite(asdict(self)))


def diagnose_recovery(
    model: DescriptorLadder,
    kernel: mcmc.Kernel,
    num_steps: int,
    images: Tensor,
    *,
    labels: Tensor | None = None,
    rng: torch.Generator,
) -> RecoveryDiagnosis:
    """Runs each level's chains from noisier images, for one training length and for `LONG_RUN`, and gives a verdict.

    `samples its conditional densities`: at every level, chains of both lengths agree with the data (`Comparison`).
    `short-run sampler`: at every level chains of the training length do, but long ones do not.
    `not learned`: at some level not even those of the training length do; or the ladder has fitted references, and its
    conditional densities are together less than `APART` nats from theirs.

    Args:
        model: the descriptors with their learned weights, in float32.
        kernel: the transition, with step size b as `RecoveryLearner` has it.
        num_steps: K, transitions in the training length.
        images: (n, *event) in [−1, 1], n ≥ 2.
        labels: the classes of the images, (n,), which their chains have too; None for a model without classes.
        rng: on the images' device.
    """
    levels = tuple(_level(model, t, kernel, num_steps, images, labels, rng) for t in range(model.ladder.levels))
    short = [each.level for each in levels if not each.short.agrees]
    long = [each.level for each in levels if not (each.long.agrees and each.long_from_data.agrees)]
    divergences = [each.reference_divergence for each in levels if each.reference_divergence is not None]
    apart = sum(divergences)
    verdict: Verdict = "samples its conditional densities"
    if short or (divergences and apart < APART):
        verdict = "not learned"
    elif long:
        verdict = "short-run sampler"
    rates = [each.acceptance_rate for each in levels]
    applied = "accepts" if kernel.target_acceptance is not None else "is not applied; it would accept"
    reasons = [
        f"chains of {num_steps} transitions from the noisier image: {_agreement(short)}",
        f"chains of {LONG_RUN * num_steps} transitions, from there and from the data: {_agreement(long)}",
        f"the Metropolis–Hastings correction {applied} {min(rates):.2g} to {max(rates):.2g} of the proposals",
    ]
    if divergences and math.isfinite(apart):
        reasons.append(
            f"the conditional densities and those of the references are {max(apart, 0):.3g} nats apart, by the "
            f"Kullback–Leibler divergences in both directions (learned: at least {APART:g})"
        )
    protocol = (
        f"{len(images)} evenly spaced images with noise of each level, and their chains; chains agree with the data if "
        f"the noise that they remove is within {AGREES:.0%} of what was added, and their mean log-density given the "
        f"noisier image within {NEAR:g} standard deviation of the data's"
    )
    return RecoveryDiagnosis(verdict, tuple(reasons), protocol, len(images), num_steps, levels)


def _agreement(failing: list[int]) -> str:
    return f"disagree with the data at levels {', '.join(map(str, failing))}" if failing else "agree with the data"


def _level(
    model: DescriptorLadder,
    t: int,
    kernel: mcmc.Kernel,
    num_steps: int,
    images: Tensor,
    labels: Tensor | None,
    rng: torch.Generator,
) -> LevelDiagnosis:
    sigma = model.ladder.sigma(t + 1)
    y, x_next = model.ladder.diffuse(images, t, rng, model.noise)
    held = model.held(y)
    descriptor, log_density, kernel, _, y_start = chains_given(model, t, kernel, x_next, rng, labels, held)
    with frozen(descriptor):
        exact = mcmc.init(log_density, y, 1.0).log_density
        short, info = mcmc.run(kernel, log_density, y_start, num_steps=num_steps, rng=rng)
        rest = (LONG_RUN - 1) * num_steps
        long, _ = mcmc.run(kernel, log_density, short.position, num_steps=rest, rng=rng)
        from_data, _ = mcmc.run(kernel, log_density, y, num_steps=LONG_RUN * num_steps, rng=rng)

        begins = model.posterior(t, x_next, labels) is not None  # with draws from p₀
        apart = descriptor(with_held(long.position, held)) - descriptor(with_held(y_start, held))
        divergence = float(apart.mean()) if begins else None

    def compare(state: mcmc.State) -> Comparison:
        difference = x_next - with_held(state.position, held)
        removed = 2 * model.noise_energy(difference).mean() / (images[0].numel() * sigma**2)
        return Comparison(float(removed), float((exact.mean() - state.log_density.mean()) / exact.std()))

    rate = float(info.acceptance_rate.mean())
    return LevelDiagnosis(t, sigma, rate, compare(short), compare(long), compare(from_data), divergence)
