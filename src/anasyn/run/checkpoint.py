"""A checkpoint: a folder of safetensors and JSON, written whole or not at all."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError

__all__ = ["latest", "read", "write"]

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
KEPT = 2
REMEDY = "remove that checkpoint to go on from the one before"


def write(folder: Path, iteration: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Writes the checkpoint of an iteration under ``folder`` and keeps the last two.

    The files are written and flushed under a temporary name, completed by a manifest of their SHA-256,
    and appear by one rename: whoever is stopped in between leaves the checkpoints before it as they were.

    Args:
        folder: the run's ``checkpoints``.
        iteration: how many iterations have been done.
        tensors: by name, of any device.
        state: what is no tensor, JSON-able.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / f"{iteration:08d}", folder / f"{iteration:08d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    except SafetensorError as cause:  # its word for a full disk too
        raise OSError(f"{partial / TENSORS}: {cause}") from cause
    (partial / STATE).write_text(json.dumps(state))
    digests = {name: _sha256(partial / name) for name in (TENSORS, STATE)}
    (partial / MANIFEST).write_text(json.dumps(digests))
    for path in (*partial.iterdir(), partial):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    _flush(folder)
    for old in _iterations(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def latest(folder: Path) -> Path | None:
    """The last checkpoint under ``folder``; None where there is none."""
    found = _iterations(folder)
    return found[-1] if found else None


def read(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the state of a checkpoint.

    Raises:
        InputError: a file is missing, damaged, or not the one that was written.
    """
    try:
        digests = json.loads((checkpoint / MANIFEST).read_text())
        for name in (TENSORS, STATE):
            if _sha256(checkpoint / name) != digests[name]:
                raise InputError(f"{checkpoint / name}: damaged, its SHA-256 is not the manifest's; {REMEDY}")
        return load_file(checkpoint / TENSORS), json.loads((checkpoint / STATE).read_text())
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as cause:
        raise InputError(f"{checkpoint}: not a whole checkpoint ({cause}); {REMEDY}") from cause


def _iterations(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
