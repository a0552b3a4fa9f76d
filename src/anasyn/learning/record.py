"""What one iteration reports, and the error that is raised where it must not be accepted."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

__all__ = ["Divergence", "Record", "Watch", "gradient_norm", "require_finite"]


@dataclass(frozen=True)
class Record:
    """The numbers of one iteration; a line of ``metrics.jsonl``.

    Those of `of` are read when the first of them is asked for: only then is the device waited for.
    """

    loss: float
    acceptance_rate: float  # mean over the chains
    step_size: float  # geometric mean over the chains
    measures: dict[str, float]  # the learner's own
    iteration: int = 0
    seconds: float = 0.0
    events: tuple[str, ...] = ()  # messages for the user
    rolled_back: bool = False  # learning went back to just before this iteration, from this one or a later one

    @classmethod
    def of(cls, *, loss: Tensor, acceptance_rate: Tensor, step_size: Tensor, **measures: Tensor) -> Self:
        """The record of these scalar tensors, which are copied from their device in one transfer."""
        scalars = torch.stack([x.detach().double() for x in (loss, acceptance_rate, step_size, *measures.values())])
        record = object.__new__(cls)
        record.__dict__["_unread"] = tuple(measures), scalars
        return record

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ("loss", "acceptance_rate", "step_size", "measures"):
                raise AttributeError(name)
            names, scalars = self.__dict__.pop("_unread")
            first, second, third, *rest = scalars.tolist()
            measures = dict(zip(names, rest, strict=True))
            self.__dict__.update(loss=first, acceptance_rate=second, step_size=third, measures=measures)
            return self.__dict__[name]


class Divergence(RuntimeError):
    """Learning has diverged. The message names the cause.

    Args:
        cause: what is wrong, with its number.
        advice: what to change in another run.
        record: the numbers of the iteration that diverged, if there are any.
        updated: whether the divergence was found only after the weights had changed.
    """

    def __init__(self, cause: str, advice: str = "", record: Record | None = None, updated: bool = False):
        super().__init__(cause)
        self.advice = advice
        self.record = record
        self.updated = updated


Watch = Callable[[Record], Record]
"""Is given an iteration's record before weights and chains change; raises `Divergence` if they must not.

It returns the record of all processes' images, if several learn together, and makes the gradients those of all."""


def require_finite(record: Record) -> Record:
    """The least strict `Watch`: raises `Divergence`, naming the record's numbers that are not finite."""
    numbers = {"loss": record.loss, "step_size": record.step_size, **record.measures}
    broken = [f"{name} = {value}" for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise Divergence(", ".join(broken), "a smaller step size or learning rate, or kernel mala", record)
    return record


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """‖∂ loss / ∂ weights‖ over all parameters, a scalar tensor."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
