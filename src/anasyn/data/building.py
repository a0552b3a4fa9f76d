"""Building a cache: every image of a source is decoded once, by all processors, in chunks of which a journal is kept.

The process may be killed at any time. What the journal names is on the disk, and the next process decodes the rest.
"""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..errors import InputError
from ..progress import say, steps
from . import cache
from .decoding import quiet
from .pixels import ImageSet, digest
from .rowfile import RowFile
from .source import Form, Source, decode_rows, labels_of, require_enough
from .strings import packed

__all__ = ["build", "key_of"]

VERSION = 1  # of the files
JOURNAL = "journal.jsonl"
CHUNK_BYTES, CHUNK_IMAGES = 4 * 2**20, 256  # the most in a chunk: as much is lost by a kill, for each worker
KEPT, GREY, HIDDEN = 1, 2, 4  # of an image's state
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def key_of(source: Source, form: Form, channels: int | None) -> str:
    """The name of a cache: a digest of the images, as far as it can be told without reading them, and of their form."""
    return _hashed(_settings(source, form, channels), source.identity)


def build(source: Source, form: Form) -> ImageSet:
    """Builds the cache of a source, or waits for another process that does, and returns its images.

    Raises:
        InputError: too few images can be used, or one cannot be and ``form`` is strict.
        OSError: the disk is full; what was built is kept.
    """
    settings = _settings(source, form, form.channels)
    key = key_of(source, form, form.channels)
    folder = cache.root() / key
    about = {"source": source.place, "size": f"{form.height}x{form.width}", "images": len(source), "settings": settings}
    with _alone(folder, source), _advice(folder):
        if not (folder / cache.MANIFEST).exists():  # another process may have completed it
            _Building(folder, source, form, about).run()
    for entry in cache.entries():
        if entry.settings == settings and entry.key != key:  # the same, before its images changed
            with suppress(InputError):
                cache.delete(entry.key)
    images = cache.find(key)
    assert images is not None
    return images


class _Building:
    """A cache that is built in its folder, which is locked."""

    def __init__(self, folder: Path, source: Source, form: Form, about: dict[str, Any]):
        self.folder, self.source, self.form, self.about = folder, source, form, about
        self.num, self.lock = len(source), threading.Lock()
        self.skipped: dict[int, str] = {}
        source.name(0)  # which lists the images, before several threads ask for one
        self.done = self._done()
        if not self.done:
            for file in folder.iterdir():
                if file.name != cache.LOCK:
                    file.unlink()
            _write(folder / cache.PARTIAL, about)
            for each in self._files(RowFile.create):
                if each.path.name != "masks.safetensors":  # of which no page is written unless pixels are hidden
                    each.reserve()
        self.pixels, self.masks, self.records = self._files(partial(RowFile, writable=True))

    def _files(self, opened: Callable[..., RowFile]) -> list[RowFile]:
        """Of the images' pixels, their masks, and their digests and states."""
        rows = {"pixels": self.form.row, "masks": (1, *self.form.row[:2]), "records": (33,)}
        types = {"masks": "bool"}
        return [
            opened(self.folder / f"{name}.safetensors", name, (self.num, *row), types.get(name, "uint8"))
            for name, row in rows.items()
        ]

    def _done(self) -> set[int]:
        """The first images of the chunks that are done; what a killed process has left of a line is removed."""
        done, length = set[int](), 0
        try:
            if any(file.fault() for file in self._files(RowFile)):
                return set()
            with (self.folder / JOURNAL).open("rb+") as journal, suppress(ValueError):
                for line in journal:
                    chunk = json.loads(line if line.endswith(b"\n") else b"")
                    done.add(chunk["first"])
                    self.skipped |= {int(index): fault for index, fault in chunk["skipped"].items()}
                    length += len(line)
        except FileNotFoundError:
            return set()
        os.truncate(self.folder / JOURNAL, length)
        return done

    def run(self) -> None:
        """Decodes the chunks that are not done, and completes the cache."""
        step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // prod(self.form.row)))
        chunks = [range(first, min(first + step, self.num)) for first in range(0, self.num, step)]
        left = [places for places in chunks if places.start not in self.done]
        # One more worker than processors, as a worker at times waits for the disk.
        with quiet(), ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
            for _ in steps(pool.map(self._chunk, left), len(left), f"caching {self.num} images of {self.source.title}"):
                pass
        self._complete()

    def _chunk(self, places: range) -> None:
        """Decodes some images and writes them; then, when they are on the disk, a line in the journal."""
        rows = decode_rows(self.source, places, self.form)
        hidden = ~rows.seen.all((1, 2, 3))
        self.pixels.write(places.start, rows.pixels)
        if hidden.any():
            self.masks.write(places.start, rows.seen)
        kept = np.array([index not in rows.skipped for index in places])
        records = np.zeros((len(places), 33), dtype=np.uint8)
        for record, row, seen in zip(records, rows.pixels, rows.seen, strict=True):
            record[:32] = np.frombuffer(digest(row, seen), dtype=np.uint8)
        records[:, 32] = KEPT * kept + GREY * rows.grey + HIDDEN * hidden
        self.records.write(places.start, records)
        for file in (self.pixels, self.masks, self.records):
            file.flush()
        with self.lock, (self.folder / JOURNAL).open("a") as journal:
            journal.write(json.dumps({"first": places.start, "skipped": rows.skipped}) + "\n")
            self.skipped |= rows.skipped

    def _complete(self) -> None:
        """Writes the index and, last, the manifest; the files of the building are then deleted."""
        records = self.records.read(np.arange(self.num))
        digests, state = np.ascontiguousarray(records[:, :32]), records[:, 32]
        kept, hidden = np.flatnonzero(state & KEPT), (state & HIDDEN) > 0
        skipped = [self.skipped[index] for index in sorted(self.skipped)]
        require_enough(self.source, len(kept), skipped)
        if hidden.any():
            one = np.ones((1, *self.masks.shape[1:]), dtype=bool)
            for place in np.flatnonzero(~hidden).tolist():
                self.masks.write(place, one)
            self.masks.flush()
        pixels = self.pixels
        if self.form.channels is None and (state[kept] & GREY).all():
            pixels = self._one_channel(digests)
        codes = np.zeros(self.num, dtype=np.int32)
        codes[kept], classes = labels_of(self.source, kept.tolist())
        names, ends = packed(self.source.name(index) for index in range(self.num))
        about = {"file": pixels.path.name, "row": pixels.shape[1:], "classes": classes, "skipped": skipped}
        index = {"digests": digests, "hidden": hidden, "names": names, "ends": ends, "codes": codes, "places": kept}
        save_file(index, self.folder / cache.INDEX, {"about": json.dumps(about)})
        with (self.folder / cache.INDEX).open("rb") as content:
            os.fsync(content.fileno())
            digest_of_index = hashlib.file_digest(content, "sha256").hexdigest()
        _write(self.folder / cache.MANIFEST, {**self.about, "images": len(kept), "index": digest_of_index})
        useful = {pixels.path.name, cache.INDEX, cache.MANIFEST, cache.LOCK}
        if hidden.any():
            useful.add(self.masks.path.name)
        for file in self.folder.iterdir():
            if file.name not in useful:
                file.unlink()

    def _one_channel(self, digests: NDArray[np.uint8]) -> RowFile:
        """A file of the first channel alone, all images being grey; their digests are replaced."""
        path, shape = self.folder / "grey.safetensors", (*self.pixels.shape[:3], 1)
        grey = RowFile.create(path, "pixels", shape)
        grey.reserve()
        for first in range(0, self.num, CHUNK_IMAGES):
            places = np.arange(first, min(first + CHUNK_IMAGES, self.num))
            rows, masks = np.ascontiguousarray(self.pixels.read(places)[..., :1]), self.masks.read(places)
            for place, row, mask in zip(places, rows, masks, strict=True):
                digests[place] = np.frombuffer(digest(row, mask if mask.any() else None), dtype=np.uint8)
            grey.write(first, rows)
        grey.flush()
        return grey


@contextmanager
def _alone(folder: Path, source: Source) -> Iterator[None]:
    """Locks the folder of a cache, and says so if it has to wait for another process."""
    try:
        lock = cache.locked(folder, timeout=0)
        lock.__enter__()
    except Timeout:
        say(f"waiting for another process, which is caching {source.title}")
        lock = cache.locked(folder)
        lock.__enter__()
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def _advice(folder: Path) -> Iterator[None]:
    """Says what to do about a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        advice = "free some space, or set ANASYN_CACHE to a folder on a larger disk, and run this again"
        raise OSError(error.errno, f"{error.strerror}; {advice}", str(folder)) from error


def _settings(source: Source, form: Form, channels: int | None) -> str:
    return _hashed(VERSION, source.place, form.height, form.width, form.fit, channels, form.transparent)


def _hashed(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(file: Path, content: dict[str, Any]) -> None:
    """Writes a file completely or not at all."""
    partial = file.with_name(file.name + ".new")
    with partial.open("w") as out:
        json.dump(content, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, file)
