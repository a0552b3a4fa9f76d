"""Chains of images as they run in learning, from their starts through its number of transitions."""

import torch
from torch import Tensor

from .. import mcmc
from ..processor import frozen
from .method import Synthesis

__all__ = ["LONG_RUN", "synthesize", "trajectory"]

LONG_RUN = 10
"""The length of a long run, in training lengths: after it chains are to be draws from the learned density."""


def synthesize(synthesis: Synthesis, index: Tensor, images: Tensor, *, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The starts and the ends of these images' chains; the arguments are those of `trajectory`."""
    frames = trajectory(synthesis, index, images, num_frames=1, rng=rng)
    return frames[0], frames[-1]


def trajectory(synthesis: Synthesis, index: Tensor, images: Tensor, *, num_frames: int, rng: torch.Generator) -> Tensor:
    """The chains of these images at the start and after equal numbers of transitions, (num_frames + 1, n, c, H, W).

    Args:
        synthesis: a learned density, whose weights and chains stay unchanged.
        index: the images' places in the data set, (n,).
        images: (n, c, H, W) in [−1, 1].
        num_frames: frames after the start.
        rng: on the images' device.

    Raises:
        ValueError: ``num_frames`` does not divide the number of transitions.
    """
    thin, rest = divmod(synthesis.num_steps, num_frames)
    if rest:
        raise ValueError(f"num_frames: expected a divisor of {synthesis.num_steps}, got {num_frames}")
    kernel, start = synthesis.first_chains(index, images, rng)
    with frozen(synthesis.model):
        frames = mcmc.draws(kernel, synthesis.model.log_density, start, num_draws=num_frames, rng=rng, thin=thin)
    return torch.cat([start[None], frames])
