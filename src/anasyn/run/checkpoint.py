"""A checkpoint: a folder of safetensors and JSON, written whole or not at all, and read only as it was written."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..learning import Divergence
from .files import flush

__all__ = ["newest_first", "read_state", "read_tensors", "write"]

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
KEPT = 2
MOST_STATE_BYTES = 2**28  # a million images' names and digests
MOST_MANIFEST_BYTES = 2**12

DTYPES = {"torch.float64": "F64", "torch.float32": "F32", "torch.int64": "I64", "torch.bool": "BOOL"}
"""How safetensors calls what learners hold."""


def write(folder: Path, iteration: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Writes the checkpoint of an iteration under ``folder`` and keeps the last two.

    The files are written and flushed under a temporary name, completed by a manifest of their SHA-256,
    and appear by one rename: whoever is stopped in between leaves the checkpoints before it as they were.

    Args:
        folder: the run's ``checkpoints``.
        iteration: how many iterations have been done.
        tensors: by name, of any device.
        state: what is no tensor, JSON-able.

    Raises:
        Divergence: a tensor is not finite; nothing is written.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise Divergence(f"{name} is not finite and is not saved")
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob("*.partial"):
        shutil.rmtree(left_behind)
    final, partial = folder / f"{iteration:08d}", folder / f"{iteration:08d}.partial"
    partial.mkdir()
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    except SafetensorError as cause:  # its word for a full disk too
        raise OSError(f"{partial / TENSORS}: {cause}") from cause
    (partial / STATE).write_text(json.dumps(state))
    digests = {name: _sha256(partial / name) for name in (TENSORS, STATE)}
    (partial / MANIFEST).write_text(json.dumps(digests))
    for path in (*partial.iterdir(), partial):
        flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    flush(folder)
    # One of a later iteration was refused, or the run has been taken back behind it.
    upto = [path for path in newest_first(folder) if int(path.name) <= iteration]
    for old in set(newest_first(folder)) - set(upto[:KEPT]):
        shutil.rmtree(old)
    return final


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints under ``folder``, that of the last iteration first."""
    found = folder.glob("*") if folder.is_dir() else ()
    ours = [path for path in found if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    return sorted(ours, key=lambda path: int(path.name), reverse=True)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds that is no tensor.

    Raises:
        InputError: a file is missing, damaged, or not the one that was written.
    """
    try:
        digests = _json(checkpoint / MANIFEST, MOST_MANIFEST_BYTES)
        for name in (TENSORS, STATE):
            if _sha256(checkpoint / name) != digests[name]:
                raise InputError(f"{checkpoint / name}: damaged, its SHA-256 is not the manifest's")
        state, iteration = _json(checkpoint / STATE, MOST_STATE_BYTES), int(checkpoint.name)
        if type(state["iteration"]) is not int or state["iteration"] != iteration:
            raise InputError(f"{checkpoint / STATE}: of iteration {state['iteration']}, expected {iteration}")
        return state
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as cause:
        if isinstance(cause, InputError):
            raise
        raise InputError(f"{checkpoint}: not a whole checkpoint ({type(cause).__name__}: {cause})") from cause


def read_tensors(checkpoint: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU: those expected, no more, no fewer, of their shapes, and finite.

    Args:
        checkpoint: whose files `read_state` found whole.
        expected: by name, tensors of the shapes and dtypes that there must be.

    Raises:
        InputError: one is otherwise; the message names it.
    """
    file = checkpoint / TENSORS
    try:
        _require_proportion(file, expected)
        with safe_open(file, "pt") as content:
            found = set(content.keys())
            for name in sorted(found ^ expected.keys()):
                what = "is missing" if name in expected else "is none of this run's"
                raise InputError(f"{file}: tensor {name} {what}")
            for name, like in expected.items():
                part = content.get_slice(name)
                if part.get_shape() != list(like.shape) or part.get_dtype() != DTYPES[str(like.dtype)]:
                    raise InputError(
                        f"{file}: tensor {name}: expected {DTYPES[str(like.dtype)]} of shape {list(like.shape)}, "
                        f"got {part.get_dtype()} of shape {part.get_shape()}"
                    )
            tensors = {name: content.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as cause:
        raise InputError(f"{file}: not a file of tensors ({cause})") from cause
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{file}: tensor {name} is not finite")
    return tensors


def _require_proportion(file: Path, expected: dict[str, Tensor]) -> None:
    """Before anything is read: a header and a file far larger than what is expected are no checkpoint of ours."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    most = 1024 + sum(256 + len(name.encode()) for name in expected)
    if header > most:
        raise InputError(f"{file}: a header of {header} bytes, at most {most} are expected")
    size = sum(tensor.nbytes for tensor in expected.values())
    if file.stat().st_size > 8 + most + 2 * size:
        raise InputError(f"{file}: {file.stat().st_size} bytes, where tensors of {size} are expected")


def _json(file: Path, most_bytes: int) -> dict[str, Any]:
    if file.stat().st_size > most_bytes:
        raise InputError(f"{file}: {file.stat().st_size} bytes, at most {most_bytes} are read")
    content: dict[str, Any] = json.loads(file.read_bytes(), parse_constant=_refuse)
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
