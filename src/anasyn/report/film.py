"""A descriptor's chains on their way, as sprites a page can play, with the energy along them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import DescriptorLearner
from ..rng import derive
from ..run import trajectory
from . import pictures, sprites

__all__ = ["Film", "film", "num_frames", "packed"]

MOST_CHAINS = 10
LARGEST_TILE = 96  # pixels of a sprite
MOST_FRAMES = 60  # of images of 128 × 128 pixels or less; of larger ones as many as take no more memory


class Film(NamedTuple):
    """The chains of n images at equal numbers of transitions, as long as all of them are finite."""

    chosen: Tensor  # the images' places in the data set, (n,)
    steps: list[int]  # transitions done at each frame, from 0; t of them
    num_steps: int  # of the whole chains
    frames: Tensor  # (t, n, 3, H, W), not cut to [−1, 1]
    energy: Tensor  # (t, n), E(Y) but for a constant


def film(learner: DescriptorLearner, images: ImageSet, seed: int, *, most: int = MOST_CHAINS) -> Film:
    """Runs the chains of at most ``most`` images for the learner's number of transitions, and watches them."""
    device = next(learner.model.parameters()).device
    index = evenly(len(images), most).to(device)
    large = max(1, images.pixels[0, 0].numel() // 128**2)
    count = num_frames(learner.num_steps, max(5, MOST_FRAMES // large))
    observed = to_float(images.pixels[index.cpu()].to(device))
    frames = trajectory(learner, index, observed, num_frames=count, rng=derive(seed, "film", device=device))
    finite = frames.isfinite().flatten(1).all(1)
    frames = frames[: int(finite.int().cumprod(0).sum())]
    with torch.no_grad():
        energy = torch.stack([learner.model.energy(frame) for frame in frames])
    steps = list(range(0, learner.num_steps + 1, learner.num_steps // count))[: len(frames)]
    return Film(index.cpu(), steps, learner.num_steps, frames.cpu(), energy.cpu())


def num_frames(num_steps: int, most: int) -> int:
    """The largest divisor of the number of transitions that is at most ``most``."""
    return max(divisor for divisor in range(1, min(num_steps, most) + 1) if num_steps % divisor == 0)


def packed(watched: Film, images: ImageSet, most: int) -> dict[str, Any]:
    """What the page's player needs, as JSON can hold it; the sprites, chain by chain, take ``most`` bytes or less."""
    tile = min(watched.frames.shape[-1], LARGEST_TILE)
    ordered = to_uint8(watched.frames.transpose(0, 1).flatten(0, 1))
    small = torch.from_numpy(pictures.resized(ordered, tile)).permute(0, 3, 1, 2)
    observed = images.pixels[watched.chosen]
    return {
        "sprites": sprites.pack(small, most)._asdict(),
        "tile": tile,
        "steps": watched.steps,
        "num_steps": watched.num_steps,
        "chains": [
            {"name": images.names[i], "start": start, "training": training}
            for i, start, training in zip(
                watched.chosen.tolist(),
                pictures.singles(to_uint8(watched.frames[0]), tile),
                pictures.singles(observed, tile),
                strict=True,
            )
        ],
        "num": len(images),
        "synthesised": pictures.singles(to_uint8(watched.frames[-1]), 128),
        "observed": pictures.singles(observed, 128),
    }
