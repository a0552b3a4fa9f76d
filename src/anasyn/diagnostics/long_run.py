"""A descriptor's chains over many training lengths: their images, and statistics along the way.

The training length is the number of transitions with which the descriptor was learned.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..data import to_uint8
from ..mcmc import State
from ..mcmc.kernel import inner
from ..methods.synthesis import LONG_RUN
from ..models import Descriptor
from ..processor import frozen

__all__ = ["FRAMES", "LongRun", "Stein", "Watched", "stein", "watch"]

FRAMES = (0, 1, 2, 5, LONG_RUN)
"""When the long run is compared with the data and shown, in training lengths."""

RECORDS_PER_LENGTH = 10  # times that statistics are kept in one training length
STATISTICS = ("energy", "mean", "std", "outside", "stein", "acceptance_rate")


class Stein(NamedTuple):
    """Two identities that hold for draws from any density, each as a ratio that is 1 if it holds."""

    ratio: float  # −E[y · ∇ log p(y)] / D
    gradient: float  # n ‖mean ∇ log p‖² / mean ‖∇ log p‖²: 1 for n independent draws, n for n equal gradients


def stein(position: Tensor, gradient: Tensor) -> Stein:
    """Stein's identities E[y · ∇ log p] = −D and E[∇ log p] = 0 over n points, as ratios.

    Args:
        position: y, (n, *event).
        gradient: ∇ log p(y), (n, *event).
    """
    n, dim = len(position), position[0].numel()
    ratio = -inner(position, gradient).mean() / dim
    mean = gradient.mean(0, keepdim=True)
    square = n * inner(mean, mean)[0] / inner(gradient, gradient).mean()
    return Stein(float(ratio), float(square))


@dataclass(frozen=True)
class LongRun:
    """Chains from the data, first, and from the learner's starts, second, n of each, over many training lengths."""

    steps: tuple[int, ...]  # transitions done at each of the t times that statistics were kept, from 0
    energy: Tensor  # (2, t, n), E(Y) up to a constant
    mean: Tensor  # (2, t, n), of the pixels
    std: Tensor  # (2, t, n), of the pixels
    outside: Tensor  # (2, t, n), share of the pixels outside [−1, 1]
    stein: Tensor  # (2, t, n), −y · ∇ log p(y) / D, whose mean is 1 under p
    acceptance_rate: Tensor  # (2, t, n), mean since the previous time
    frame_steps: tuple[int, ...]  # transitions done at the frames
    frames: Tensor  # uint8 (2, frames, n, c, H, W)
    swd: tuple[tuple[float, ...], tuple[float, ...]]  # × 10³, of each frame to the data


class Watched(NamedTuple):
    """What `watch` recorded."""

    steps: list[int]
    statistics: dict[str, list[Tensor]]
    frames: list[Tensor]
    steins: list[tuple[Stein, Stein]]  # at the frames
    short_acceptance: Tensor  # (2, n), mean over the first training length
    diverged: int | None  # transitions after which a chain was no longer finite


def watch(model: Descriptor, kernel: mcmc.Kernel, num_steps: int, position: Tensor, rng: torch.Generator) -> Watched:
    """Runs 2n chains for `LONG_RUN` training lengths, or until one of them is no longer finite.

    Raises:
        ValueError: log p is not finite at the start.
    """
    every = max(1, num_steps // RECORDS_PER_LENGTH)
    watched = Watched([], {name: [] for name in STATISTICS}, [], [], torch.zeros(2, len(position) // 2), None)
    with frozen(model):
        state = mcmc.init(model.log_density, position, kernel.step_size)
        rate, rates, since = torch.zeros_like(state.log_density), torch.zeros_like(state.log_density), 0
        for t in range(LONG_RUN * num_steps + 1):
            if t > 0:
                state, info = kernel.step(model.log_density, state, rng)
                rate, since = rate + info.acceptance_rate, since + 1
                rates = rates + info.acceptance_rate
            if not (state.log_density.isfinite().all() and state.position.isfinite().all()):
                if t == 0:
                    raise ValueError("log_density: not finite at an image or at a start")
                return watched._replace(diverged=t, short_acceptance=_halves(rates / t).cpu())
            if t == num_steps:
                watched = watched._replace(short_acceptance=_halves(rates / num_steps).cpu())
            lengths, rest = divmod(t, num_steps)
            if rest % every == 0:
                watched.steps.append(t)
                for name, value in _statistics(state).items():
                    watched.statistics[name].append(_halves(value))
                watched.statistics["acceptance_rate"].append(_halves(rate / max(since, 1)))
                rate, since = torch.zeros_like(rate), 0
            if rest == 0 and lengths in FRAMES:
                watched.frames.append(to_uint8(state.position))
                halves = zip(state.position.chunk(2), state.gradient.chunk(2), strict=True)
                first, second = (stein(y, g) for y, g in halves)
                watched.steins.append((first, second))
    return watched


def _statistics(state: State) -> dict[str, Tensor]:
    pixels = state.position.flatten(1)
    return {
        "energy": -state.log_density,
        "mean": pixels.mean(1),
        "std": pixels.std(1),
        "outside": (pixels.abs() > 1).to(pixels.dtype).mean(1),
        "stein": -inner(state.position, state.gradient) / pixels.shape[1],
    }


def _halves(values: Tensor) -> Tensor:
    return values.unflatten(0, (2, -1))
