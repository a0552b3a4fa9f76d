"""RUN/metrics.jsonl: a JSON object for every iteration."""

import json
import math
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..learning import Record
from .files import replace

__all__ = ["append", "read", "rewind"]


def append(file: Path, record: Record) -> None:
    """Appends an iteration's line; after a rollback, the lines from this iteration on are removed first.

    NaN and Infinity are written as Python's json writes them, so that a divergence is visible.
    """
    line: dict[str, Any] = {
        "iteration": record.iteration,
        "loss": record.loss,
        "seconds": record.seconds,
        "acceptance_rate": record.acceptance_rate,
        "step_size": record.step_size,
        **record.measures,
    }
    if record.events:
        line["events"] = list(record.events)
    if record.rolled_back:
        rewind(file, record.iteration - 1)
    with file.open("a") as opened:
        opened.write(json.dumps(line) + "\n")


def read(file: Path, upto: int | None = None) -> list[dict[str, Any]]:
    """The lines up to iteration ``upto``, without the incomplete last line that a killed process may leave.

    Raises:
        InputError: the file is damaged.
    """
    try:
        lines = file.read_text().splitlines() if file.is_file() else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return [line for line in whole if line["iteration"] <= (math.inf if upto is None else upto)]
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise InputError(f"{file}: expected one JSON object for each iteration ({cause})") from cause


def rewind(file: Path, iteration: int) -> None:
    """Removes the lines after an iteration, from which a run is resumed."""
    replace(file, "".join(json.dumps(line) + "\n" for line in read(file, upto=iteration)))
