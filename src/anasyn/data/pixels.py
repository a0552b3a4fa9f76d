"""Images in memory: stored as uint8, converted to float32 in [−1, 1] a batch at a time."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

__all__ = ["ImageSet", "as_float", "chequered", "only_if_hidden", "save_film", "save_image", "spread",
           "to_float", "to_uint8"]  # fmt: skip

CHEQUERS = (102, 153)  # grey levels of the sign for transparency


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of images of one size.

    Args:
        names: file names relative to the folder, in natural order (2 before 10), unique and printable.
        pixels: the images, uint8 (n, c, H, W), c = 1 or 3; hidden pixels hold a chequerboard, see `chequered`.
        skipped: one line for each file that was skipped, with its name and the reason.
        labels: the class name of each image, or None if the images have no classes.
        masks: bool (n, 1, H, W), True where a pixel is seen; None if every pixel of every image is.
    """

    names: tuple[str, ...]
    pixels: Tensor
    skipped: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each image's pixels, channels last: the same image has the same digest under any name.

        Where pixels are hidden, the mask follows the pixels.
        """
        rows = self.pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        hashes = [hashlib.sha256(image) for image in rows]
        if self.masks is not None:
            for each, mask in zip(hashes, self.masks.cpu().contiguous().numpy(), strict=True):
                if not mask.all():
                    each.update(mask)
        return tuple(each.hexdigest() for each in hashes)

    def split(self, num: int) -> tuple["ImageSet", "ImageSet"]:
        """All but ``num`` of the images, and these ``num``, each in the same order as here.

        Chosen are the images whose digests, hashed once more, come first: a random choice that depends on no seed,
        hardly changes when a few images are added, and puts copies of an image on the same side.
        """
        ranks = sorted(range(len(self)), key=lambda i: (hashlib.sha256(self.digests[i].encode()).digest(), i))
        return self.only(sorted(ranks[num:])), self.only(sorted(ranks[:num]))

    def only(self, places: list[int]) -> "ImageSet":
        """The images at these places, in this order."""
        names = tuple(self.names[i] for i in places)
        labels = self.labels and tuple(self.labels[i] for i in places)
        masks = only_if_hidden(self.masks[places]) if self.masks is not None else None
        return ImageSet(names, self.pixels[places], self.skipped, labels, masks)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the shape and of the digests in order; it identifies the data set whatever the names."""
        content = [str(tuple(self.pixels.shape)), *self.digests]
        return hashlib.sha256(" ".join(content).encode()).hexdigest()


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


def spread(pixels: Tensor, masks: Tensor | None = None) -> float:
    """The standard deviation of seen pixels around the mean image, in the units of [−1, 1].

    Args:
        pixels: uint8 (n, c, H, W).
        masks: bool (n, 1, H, W), True where a pixel is seen; None if all are.
    """
    sums = torch.zeros(3, *pixels.shape[1:], dtype=torch.float64)
    for first in range(0, len(pixels), 256):
        chunk = pixels[first : first + 256].cpu().double()
        seen = torch.ones_like(chunk) if masks is None else masks[first : first + 256].cpu().double().expand_as(chunk)
        sums += torch.stack([seen.sum(0), (seen * chunk).sum(0), (seen * chunk.square()).sum(0)])
    num, total, squares = sums
    around_mean = squares - total.square() / num.clamp_min(1)
    return float((around_mean.sum() / num.sum()).clamp_min(0).sqrt() / 127.5)


def save_image(path: Path | str, pixels: Tensor) -> None:
    """Writes one image, uint8 (c, H, W), as a PNG file: grey if c = 1, colour if c = 3."""
    rows = pixels.permute(1, 2, 0).contiguous().cpu().numpy()
    Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows).save(path, format="PNG")


def save_film(path: Path | str, pixels: Tensor, duration: int = 40) -> None:
    """Writes images, uint8 (n, c, H, W), as a WebP that repeats for ever, without loss; ``duration`` ms each."""
    rows = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    first, *others = map(Image.fromarray, rows)
    first.save(path, format="WEBP", save_all=True, append_images=others, lossless=True, duration=duration, loop=0)
