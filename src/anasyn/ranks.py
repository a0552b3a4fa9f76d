"""What all processes that learn together know: sums over them. One process alone is given what it gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["TIMEOUT", "LostProcess", "agreed", "broadcast", "count", "gathered", "leave", "limit", "rank", "together",
           "total", "total_of"]  # fmt: skip

TIMEOUT = timedelta(minutes=5)  # while they learn, a process that does not answer for so long counts as lost
_learning: list[Any] = []  # the group with that limit, once learning has begun


class LostProcess(RuntimeError):
    """Another process has ended, or does not answer."""


def count() -> int:
    """The number of processes that learn together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0 to `count` − 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def limit() -> None:
    """From here on, another process must answer within `TIMEOUT`; before, it may still be reading its images."""
    if count() > 1:
        with _answered():
            _learning.append(dist.new_group(timeout=TIMEOUT))


def leave() -> None:
    """From here on, this process is alone."""
    if dist.is_initialized():
        dist.destroy_process_group()
        _learning.clear()


def total(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The sums of these tensors over all processes; each has the same shape, and all have one dtype."""
    if count() == 1:
        return tensors
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    with _answered():
        dist.all_reduce(flat, group=_group())
    parts = flat.split([tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def total_of(number: int) -> int:
    """The sum of a number over all processes."""
    return int(total(torch.tensor(number))[0])


def gathered(tensor: Tensor) -> Tensor:
    """The tensors of all processes, (count, *shape); they have the same shape and dtype."""
    if count() == 1:
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(count())]
    with _answered():
        dist.all_gather(parts, tensor.contiguous(), group=_group())
    return torch.stack(parts)


def together(value: Any) -> list[Any]:
    """What each process gives, in their order: any objects that pickle can copy."""
    if count() == 1:
        return [value]
    values = [None] * count()
    with _answered():
        dist.all_gather_object(values, value, group=_group())
    return values


def broadcast(*tensors: Tensor) -> None:
    """Copies the first process's values into these tensors of all processes."""
    if count() > 1:
        for tensor in tensors:
            with _answered():
                dist.broadcast(tensor, 0, group=_group())


@contextmanager
def agreed(*kinds: type[Exception]) -> Iterator[None]:
    """Waits until all processes have done this block. If it fails in some, the first process raises the error of one.

    The others then raise `LostProcess`.

    Args:
        kinds: the errors that may happen in a part of the processes.
    """
    fault: Exception | None = None
    try:
        yield
    except kinds as error:
        fault = error
    for each in together(fault):
        if each:
            raise each if rank() == 0 else LostProcess("the first process says why")


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo and NCCL raise where a connection is closed or the time is over
        raise LostProcess(str(error).splitlines()[0]) from error


def _group() -> Any:
    return _learning[-1] if _learning else None
