"""What one iteration tells."""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

__all__ = ["Record"]


@dataclass(frozen=True)
class Record:
    """The numbers of one iteration; a line of ``metrics.jsonl``."""

    loss: float
    acceptance_rate: float  # mean over the chains
    step_size: float  # geometric mean over the chains
    measures: dict[str, float]  # the learner's own
    iteration: int = 0
    seconds: float = 0.0
    events: tuple[str, ...] = field(default=())  # what the user is to be told
    rolled_back: bool = False  # to just before this iteration, from this one or a later one

    @classmethod
    def of(cls, *, loss: Tensor, acceptance_rate: Tensor, step_size: Tensor, **measures: Tensor) -> Self:
        """The record of these scalars, brought from their device in one transfer."""
        scalars = torch.stack([x.detach().double() for x in (loss, acceptance_rate, step_size, *measures.values())])
        first, second, third, *rest = scalars.tolist()
        return cls(first, second, third, dict(zip(measures, rest, strict=True)))
