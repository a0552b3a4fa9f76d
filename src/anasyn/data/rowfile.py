"""A safetensors file of one tensor whose rows are written and read one by one, so that no memory grows with it."""

import json
import os
import weakref
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowFile"]

PAGE = 4096  # bytes; rows begin at a page, as those who map the file like it
TYPES = {"uint8": "U8", "bool": "BOOL"}


class RowFile:
    """The rows of one tensor, (n, *row), uint8 or bool.

    The safetensors package writes a tensor as a whole, from memory. The file is one that it reads all the same: the
    length of a header, the header, as JSON with spaces behind it, and the values.

    Args:
        path: of the file, which must be there.
        name: of the tensor.
        shape: of the tensor.
        dtype: uint8 or bool.
        writable: rows may be written.
    """

    def __init__(self, path: Path, name: str, shape: Sequence[int], dtype: str = "uint8", *, writable: bool = False):
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self.row_bytes, num_bytes = prod(shape[1:]), prod(shape)
        content = {"dtype": TYPES[dtype], "shape": list(shape), "data_offsets": [0, num_bytes]}
        header = json.dumps({name: content}).encode()
        header += b" " * (-(len(header) + 8) % PAGE)
        self.header = len(header).to_bytes(8, "little") + header
        self.size = len(self.header) + num_bytes
        self.descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)

    @classmethod
    def create(cls, path: Path, name: str, shape: Sequence[int], dtype: str = "uint8") -> "RowFile":
        """Makes a file of zeros, which take no space on the disk before they are written to."""
        path.write_bytes(b"")
        file = cls(path, name, shape, dtype, writable=True)
        os.truncate(file.descriptor, file.size)
        file._write(file.header, 0)
        return file

    def reserve(self) -> None:
        """Takes the file's space on the disk; raises OSError if there is not as much."""
        allocate = getattr(os, "posix_fallocate", None)
        if allocate is None:  # macOS has none
            return
        try:
            allocate(self.descriptor, 0, self.size)
        except OSError:
            os.truncate(self.descriptor, 0)  # what was taken is given back
            raise

    def fault(self) -> str:
        """What is wrong with the length or the header of the file; empty if nothing is."""
        found = os.fstat(self.descriptor).st_size
        if found != self.size:
            return f"{self.path.name} has {found} bytes, expected {self.size}"
        whole = os.pread(self.descriptor, len(self.header), 0) == self.header
        return "" if whole else f"the header of {self.path.name}"

    def read(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The rows at these places, (b, *row); adjacent ones are read at once. Threads may read at the same time.

        Raises:
            EOFError: the file is shorter.
        """
        found = np.empty((len(places), self.row_bytes), dtype=np.uint8)
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1).tolist()
        for first, last in pairwise([*starts, len(places)]):
            rows, offset = found[first:last].reshape(-1), len(self.header) + int(places[first]) * self.row_bytes
            while len(rows):
                done = os.preadv(self.descriptor, [rows.data], offset)
                if not done:
                    raise EOFError(f"{self.path.name} ends early")
                rows, offset = rows[done:], offset + done
        return found.view(self.dtype).reshape(len(places), *self.shape[1:])

    def write(self, place: int, rows: NDArray[np.uint8] | NDArray[np.bool_]) -> None:
        """Writes rows, (b, *row), from this place on."""
        self._write(np.ascontiguousarray(rows).data.cast("B"), len(self.header) + place * self.row_bytes)

    def flush(self) -> None:
        """Waits until what was written is on the disk."""
        os.fdatasync(self.descriptor)

    def mapped(self) -> NDArray[np.uint8]:
        """All rows, as memory that is read from the file when it is used, and copied when it is changed."""
        with open(os.dup(self.descriptor), "rb") as file:
            return np.memmap(file, self.dtype, "c", len(self.header), self.shape)

    def _write(self, content: bytes | memoryview, offset: int) -> None:
        while len(content):
            done = os.pwrite(self.descriptor, content, offset)
            content, offset = content[done:], offset + done
