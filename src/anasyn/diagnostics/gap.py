"""The energy gap d_t = mean f(data) − mean f(samples) over the iterations of learning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..evaluation import evenly

__all__ = ["Gap", "energy_gap"]

Finding = Literal["wanders around 0", "is one-signed", "is one-signed and grows", "drifts", "swings from side to side"]

ONE_SIDED = 0.9
"""Share of values of the same sign from which d_t counts as one-signed."""

TREND = 2.0
"""Trend over the window, in spreads, from which d_t counts as growing or falling."""

TOO_HIGH = -0.4
"""Autocorrelation at lag 1 below which the learning rate counts as too high."""

MAX_VALUES = 1000  # evenly spaced, for the slopes of all their pairs


@dataclass(frozen=True)
class Gap:
    """d_t over the second half of learning."""

    num: int  # iterations
    mean: float
    spread: float  # 1.4826 · median absolute deviation from the trend; the standard deviation if normal
    trend: float  # Theil–Sen slope times the length of the window, in spreads
    share_of_one_sign: float  # 0.5 to 1
    autocorrelation: float  # at lag 1, after removing the trend
    finding: Finding


def energy_gap(values: Sequence[float]) -> Gap | None:
    """Describes d_t in the second half of learning; None for fewer than 20 values, d_t of each iteration in order.

    It wanders around 0 while sampling and learning keep pace. If it is one-signed and grows, learning collapses; a
    strongly negative autocorrelation means that the learning rate is too high.

    Source: Nijkamp et al. 2020; Theil 1950, Sen 1968 for the slope.
    """
    if len(values) < 20:
        return None
    d = torch.tensor(values[len(values) // 2 :], dtype=torch.float64)
    t = torch.arange(len(d), dtype=torch.float64)
    chosen = evenly(len(d), MAX_VALUES)
    later, earlier = torch.triu_indices(len(chosen), len(chosen), 1).flip(0)
    slope = ((d[chosen[later]] - d[chosen[earlier]]) / (t[chosen[later]] - t[chosen[earlier]])).median()
    rest = d - slope * t
    rest = rest - rest.median()
    spread = float(1.4826 * rest.abs().median())
    trend = float(slope) * len(d) / spread if spread > 0 else 0.0
    share = float((d > 0).double().mean())
    one_sign = max(share, 1 - share)
    centred = rest - rest.mean()
    power = float((centred**2).sum())
    autocorrelation = float((centred[1:] * centred[:-1]).sum()) / power if power > 0 else 0.0
    mean = float(d.mean())
    finding: Finding
    if one_sign >= ONE_SIDED:
        finding = "is one-signed and grows" if trend * mean > 0 and abs(trend) >= TREND else "is one-signed"
    elif abs(trend) >= TREND:
        finding = "drifts"
    else:
        finding = "swings from side to side" if autocorrelation < TOO_HIGH else "wanders around 0"
    return Gap(len(d), mean, spread, trend, one_sign, autocorrelation, finding)
