"""Tensors with a row for each image: where they are large, they lie in a file and not in memory."""

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from weakref import WeakSet

import torch
from torch import Tensor

__all__ = ["copied", "empty_rows", "parts", "release"]

LARGE = 2**26  # bytes from which a tensor lies in a file; a process takes ten times as much without any
AT_ONCE = 2**23  # bytes of a file that are in memory at once
_mapped: WeakSet[mmap.mmap] = WeakSet()


def empty_rows(shape: Sequence[int], like: Tensor) -> Tensor:
    """An uninitialised tensor of this shape, with the dtype and device of ``like``.

    A large one on the CPU is a nameless file in the folder of temporary files ($TMPDIR), as long as the tensor exists.

    Raises:
        OSError: the file system is full.
    """
    size = torch.Size(shape).numel() * like.element_size()
    if like.device.type != "cpu" or size < LARGE:
        return like.new_empty(shape)
    with tempfile.TemporaryFile() as file:
        if allocate := getattr(os, "posix_fallocate", None):  # macOS has none
            allocate(file.fileno(), 0, size)  # now, since a page that cannot be written ends the process
        os.ftruncate(file.fileno(), size)
        mapping = mmap.mmap(file.fileno(), size)
    _mapped.add(mapping)
    return torch.frombuffer(mapping, dtype=like.dtype).view(shape)


def parts(tensor: Tensor) -> Iterator[Tensor]:
    """Consecutive rows of a tensor, as views; no more of a large one than a few of them are in memory."""
    if tensor.nbytes < LARGE:
        yield tensor
        return
    for part in tensor.split(max(1, AT_ONCE // tensor[:1].nbytes)):
        yield part
        release()


def copied(tensor: Tensor) -> Tensor:
    """A copy, in a file as well if it is large."""
    copy = empty_rows(tensor.shape, tensor) if tensor.is_contiguous() else torch.empty_like(tensor)
    for part, source in zip(parts(copy), parts(tensor), strict=True):
        part.copy_(source)
    return copy


def release() -> None:
    """Takes what lies in files out of this process's memory; it is read again when it is used."""
    for mapping in _mapped:
        mapping.madvise(mmap.MADV_DONTNEED)
