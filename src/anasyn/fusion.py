"""Elementwise arithmetic on large tensors as one kernel of a GPU, in place of one for every operation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["fused", "fusing"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_active: ContextVar[bool] = ContextVar("fusing", default=False)


@contextmanager
def fusing(wanted: bool) -> Iterator[None]:
    """Inside, if it is wanted, every function that is `fused` is compiled for the shapes of its arguments, once."""
    token = _active.set(wanted)
    try:
        yield
    finally:
        _active.reset(token)


def fused(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function of tensors that is compiled by PyTorch where its callers ask for it by `fusing`.

    To rounding, its results are the same.
    """
    compiled: list[Callable[Arguments, Result]] = []  # at the first use: to import the compiler takes seconds

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not _active.get():
            return function(*args, **kwargs)
        if not compiled:
            compiled.append(torch.compile(function, dynamic=False))
        return compiled[0](*args, **kwargs)

    return call
