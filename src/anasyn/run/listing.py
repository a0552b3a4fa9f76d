"""RUN/data.json: the names, digests and classes of the images that a run learns from, in order."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..data import ImageSet
from ..errors import InputError, first_names
from .files import replace

__all__ = ["Listing", "changes", "read", "write"]


class Listing(NamedTuple):
    """The names, digests and classes of the images, in order, and the digests of the held-out ones."""

    names: list[str]
    digests: list[str]
    labels: list[str] | None  # class names, if the data are a folder of class folders
    held_out: list[str]


def write(file: Path, images: ImageSet, held_out: ImageSet | None) -> None:
    """Writes the list of these images."""
    labels = list(images.labels) if images.labels else None
    content = Listing(list(images.names), list(images.digests), labels, list(held_out.digests) if held_out else [])
    replace(file, json.dumps(content._asdict()) + "\n")


def read(file: Path) -> Listing:
    """The images that a run began with; raises `InputError` if the file is missing or damaged."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        names, digests, labels, held_out = (content[field] for field in Listing._fields)
        lists = [each for each in (names, digests, labels) if each is not None]
        if {type(x) for each in (*lists, held_out) for x in each} != {str} or {len(x) for x in lists} != {len(names)}:
            raise TypeError("expected a name and a digest of each image")
        return Listing(list(names), list(digests), labels and list(labels), list(held_out))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as cause:
        raise InputError(f"{file}: not the list of a run's images ({cause})") from cause


def changes(before: Listing, images: ImageSet, held_out: ImageSet | None, *, labels: bool) -> str:
    """The differences between these images and those that a run began with, by name; empty if there are none.

    With ``labels``, images whose classes are others count as changed.
    """
    if list(images.digests) == before.digests:
        if labels and list(images.labels or ()) != before.labels:
            pairs = zip(images.names, before.labels or (), images.labels or images.names, strict=True)
            return f"in other classes {first_names([name for name, then, now in pairs if then != now])}"
        same = list(held_out.digests if held_out else ()) == before.held_out
        return "" if same else "other held-out images"
    then = dict(zip(before.names, before.digests, strict=True))
    now = dict(zip(images.names, images.digests, strict=True))
    kinds = {
        "added": [name for name in now if name not in then],
        "gone": [name for name in then if name not in now],
        "changed": [name for name in now if name in then and now[name] != then[name]],
    }
    return ", ".join(f"{kind} {first_names(names)}" for kind, names in kinds.items() if names) or "in another order"
