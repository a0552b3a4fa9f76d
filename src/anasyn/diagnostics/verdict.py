"""The rule by which a descriptor is called a density, a short-run sampler or not learned."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["HELD", "LEARNED", "STAYS", "STEIN", "Distances", "Verdict", "judge"]

Verdict = Literal["density", "short-run sampler", "not learned"]

LEARNED = 0.5
"""Share of the way from the data to their mean colours below which what is synthesised counts as learned."""

STAYS = 0.25
"""Likewise for the end of long chains; a density is the stronger claim. More is allowed of few images, see `judge`."""

HELD = 0.5
"""Where chains start near the data: the share of the way that noise alone would take them, below which f holds them."""

STEIN = 2.0
"""Factor by which −E[y · ∇ log p]/D may differ from 1 at the end of long chains that are draws from p."""


@dataclass(frozen=True)
class Distances:
    """Sliced Wasserstein distances × 10³ to the data; infinite where a chain was no longer finite."""

    noise: float  # of the data as learning sees them, other patches of them: as near as anything can be
    halves: float  # of every second image to the others: as near as other images from the same density would be
    mean_colour: float  # of each image's mean colour: as far as what knows nothing but colours
    starts: float  # of the learner's starts
    synthesized: float  # of the chains from the starts, after one training length
    data_short: float  # of the chains from the data, after one training length
    data_long: float  # after ten
    starts_long: float  # of the chains from the starts, after ten
    diffused_short: float  # of the data after one training length of the kernel's noise alone
    diffused_long: float  # after ten

    def share(self, distance: float) -> float:
        """Where a distance lies between the data's own, 0, and their mean colours', 1."""
        return (distance - self.noise) / max(self.mean_colour - self.noise, 1e-9)


def judge(distances: Distances, stein: tuple[float, float]) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and its reasons in words.

        density             both long runs end within `STAYS`, and Stein's ratios within a factor `STEIN` of 1;
                            of few images, within the distance of one half of the data to the other, to `LEARNED`
        short-run sampler   else, if what is synthesised at the training length is within `LEARNED`
        not learned         else

    of the way from the data to their mean colours. Where the starts themselves are within `LEARNED`, as those of
    persistent chains or of contrastive divergence, that chains are near the data shows nothing unless noise alone
    would have taken them away: they must be within `HELD` of its way too.

    Args:
        distances: to the data.
        stein: −E[y · ∇ log p]/D at the end of the long runs, from the data and from the starts.
    """
    share = distances.share
    synthesized, starts = share(distances.synthesized), share(distances.starts)
    data_long, starts_long = share(distances.data_long), share(distances.starts_long)
    near = starts < LEARNED
    held_short = not near or synthesized < HELD * share(distances.diffused_short)
    held_long = not near or max(data_long, starts_long) < HELD * share(distances.diffused_long)
    # Long chains forget their images: they are to be like the data, not to be the data.
    bound = min(max(STAYS, share(distances.halves)), LEARNED)
    stays = max(data_long, starts_long) < bound and held_long
    at_rest = all(1 / STEIN < ratio < STEIN for ratio in stein)
    learned = synthesized < LEARNED and held_short

    verdict: Verdict = "density" if stays and at_rest else "short-run sampler" if learned else "not learned"
    reasons = [
        f"at the training length synthesised images are {_percent(synthesized)} of the way from the data to their "
        f"mean colours (learned: below {LEARNED:.0%})",
        f"after ten training lengths chains from the data are {_percent(data_long)} of that way, those from the starts "
        f"{_percent(starts_long)} (a density: both below {bound:.0%})",
    ]
    if near:
        alone = f"{_percent(share(distances.diffused_short))} and {_percent(share(distances.diffused_long))}"
        how = "f holds the chains there" if (held_long if stays else held_short) else "nothing shows that f holds them"
        reasons.append(
            f"the starts are near the data already ({_percent(starts)}); noise alone would lead to {alone} "
            f"after one and ten lengths: {how}"
        )
    if stays and not at_rest:
        ratios = f"{stein[0]:.2f} and {stein[1]:.2f}"
        reasons.append(
            "long chains stay with the data, but not as draws from the density: "
            f"Stein's ratios {ratios} are not within a factor {STEIN:g} of 1"
        )
    return verdict, tuple(reasons)


def _percent(share: float) -> str:
    return f"{max(share, 0):.0%}" if math.isfinite(share) else "∞ %"
