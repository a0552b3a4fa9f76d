"""What `anasyn diagnose`, `evaluate` and `restore` have found about a run, as kept in its directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError

__all__ = ["RESTORED", "diagnosis", "evaluation", "restoration"]

RESTORED = ("seen", "restored", "spread", "draws")  # tensors of restored.safetensors, besides "truth" if it is known


def diagnosis(file: Path) -> dict[str, Any] | None:
    """The content of diagnosis.json; None if there is no such file; raises `InputError` if it is damaged."""
    return _read(file, "diagnose", lambda content: isinstance(content, dict))


def evaluation(file: Path) -> dict[str, Any] | None:
    """The content of evaluation.json: ``iteration``, ``data`` and ``measures``; otherwise as `diagnosis`."""
    return _read(file, "evaluate", _is_evaluation)


def restoration(file: Path, iteration: int | None) -> dict[str, Tensor] | None:
    """The images of restored.safetensors, if they were restored at this iteration; otherwise as `diagnosis`."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
        tensors = load_file(file)
    except (OSError, SafetensorError) as cause:
        raise _damaged(file, "restore") from cause
    if not {*RESTORED} <= {*tensors}:
        raise _damaged(file, "restore")
    return tensors if metadata.get("iteration") == str(iteration) else None


def _damaged(file: Path, command: str) -> InputError:
    return InputError(f"{file}: not what `anasyn {command}` writes; remove it and run the command again")


def _read(file: Path, command: str, is_valid: Callable[[Any], bool]) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    damaged = _damaged(file, command)
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except (ValueError, RecursionError) as cause:
        raise damaged from cause
    if not is_valid(content):
        raise damaged
    return content


def _is_evaluation(content: Any) -> bool:
    measures = content.get("measures") if isinstance(content, dict) else None
    return (
        isinstance(measures, dict)
        and isinstance(content.get("iteration"), int)
        and isinstance(content.get("data"), str | None)
        and all(
            isinstance(measure, dict)
            and isinstance(measure.get("value"), float)
            and isinstance(measure.get("protocol"), str)
            for measure in measures.values()
        )
    )
