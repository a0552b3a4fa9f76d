"""A checkpoint: a folder of safetensors and JSON, written completely or not at all, and verified when it is read."""

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
NUM_KEPT = 2
MAX_STATE_BYTES = 2**28  # enough for a million images' names and digests
MAX_MANIFEST_BYTES = 2**12
# The dtypes of learners' tensors, and their names in safetensors.
DTYPES = {"torch.float64": "F64", "torch.float32": "F32", "torch.int64": "I64", "torch.bool": "BOOL"}


def write(folder: Path, iteration: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Writes the checkpoint of an iteration and keeps the last two.

    The files and a manifest of their SHA-256 are written and flushed in a temporary folder, which is then renamed: a
    process that is killed meanwhile leaves the earlier checkpoints as they were.

    Args:
        folder: the run's ``checkpoints``.
        iteration: number of completed iterations.
        tensors: by name, on any device.
        state: everything else; it can be written as JSON.

    Raises:
        Divergence: a tensor is not finite; nothing is written.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise Divergence(f"{name} is not finite and is not saved")
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob("*.partial"):
        shutil.rmtree(abandoned)
    final, partial = folder / f"{iteration:08d}", folder / f"{iteration:08d}.partial"
    partial.mkdir()
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    except SafetensorError as cause:  # also raised if the disk is full
        raise OSError(f"{partial / TENSORS}: {cause}") from cause
    (partial / STATE).write_text(json.dumps(state))
    (partial / MANIFEST).write_text(json.dumps({name: _sha256(partial / name) for name in (TENSORS, STATE)}))
    for path in (*partial.iterdir(), partial):
        flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    flush(folder)
    found = newest_first(folder)
    # Checkpoints of later iterations are deleted, too: they are damaged, or the run has gone back to before them.
    for old in set(found) - set([path for path in found if int(path.name) <= iteration][:NUM_KEPT]):
        shutil.rmtree(old)
    return final


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
        for name in (TENSORS, STATE):
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


def read_tensors(checkpoint: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU.

    Args:
        checkpoint: one that `read_state` has verified.
        expected: tensors of the expected names, shapes and dtypes.

    Raises:
        InputError: a tensor is missing, unexpected, of another shape or dtype, or not finite; the message names it.
    """
    file = checkpoint / TENSORS
    try:
        _require_proportion(file, expected)
        with safe_open(file, "pt") as content:
            found = set(content.keys())
            for name in sorted(found ^ expected.keys()):
                fault = "is missing" if name in expected else "does not belong to this run"
                raise InputError(f"{file}: tensor {name} {fault}")
            for name, like in expected.items():
                part = content.get_slice(name)
                wanted = f"{DTYPES[str(like.dtype)]} of shape {list(like.shape)}"
                if (got := f"{part.get_dtype()} of shape {part.get_shape()}") != wanted:
                    raise InputError(f"{file}: tensor {name}: expected {wanted}, got {got}")
            tensors = {name: content.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as cause:
        raise InputError(f"{file}: not a file of tensors ({cause})") from cause
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{file}: tensor {name} is not finite")
    return tensors


def _require_proportion(file: Path, expected: dict[str, Tensor]) -> None:
    """Refuses a header or a file that is far larger than expected, before its content is read."""
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
    raise ValueError(f"{constant} is not a number")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
