"""Start-up times: of the help, of imports, and of `anasyn learn` until its first iteration."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import timing
from timing import Row

PUBLIC = "import torch, anasyn; [getattr(anasyn, name) for name in anasyn.__all__]"


def rows(fast: bool) -> Iterator[Row]:
    commands = {
        "help": ["-m", "anasyn", "--help"],
        "import anasyn": ["-c", "import anasyn"],
        "import torch": ["-c", "import torch"],
        "import of every public name": ["-c", PUBLIC],
    }
    functions = {name: lambda command=command: timing.child(command) for name, command in commands.items()}
    seconds = timing.interleaved(functions, repeats=1 if fast else 7)
    yield Row("anasyn --help, s", seconds["help"], "≤ 0.4")
    yield Row("import anasyn, s with the interpreter's start", seconds["import anasyn"])
    yield Row("import torch, s with the interpreter's start", seconds["import torch"])
    beyond = seconds["import of every public name"] - seconds["import torch"]
    yield Row("import of every public name beyond torch's own, s", beyond, "≤ 0.3")
    firsts = [first_iteration() for _ in range(1 if fast else 5)]
    yield Row("anasyn learn drawn-cats to its first iteration, s", statistics.median(firsts))


def first_iteration() -> float:
    """Seconds from the start of the process to the first line of metrics.jsonl."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        began = time.perf_counter()
        command = [sys.executable, "-m", "anasyn", "learn", "drawn-cats", "--out", str(run), "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            metrics = run / "metrics.jsonl"
            while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None:
                time.sleep(0.005)
            seconds = time.perf_counter() - began
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: exit status {process.returncode} before its first iteration")
            process.kill()
        return seconds


if __name__ == "__main__":
    timing.main("start", rows, __doc__)
