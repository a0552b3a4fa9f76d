"""Where chains start and where they are kept between iterations, keyed by the image's index."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from .. import ranks
from ..memory import empty_rows, release
from ..rng import Rng, Streams, rows_of, standard_normal, uniform

__all__ = [
    "Chains",
    "ColdChains",
    "PersistentChains",
    "WarmChains",
    "data",
    "mean_image",
    "reference_noise",
    "uniform_noise",
]

AT_ONCE = 1024  # chains that are drawn at once

Start = Callable[[Tensor, Rng], Tensor]
"""Where chains begin, given the images they belong to: (n, *event), rng → (n, *event)."""


def mean_image(images: Tensor, rng: Rng) -> Tensor:
    """Starts at a uniform image of each image's mean colour. Draws nothing from ``rng``."""
    return images.mean((-2, -1), keepdim=True).expand_as(images).contiguous(memory_format=torch.channels_last)


def reference_noise(std: float) -> Start:
    """Starts drawn from the descriptor's reference density N(0, s² I), s = ``std``."""
    return lambda images, rng: std * standard_normal(images, rng)


def uniform_noise(images: Tensor, rng: Rng) -> Tensor:
    """Starts uniform over the range of the images, [−1, 1]."""
    return 2 * uniform(images, rng) - 1


def data(images: Tensor, rng: Rng) -> Tensor:
    """Starts at the images themselves. Draws nothing from ``rng``."""
    return images


class Chains(Protocol):
    """The chains of a data set, one for each index; each chain's step size is kept between iterations."""

    step_sizes: Tensor  # (n,), δ of each chain

    def allocate(self, num_chains: int, step_size: float | Tensor, like: Tensor, rng: Rng) -> None:
        """Creates ``num_chains`` chains, with the dtype and device of ``like``."""

    def start(self, index: Tensor, images: Tensor, rng: Rng) -> Tensor:
        """Where the chains of these images start in this iteration, (b, *event)."""

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        """Keeps where the chains ended, if it is needed, and their step sizes."""

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors that are kept, by name, not copied; one row for each chain."""


class WarmChains:
    """Each image's chain of z, (d,), starts at N(0, I_d) and continues from where it ended last; d = ``latent_dim``."""

    def __init__(self, latent_dim: int):
        self.latent_dim = latent_dim
        self._positions = torch.empty(0, latent_dim)
        self._undrawn: Rng | None = None  # where the positions are still to be drawn from
        self.step_sizes = torch.empty(0)

    def allocate(self, num_chains: int, step_size: float | Tensor, like: Tensor, rng: Rng) -> None:
        self._positions = empty_rows((num_chains, self.latent_dim), like)
        self._undrawn = rng
        self.step_sizes = _step_sizes(num_chains, step_size, like)
        if not isinstance(rng, Streams):  # but a generator, which others draw from, too
            self._draw()

    @property
    def positions(self) -> Tensor:
        """z, (n, d). Streams are drawn from when it is first asked for, which takes a while, or never: see `move`."""
        self._draw()
        return self._positions

    @positions.setter
    def positions(self, z: Tensor) -> None:
        self._positions, self._undrawn = z, None

    def _draw(self) -> None:
        if self._undrawn is None:
            return
        for first in range(0, len(self._positions), AT_ONCE):  # each row has a source of random numbers of its own
            part = slice(first, first + AT_ONCE)
            self._positions[part] = standard_normal(self._positions[part], rows_of(self._undrawn, part))
            release()
        self._undrawn = None

    def move(self, parts: Iterable[Tensor]) -> None:
        """Moves all chains to these z, some rows at a time, (·, k); where k < d, the last coordinates stay."""
        first = 0
        for z in parts:
            moved = self._positions if z.shape[1] == self.latent_dim else self.positions
            moved[first : first + len(z), : z.shape[1]] = z.to(moved)
            first += len(z)
            release()
        self._undrawn = None

    def start(self, index: Tensor, images: Tensor, rng: Rng) -> Tensor:
        return self.positions[index]

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        self.positions[index] = position
        self.step_sizes[index] = step_size

    def state_dict(self) -> dict[str, Tensor]:
        return {"positions": self.positions, "step_sizes": self.step_sizes}


class ColdChains:
    """Chains that start afresh in every iteration; only their step sizes are kept.

    Args:
        begin: where they start: `mean_image`, ``reference_noise(s)``, `uniform_noise` or `data`.
    """

    def __init__(self, begin: Start = mean_image):
        self.begin = begin
        self.step_sizes = torch.empty(0)

    def allocate(self, num_chains: int, step_size: float | Tensor, like: Tensor, rng: Rng) -> None:
        self.step_sizes = _step_sizes(num_chains, step_size, like)

    def start(self, index: Tensor, images: Tensor, rng: Rng) -> Tensor:
        return self.begin(images, rng)

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        self.step_sizes[index] = step_size

    def state_dict(self) -> dict[str, Tensor]:
        return {"step_sizes": self.step_sizes}


class PersistentChains:
    """Persistent contrastive divergence: a chain starts once, and then continues from where it ended last.

    Args:
        begin: where a chain starts, as for `ColdChains`.
        restart: probability that a chain starts anew instead of continuing: modes of the density that no image is in,
            which the persistent chains have left, are then found and removed.
        share: whether all chains have one step size, adapted by those of each iteration: with many chains, each moves
            too rarely to adapt its own.

    Source: Tieleman 2008; Du and Mordatch 2019 for the restarts.
    """

    def __init__(self, begin: Start = mean_image, restart: float = 0.0, share: bool = False):
        self.begin = begin
        self.restart = restart
        self.share = share
        self.positions = torch.empty(0)
        self.step_sizes = torch.empty(0)
        self.started = torch.empty(0, dtype=torch.bool)

    def allocate(self, num_chains: int, step_size: float | Tensor, like: Tensor, rng: Rng) -> None:
        self.positions = like.new_zeros((num_chains, *like.shape[1:]))
        self.step_sizes = _step_sizes(num_chains, step_size, like)
        self.started = torch.zeros(num_chains, dtype=torch.bool, device=like.device)

    def start(self, index: Tensor, images: Tensor, rng: Rng) -> Tensor:
        started = self.started[index]
        if self.restart:
            started = started & (uniform(self.step_sizes[index], rng) >= self.restart)
        started = started.view(-1, *[1] * (images.dim() - 1))
        position = torch.where(started, self.positions[index], self.begin(images, rng))
        return position.contiguous(memory_format=torch.channels_last) if position.dim() == 4 else position

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        self.positions[index] = position
        self.started[index] = True
        if self.share:
            self.step_sizes.fill_(geometric_mean(step_size))
        else:
            self.step_sizes[index] = step_size

    def state_dict(self) -> dict[str, Tensor]:
        return {"positions": self.positions, "step_sizes": self.step_sizes, "started": self.started}


def geometric_mean(step_sizes: Tensor) -> Tensor:
    """exp(mean log δ), (), over these chains and those of all other processes."""
    logs, num = ranks.total(step_sizes.log().sum(), torch.full_like(step_sizes[0], len(step_sizes)))
    return (logs / num).exp()


def _step_sizes(num_chains: int, step_size: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(step_size, dtype=like.dtype, device=like.device).expand(num_chains).clone()
