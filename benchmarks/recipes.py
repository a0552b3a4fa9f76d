"""Whether the two recipes reach their targets: one row for each measure, with its value and target.

Every run is its own process, timed from its start to its last figure, one after the other. Without the photographs
(ANASYN_PHOTOGRAPHS) the drawn sets are used and no target applies. Run by ``make bench``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from anasyn.data import to_float
from anasyn.run import Run

HERE = Path(__file__).resolve().parent
LIMIT_S = 900


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=1, help="runs of each recipe, seeds 0, 1, …")
    options.add_argument("--no-demo", action="store_true", help="leave out `make demo` from a clean clone")
    options.add_argument("--out", type=Path, default=HERE / "results" / "recipes.json")
    arguments = options.parse_args()
    photographs = "ANASYN_PHOTOGRAPHS" in os.environ
    rows = matrix_rates()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            rows += generator_rows("lion-tiger" if photographs else "drawn-cats", seed, Path(folder))
            rows += descriptor_rows("egret" if photographs else "drawn-egrets", seed, Path(folder))
        if not arguments.no_demo:
            rows.append(demo_row(Path(folder)))
    for what, figure, target in rows:
        print(f"{what:60} {figure:>10.4g}   {target}")
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps([{"what": w, "figure": f, "target": t} for w, f, t in rows], indent=2))


def matrix_rates() -> list[tuple[str, float, str]]:
    """The speed of a matrix product on this machine, GFLOP/s, best of five."""
    n = 2048
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(n, n).to(dtype)
        a @ a
        best = min(timed(partial(torch.matmul, a, a)) for _ in range(5))
        rows.append(
            (f"machine: {str(dtype).removeprefix('torch.')} matrix product, GFLOP/s", 2 * n**3 / best / 1e9, "")
        )
    return rows


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def learn(recipe: str, seed: int, folder: Path) -> tuple[Path, float, float]:
    """Runs ``anasyn learn`` and returns the run's directory, its wall-clock seconds and its peak memory in GiB."""
    run = folder / f"{recipe}-{seed}"
    command = [sys.executable, "-m", "anasyn", "learn", recipe, "--seed", str(seed), "--out", str(run), "--quiet"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return run, time.perf_counter() - began, usage.ru_maxrss / 2**20


def evaluate(run: Path) -> dict[str, float]:
    """The values of ``anasyn evaluate``."""
    command = [sys.executable, "-m", "anasyn", "evaluate", str(run)]
    output = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S).stdout
    return {name: measure["value"] for name, measure in json.loads(output).items()}


def generator_rows(recipe: str, seed: int, folder: Path) -> list[tuple[str, float, str]]:
    path, seconds, memory = learn(recipe, seed, folder)
    run = Run.open(path)
    z = load_file(path / "latents.safetensors")["z"]
    with torch.no_grad():
        reconstructions = run.learned(precision="float32").model(z)
    mse = (reconstructions - to_float(run.images().pixels)).square().mean().item()
    measures = evaluate(path)
    name = f"{recipe}, seed {seed}"
    return [
        (f"{name}: start of the process to the last figure, s", seconds, "≤ 45"),
        (f"{name}: training MSE at the inferred z", mse, "≤ 0.005"),
        (f"{name}: training MSE by fresh inference", measures["training_mse"], ""),
        (f"{name}: coverage by 512 samples, MSE", measures["coverage_mse"], "≤ 0.012"),
        (f"{name}: largest |z| of any coordinate", z.abs().max().item(), "≤ 4"),
        (f"{name}: peak memory, GiB", memory, "≤ 2"),
    ]


def descriptor_rows(recipe: str, seed: int, folder: Path) -> list[tuple[str, float, str]]:
    path, seconds, memory = learn(recipe, seed, folder)
    name = f"{recipe}, seed {seed}"
    return [
        (f"{name}: start of the process to the last figure, s", seconds, "≤ 150"),
        (f"{name}: sliced Wasserstein distance × 10³", evaluate(path)["swd"], "≤ 50"),
        (f"{name}: peak memory, GiB", memory, "≤ 2"),
    ]


def demo_row(folder: Path) -> tuple[str, float, str]:
    """``make demo`` in a clean clone of the last commit, with packages from pip's cache or index."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", HERE.parent, clone], check=True)
    began = time.perf_counter()
    subprocess.run(["make", "demo"], cwd=clone, check=True, capture_output=True, timeout=LIMIT_S)
    return "make demo from a clean clone, downloads included, s", time.perf_counter() - began, "≤ 180 without them"


if __name__ == "__main__":
    main()
