"""A checkpoint: a folder of safetensors and JSON, written completely or not at all, and verified when it is read.

``tensors.safetensors`` has what is the same in every process, such as the weights; each ``images-….safetensors`` has
rows of what is kept for each image, such as its chain, written by the process that has these images.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import ranks
from ..errors import InputError
from ..learning import Divergence
from .files import flush

__all__ = ["newest_first", "read_shards", "read_state", "read_tensors", "write"]

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
NUM_KEPT = 2
SHARD = re.compile(r"images-\d{3,6}-\d{5,9}\.safetensors", re.ASCII)
MAX_STATE_BYTES = 2**20
MAX_MANIFEST_BYTES = 2**22  # enough for 40,000 files
# The dtypes of learners' tensors, and their names in safetensors.
DTYPES = {"torch.float64": "F64", "torch.float32": "F32", "torch.int64": "I64", "torch.bool": "BOOL",
          "torch.uint8": "U8"}  # fmt: skip


def write(
    folder: Path,
    iteration: int,
    tensors: Mapping[str, Tensor],
    state: dict[str, Any],
    shards: Iterable[Mapping[str, Tensor]] = (),
) -> Path:
    """Writes the checkpoint of an iteration and keeps the last two.

    The files and a manifest of their SHA-256 are written and flushed in a temporary folder, which is then renamed: a
    process that is killed meanwhile leaves the earlier checkpoints as they were. All processes call this together;
    each writes its shards, and the first one the rest.

    Args:
        folder: the run's ``checkpoints``.
        iteration: number of completed iterations.
        tensors: by name, on any device; the same in every process.
        state: everything else; it can be written as JSON.
        shards: rows of what belongs to this process's images, by name, a part at a time.

    Raises:
        Divergence: a tensor of any process is not finite; no checkpoint is written.
        OSError: a process cannot write, for example because the disk is full.
    """
    final, partial = folder / f"{iteration:08d}", folder / f"{iteration:08d}.partial"
    first, digests = ranks.rank() == 0, dict[str, str]()
    with ranks.agreed(Divergence, OSError):
        _require_finite(tensors)
        if first:
            folder.mkdir(parents=True, exist_ok=True)
            for abandoned in folder.glob("*.partial"):
                shutil.rmtree(abandoned)
            partial.mkdir()
    try:
        with ranks.agreed(Divergence, OSError):
            for number, shard in enumerate(shards):
                _require_finite(shard)
                _save(shard, partial / f"images-{ranks.rank():03d}-{number:05d}.safetensors", digests)
            if first:
                _save(tensors, partial / TENSORS, digests)
                (partial / STATE).write_text(json.dumps(state))
                digests[STATE] = _sha256(partial / STATE)
        everything = {name: digest for part in ranks.together(digests) for name, digest in part.items()}
        with ranks.agreed(Divergence, OSError):
            if first:
                (partial / MANIFEST).write_text(json.dumps(everything))
                for path in (*partial.iterdir(), partial):
                    flush(path)
                shutil.rmtree(final, ignore_errors=True)
                os.rename(partial, final)
                flush(folder)
    except (Divergence, OSError):
        if first:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    found = newest_first(folder)
    # Checkpoints of later iterations are deleted, too: they are damaged, or the run has gone back to before them.
    for old in set(found) - set([path for path in found if int(path.name) <= iteration][:NUM_KEPT]) if first else ():
        shutil.rmtree(old)
    return final


def _require_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise Divergence(f"{name} is not finite and is not saved")


def _save(tensors: Mapping[str, Tensor], file: Path, digests: dict[str, str]) -> None:
    """Writes tensors, flushed to the disk, and notes the file's SHA-256."""
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as cause:  # also raised if the disk is full
        raise OSError(f"{file}: {cause}") from cause
    flush(file)
    digests[file.name] = _sha256(file)


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the latest first."""
    found = folder.glob("*") if folder.is_dir() else ()
    ours = [path for path in found if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    return sorted(ours, key=lambda path: int(path.name), reverse=True)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Verifies a checkpoint's files, and returns everything in it except the tensors.

    Raises:
        InputError: a file is missing or damaged.
    """
    try:
        digests = _json(checkpoint / MANIFEST, MAX_MANIFEST_BYTES)
        if not isinstance(digests, dict):
            raise TypeError(f"expected an object in {MANIFEST}")
        for name in dict.fromkeys((TENSORS, STATE, *digests)):
            if name not in (TENSORS, STATE) and not SHARD.fullmatch(name):
                raise InputError(f"{checkpoint / MANIFEST}: {name!r} is no file of a checkpoint")
            if _sha256(checkpoint / name) != digests[name]:
                raise InputError(f"{checkpoint / name}: damaged: its SHA-256 is not the manifest's")
        state, iteration = _json(checkpoint / STATE, MAX_STATE_BYTES), int(checkpoint.name)
        if type(state["iteration"]) is not int or state["iteration"] != iteration:
            raise InputError(f"{checkpoint / STATE}: of iteration {state['iteration']}, expected {iteration}")
        return state
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as cause:
        if isinstance(cause, InputError):
            raise
        raise InputError(f"{checkpoint}: not a complete checkpoint ({type(cause).__name__}: {cause})") from cause


def read_tensors(checkpoint: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU.

    Args:
        checkpoint: one that `read_state` has verified.
        expected: tensors of the expected names, shapes and dtypes.

    Raises:
        InputError: a tensor is missing, unexpected, of another shape or dtype, or not finite; the message names it.
    """
    file = checkpoint / TENSORS
    with _opened(file, expected, sum(tensor.nbytes for tensor in expected.values())) as content:
        tensors = {name: _read(file, content, name, like.dtype, like.shape) for name, like in expected.items()}
    return tensors


def read_shards(checkpoint: Path, expected: Mapping[str, Tensor], most_bytes: int) -> Iterator[dict[str, Tensor]]:
    """What each shard of a checkpoint has, on the CPU, one after the other.

    Args:
        checkpoint: one that `read_state` has verified.
        expected: tensors of the expected names and dtypes, whose rows, any number of them, have the expected shape.
        most_bytes: the size of a shard.

    Raises:
        InputError: as for `read_tensors`.
    """
    names = _json(checkpoint / MANIFEST, MAX_MANIFEST_BYTES)
    for file in sorted(checkpoint / name for name in names if SHARD.fullmatch(name)):
        with _opened(file, expected, most_bytes) as content:
            shard = {}
            for name, like in expected.items():
                rows = content.get_slice(name).get_shape()[:1]
                shard[name] = _read(file, content, name, like.dtype, (*rows, *like.shape[1:]))
        yield shard


@contextmanager
def _opened(file: Path, expected: Mapping[str, Tensor], most_bytes: int) -> Iterator[Any]:
    """A file of tensors with exactly the expected names."""
    try:
        _require_proportion(file, expected, most_bytes)
        with safe_open(file, "pt") as content:
            for name in sorted(set(content.keys()) ^ expected.keys()):
                fault = "is missing" if name in expected else "does not belong to this run"
                raise InputError(f"{file}: tensor {name} {fault}")
            yield content
    except (OSError, SafetensorError) as cause:
        raise InputError(f"{file}: not a file of tensors ({cause})") from cause


def _read(file: Path, content: Any, name: str, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """One tensor of a file, of this dtype and shape."""
    part = content.get_slice(name)
    wanted = f"{DTYPES[str(dtype)]} of shape {list(shape)}"
    if (got := f"{part.get_dtype()} of shape {part.get_shape()}") != wanted:
        raise InputError(f"{file}: tensor {name}: expected {wanted}, got {got}")
    tensor: Tensor = content.get_tensor(name)
    if not tensor.isfinite().all():
        raise InputError(f"{file}: tensor {name} is not finite")
    return tensor


def _require_proportion(file: Path, expected: Mapping[str, Tensor], size: int) -> None:
    """Refuses a header or a file that is far larger than expected, before its content is read."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    most = 1024 + sum(256 + len(name.encode()) for name in expected)
    if header > most:
        raise InputError(f"{file}: a header of {header} bytes, at most {most} are expected")
    if file.stat().st_size > 8 + most + 2 * size:
        raise InputError(f"{file}: {file.stat().st_size} bytes, where tensors of {size} are expected")


def _json(file: Path, most_bytes: int) -> dict[str, Any]:
    if file.stat().st_size > most_bytes:
        raise InputError(f"{file}: {file.stat().st_size} bytes, at most {most_bytes} are read")
    content: dict[str, Any] = json.loads(file.read_bytes(), parse_constant=_refuse)
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
