"""Helpers of the benchmarks: interleaved timing, a child process's peak memory, and a table that is saved as JSON."""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent / "results"


class Row(NamedTuple):
    """One figure and, where the project promises one, its target."""

    what: str
    figure: float
    target: str = ""


def interleaved(functions: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Median seconds of each function, called in turn ``repeats`` times after one call that is not counted.

    Other load on the machine affects all of them alike, so that their ratios are more reliable than their seconds.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(of) for name, of in seconds.items()}


def child(arguments: list[str]) -> tuple[str, float, float]:
    """Runs a Python process and returns its standard output, its wall-clock seconds and its peak memory in MiB.

    Raises:
        SystemExit: the process failed.
    """
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: exit status {process.returncode}")
    return output, time.perf_counter() - began, usage.ru_maxrss / 1024


def main(name: str, rows: Callable[[bool], Iterable[Row]], described: str | None) -> None:
    """Prints a benchmark's rows as they are measured and saves them in ``results/<name>.json``."""
    options = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--fast", "--small", action="store_true", help="one repetition of the smallest case, to see that it runs"
    )
    options.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    arguments = options.parse_args()
    kept: list[dict[str, Any]] = []
    for row in rows(arguments.fast):
        print(f"{row.what:76}{row.figure:>12.4g}   {row.target}", flush=True)
        figure = row.figure if math.isfinite(row.figure) else None  # JSON has no infinity
        kept.append({"benchmark": name, **row._asdict(), "figure": figure})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(kept, indent=2))


def missing(peer: str) -> None:
    """Prints that another package cannot be measured."""
    print(f"{peer} is not installed and is skipped: pip install --constraint constraints.txt --editable '.[bench]'")
