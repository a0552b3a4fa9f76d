"""Chains of images from start to end, as sprites that a page can play, with the energy along them."""

from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..methods import Synthesis
from ..methods.synthesis import trajectory
from ..rng import derive
from . import pictures, sprites

__all__ = ["Film", "film", "frame_steps", "packed"]

MOST_CHAINS = 10
LARGEST_TILE = 96  # pixels of a sprite's longer side
MOST_FRAMES = 60  # of images of 128 × 128 pixels; fewer where images are larger, for the same memory


class Film(NamedTuple):
    """The chains of n images at evenly spaced numbers of transitions, up to the last frame in which all are finite."""

    chosen: Tensor  # the images' indices in the data set, (n,)
    steps: list[int]  # transitions done at each of the t frames, from 0
    num_steps: int  # transitions of the whole chains
    frames: Tensor  # (t, n, c, H, W), not clamped to [−1, 1]
    energy: Tensor  # (t, n), E(Y) up to a constant
    proposed: bool  # whether the chains start at proposals, which belong to no image


def film(synthesis: Synthesis, images: ImageSet, seed: int, *, most: int = MOST_CHAINS) -> Film:
    """Runs the chains of at most ``most`` images for the model's number of transitions, and keeps their frames."""
    device = next(synthesis.model.parameters()).device
    index = evenly(len(images), most).to(device)
    large = max(1, images.shape[2] * images.shape[3] // 128**2)
    steps = frame_steps(synthesis.num_steps, max(5, MOST_FRAMES // large))
    observed = to_float(images.take(index.cpu()).to(device))
    rng = derive(seed, "film", device=device)
    frames = trajectory(synthesis, index, observed, num_frames=len(steps) - 1, rng=rng)
    finite = frames.isfinite().flatten(1).all(1)
    frames = frames[: int(finite.int().cumprod(0).sum())]
    with torch.no_grad():
        energy = torch.stack([synthesis.model.energy(frame) for frame in frames])
    steps = steps[: len(frames)]
    return Film(index.cpu(), steps, synthesis.num_steps, frames.cpu(), energy.cpu(), synthesis.proposed)


def frame_steps(num_steps: int, most: int) -> list[int]:
    """Equally spaced numbers of transitions from 0 to ``num_steps``: as many as possible, but at most ``most`` + 1."""
    spacing = next(k for k in count(1) if num_steps % k == 0 and num_steps <= most * k)
    return list(range(0, num_steps + 1, spacing))


def packed(watched: Film, images: ImageSet, most: int) -> dict[str, Any]:
    """The content of the page's player, as values that JSON can hold.

    Args:
        watched: the film.
        images: the training images.
        most: bytes that the sprites, frame by frame for each chain, may take.
    """
    height, width = pictures.fitted(watched.frames[0], LARGEST_TILE)
    ordered = to_uint8(watched.frames.transpose(0, 1).flatten(0, 1))
    small = torch.from_numpy(pictures.resized(ordered, LARGEST_TILE)).permute(0, 3, 1, 2)
    return {
        "sprites": sprites.pack(small, most)._asdict(),
        "tile": [width, height],
        "steps": watched.steps,
        "num_steps": watched.num_steps,
        "proposed": watched.proposed,
        "chains": [
            {"name": images.names[i], "start": start, "training": training}
            for i, start, training in zip(
                watched.chosen.tolist(),
                pictures.singles(to_uint8(watched.frames[0]), LARGEST_TILE),
                pictures.singles(images.take(watched.chosen), LARGEST_TILE),
                strict=True,
            )
        ],
    }
