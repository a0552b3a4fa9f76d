"""How a check decides: a statistic in units of its threshold, twice, and `Caught` where both runs are beyond it.

What the first run finds suspicious, at 4 standard errors or p ≤ 1e-4, an independent second run must find again. The
chance of a false alarm is the square of a single run's (`false_alarms`).
"""

import math
import warnings
from collections.abc import Callable

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next version at import
    import arviz

SIGMAS = 4.0
LEVEL = 1e-4
MIN_ESS = 400  # below it a comparison has no power and counts as failed


class Caught(AssertionError):
    """A check failed: by how many times its threshold a statistic is off. What is exact fails infinitely."""

    def __init__(self, message: str, strength: float = math.inf):
        super().__init__(f"{message} ({strength:.3g} times the threshold)")
        self.strength = strength


def twice(found: Callable[[int], tuple[np.ndarray, np.ndarray]], what: str, seed: int) -> None:
    """Fails where both of two independent runs are beyond the threshold.

    Args:
        found: seed → each comparison's statistic in units of its threshold, and its name.
    """
    first, names = found(2 * seed)
    if not (suspicious := ~(np.abs(first) <= 1)).any():
        return
    second, _ = found(2 * seed + 1)
    confirmed = suspicious & ~(np.abs(second) <= 1)
    if confirmed.any():
        least = np.nan_to_num(np.minimum(np.abs(first), np.abs(second)), nan=math.inf, posinf=math.inf)
        worst = np.where(confirmed, least, 0).argmax()
        raise Caught(f"{what}: {names[worst]}", float(least[worst]))


def mean_error(values: np.ndarray) -> tuple[float, float]:
    """A mean over (draws, chains) and its Monte Carlo standard error sd/√ESS, the ESS by arviz."""
    return float(values.mean()), float(arviz.mcse(np.ascontiguousarray(values.T), method="mean"))


def strength_of_p(p: list[float]) -> np.ndarray:
    """log p / log 1e-4: above 1 where p is below the level."""
    return np.log(np.maximum(p, 1e-300)) / math.log(LEVEL)
