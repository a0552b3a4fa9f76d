"""Random numbers without stored state: each draw's generator is derived from (seed, purpose, iteration)."""

import hashlib

import torch
from torch import Tensor

__all__ = ["derive", "standard_normal", "uniform"]


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


def standard_normal(like: Tensor, rng: torch.Generator) -> Tensor:
    """N(0, I) noise of the shape, dtype, device and memory format of ``like``.

    PyTorch fills a channels-last tensor number by number on a CPU, eight times slower than a flat one:
    the noise is drawn flat and viewed in ``like``'s order.
    """
    flat = torch.randn(like.numel(), generator=rng, dtype=like.dtype, device=like.device)
    return flat.as_strided(like.shape, torch.empty_like(like).stride())


def uniform(like: Tensor, rng: torch.Generator) -> Tensor:
    """Numbers uniform over [0, 1) of the shape, dtype and device of ``like``."""
    return torch.rand(like.shape, generator=rng, dtype=like.dtype, device=like.device)
