"""Whether long chains from different starts have forgotten where they started."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ..evaluation import feature_space, features, same_distribution
from ..methods.synthesis import LONG_RUN

__all__ = ["LEVEL", "Agreement", "agreement"]

LEVEL = 0.05
"""Of the three comparisons together (Bonferroni): the probability that equal distributions are told apart."""


@dataclass(frozen=True)
class Agreement:
    """p-values of the two-sample tests between long chains from three starts; 0 if chains are not finite."""

    data_start: float  # from the data, and from where the learner's chains start
    data_noise: float  # from the data, and from the model's reference
    start_noise: float

    @property
    def same(self) -> bool:
        """Whether chains from the data and from the learner's starts are not told apart."""
        return not _told_apart(self.data_start)

    @property
    def forgotten(self) -> bool:
        """Whether chains from the data and from the model's reference are not told apart."""
        return not _told_apart(self.data_noise)

    def reasons(self) -> Iterator[str]:
        """The results in words."""
        found = {"the data and the starts": self.data_start, "the data and noise": self.data_noise}
        for starts, p in (found | {"the starts and noise": self.start_noise}).items():
            result = "told apart" if _told_apart(p) else "not told apart"
            yield (
                f"after {LONG_RUN} training lengths, chains from {starts} are {result} by a two-sample test "
                f"(p = {p:.2g}; the energy distance of random features, level {LEVEL:.0%} for three tests)"
            )


def _told_apart(p: float) -> bool:
    return p < LEVEL / 3


def agreement(from_data: Tensor | None, from_starts: Tensor | None, from_noise: Tensor | None) -> Agreement:
    """Tests whether the ends of long chains from three starts have the same distribution.

    Args:
        from_data, from_starts, from_noise: uint8, (n, c, H, W); None if a chain was no longer finite.
    """
    rng = torch.Generator().manual_seed(0)
    ends = (from_data, from_starts, from_noise)
    shape = next((end.shape[1:] for end in ends if end is not None), None)
    if shape is None:
        return Agreement(0.0, 0.0, 0.0)
    network = feature_space("random", (shape[0], shape[1], shape[2])).network
    points = [None if end is None else features(network, end) for end in ends]
    pairs = combinations(points, 2)
    return Agreement(*(0.0 if x is None or y is None else same_distribution(x, y, rng=rng) for x, y in pairs))
