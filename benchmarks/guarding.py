"""The share of a lion-tiger iteration that is spent on guarding and checkpointing. Run by ``make bench``.

The guard's checks, its copies of good states, the lines of metrics.jsonl and the checkpoints are timed where they are
called, in one run, and compared with the total time of learning.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anasyn.cli.learn import begin
from anasyn.learning import Guard
from anasyn.recipes import RECIPES
from anasyn.run import Run, advance, metrics

TIMED = {
    "checking records and weights": [(Guard, "watch"), (Guard, "watch_weights")],
    "keeping good states": [(Guard, "keep")],
    "metrics.jsonl": [(metrics, "append")],
    "checkpoints": [(Run, "save")],
}


def main() -> None:
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
        run, images, _ = begin(Path(folder, "run"), name, RECIPES[name].settings, strict=False, overwrite=False)
        learner, guard = run.resume()
        began = time.perf_counter()
        iterations = sum(1 for _ in advance(run, learner, guard, images))
        whole = time.perf_counter() - began
    print(f"{name}: {iterations} iterations in {whole:.1f} s")
    for what, seconds in spent.items():
        print(f"{what:32}{1000 * seconds / iterations:8.3f} ms an iteration{100 * seconds / whole:8.2f} %")
    print(f"{'total':32}{100 * sum(spent.values()) / whole:33.2f} %   target ≤ 3")


if __name__ == "__main__":
    main()
