"""The rule that decides whether a descriptor is a density, a short-run sampler, or not learned."""

import math
from dataclasses import dataclass
from typing import Literal

from ..methods.synthesis import LONG_RUN

__all__ = ["APART", "HELD", "LEARNED", "STAYS", "STEIN", "Distances", "Verdict", "judge"]

Verdict = Literal["density", "short-run sampler", "not learned"]

LEARNED = 0.5
"""Synthesised images count as learned below this share of the way from the data to their mean colours."""

STAYS = 0.25
"""Likewise, long chains of a density end below this share; more is allowed for few images, see `judge`."""

HELD = 0.5
"""If chains start near the data, f holds them there below this share of the way that noise alone would take them."""

STEIN = 2.0
"""Factor by which −E[y · ∇ log p]/D may differ from 1 at the end of long chains that count as draws from p."""

APART = 10.0
"""Nats by which p_θ and p₀ differ, by the Kullback–Leibler divergences in both directions, if f has learned anything.

Of two Gaussians of equal covariance with this divergence, f would assign 6 % of the draws to the wrong one."""


@dataclass(frozen=True)
class Distances:
    """Sliced Wasserstein distances × 10³ to the data; infinite after a chain was no longer finite."""

    noise: float  # of the data with the noise of learning: the least possible distance
    halves: float  # of one half of the images to the other: what new images from the same density would have
    mean_colour: float  # of each image's mean colour: what a model of the colours alone would have
    starts: float  # of the learner's starts
    synthesized: float  # of the chains from the starts, after one training length
    data_short: float  # of the chains from the data, after one training length
    data_long: float  # of the chains from the data, after `LONG_RUN` training lengths
    starts_long: float  # of the chains from the starts, after `LONG_RUN` training lengths
    noise_long: float  # of the chains from the model's reference, after `LONG_RUN` training lengths
    diffused_short: float  # of the data after one training length of the kernel's noise without a density
    diffused_long: float  # of the data after `LONG_RUN` training lengths of it

    def share(self, distance: float) -> float:
        """A distance on a scale from 0, `noise`, to 1, `mean_colour`."""
        return (distance - self.noise) / max(self.mean_colour - self.noise, 1e-9)


def judge(
    distances: Distances, stein: tuple[float, float], divergence: float, *, same: bool, earned: bool = False
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and its reasons in words. Shares are of the way from the data, 0, to their mean colours, 1.

        density             both long runs end below the share `STAYS`, or, for few images, that of one half of the
                            data to the other, but at most `LEARNED`; Stein's ratios are within `STEIN` of 1; and a
                            two-sample test does not tell the two apart
        short-run sampler   otherwise, if the images synthesised at the training length are below `LEARNED`
        not learned         otherwise, and wherever p_θ is less than `APART` from its reference, which may be near the
                            data itself

    If the starts are below `LEARNED` themselves, as for persistent chains or contrastive divergence, being near the
    data shows something only if noise alone would have taken the chains away: their share must also be below `HELD`
    times that of the data diffused by noise alone.

    This is not asked where the chains' starts have never been images, and being near the data is learned: those of a
    generator that has learned from the descriptor alone, and those of persistent chains from a fitted reference.

    Args:
        distances: to the data.
        stein: −E[y · ∇ log p]/D at the end of the long runs, from the data and from the starts.
        divergence: of p_θ and p₀, in nats; NaN or infinite if long chains from p₀ are not finite.
        same: whether the ends of the two are not told apart; with a fitted reference, nor those of chains from it.
        earned: whether the starts have never been images.
    """
    share = distances.share
    synthesized, starts = share(distances.synthesized), share(distances.starts)
    data_long, starts_long = share(distances.data_long), share(distances.starts_long)
    near = starts < LEARNED and not earned
    held_short = not near or synthesized < HELD * share(distances.diffused_short)
    held_long = not near or max(data_long, starts_long) < HELD * share(distances.diffused_long)
    # Long chains forget their images: they shall be as near to the data as other images, not repeat them.
    bound = min(max(STAYS, share(distances.halves)), LEARNED)
    stays = max(data_long, starts_long) < bound and held_long
    at_rest = all(1 / STEIN < ratio < STEIN for ratio in stein)
    differs = not divergence < APART  # NaN is no sign that f has learned nothing
    learned = synthesized < LEARNED and held_short and differs

    is_density = stays and at_rest and same and differs
    verdict: Verdict = "density" if is_density else "short-run sampler" if learned else "not learned"
    reasons = [
        f"at the training length, synthesised images are {_percent(synthesized)} of the way from the data to their "
        f"mean colours (learned: below {LEARNED:.0%})",
        f"after {LONG_RUN} training lengths, chains from the data are {_percent(data_long)} of that way, and chains "
        f"from the starts {_percent(starts_long)} (a density: both below {bound:.0%}), and chains from noise "
        f"{_percent(share(distances.noise_long))}",
    ]
    if near:
        alone = f"{_percent(share(distances.diffused_short))} and {_percent(share(distances.diffused_long))}"
        how = (
            "f holds the chains there" if (held_long if stays else held_short) else "there is no sign that f holds them"
        )
        reasons.append(
            f"the starts are near the data already ({_percent(starts)}); noise alone would take chains to {alone} "
            f"after 1 and {LONG_RUN} training lengths: {how}"
        )
    if stays and not at_rest:
        ratios = f"{stein[0]:.2f} and {stein[1]:.2f}"
        reasons.append(
            "long chains stay near the data, but are not draws from the density: "
            f"Stein's ratios {ratios} are not within a factor of {STEIN:g} of 1"
        )
    if stays and not same:
        reasons.append("long chains stay near the data, but have not forgotten where they started")
    if math.isfinite(divergence):
        reasons.append(
            f"the density and its reference are {max(divergence, 0):.3g} nats apart, by the Kullback–Leibler "
            f"divergences in both directions (learned: at least {APART:g})"
        )
    return verdict, tuple(reasons)


def _percent(share: float) -> str:
    return f"{max(share, 0):.0%}" if math.isfinite(share) else "∞ %"
