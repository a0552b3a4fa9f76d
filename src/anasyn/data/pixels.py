"""Sets of images: stored as uint8, converted to float32 in [−1, 1] a batch at a time."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from .cache import StoredPixels
    from .occlusion import OccludedPixels

__all__ = ["ImageSet", "as_float", "chequered", "digest", "evenly", "hidden_shares", "only_if_hidden", "save_film",
           "save_image", "spread", "to_float", "to_uint8"]  # fmt: skip

CHEQUERS = (102, 153)  # grey levels of the sign for transparency
FEW = 2000  # images from which the spread of all is estimated: it then differs by about a hundredth of itself


class ImageSet:
    """A set of images of one size, in memory or in a cache on the disk.

    Args:
        names: file names relative to the folder, in natural order (2 before 10), unique and printable.
        pixels: the images, uint8 (n, c, H, W), c = 1 or 3; hidden pixels hold a chequerboard, see `chequered`.
        skipped: one line for each file that was skipped, with its name and the reason.
        labels: the class name of each image, or None if the images have no classes.
        masks: bool (n, 1, H, W), True where a pixel is seen; None if every pixel of every image is.
        stored: in place of the pixels and masks, where they are stored. They are read as a whole when `pixels` and
            `masks` are asked for, which a set that does not fit in memory should not be.
        padding: the numbers of rows below and of columns at the right that are no part of the images, and hidden.
    """

    def __init__(
        self,
        names: Sequence[str],
        pixels: Tensor | None = None,
        skipped: tuple[str, ...] = (),
        labels: Sequence[str] | None = None,
        masks: Tensor | None = None,
        stored: "StoredPixels | OccludedPixels | None" = None,
        padding: tuple[int, int] = (0, 0),
    ):
        self.names, self.skipped, self.labels, self.stored, self.padding = names, skipped, labels, stored, padding
        if pixels is not None:
            self.pixels, self.masks = pixels, masks
        elif stored is None or masks is not None:
            raise ValueError("images: expected pixels, or where they are stored")

    @cached_property
    def pixels(self) -> Tensor:
        """The images, uint8 (n, c, H, W)."""
        assert self.stored is not None
        return self.stored.whole()

    @cached_property
    def masks(self) -> Tensor | None:
        """bool (n, 1, H, W), True where a pixel is seen; None if every pixel of every image is."""
        assert self.stored is not None
        return self.stored.whole_masks()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, c, H, W)."""
        return tuple(self.pixels.shape if self.stored is None else self.stored.shape)

    @cached_property
    def digests(self) -> Sequence[str]:
        """The SHA-256 of each image's pixels, channels last: the same image has the same digest under any name.

        Where pixels are hidden, the mask follows the pixels.
        """
        if self.stored is not None:
            return self.stored.digests
        rows = self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        masks = [None] * len(rows) if self.masks is None else self.masks.cpu().contiguous().numpy()
        return tuple(digest(row, mask).hex() for row, mask in zip(rows, masks, strict=True))

    @property
    def hides(self) -> bool:
        """Whether any pixel of any image is hidden; nothing is read."""
        return self.masks is not None if self.stored is None else self.stored.hides

    def hidden_shares(self) -> Tensor:
        """The share of each image's pixels that is hidden, (n,)."""
        if self.stored is not None:
            return self.stored.hidden_shares()
        return torch.zeros(len(self)) if self.masks is None else hidden_shares(self.masks)

    def take(self, index: Tensor) -> Tensor:
        """The images at these places, uint8 (b, c, H, W); of stored ones, no more are read."""
        return self.pixels[index] if self.stored is None else self.stored[index]

    def split(self, num: int) -> tuple["ImageSet", "ImageSet"]:
        """All but ``num`` of the images, and these ``num``, each in the same order as here.

        Chosen are the images whose digests, hashed once more, come first: a random choice that depends on no seed,
        hardly changes when a few images are added, and puts copies of an image on the same side.
        """
        hashed = bytearray()
        for each in self.digests:
            hashed += hashlib.sha256(each.encode()).digest()
        first_byte_last = np.frombuffer(hashed, ">u8").reshape(-1, 4).T[::-1]  # the last key is lexsort's first
        ranks = np.lexsort(first_byte_last)
        return self.only(np.sort(ranks[num:])), self.only(np.sort(ranks[:num]))

    def only(self, places: Sequence[int] | NDArray[np.int64]) -> "ImageSet":
        """The images at these places, in this order."""
        if self.stored is not None:
            part = self.stored.only(np.asarray(places, dtype=np.int64))
            return ImageSet(part.names, None, self.skipped, part.labels, stored=part)
        names = tuple(self.names[i] for i in places)
        labels = self.labels and tuple(self.labels[i] for i in places)
        masks = only_if_hidden(self.masks[places]) if self.masks is not None else None
        return ImageSet(names, self.pixels[places], self.skipped, labels, masks, padding=self.padding)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the shape and of the digests in order; it identifies the data set whatever the names."""
        content = hashlib.sha256(str(self.shape).encode())
        for each in self.digests:
            content.update(f" {each}".encode())
        return content.hexdigest()


def digest(row: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> bytes:
    """The SHA-256 of an image, (H, W, c), and of its mask, True where it is seen, if that hides anything."""
    content = hashlib.sha256(row.data)
    if mask is not None and not mask.all():
        content.update(mask.data)
    return content.digest()


def chequered(pixels: Tensor, masks: Tensor) -> Tensor:
    """The pixels where they are seen, and elsewhere a grey chequerboard, as image editors show transparency.

    A picture of the pixels shows the mask, and none of the values that are hidden can be learned from.

    Args:
        pixels: uint8 (n, c, H, W).
        masks: bool (n, 1, H, W), True where a pixel is seen.
    """
    height, width = pixels.shape[2:]
    side = max(1, min(height, width) // 16)
    rows, columns = (torch.arange(length, device=pixels.device) // side for length in (height, width))
    levels = torch.tensor(CHEQUERS, dtype=torch.uint8, device=pixels.device)
    return torch.where(masks, pixels, levels[(rows[:, None] + columns) % 2])


def only_if_hidden(masks: Tensor) -> Tensor | None:
    """The masks of an `ImageSet`: None if they hide nothing."""
    return None if masks.all() else masks


def hidden_shares(masks: Tensor) -> Tensor:
    """The share of pixels that each mask, bool (n, 1, H, W), hides, (n,)."""
    return (~masks).flatten(1).float().mean(1)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 (n, c, H, W) → float32 in [−1, 1], x / 127.5 − 1, channels-last in memory.

    Raises:
        ValueError: the pixels are not uint8.
    """
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels: expected uint8, got {pixels.dtype}")
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1)


def as_float(images: Tensor) -> Tensor:
    """Converts uint8 as `to_float` does; floats keep their values. Images become channels-last in memory."""
    if images.dtype == torch.uint8:
        return to_float(images)
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def to_uint8(images: Tensor) -> Tensor:
    """Floats of any shape, clamped to [−1, 1] and rounded → uint8.

    Raises:
        ValueError: a value is not a number.
    """
    if images.isnan().any():
        raise ValueError("images: a value is not a number")
    return images.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def spread(images: ImageSet) -> float:
    """The standard deviation of seen pixels around the mean image, in the units of [−1, 1].

    It is that of at most 2000 of the images, evenly spaced.
    """
    part = images.only(evenly(len(images), FEW)) if len(images) > FEW else images
    sums = torch.zeros(3, *images.shape[1:], dtype=torch.float64)
    for first in range(0, len(part), 256):
        chunk = part.pixels[first : first + 256].cpu().double()
        masks = part.masks
        seen = torch.ones_like(chunk) if masks is None else masks[first : first + 256].cpu().double().expand_as(chunk)
        sums += torch.stack([seen.sum(0), (seen * chunk).sum(0), (seen * chunk.square()).sum(0)])
    num, total, squares = sums
    around_mean = squares - total.square() / num.clamp_min(1)
    return float((around_mean.sum() / num.sum()).clamp_min(0).sqrt() / 127.5)


def evenly(num: int, most: int) -> NDArray[np.int64]:
    """At most so many of the places 0 … num − 1, evenly spaced."""
    return np.arange(min(num, most), dtype=np.int64) * num // max(min(num, most), 1)


def save_image(path: Path | str, pixels: Tensor) -> None:
    """Writes one image, uint8 (c, H, W), as a PNG file: grey if c = 1, colour if c = 3."""
    rows = pixels.permute(1, 2, 0).contiguous().cpu().numpy()
    Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows).save(path, format="PNG")


def save_film(path: Path | str, pixels: Tensor, duration: int = 40) -> None:
    """Writes images, uint8 (n, c, H, W), as a WebP that repeats for ever, without loss; ``duration`` ms each."""
    rows = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    first, *others = map(Image.fromarray, rows)
    first.save(path, format="WEBP", save_all=True, append_images=others, lossless=True, duration=duration, loop=0)
