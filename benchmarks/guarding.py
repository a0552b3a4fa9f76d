"""The share of a lion-tiger iteration that is spent on guarding and checkpointing. Run by ``make bench``.

The guard's checks, its copies of good states, the lines of metrics.jsonl and the checkpoints are timed where they are
called, in one run, and compared with the total time of learning.
"""

import dataclasses
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timing
from anasyn.cli.learn import begin
from anasyn.learning import Guard
from anasyn.recipes import RECIPES
from anasyn.run import Run, advance, metrics
from timing import Row

TIMED: dict[str, list[tuple[Any, str]]] = {
    "checking records and weights": [(Guard, "watch"), (Guard, "watch_weights")],
    "keeping good states": [(Guard, "keep")],
    "metrics.jsonl": [(metrics, "append")],
    "checkpoints": [(Run, "save")],
}


def rows(fast: bool) -> Iterator[Row]:
    name = "lion-tiger" if "ANASYN_PHOTOGRAPHS" in os.environ else "drawn-cats"
    spent: dict[str, float] = defaultdict(float)

    def timed(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[what] += time.perf_counter() - began

        return call

    for what, methods in TIMED.items():
        for owner, method in methods:
            setattr(owner, method, timed(getattr(owner, method), what))
    with tempfile.TemporaryDirectory() as folder:
        settings = RECIPES[name].settings
        if fast:
            settings = dataclasses.replace(settings, iterations=20)
        run, images, _ = begin(Path(folder, "run"), name, settings, strict=False, overwrite=False)
        learner, guard = run.resume()
        began = time.perf_counter()
        iterations = sum(1 for _ in advance(run, learner, guard, images))
        whole = time.perf_counter() - began
    yield Row(f"{name}: {iterations} iterations, s", whole)
    for what, seconds in spent.items():
        yield Row(f"{what}, ms an iteration", 1000 * seconds / iterations)
        yield Row(f"{what}, %", 100 * seconds / whole)
    yield Row("all of these, %", 100 * sum(spent.values()) / whole, "≤ 3")


if __name__ == "__main__":
    timing.main("guarding", rows, __doc__)
