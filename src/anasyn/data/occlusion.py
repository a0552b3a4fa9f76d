"""Occlusion: pixels of whole images are hidden, for experiments on learning from what is left."""

import re

import torch
from torch import Tensor

from ..errors import InputError
from ..rng import derive
from .pixels import ImageSet, chequered, only_if_hidden

__all__ = ["occlude", "parse_occlusion"]


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
    kind, _, number = parse_occlusion(text).partition(":")
    height, width = images.pixels.shape[2:]
    if kind == "square" and int(number) >= min(height, width):
        raise InputError(f"occlude: expected a square smaller than the images, {width} × {height} pixels; got {text}")
    drawn = [_drawn(kind, number, height, width, derive(int(digest, 16), "occlude")) for digest in images.digests]
    masks = torch.stack(drawn).unsqueeze(1)
    if images.masks is not None:
        masks &= images.masks
    some = masks.flatten(1).any(1)
    places = some.nonzero().flatten().tolist()
    lost = [images.names[i] for i in (~some).nonzero().flatten().tolist()]
    if len(places) < 2:
        raise InputError(f"occlude: {text} leaves pixels of {len(places)} images; at least 2 are needed")
    hidden = ImageSet(
        images.names,
        chequered(images.pixels, masks),
        (*images.skipped, *(f"{name}: every pixel is hidden; skipped" for name in lost)),
        images.labels,
        only_if_hidden(masks),
    )
    return hidden.only(places) if lost else hidden


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
