"""Runs of several processes that lose one, or are stopped: they go on, on any number, as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ..commands import PROGRAM, one_line

ROOT = Path(__file__).parents[2]
# With fixed steps and plain gradients, rounding is not amplified
SMALL = [
    "generator",
    "--data=drawn-cats",
    "--size=16",
    "--width=8",
    "--num-steps=2",
    "--precision=float32",
    "--kernel=langevin",
    "--step-size=0.01",
    "--optimizer=sgd",
    "--learning-rate=1e-6",
    "--iterations=60",
    "--batch-size=8",
    "--quiet",
]
TOLERANCE = 1e-5
MOST_SITTINGS = 60


def started(num: int, out: Path) -> subprocess.Popen[bytes]:
    """A run of ``num`` processes that goes on with what is in a directory."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={num}", "--module"] if num > 1 else []
    command = [sys.executable, "-m", *torchrun, "tests.distributed.program", "learn", *SMALL, "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers(launcher: int) -> list[int]:
    """The processes that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def iterations(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return len(metrics.read_bytes().splitlines()) if metrics.exists() else 0


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def end(out: Path) -> dict[str, torch.Tensor]:
    """The tensors of the last checkpoint, those of images in the images' order."""
    last = max((out / "checkpoints").iterdir())
    tensors = load_file(last / "tensors.safetensors")
    parts = [load_file(file) for file in sorted(last.glob("images-*.safetensors"))]
    order = torch.cat([part["images.place"] for part in parts]).argsort()
    for name in parts[0]:
        rows = torch.cat([part[name] for part in parts])
        tensors[name] = rows[order] if name.startswith("images.") else rows
    return tensors


def assert_same_end(first: Path, second: Path) -> None:
    one, other = end(first), end(second)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        gap = (tensor.double() - other[name].double()).abs().max() if tensor.numel() else torch.zeros(())
        assert gap <= TOLERANCE * max(1.0, float(tensor.double().abs().max() if tensor.numel() else 0)), name
    for out in (first, second):
        lines = (out / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == list(range(1, 61))


def kill_until_done(out: Path, rng: random.Random, sizes: list[int], kills: int) -> int:
    """Goes on with a run, on as many processes as ``sizes`` say in turn, and kills one ``kills`` times."""
    killed = 0
    for sitting in range(MOST_SITTINGS):
        num = sizes[sitting % len(sizes)]
        run, before = started(num, out), iterations(out)
        try:
            if killed < kills:
                wait_for(lambda run=run, before=before: run.poll() is not None or iterations(out) not in (0, before))
                time.sleep(rng.uniform(0, 0.3))
                alive = workers(run.pid) if num > 1 else [run.pid]
                if run.poll() is None and alive:
                    os.kill(rng.choice(alive), signal.SIGKILL)
                    killed += 1
            status = run.wait(120)
        finally:
            run.kill()
        if status == 0:
            return killed
    raise AssertionError(f"not done after {MOST_SITTINGS} sittings")


def test_a_killed_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    assert kill_until_done(tmp_path / "whole", random.Random(0), [1], 0) == 0
    assert kill_until_done(tmp_path / "killed", random.Random(1), [2, 1], 1) == 1
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.distributed
def test_twenty_kills_of_any_process(tmp_path: Path) -> None:
    assert kill_until_done(tmp_path / "whole", random.Random(0), [4], 0) == 0
    made, rng = 0, random.Random(2)
    for turn in range(20):
        made += kill_until_done(tmp_path / f"{turn}", rng, [4, 1, 2, 4], min(4, 20 - made))
        assert_same_end(tmp_path / "whole", tmp_path / f"{turn}")
        if made == 20:
            return
    raise AssertionError(f"only {made} kills")


def command(out: Path, *options: str) -> subprocess.Popen[str]:
    arguments = [PROGRAM, "learn", *SMALL, "--devices=2", "--out", str(out), *options]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_that_dies_ends_the_run_with_one_line(tmp_path: Path) -> None:
    run = command(tmp_path / "run", "--iterations=1000000")
    wait_for(lambda: iterations(tmp_path / "run") > 3)
    os.kill(workers(run.pid)[1], signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (1, "")
    one_line(err, "process 1 of 2 was ended by SIGKILL; the same command goes on from the last checkpoint")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_stops_all_processes_after_a_save(number: signal.Signals, tmp_path: Path) -> None:
    run = command(tmp_path / "run", "--iterations=1000000")
    wait_for(lambda: iterations(tmp_path / "run") > 3)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (128 + number, "")
    one_line(err, "stopped and saved at iteration")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1


def test_more_processes_than_a_batch_has_images_are_refused(tmp_path: Path) -> None:
    run = command(tmp_path / "run", "--batch-size=2")
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (2, "")
    one_line(err, "devices: 2 processes, and batches of 2 images; expected at least 2 of a batch for each")
