"""Tar archives of images, as webdataset writes them: KEY.jpg, and KEY.cls with the name or number of its class."""

import hashlib
import os
import re
import tarfile
import weakref
from array import array
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .decoding import FORMATS, MAX_BYTES, printable
from .masks import MaskFile
from .source import FEWEST, Source
from .strings import Strings, packed, unpacked

__all__ = ["Archives", "is_archives"]

IMAGES = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif")
CLASS_BYTES = 200  # the most in a .cls file
RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")  # as in shards-{000..099}.tar
MOST_FILES = 100_000


def is_archives(data: str) -> bool:
    """Whether a word names tar files, by their names or as a folder that holds some, and neither images nor folders."""
    if data.endswith(".tar") and not os.path.isdir(data):
        return True
    if not os.path.isdir(data):
        return False
    found = False
    try:
        with os.scandir(data) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    suffix = entry.name.rpartition(".")[2].lower()
                    if suffix in IMAGES or entry.is_dir():
                        return False  # of a folder of images, the first one tells
                    found |= suffix == "tar"
    except OSError:
        return False
    return found


class Archives(Source):
    """The images of tar files, in their order. The files of one image are adjacent; only images and classes are read.

    Args:
        data: the path of a tar file, of several by a range in braces, or of a folder of them.
        most: images, after which the others are left out.
    """

    def __init__(self, data: str, most: int | None = None):
        self.data, self.most = data, most
        if os.path.isdir(data):
            names = sorted(name for name in os.listdir(data) if name.endswith(".tar") and not name.startswith("."))
            self.files = [Path(data, name) for name in names]
        else:
            self.files = [Path(name) for name in _expanded(data)]
        if missing := [file for file in self.files if not file.exists()]:
            raise InputError(f"{printable(missing[0])}: is not there; expected a tar file of images")

    @property
    def title(self) -> str:
        return printable(self.data)

    @property
    def place(self) -> str:
        return printable(os.path.realpath(self.data))

    @cached_property
    def identity(self) -> str:
        content = hashlib.sha256()
        for file in self.files:
            status = file.stat()
            content.update(os.fsencode(file.name) + f"\0{status.st_size} {status.st_mtime_ns}\0".encode())
        return content.hexdigest()

    def __len__(self) -> int:
        return len(self._listed.names)

    def name(self, index: int) -> str:
        return self._listed.names[index]

    def label(self, index: int) -> str | None:
        return self._listed.classes[self._listed.spans[index, 3]] or None

    def content(self, index: int) -> bytes:
        file, offset, size, _ = self._listed.spans[index].tolist()
        if size > MAX_BYTES:
            raise InputError(f"{self.name(index)}: {size} bytes, at most {MAX_BYTES} are read")
        found = os.pread(self._descriptors[file], size, offset)
        if len(found) != size:
            raise InputError(f"{self.name(index)}: its archive ends early")
        return found

    def mask(self, index: int) -> MaskFile | None:
        return None

    @cached_property
    def _descriptors(self) -> list[int]:
        """Of the files, for several threads to read."""
        found = [os.open(file, os.O_RDONLY) for file in self.files]
        for each in found:
            weakref.finalize(self, os.close, each)
        return found

    @cached_property
    def _listed(self) -> "_Listed":
        numbers, classes = array("q"), {"": 0}

        def names() -> Iterator[str]:
            for file, image, label in islice(self._images(), self.most):
                numbers.extend((file, image.offset_data, image.size, classes.setdefault(label, len(classes))))
                inside = printable(image.name)
                yield f"{printable(self.files[file].name)}/{inside}" if len(self.files) > 1 else inside

        content, ends = packed(names())
        if not len(ends):
            raise InputError(f"{self.title}: no images in it; at least {FEWEST} are needed ({', '.join(FORMATS)})")
        spans = np.frombuffer(numbers, dtype=np.int64).reshape(-1, 4)
        return _Listed(unpacked(content, ends, np.arange(len(ends))), spans, tuple(classes))

    def _images(self) -> Iterator[tuple[int, tarfile.TarInfo, str]]:
        """The number of its file, the header and the class of each image."""
        for number, file in enumerate(self.files):
            try:
                with tarfile.open(file, "r:") as tar:
                    for _, sample in groupby(_regular(tar), key=_key):
                        images, label = [], ""
                        for member in sample:
                            suffix = member.name.rpartition(".")[2].lower()
                            if suffix in IMAGES:
                                images.append(member)
                            elif suffix == "cls" and (content := tar.extractfile(member)):
                                label = printable(content.read(CLASS_BYTES).decode("utf-8", "replace").strip())
                        yield from ((number, image, label) for image in images)
            except (tarfile.TarError, EOFError, ValueError) as error:
                advice = "expected a tar file that is whole and not compressed"
                raise InputError(f"{printable(file)}: {error}; {advice}") from error


class _Listed(NamedTuple):
    names: Strings
    spans: NDArray[np.int64]  # of each image, (n, 4): the number of its file, its offset and size there, its class
    classes: tuple[str, ...]


def _regular(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The regular files of an archive that are not hidden."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # where the archive keeps all headers that it has read
        if member.isreg() and not member.issparse() and not member.name.rpartition("/")[2].startswith("."):
            yield member


def _key(member: tarfile.TarInfo) -> str:
    """The name up to the first dot after its last slash, which is the same for all files of an image."""
    folder, slash, name = member.name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _expanded(pattern: str) -> Iterator[str]:
    """The names that a range in braces stands for, or the name itself if there is no range in it."""
    found = RANGE.search(pattern)
    if not found:
        yield pattern
        return
    first, last = map(int, found.groups())
    if not 0 <= last - first < MOST_FILES:
        raise InputError(f"{printable(pattern)}: expected a range that ascends, of at most {MOST_FILES} files")
    for number in range(first, last + 1):
        yield f"{pattern[: found.start()]}{number:0{len(found[1])}}{pattern[found.end() :]}"
