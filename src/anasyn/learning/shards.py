"""Which images an iteration learns from, and which of them each process has."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from .. import ranks
from ..errors import InputError
from ..models import DataSet, Stored
from ..rng import derive, streams
from .learner import Learner

__all__ = ["Shard", "batches", "begin"]


@dataclass(frozen=True)
class Shard:
    """The images that a process has, of n that are learned from in batches of b.

    The images are dealt in rows of b: image i is in column i mod b. An iteration learns from one image of each column,
    so that an image always has the same place in a batch. Each process has neighbouring columns: the images' chains
    are in one place, and every batch has about equally many images in each process, for any number of processes.

    Args:
        num_images: n.
        batch_size: b.
        first, last: the process has the columns from ``first`` up to, but without, ``last``.
    """

    num_images: int
    batch_size: int
    first: int
    last: int

    @classmethod
    def both(cls, num_images: int, num_held_out: int, batch_size: int) -> tuple[Self, Self]:
        """The part of this process of the training images, and of the held-out ones; both last for an epoch."""
        own = cls.own(num_images, batch_size)
        return own, cls.own(num_held_out, -(-num_held_out // own.num_batches))

    @classmethod
    def own(cls, num_images: int, batch_size: int) -> Self:
        """The part of this process. Batches are made about equally large, of at most ``batch_size`` images."""
        b = -(-num_images // -(-num_images // batch_size)) if num_images else 0
        r, count = ranks.rank(), ranks.count()
        return cls(num_images, b, r * b // count, (r + 1) * b // count)

    @property
    def num_batches(self) -> int:
        """Iterations in an epoch."""
        return -(-self.num_images // self.batch_size) if self.num_images else 0

    @cached_property
    def places(self) -> Tensor:
        """The places of this process's images in the data set, in increasing order."""
        places = torch.arange(self.num_images)
        if self.width == self.batch_size:
            return places
        column = places % self.batch_size
        return places[(self.first <= column) & (column < self.last)]

    @property
    def width(self) -> int:
        """The number of columns that the process has."""
        return self.last - self.first

    def part(self, images: DataSet, device: torch.device) -> DataSet:
        """This process's images of a data set; those in memory, on a device."""
        whole = self.width == self.batch_size
        if isinstance(images, Stored):
            return images if whole else images.only(self.places)
        return (images if whole else images[self.places]).to(device)

    def __len__(self) -> int:
        full, rest = divmod(self.num_images, self.batch_size) if self.batch_size else (0, 0)
        return full * self.width + min(max(rest - self.first, 0), self.width)

    def among(self, places: Tensor) -> Tensor:
        """The places among this process's images of images at these places in the data set; −1 for others' images."""
        row, column = places // max(self.batch_size, 1), places % max(self.batch_size, 1)
        own = (self.first <= column) & (column < self.last) & (places >= 0) & (places < self.num_images)
        return torch.where(own, row * self.width + column - self.first, -1)

    def require_images(self) -> None:
        """Raises `InputError` if a process would have no image of some batch."""
        least = 1 if self.num_batches == 1 else 2  # a batch may lack the image of one column
        if ranks.count() > 1 and self.batch_size < least * ranks.count():
            raise InputError(
                f"devices: {ranks.count()} processes, and batches of {self.batch_size} images; expected at least "
                f"{least} of a batch for each process"
            )


def begin(learner: Learner, batch: Tensor, own: Shard, held_out: Shard, seed: int, iteration: int = 0) -> None:
    """Allocates the chains of a process's images; where a chain starts does not depend on who has it.

    Args:
        learner: the learner.
        batch: as many images as the process has of a batch, (b, *event), for their shape, dtype and device.
        own, held_out: the process's training images and held-out ones.
        seed, iteration: determine the random numbers.
    """
    rows = torch.cat([own.places, own.num_images + held_out.places]).to(batch.device)
    learner.begin(batch, len(own), len(held_out), rng=streams(seed, "chains", iteration, rows))


def batches(shard: Shard, seed: int, first: int = 0) -> Iterator[Tensor]:
    """The batches of iteration ``first``, ``first`` + 1, …: which of this process's images are in them.

    In an epoch each column is shuffled on its own, and a batch is a row. Where the last row is not full, each of its
    columns lacks an image in one batch, and no batch lacks more than one.

    Yields:
        places among the process's images, not among all.
    """
    parts, width = shard.num_batches, shard.width
    rest = shard.num_images - (parts - 1) * shard.batch_size  # columns that have an image for every batch
    epoch, skipped = divmod(first, parts) if parts else (0, 0)
    while parts:
        lacking = torch.randperm(parts, generator=derive(seed, "order", epoch))
        table = torch.full((parts, width), -1)
        for place, column in enumerate(range(shard.first, shard.last)):
            rows = torch.arange(parts)
            if column >= rest:
                rows = rows[rows != lacking[column - rest]]
            rng = derive(seed, f"order of column {column}", epoch)
            table[rows, place] = torch.randperm(len(rows), generator=rng) * width + place
        for row in table[skipped:]:
            yield row[row >= 0]
        epoch, skipped = epoch + 1, 0
