"""Sets of images in files: the user's cache of decoded images, and pixels that are read from it by index.

A cache is a folder that its key names. ``pixels.safetensors`` has a row for each image, ``masks.safetensors`` too if
pixels are hidden, ``index.safetensors`` the digest, the name and the class of each; ``manifest.json`` is written last.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError
from .pixels import ImageSet, digest, hidden_shares
from .rowfile import RowFile
from .strings import Strings, decoded, hexadecimal, unpacked

__all__ = [
    "AT_ONCE",
    "INDEX",
    "MANIFEST",
    "PARTIAL",
    "Entry",
    "StoredPixels",
    "delete",
    "entries",
    "find",
    "locked",
    "root",
]

MANIFEST, PARTIAL, INDEX, LOCK = "manifest.json", "manifest.partial", "index.safetensors", ".lock"
AT_ONCE = 256  # images in memory, where all are gone through


def root() -> Path:
    """The folder of all caches: $ANASYN_CACHE, or else in the user's cache folder."""
    own = os.environ.get("ANASYN_CACHE")
    if own:
        return Path(own)
    import pooch

    return Path(pooch.os_cache("anasyn")) / "images"


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """Images in a cache. An index reads them, and verifies the digest of each; threads may do so at the same time.

    Args:
        folder: the cache.
        rows: their pixels, (·, H, W, c).
        seen: their masks, (·, 1, H, W), if any pixel is hidden.
        index: the arrays ``digests``, ``hidden``, ``names``, ``ends`` and ``codes`` of the index.
        classes: the names of the classes, if there are any.
        places: int64 (n,), the rows that are the images.
    """

    folder: Path
    rows: RowFile
    seen: RowFile | None
    index: dict[str, NDArray[Any]]
    classes: tuple[str, ...]
    places: NDArray[np.int64]

    dtype = torch.uint8

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> torch.Size:
        """(n, c, H, W)."""
        height, width, channels = self.rows.shape[1:]
        return torch.Size((len(self), channels, height, width))

    @property
    def names(self) -> Strings:
        return unpacked(self.index["names"], self.index["ends"], self.places)

    @property
    def digests(self) -> Strings:
        return hexadecimal(self.index["digests"], self.places)

    @property
    def labels(self) -> Strings | None:
        return decoded(self.index["codes"], self.classes, self.places) if self.classes else None

    @property
    def hides(self) -> bool:
        """Whether any pixel is hidden."""
        return self.seen is not None

    def hidden_shares(self) -> Tensor:
        """The share of each image's pixels that is hidden, (n,); raises as `read` does."""
        shares = torch.zeros(len(self))
        if self.seen is not None:
            for index in torch.from_numpy(np.flatnonzero(self.index["hidden"][self.places])).split(AT_ONCE):
                _, masks = self.read(index)
                assert masks is not None
                shares[index] = hidden_shares(masks)
        return shares

    def only(self, places: NDArray[np.int64]) -> "StoredPixels":
        """The images at these places; nothing is copied."""
        taken = self.places[places]
        seen = self.seen if self.index["hidden"][taken].any() else None
        return StoredPixels(self.folder, self.rows, seen, self.index, self.classes, taken)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The images of this index, uint8 (b, c, H, W), channels-last in memory; raises as `read` does."""
        return self.read(index)[0]

    def read(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """The images of this index, and their masks, bool (b, 1, H, W), if any image of the set has hidden pixels.

        Raises:
            InputError: an image is damaged, or was deleted.
        """
        places = self.places[index if isinstance(index, slice) else index.cpu().numpy()]
        try:
            rows = self.rows.read(places)
            seen = None if self.seen is None else self.seen.read(places).astype(bool, copy=False)
        except EOFError as error:
            raise self._damaged(str(error)) from error
        masks: Sequence[NDArray[np.bool_] | None] = [None] * len(places) if seen is None else list(seen)
        expected = self.index["digests"][places]
        found = b"".join(map(digest, rows, masks))
        if found != expected.tobytes():
            wrong = (np.frombuffer(found, np.uint8).reshape(-1, 32) != expected).any(1).argmax()
            raise self._damaged(f"the digest of {self.names._get(int(places[wrong]))}")
        pixels = torch.from_numpy(rows).permute(0, 3, 1, 2)
        return pixels, None if seen is None else torch.from_numpy(seen)

    def whole(self) -> Tensor:
        """All images: mapped, if they are all of the cache, or else read into memory."""
        if len(self) == self.rows.shape[0] and (np.diff(self.places) == 1).all():
            return torch.from_numpy(self.rows.mapped()).permute(0, 3, 1, 2)
        return self[:]

    def whole_masks(self) -> Tensor | None:
        """The masks of all images, in memory."""
        return self.read(slice(None))[1] if self.seen else None

    def _damaged(self, what: str) -> InputError:
        return damaged(self.folder, what)


def damaged(folder: Path, what: str) -> InputError:
    return InputError(
        f"{folder}: a damaged cache ({what}); delete it by `anasyn data cache --delete {folder.name}`, "
        "and it is built again"
    )


def find(key: str) -> ImageSet | None:
    """The images of a cache; None if there is none, or it is not complete.

    Raises:
        InputError: it is damaged.
    """
    folder = root() / key
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        with (folder / INDEX).open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != manifest["index"]:
                raise ValueError(f"the digest of {INDEX}")
        with safe_open(folder / INDEX, "numpy") as file:
            index = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
            about = json.loads(file.metadata()["about"])
        num = len(index["digests"])
        rows = RowFile(folder / about["file"], "pixels", (num, *about["row"]))
        seen = None
        if index["hidden"].any():
            seen = RowFile(folder / "masks.safetensors", "masks", (num, 1, *about["row"][:2]), "bool")
        for each in (rows, seen):
            if each is not None and (fault := each.fault()):
                raise ValueError(fault)
        with suppress(PermissionError):
            os.utime(folder / MANIFEST)  # when it was last used
    except (ValueError, KeyError, TypeError, SafetensorError, FileNotFoundError) as cause:
        raise damaged(folder, str(cause)) from cause
    stored = StoredPixels(folder, rows, seen, index, tuple(about["classes"]), index.pop("places"))
    return ImageSet(stored.names, None, tuple(about["skipped"]), stored.labels, stored=stored)


@contextmanager
def locked(folder: Path, timeout: float = -1) -> Iterator[None]:
    """Makes and locks the folder of a cache; waits for another process, so many seconds or for as long as it takes.

    Raises:
        Timeout: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK, timeout):
        yield


@dataclass(frozen=True)
class Entry:
    """A cache, as `anasyn data cache` shows it."""

    key: str
    source: str  # the folder, or what else the images come from
    size: str  # height x width in pixels
    images: int
    mebibytes: float
    last_used: str  # ISO 8601, local time
    complete: bool
    settings: str  # the digest of the source and the settings, whatever files there are


def entries() -> list[Entry]:
    """Every cache, the one last used first."""
    found = []
    for folder in root().glob("*/"):
        file = next((folder / name for name in (MANIFEST, PARTIAL) if (folder / name).is_file()), None)
        if file is None:
            continue
        used = file.stat().st_mtime
        size = sum(each.stat().st_blocks * 512 for each in folder.iterdir())
        try:
            about = json.loads(file.read_text())
            fields = about["source"], about["size"], about["images"], about["settings"]
        except (ValueError, KeyError, TypeError):
            fields = "damaged", "", 0, ""
        source, pixels, images, settings = fields
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(used))
        complete = file.name == MANIFEST
        found.append((used, Entry(folder.name, source, pixels, images, size / 2**20, stamp, complete, settings)))
    return [entry for _, entry in sorted(found, key=lambda item: item[0], reverse=True)]


def delete(key: str) -> None:
    """Deletes a cache; raises `InputError` if a process is building it."""
    folder = root() / key
    try:
        with locked(folder, timeout=0):
            (folder / MANIFEST).unlink(missing_ok=True)  # first, so that what is half deleted counts as no cache
            shutil.rmtree(folder)
    except Timeout as cause:
        raise InputError(f"{folder}: another process is building this cache; wait for it, or stop it") from cause
