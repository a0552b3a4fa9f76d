"""Random numbers without stored state: each draw's generator is derived from (seed, purpose, iteration)."""

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Drawn", "Rng", "derive", "draw", "standard_normal", "threefry", "uniform"]


def derive(
    seed: int, purpose: str, iteration: int = 0, process: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator of one purpose at one iteration of one process.

    Two different tuples give streams that are independent for all practical purposes (SHA-256 of the
    tuple is the seed), so a run that is resumed needs its counters only.

    Args:
        seed: the run's seed.
        purpose: what the numbers are for, e.g. ``"langevin"``.
        iteration: the iteration they are drawn in.
        process: the rank of the process that draws them.
        device: where they are drawn.
    """
    digest = hashlib.sha256(repr((seed, purpose, iteration, process)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little"))


class Drawn(NamedTuple):
    """The numbers of one MCMC transition, drawn ahead: what stands for a generator inside a compiled function."""

    normal: Tensor  # of the position's shape
    uniform: Tensor | None  # one a chain, (n,); None for a kernel that makes no test


Rng = torch.Generator | Drawn
"""Where a transition's random numbers come from."""


def standard_normal(like: Tensor, rng: Rng) -> Tensor:
    """N(0, I) noise of the shape, dtype, device and memory format of ``like``.

    PyTorch fills a channels-last tensor number by number on a CPU, eight times slower than a flat one:
    the noise is drawn flat and viewed in ``like``'s order.
    """
    if isinstance(rng, Drawn):
        return rng.normal
    flat = torch.randn(like.numel(), generator=rng, dtype=like.dtype, device=like.device)
    return flat.as_strided(like.shape, torch.empty_like(like).stride())


def uniform(like: Tensor, rng: Rng) -> Tensor:
    """Numbers uniform over [0, 1) of the shape, dtype and device of ``like``."""
    if isinstance(rng, Drawn):
        assert rng.uniform is not None
        return rng.uniform
    return torch.rand(like.shape, generator=rng, dtype=like.dtype, device=like.device)


def draw(key: Tensor, num: int, tests: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Normal numbers for ``num`` transitions of chains at ``like``, (num, n, *event), and uniform ones, (tests, n).

    Uniform numbers are multiples of 2^(−24), and normal ones made of them in pairs (Box and Muller 1958), so that none
    is beyond 5.8: as PyTorch's own are in float32.

    Args:
        key: (2,) int32, of which the numbers are a function.
    """
    size = like.numel()
    u, v = uniform_pairs(key, 0, -(-num * size // 2), like)
    radius, angle = (-2 * (1 - u).log()).sqrt(), 2 * math.pi * v
    normal = torch.cat([radius * angle.cos(), radius * angle.sin()])
    uniform, _ = uniform_pairs(key, 1, tests * len(like), like)
    in_order = normal.as_strided((num, *like.shape), (size, *torch.empty_like(like).stride()))
    return in_order, uniform.view(tests, len(like))


def uniform_pairs(key: Tensor, stream: int, num: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Two times ``num`` numbers uniform over [0, 1), (num,), of the dtype and device of ``like``."""
    place = torch.arange(num, dtype=torch.int32, device=like.device)
    words = threefry(key, place, torch.full_like(place, stream))
    u, v = (((word >> 8) & 0xFFFFFF).to(like.dtype) * 2.0**-24 for word in words)
    return u, v


def threefry(key: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Threefry-2x32 in 20 rounds: the counter (first, second) enciphered by the key, two words of 32 random bits.

    A function of its arguments alone, made of additions, rotations and exclusive ors: compiled, it runs on every
    core, sixteen words at a time, where a Mersenne twister makes one after the other.

    Args:
        key: (2,) int32.
        first, second: the counter, int32 of one shape.

    Source: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
    """
    keys = key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA
    first, second = first + keys[0], second + keys[1]
    for turn in range(5):
        for bits in (13, 15, 26, 6) if turn % 2 == 0 else (17, 29, 16, 24):
            first = first + second
            second = (second << bits) | ((second >> (32 - bits)) & ((1 << bits) - 1))  # rotated
            second = second ^ first
        first, second = first + keys[(turn + 1) % 3], second + keys[(turn + 2) % 3] + (turn + 1)
    return first, second
