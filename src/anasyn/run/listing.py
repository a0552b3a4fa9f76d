"""RUN/data.json: the names, digests and classes of the images that a run learns from, in order.

Of many images it is data.safetensors, which has the same in little memory; a run has one of the two.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..data import ImageSet
from ..data.strings import coded, decoded, hexadecimal, packed, raw, same, unpacked
from ..errors import InputError, first_names
from .files import flush, replace

__all__ = ["MANY", "NAMES", "Listing", "changes", "read", "write"]

MANY = 10_000  # images, of which JSON takes about 4 MB in memory
NAMES = ("data.json", "data.safetensors")


class Listing(NamedTuple):
    """The names, digests and classes of the images, in order, and the digests of the held-out ones."""

    names: Sequence[str]
    digests: Sequence[str]
    labels: Sequence[str] | None  # class names, if the data are a folder of class folders
    held_out: Sequence[str]


def write(folder: Path, images: ImageSet, held_out: ImageSet | None) -> None:
    """Writes the list of these images in the folder of a run."""
    few, many = (folder / name for name in NAMES)
    content = Listing(images.names, images.digests, images.labels, held_out.digests if held_out else ())
    if len(images) >= MANY:
        _write_many(many, content)
        few.unlink(missing_ok=True)
        return
    lists = {field: value if value is None else list(value) for field, value in content._asdict().items()}
    replace(few, json.dumps(lists) + "\n")
    many.unlink(missing_ok=True)


def read(folder: Path) -> Listing:
    """The images that the run in a folder began with; raises `InputError` if the file is missing or damaged."""
    few, many = (folder / name for name in NAMES)
    file = many if many.exists() and not few.exists() else few
    try:
        if file == many:
            return _read_many(file)
        content: dict[str, Any] = json.loads(file.read_text())
        names, digests, labels, held_out = (content[field] for field in Listing._fields)
        lists = [each for each in (names, digests, labels) if each is not None]
        if {type(x) for each in (*lists, held_out) for x in each} != {str} or {len(x) for x in lists} != {len(names)}:
            raise TypeError("expected a name and a digest of each image")
        return Listing(list(names), list(digests), labels and list(labels), list(held_out))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as cause:
        raise InputError(f"{file}: not the list of a run's images ({cause})") from cause


def _write_many(file: Path, content: Listing) -> None:
    names, ends = packed(content.names)
    codes, classes = coded(content.labels or ())
    arrays: dict[str, Any] = {"names": names, "ends": ends, "codes": codes}
    arrays |= {"digests": raw(content.digests), "held_out": raw(content.held_out)}
    partial = file.with_name(file.name + ".partial")
    save_file(arrays, partial, {"classes": json.dumps(classes)})
    flush(partial)
    os.replace(partial, file)


def _read_many(file: Path) -> Listing:
    with safe_open(file, "numpy") as content:
        arrays: Mapping[str, Any] = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        classes = tuple(json.loads(content.metadata()["classes"]))
    num = len(arrays["ends"])
    shapes = {"ends": (num,), "codes": (num,) if classes else (0,), "digests": (num, 32)}
    shapes["held_out"] = (len(arrays["held_out"]), 32)
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        raise ValueError("expected a name and a digest of each image")
    places = np.arange(num)
    return Listing(
        unpacked(arrays["names"], arrays["ends"], places),
        hexadecimal(arrays["digests"], places),
        decoded(arrays["codes"], classes, places) if classes else None,
        hexadecimal(arrays["held_out"], np.arange(len(arrays["held_out"]))),
    )


def changes(before: Listing, images: ImageSet, held_out: ImageSet | None, *, labels: bool) -> str:
    """The differences between these images and those that a run began with, by name; empty if there are none.

    With ``labels``, images whose classes are others count as changed.
    """
    if same(images.digests, before.digests):
        if labels and not same(images.labels or (), before.labels or ()):
            pairs = zip(images.names, before.labels or (), images.labels or images.names, strict=True)
            return f"in other classes {first_names([name for name, then, now in pairs if then != now])}"
        return "" if same(held_out.digests if held_out else (), before.held_out) else "other held-out images"
    then = dict(zip(before.names, before.digests, strict=True))
    now = dict(zip(images.names, images.digests, strict=True))
    kinds = {
        "added": [name for name in now if name not in then],
        "gone": [name for name in then if name not in now],
        "changed": [name for name in now if name in then and now[name] != then[name]],
    }
    return ", ".join(f"{kind} {first_names(names)}" for kind, names in kinds.items() if names) or "in another order"
