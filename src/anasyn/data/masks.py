"""Which pixels of an image are seen: a folder of masks, one for each image, joined with the image's transparency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageChops

from ..errors import InputError, first_names
from .decoding import decode, is_opaque, printable

__all__ = ["MaskFile", "Transparent", "matched", "under_mask"]

Transparent = Literal["hidden", "white"]  # transparent pixels are not seen, or look as on white paper
MaskFile = tuple[str, Path]  # a mask's printable name and its path

WHITE = 128  # the darkest luma that is seen


def matched(images: Sequence[str], masks: Sequence[MaskFile], folder: Path) -> list[MaskFile]:
    """The mask of each image, in the images' order: the file of the same name, whatever its suffix; named with folder.

    Args:
        images: the images' names.
        masks: the files of the folder of masks.
        folder: this folder, for messages.

    Raises:
        InputError: an image has no mask, a mask has no image, or two masks have one name.
    """
    shown, found = printable(folder), dict[str, MaskFile]()
    for name, path in masks:
        if _stem(name) in found:
            raise InputError(f"masks: {shown}: {found[_stem(name)][0]} and {name} are of one image; remove one of them")
        found[_stem(name)] = name, path
    expected = "expected one mask for each image, of its name but for the suffix"
    if missing := [name for name in images if _stem(name) not in found]:
        raise InputError(f"masks: {shown}: none for {first_names(missing)}; {expected}")
    stems = {_stem(name) for name in images}
    if extra := [name for name, _ in masks if _stem(name) not in stems]:
        raise InputError(f"masks: {shown}: no image for {first_names(extra)}; {expected}")
    return [(f"{shown}/{name}", path) for name, path in (found[_stem(name)] for name in images)]


def under_mask(image: Image.Image, mask: MaskFile) -> Image.Image:
    """An RGB or RGBA image, as RGBA where anything is hidden: transparent where its mask is darker than `WHITE`, too.

    Raises:
        InputError: the mask cannot be read, or its size is not the image's.
    """
    name, path = mask
    try:
        luma = decode(path, name).convert("L")
        if luma.size != image.size:
            size, expected = (f"{width} × {height} pixels" for width, height in (luma.size, image.size))
            raise InputError(f"{name}: {size}; expected its image's {expected}")
    except InputError as error:
        raise InputError(f"masks: {error}") from error
    seen = luma.point([0] * WHITE + [255] * (256 - WHITE))
    both = image.convert("RGBA")
    both.putalpha(ImageChops.darker(both.getchannel("A"), seen))
    return image if is_opaque(both) else both


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
