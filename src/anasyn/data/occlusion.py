"""Occlusion: pixels of whole images are hidden, for experiments on learning from what is left."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..rng import derive
from .cache import AT_ONCE, StoredPixels
from .pixels import ImageSet, chequered, digest, hidden_shares, only_if_hidden
from .strings import Strings, hexadecimal

__all__ = ["OccludedPixels", "occlude", "parse_occlusion"]


def parse_occlusion(text: str) -> str:
    """An occlusion in its canonical form: ``salt:0.7``, ``square:24`` or ``half``.

    Raises:
        ValueError: it has none of these forms, or the share is not between 0 and 1.
    """
    kind, _, number = text.partition(":")
    if text == "half":
        return text
    if kind == "salt" and re.fullmatch(r"\d*\.?\d+(e-\d+)?", number, re.ASCII) and 0 < float(number) < 1:
        return f"salt:{float(number)}"
    if kind == "square" and re.fullmatch(r"\d{1,9}", number, re.ASCII) and int(number) > 0:
        return f"square:{int(number)}"
    raise ValueError("expected salt:SHARE with a share between 0 and 1, square:SIDE in pixels, or half")


def occlude(images: ImageSet, text: str) -> ImageSet:
    """The images with pixels hidden, besides those that are hidden already.

    - ``salt:SHARE``: this share of the pixels, rounded to whole ones, anywhere;
    - ``square:SIDE``: a square of this side in pixels, at a random place within the image;
    - ``half``: the left, right, upper or lower half.

    An image has the same pixels hidden whatever other images there are: its random numbers are derived from its digest.
    An image of which nothing is left is skipped.

    Raises:
        ValueError: the text is no occlusion.
        InputError: a square is as large as the image, or fewer than two images are left.
    """
    text = parse_occlusion(text)
    kind, _, number = text.partition(":")
    height, width = images.shape[2:]
    if kind == "square" and int(number) >= min(height, width):
        raise InputError(f"occlude: expected a square smaller than the images, {width} × {height} pixels; got {text}")
    if images.stored is None:
        pixels, masks = _occluded(text, images.pixels, images.masks, images.digests)
        hidden = ImageSet(images.names, pixels, images.skipped, images.labels, only_if_hidden(masks))
    else:
        stored = OccludedPixels.of(images.stored, text)
        hidden = ImageSet(images.names, None, images.skipped, images.labels, stored=stored)
    some = hidden.hidden_shares() < 1
    places = some.nonzero().flatten().tolist()
    if len(places) < 2:
        raise InputError(f"occlude: {text} leaves pixels of {len(places)} images; at least 2 are needed")
    lost = [images.names[i] for i in (~some).nonzero().flatten().tolist()]
    hidden.skipped = (*images.skipped, *(f"{name}: every pixel is hidden; skipped" for name in lost))
    return hidden.only(places) if lost else hidden


@dataclass(frozen=True, eq=False)
class OccludedPixels:
    """Stored images with pixels hidden, which are drawn again whenever an image is read.

    Args:
        stored: the images, with what is hidden of them already.
        text: the occlusion, in its canonical form.
        content: the digests of the occluded images, uint8 (n, 32).
        shares: the share of each image's pixels that is hidden, (n,).
    """

    stored: "StoredPixels | OccludedPixels"
    text: str
    content: NDArray[np.uint8]
    shares: Tensor

    dtype = torch.uint8

    @classmethod
    def of(cls, stored: "StoredPixels | OccludedPixels", text: str) -> Self:
        """The images, each of which is read once for its digest."""
        content, shares = bytearray(), torch.empty(len(stored))
        for index in torch.arange(len(stored)).split(AT_ONCE):
            pixels, masks = _occluded(text, *stored.read(index), stored.only(index.numpy()).digests)
            content += b"".join(map(digest, pixels.permute(0, 2, 3, 1).contiguous().numpy(), masks.numpy()))
            shares[index] = hidden_shares(masks)
        return cls(stored, text, np.frombuffer(content, np.uint8).reshape(-1, 32), shares)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def shape(self) -> torch.Size:
        return self.stored.shape

    @property
    def names(self) -> Strings:
        return self.stored.names

    @property
    def labels(self) -> Strings | None:
        return self.stored.labels

    @property
    def digests(self) -> Strings:
        return hexadecimal(self.content, np.arange(len(self)))

    @cached_property
    def hides(self) -> bool:
        return bool(self.shares.any())

    def hidden_shares(self) -> Tensor:
        return self.shares

    def only(self, places: NDArray[np.int64]) -> "OccludedPixels":
        return OccludedPixels(self.stored.only(places), self.text, self.content[places], self.shares[places])

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.read(index)[0]

    def read(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """The images of this index, and their masks; raises as `StoredPixels.read` does."""
        pixels, masks = self.stored.read(index)
        if not self.hides:
            return pixels, masks
        places = np.arange(len(self))[index if isinstance(index, slice) else index.cpu().numpy()]
        return _occluded(self.text, pixels, masks, self.stored.only(places).digests)

    def whole(self) -> Tensor:
        return self[:]

    def whole_masks(self) -> Tensor | None:
        return self.read(slice(None))[1] if self.hides else None


def _occluded(text: str, pixels: Tensor, masks: Tensor | None, digests: Iterable[str]) -> tuple[Tensor, Tensor]:
    """The pixels and masks of images, (n, c, H, W) and (n, 1, H, W), with pixels hidden; digests are those before."""
    kind, _, number = text.partition(":")
    height, width = pixels.shape[2:]
    drawn = [_drawn(kind, number, height, width, derive(int(each, 16), "occlude")) for each in digests]
    seen = torch.stack(drawn).unsqueeze(1)
    if masks is not None:
        seen &= masks
    return chequered(pixels, seen), seen


def _drawn(kind: str, number: str, height: int, width: int, rng: torch.Generator) -> Tensor:
    """A mask, bool (H, W), False where it hides."""
    seen = torch.ones(height, width, dtype=torch.bool)
    if kind == "salt":
        num = round(float(number) * height * width)
        seen.view(-1)[torch.randperm(height * width, generator=rng)[:num]] = False
    elif kind == "square":
        side = int(number)
        top, left = (int(torch.randint(length - side + 1, (), generator=rng)) for length in (height, width))
        seen[top : top + side, left : left + side] = False
    else:
        halves = (seen[: height // 2], seen[height // 2 :], seen[:, : width // 2], seen[:, width // 2 :])
        halves[int(torch.randint(4, (), generator=rng))].fill_(False)
    return seen
