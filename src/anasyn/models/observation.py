"""Observations: what is seen of images, A Y + ε, where each image may have a linear map A of its own."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from ..data import ImageSet, as_float

__all__ = [
    "BlockAverage",
    "Blur",
    "Composition",
    "DataSet",
    "Everything",
    "Grey",
    "Images",
    "Mask",
    "Observation",
    "Observed",
    "Rows",
    "Stored",
    "data_set",
    "floats",
    "observe",
    "observed",
]

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601


class Observation(Protocol):
    """A linear map A of each of n images; by default the same for all, with nothing hidden."""

    def __call__(self, images: Tensor) -> Tensor:
        """A Y, (n, c, H, W) → (n, *seen); 0 where a value is hidden."""

    @property
    def seen(self) -> Tensor | None:
        """Which values of A Y are seen, bool, broadcast to (n, *seen); None if all are."""
        return None

    def __getitem__(self, index: Tensor | slice) -> "Observation":
        """The maps of these images."""
        return self

    def to(self, device: torch.device | str) -> "Observation":
        """The same maps on another device."""
        return self


class Everything(Observation):
    """A = I."""

    def __call__(self, images: Tensor) -> Tensor:
        return images


@dataclass(frozen=True, eq=False)
class Mask(Observation):
    """The pixels under a mask: (A Y)_p = Y_p where it is seen, else 0.

    Args:
        mask: of each image, True where it is seen, bool (n, 1, H, W), or (n, c, H, W) for a mask of each channel.
    """

    mask: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        return images * self.mask.to(images.dtype)

    @property
    def seen(self) -> Tensor:
        return self.mask

    def __getitem__(self, index: Tensor | slice) -> "Mask":
        return Mask(self.mask[index])

    def to(self, device: torch.device | str) -> "Mask":
        return Mask(self.mask.to(device))


@dataclass(frozen=True)
class BlockAverage(Observation):
    """A copy that is ``factor`` times smaller: the mean of each block of ``factor`` × ``factor`` pixels."""

    factor: int

    def __call__(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, self.factor)


@dataclass(frozen=True)
class Blur(Observation):
    """A Gaussian blur of standard deviation ``std`` in pixels; beyond the border the image is continued by itself."""

    std: float

    def __call__(self, images: Tensor) -> Tensor:
        reach = max(round(3 * self.std), 1)
        offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
        weights = (-0.5 * (offsets / self.std) ** 2).softmax(0)
        channels = images.shape[1]
        rows, columns = (weights.view(shape).expand(channels, *shape[1:]) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
        padded = functional.pad(images, (reach,) * 4, mode="replicate")
        return functional.conv2d(functional.conv2d(padded, rows, groups=channels), columns, groups=channels)


class Grey(Observation):
    """The luma of colour images, 0.299 R + 0.587 G + 0.114 B, (n, 3, H, W) → (n, 1, H, W)."""

    def __call__(self, images: Tensor) -> Tensor:
        return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Composition(Observation):
    """A = A_k … A_2 A_1: what the second map sees of what the first one sees, and so on.

    Args:
        maps: A_1, A_2, …, at least one; values that the last one hides are hidden.
    """

    maps: tuple[Observation, ...]

    def __call__(self, images: Tensor) -> Tensor:
        for each in self.maps:
            images = each(images)
        return images

    @property
    def seen(self) -> Tensor | None:
        return self.maps[-1].seen

    def __getitem__(self, index: Tensor | slice) -> "Composition":
        return Composition(tuple(each[index] for each in self.maps))

    def to(self, device: torch.device | str) -> "Composition":
        return Composition(tuple(each.to(device) for each in self.maps))


@dataclass(frozen=True, eq=False)
class Observed:
    """Images of which only A Y is seen. They stand for images wherever a generator is to explain these.

    Args:
        values: A Y, (n, *seen); float in [−1, 1] and 0 where it is hidden, or uint8, of which `floats` makes such.
        observation: A.
    """

    values: Tensor
    observation: Observation

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor | slice) -> "Observed":
        return Observed(self.values[index], self.observation[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Observed":
        return Observed(self.values.to(device, non_blocking=non_blocking), self.observation.to(device))

    @cached_property
    def num_seen(self) -> Tensor:
        """D_i, the number of values that are seen of each image, (n,)."""
        seen = self.observation.seen
        if seen is None:
            return torch.full((len(self),), self.values[0].numel(), device=self.values.device)
        return seen.expand(self.values.shape).flatten(1).sum(1)

    def pin_memory(self) -> "Observed":
        """In memory from which a GPU copies while it computes; the maps stay where they are."""
        return Observed(self.values.pin_memory(), self.observation)

    def residuals(self, images: Tensor) -> Tensor:
        """A X − A Y of other images X, (n, c, H, W) → (n, *seen); 0 where a value is hidden, and so is its gradient."""
        return self.observation(images) - self.values


Images = Tensor | Observed
"""Images (n, c, H, W), or what is seen of them."""

Rows = TypeVar("Rows", Tensor, Observed, Images)
"""The same, where the result is of the kind that is given."""


def observed(images: Images) -> Observed:
    """Images as what is seen of them, which is everything if they are a tensor."""
    return Observed(images, Everything()) if isinstance(images, Tensor) else images


def floats(images: Rows) -> Rows:
    """Images or observed values, uint8 or float, as floats in [−1, 1]; values that are hidden become 0."""
    if isinstance(images, Tensor):
        return as_float(images)
    values, seen = as_float(images.values), images.observation.seen
    return Observed(values if seen is None else values * seen.to(values.dtype), images.observation)


@dataclass(frozen=True, eq=False)
class Stored:
    """The pixels of a set that lie in a file; an index reads them, uint8 (b, c, H, W), or what is seen of them.

    Args:
        images: a set with ``stored`` pixels.
    """

    images: ImageSet

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> Images:
        assert self.images.stored is not None
        pixels, masks = self.images.stored.read(index)
        return pixels if masks is None else Observed(pixels, Mask(masks))

    def only(self, places: Tensor) -> "Stored":
        """The images at these places; nothing is read."""
        return Stored(self.images.only(places.numpy()))


DataSet = Images | Stored
"""Images in memory, or in a file."""


def data_set(images: ImageSet) -> DataSet:
    """The images of a set as `observe` returns them, but those in a file stay there."""
    return observe(images) if images.stored is None else Stored(images)


def observe(images: ImageSet) -> Images:
    """The pixels of a set, uint8 (n, c, H, W), with its masks if any pixel is hidden."""
    return images.pixels if images.masks is None else Observed(images.pixels, Mask(images.masks))
