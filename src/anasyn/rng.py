"""Random numbers without stored state: every generator is derived from (seed, purpose, iteration, process)."""

import hashlib

import torch
from torch import Tensor

__all__ = ["derive", "standard_normal", "uniform"]


def derive(
    seed: int, purpose: str, iteration: int = 0, process: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The random generator for one purpose, such as ``"langevin"``, at one iteration of the process of one rank.

    It is seeded with the SHA-256 of the tuple, so that different tuples give streams that are independent for all
    practical purposes, and a resumed run needs no more than its seed and its iteration.
    """
    digest = hashlib.sha256(repr((seed, purpose, iteration, process)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little"))


def standard_normal(like: Tensor, rng: torch.Generator) -> Tensor:
    """N(0, I) noise of the shape, dtype, device and memory format of ``like``.

    On a CPU, PyTorch fills a channels-last tensor eight times more slowly than a contiguous one: the noise is drawn
    contiguously and viewed with the strides of ``like``.
    """
    flat = torch.randn(like.numel(), generator=rng, dtype=like.dtype, device=like.device)
    return flat.as_strided(like.shape, torch.empty_like(like).stride())


def uniform(like: Tensor, rng: torch.Generator) -> Tensor:
    """Numbers uniform over [0, 1) of the shape, dtype and device of ``like``."""
    return torch.rand(like.shape, generator=rng, dtype=like.dtype, device=like.device)
