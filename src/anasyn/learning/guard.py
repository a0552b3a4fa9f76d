"""Divergence is news: it stops the learning before the weights change, and is told with its cause."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .record import Record

__all__ = ["Divergence", "gradient_norm", "require_finite"]


class Divergence(RuntimeError):
    """Learning cannot go on: something is not finite. The message names it."""


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """‖∂ loss / ∂ weights‖ over all parameters, a scalar tensor."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def require_finite(record: Record) -> None:
    """Raises `Divergence` naming the record's numbers that are not finite; called before the weights change."""
    numbers = {"loss": record.loss, "step_size": record.step_size, **record.measures}
    broken = [f"{name} = {value}" for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise Divergence(", ".join(broken))
