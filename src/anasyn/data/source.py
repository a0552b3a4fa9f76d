"""Where images come from, and how a few of them are decoded into rows of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from .decoding import decode, opened
from .masks import MaskFile, Transparent, under_mask
from .pixels import chequered
from .resizing import Fit, resized, resized_seen
from .strings import coded

__all__ = ["FEWEST", "Form", "Rows", "Source", "decode_rows", "labels_of", "require_enough", "sides_of"]

FEWEST = 2  # images in a set


class Source(Protocol):
    """Encoded images in an order: a folder, archives, or a data set of Hugging Face.

    `place` and `identity` take little time; ``len`` and the methods may have to list all images.
    """

    @property
    def title(self) -> str:
        """What messages call it, printable."""

    @property
    def place(self) -> str:
        """What it is in any working directory, printable: the path of a folder, and of its masks."""

    @property
    def identity(self) -> str:
        """A digest that changes when the images do, as far as it can be told without reading them."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of an image, printable and unique."""

    def label(self, index: int) -> str | None:
        """The name of its class, printable."""

    def content(self, index: int) -> Path | bytes:
        """Its file, or the bytes of its file; raises `InputError` if there are none."""

    def mask(self, index: int) -> MaskFile | None:
        """Its mask, if there are masks."""


@dataclass(frozen=True)
class Form:
    """The form of the images of a set: the arguments of `read_folder`."""

    height: int
    width: int
    fit: Fit = "crop"
    channels: int | None = 3
    transparent: Transparent = "white"
    strict: bool = False

    @property
    def row(self) -> tuple[int, int, int]:
        """(H, W, c) of an image as it is decoded."""
        return self.height, self.width, self.channels or 3


class Rows(NamedTuple):
    """Some images of a source, decoded."""

    pixels: NDArray[np.uint8]  # (b, H, W, c)
    seen: NDArray[np.bool_]  # (b, 1, H, W)
    grey: NDArray[np.bool_]  # (b,)
    skipped: dict[int, str]  # a line for each image that cannot be used, by its index in the source


def decode_rows(source: Source, places: range, form: Form) -> Rows:
    """Decodes images of a source; raises `InputError` if a mask cannot be, or an image, and ``form`` is strict."""
    pixels = np.zeros((len(places), *form.row), dtype=np.uint8)
    hidden = np.zeros((len(places), 1, form.height, form.width), dtype=bool)  # takes no memory before it is written to
    grey = np.ones(len(places), dtype=bool)
    skipped = {}
    for row, index in enumerate(places):
        try:
            mask = source.mask(index)
            image, seen = _decoded(source, index, form, mask)
        except _Refused as refused:
            if form.strict:
                raise InputError(f"{source.title}/{refused}; repair or remove this file") from refused
            skipped[index] = f"{refused}; skipped"
            continue
        pixels[row] = image
        if seen is not None:
            hidden[row, 0] = ~seen
            tensor = torch.from_numpy(pixels[row : row + 1]).permute(0, 3, 1, 2)
            pixels[row] = chequered(tensor, torch.from_numpy(seen)).permute(0, 2, 3, 1).numpy()[0]
        # The chequers are grey, and so only what is seen decides.
        grey[row] = form.channels is None and (pixels[row] == pixels[row, :, :, :1]).all()
    return Rows(pixels, ~hidden, grey, skipped)


class _Refused(Exception):
    """An image that cannot be used, and why."""


def _decoded(
    source: Source, index: int, form: Form, mask: MaskFile | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """An image, (H, W, c), and where it is seen, (H, W), if not everywhere."""
    name = source.name(index)
    # Twice the size, as JPEG's own reduction is coarse; no reduction under a mask, which has the size of the file.
    least = 2 * max(form.height, form.width) if mask is None else None
    try:
        image = decode(source.content(index), name, least, transparent=form.transparent == "hidden")
    except InputError as error:
        raise _Refused(str(error)) from error
    if mask is not None:
        image = under_mask(image, mask)
    if image.mode != "RGBA":
        return resized(image, form.height, form.width, form.fit, form.row[2]), None
    pixels, seen = resized_seen(image, form.height, form.width, form.fit, form.row[2])
    if not seen.any():
        raise _Refused(f"{name}: every pixel is hidden")
    return pixels, seen


def sides_of(source: Source, places: Sequence[int]) -> tuple[list[int], list[str]]:
    """The smaller side, in pixels, of these images, from their headers alone; and a line for each that has none."""
    sides, skipped = [], []
    for index in places:
        name = source.name(index)
        try:
            with opened(source.content(index), name) as image:
                sides.append(min(image.size))
        except InputError as error:
            skipped.append(f"{error}; skipped")
    return sides, skipped


def labels_of(source: Source, kept: Sequence[int]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """The class of each image, as its place among the classes, and their names; no names unless all have a class.

    One class tells nothing apart, and counts as none.
    """
    codes, classes = coded(source.label(index) or "" for index in kept)
    return codes, classes if "" not in classes and len(classes) >= 2 else ()


def require_enough(source: Source, usable: int, skipped: Sequence[str]) -> None:
    if usable < FEWEST:
        found = f"only {usable} usable image" if usable == 1 else "no usable image"
        reason = f" ({len(skipped)} skipped: {skipped[0]})" if skipped else ""
        raise InputError(f"{source.title}: {found}{reason}; at least {FEWEST} are needed")
