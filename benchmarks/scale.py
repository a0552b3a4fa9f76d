"""Many images and several processes: seconds an iteration, peak memory, and how soon learning begins.

Whole commands are measured, as a user gives them. The photographs are drawn, 1,000 of them, each under many names.
Processes are compared in turn, with as many threads in all as there are processors.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import timing
from timing import Row

LEARN = (
    "learn generator --size 32 --width 128 --latent-dim 100 --hold-out 0.1 --sigma learned --precision float32 --quiet"
)


def rows(fast: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ANASYN_CACHE"] = str(folder / "cache")
        few, some, many = (1000, 1000, 20_000) if fast else (1000, 10_000, 200_000)
        draw(folder / "few", few)
        link(folder / "few", folder / "some", some)
        link(folder / "few", folder / "many", many)
        yield from processes(folder / "some", (1, 2) if fast else (1, 2, 4), 1 if fast else 3, 15 if fast else 60)
        yield from memory({few: folder / "few", many: folder / "many"})
        yield from beginning(folder / "many", many)


def processes(data: Path, numbers: tuple[int, ...], repeats: int, iterations: int) -> Iterator[Row]:
    """Seconds an iteration of the same batch."""
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(repeats):
        for number in numbers:
            seconds[number].append(iteration(data, number, iterations))
    medians = {number: statistics.median(found) for number, found in seconds.items()}
    for number, median in medians.items():
        yield Row(f"milliseconds an iteration, {number} processes", 1000 * median)
        if number > 1:
            ratio = statistics.median(a / b for a, b in zip(seconds[1], seconds[number], strict=True))
            yield Row(f"{number} processes, as many times as fast as one", ratio, "≥ 0.95" if number == 2 else "")


def iteration(data: Path, number: int, iterations: int) -> float:
    """Median seconds of an iteration of a command that runs until it has done so many."""
    with tempfile.TemporaryDirectory() as out:
        threads = max(1, (os.cpu_count() or 1) // number)
        command = [sys.executable, "-m", "anasyn", *LEARN.split(), "--data", str(data), "--out", f"{out}/run"]
        command += ["--iterations", "1000000", "--devices", str(number)]
        with subprocess.Popen(
            command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, stderr=subprocess.DEVNULL
        ) as run:
            lines: list[str] = []
            while len(lines) < iterations:
                time.sleep(0.1)
                if run.poll() is not None:
                    raise SystemExit(f"{' '.join(command)}: exit status {run.returncode}")
                metrics = Path(out, "run", "metrics.jsonl")
                lines = metrics.read_text().splitlines()[:-1] if metrics.exists() else []
            run.send_signal(signal.SIGTERM)
        return statistics.median(json.loads(line)["seconds"] for line in lines[iterations // 3 :])


def memory(folders: dict[int, Path]) -> Iterator[Row]:
    """Peak memory of whole commands, figures and report included, which begin with a ready cache."""
    peaks = []
    for num, folder in folders.items():
        for _ in range(2):  # the first builds the cache, if there is to be one
            with tempfile.TemporaryDirectory() as out:
                options = ["--data", str(folder), "--out", f"{out}/run", "--iterations", "20"]
                _, _, peak = timing.child(["-m", "anasyn", *LEARN.split(), *options])
        yield Row(f"peak memory, {num:,} images, MiB", peak)
        peaks.append(peak)
    yield Row("peak memory, many images / few", peaks[1] / peaks[0], "≤ 1.1")


def beginning(folder: Path, num: int) -> Iterator[Row]:
    """Seconds until the first iteration is done, from a ready cache."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "anasyn", *LEARN.split(), "--data", str(folder), "--out", f"{out}/run"]
        began = time.perf_counter()
        with subprocess.Popen([*command, "--iterations", "1000000"]) as run:
            config, metrics = Path(out, "run", "config.json"), Path(out, "run", "metrics.jsonl")
            found = []
            for file in (config, metrics):
                while not (file.exists() and file.stat().st_size):
                    time.sleep(0.02)
                found.append(time.perf_counter() - began)
            run.kill()
    yield Row(f"seconds until a run of {num:,} cached images has begun", found[0])
    yield Row("seconds from there to the end of its first iteration", found[1] - found[0], "≤ 5")


def draw(folder: Path, num: int) -> None:
    from PIL import Image

    from anasyn.data import draw_cats, drawn_factors

    folder.mkdir()
    for number, image in enumerate(draw_cats(drawn_factors(num), 32).permute(0, 2, 3, 1).contiguous().numpy()):
        Image.fromarray(image).save(folder / f"{number:06d}.jpg", quality=90)


def link(source: Path, folder: Path, num: int) -> None:
    """``num`` names for the files of a folder, in turn."""
    folder.mkdir()
    files = sorted(source.iterdir())
    for number in range(num):
        (folder / f"{number:06d}.jpg").hardlink_to(files[number % len(files)])


if __name__ == "__main__":
    timing.main("scale", rows, __doc__)
