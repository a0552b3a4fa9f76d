"""Random numbers without stored state: they follow from (seed, purpose, iteration) and, in learning, the image."""

import hashlib
import math
from functools import cached_property

import torch
from torch import Tensor

from .fusion import fused

__all__ = ["Rng", "Streams", "derive", "repeated", "rows_of", "standard_normal", "streams", "uniform", "unrelated"]

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's increment
MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))  # its shifts and factors


def derive(seed: int, purpose: str, iteration: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """The random generator for one purpose, such as ``"weights"``, at one iteration.

    It is seeded with the SHA-256 of the tuple, so that different tuples give streams that are independent for all
    practical purposes, and a resumed run needs no more than its seed and its iteration.
    """
    return torch.Generator(device).manual_seed(int.from_bytes(_digest(seed, purpose, iteration)[:8], "little"))


class Streams:
    """A stream of random numbers for each of n rows, such as a batch's images.

    The numbers of a row depend on its key alone: not on the other rows, and so not on how many processes share them.

    On a CPU each row has a generator of PyTorch's. On a GPU, where a call for each row would cost more than a
    transition, the j-th 64 bits of a row's c-th draw are the j-th output of SplitMix64 from the state mix(key + c).

    Args:
        keys: of the rows, int64 (n,); they determine the device.
        other: the key of what belongs to no row, see `unrelated`.

    Source: Steele, Lea and Flood 2014, *Fast splittable pseudorandom number generators*.
    """

    def __init__(self, keys: Tensor, other: int):
        self.keys = keys
        self.other = other
        self.calls = 0

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One for each row."""
        return [torch.Generator().manual_seed(key % 2**64) for key in self.keys.tolist()]

    def states(self) -> Tensor:
        """Where every row's next draw begins, (n, 1)."""
        self.calls += 1
        return _mixed(self.keys + self.calls)[:, None]


Rng = torch.Generator | Streams
"""A source of random numbers: one for all rows of a batch, or a stream for each."""


def streams(seed: int, purpose: str, iteration: int, rows: Tensor) -> Streams:
    """A stream for each of these rows, (n,): the images' places in the data set, whichever process they are in."""
    digest = _digest(seed, purpose, iteration)
    key, other = (int.from_bytes(part, "little", signed=True) for part in (digest[:8], digest[8:16]))
    return Streams(_mixed(key ^ _mixed(rows + 1)), other)


def rows_of(rng: Rng, index: Tensor | slice) -> Rng:
    """The streams of some rows; the source itself if it is one for all."""
    return Streams(rng.keys[index], rng.other) if isinstance(rng, Streams) else rng


def repeated(rng: Rng, times: int) -> Rng:
    """``times`` streams for each row, side by side; the source itself if it is one for all, or ``times`` is 1."""
    if times == 1 or not isinstance(rng, Streams):
        return rng
    return Streams(_mixed(rng.keys[:, None] + GOLDEN * _places(times, rng.keys)).flatten(), rng.other)


def unrelated(rng: Rng, num: int) -> Rng:
    """``num`` streams of rows that belong to no image, the same in every process; the source itself if it is one."""
    return Streams(_mixed(rng.other ^ _mixed(_places(num, rng.keys))), rng.other) if isinstance(rng, Streams) else rng


def standard_normal(like: Tensor, rng: Rng) -> Tensor:
    """N(0, I) noise of the shape, dtype, device and memory format of ``like``.

    On a CPU, PyTorch fills a channels-last tensor eight times more slowly than a contiguous one: the noise is drawn
    contiguously and viewed with the strides of ``like``.

    Raises:
        ValueError: there is a stream for each row, and ``like`` has another number of rows.
    """
    if not isinstance(rng, Streams):
        flat = torch.randn(like.numel(), generator=rng, dtype=like.dtype, device=like.device)
    elif _require_rows(like, rng).device.type == "cpu":
        flat = like.new_empty(len(like), math.prod(like.shape[1:]))
        for row, generator in zip(flat, rng.generators, strict=True):
            row.normal_(generator=generator)
    else:
        flat = counted_normal(like, rng)
    return flat.as_strided(like.shape, torch.empty_like(like).stride())


def uniform(like: Tensor, rng: Rng) -> Tensor:
    """Numbers uniform over [0, 1) of the shape, dtype and device of ``like``; raises as `standard_normal` does."""
    if not isinstance(rng, Streams):
        return torch.rand(like.shape, generator=rng, dtype=like.dtype, device=like.device)
    if _require_rows(like, rng).device.type == "cpu":
        numbers = torch.empty(like.shape, dtype=like.dtype)
        for row, generator in zip(numbers, rng.generators, strict=True):
            row.uniform_(generator=generator)
        return numbers
    return counted_uniform(like, rng)


def counted_normal(like: Tensor, rng: Streams) -> Tensor:
    """The next draw of every row as normal numbers, (n, k), of the dtype of ``like``."""
    num = math.prod(like.shape[1:])
    return _normal(rng.states(), GOLDEN * _places((num + 1) // 2, rng.keys), like.dtype)[:, :num].contiguous()


def counted_uniform(like: Tensor, rng: Streams) -> Tensor:
    """The next draw of every row as numbers uniform over [0, 1), of the shape and dtype of ``like``."""
    num = math.prod(like.shape[1:])
    return _uniform(rng.states(), GOLDEN * _places(num, rng.keys), like.dtype).view(like.shape)


@fused
def _normal(states: Tensor, places: Tensor, dtype: torch.dtype) -> Tensor:
    """Normal numbers, two for each state and place, by Box and Muller's method from halves of 64 bits."""
    bits = _mixed(states + places)
    first, second = (bits >> 33 & 2**31 - 1).to(dtype), (bits << 32 >> 32).to(dtype)  # 31 bits; 32 with a sign
    radius = (((first + 0.5) * 2**-31).log() * -2).sqrt()  # of numbers in (0, 1], when they are rounded, too
    angle = second * (math.pi * 2**-31)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)


@fused
def _uniform(states: Tensor, places: Tensor, dtype: torch.dtype) -> Tensor:
    """A number uniform over [0, 1) for each state and place."""
    return ((_mixed(states + places) >> 40).bitwise_and(2**24 - 1)).to(dtype) * 2**-24


def _require_rows(like: Tensor, rng: Streams) -> Tensor:
    if len(like) != len(rng.keys):
        raise ValueError(f"rng: expected an array of {len(rng.keys)} rows, got one of shape {tuple(like.shape)}")
    return like


def _digest(seed: int, purpose: str, iteration: int) -> bytes:
    return hashlib.sha256(repr((seed, purpose, iteration, 0)).encode()).digest()


def _places(num: int, like: Tensor) -> Tensor:
    return torch.arange(1, num + 1, device=like.device)


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's output function; masks make its shifts logical ones."""
    for shift, factor in MIXING:
        state = ((state >> shift & 2 ** (64 - shift) - 1) ^ state) * factor
    return (state >> 31 & 2**33 - 1) ^ state
