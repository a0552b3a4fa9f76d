"""SIGKILL at random moments, inside a save too: the run that is started again ends as if it had never been stopped."""

import itertools
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import anasyn.report
from anasyn.cli import main
from anasyn.data import save_film
from anasyn.data.sources import load
from anasyn.run import session

SMALL = [
    "--size=16",
    "--width=8",
    "--num-steps=2",
    "--precision=float32",
    "--iterations=60",
    "--batch-size=6",
    "--quiet",
]
RUNS = {
    "generator langevin": ["generator", "--kernel", "langevin", "--step-size", "0.01", "--average", "0.9"],
    "descriptor mala": ["descriptor", "--kernel", "mala"],
    "generator hmc": ["generator", "--kernel", "hmc", "--leapfrog-steps", "2"],
    "descriptor persistent": ["descriptor", "--start", "persistent", "--average", "0.9"],
    # Its step size is far beyond the stability limit: it is rolled back, and must be again in the same way.
    "generator rolled back": ["generator", "--kernel=langevin", "--step-size=0.5", "--latent-dim=8", "--average=0.9"],
    "descriptor langevin": ["descriptor", "--chains-per-image", "2"],
    "generator mala": ["generator", "--optimizer", "sgd", "--learning-rate", "1e-6"],
    "descriptor hmc": ["descriptor", "--kernel", "hmc", "--leapfrog-steps", "2"],
    "descriptor fitted": ["descriptor", "--reference", "fitted", "--component-noise", "0", "--average", "0.9"],
    "generator of frames": ["generator", "--frames", "--data", "film.webp", "--kernel", "langevin"],
    "generator masked": ["generator", "--occlude", "salt:0.7", "--sigma", "learned"],
    "recovery conditional": ["recovery", "--conditional", "--data", "classes", "--levels", "3"],
    "texture": ["texture", "--data", "photographs/drawn-cats-00000.png", "--levels", "3"],
}
MOST_SITTINGS = 60


def command(run: list[str], out: Path) -> list[str]:
    return ["learn", run[0], "--data=drawn-cats", *run[1:], *SMALL, "--out", str(out)]


def learn(run: list[str], out: Path) -> None:
    """What a child process does; it saves so often that more than half of its time is inside a save."""
    torch.set_num_threads(1)
    session.SECONDS_BETWEEN_CHECKPOINTS = 0.05
    session.SHARE = math.inf
    nothing = SimpleNamespace(write=lambda *_: None)  # the figures are drawn from what is compared here
    anasyn.report.gallery = anasyn.report.html = nothing
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(out.parent)
    raise SystemExit(main(command(run, out)))


def outcome(out: Path) -> dict[str, object]:
    """All that a run ends with, clock times aside."""
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (last,) = sorted((out / "checkpoints").iterdir())[-1:]
    return {
        "last": last.name,
        "tensors": {file.name: file.read_bytes() for file in last.glob("*.safetensors")},
        "state": json.loads((last / "state.json").read_text()),
        "metrics": [{name: value for name, value in line.items() if name != "seconds"} for line in metrics],
    }


def kill_until_done(run: list[str], out: Path, rng: random.Random, kills: int) -> int:
    """Kills a run ``kills`` times, each at a random moment of its way to the end, then lets it end; the kills made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["anasyn.cli", "anasyn.run", "anasyn.report"])
    killed = 0
    for _ in range(MOST_SITTINGS):
        child = context.Process(target=learn, args=(run, out))
        child.start()
        if killed < kills:
            metrics = out / "metrics.jsonl"
            began = metrics.stat().st_size if metrics.exists() else 0
            while child.is_alive() and (not metrics.exists() or metrics.stat().st_size <= began):
                time.sleep(0.002)  # until it has learned a little
            time.sleep(rng.uniform(0, 0.25))
            if child.is_alive():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
        child.join(120)
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        if child.exitcode == 0:
            return killed
    raise AssertionError(f"not done after {MOST_SITTINGS} sittings")


def draw_data(folder: Path) -> None:
    """What the runs learn from."""
    for name in ("lions", "tigers"):
        main(["data", "draw", "drawn-cats", str(folder / "classes" / name), "--num", "8", "--size", "16"])
    main(["data", "draw", "drawn-cats", str(folder / "photographs"), "--num", "2", "--size", "48"])
    save_film(folder / "film.webp", load("drawn-cats", (16, 16)).pixels)


def check(kills: int, kills_a_run: int, folder: Path) -> None:
    """``kills`` in all, spread over the runs in turn; each run's end is compared with that of one never stopped."""
    draw_data(folder)
    rng = random.Random(kills)
    left = kills
    for name, run in itertools.cycle(RUNS.items()):
        whole, stopped = folder / name, folder / f"{name} stopped"
        if not whole.exists():
            assert kill_until_done(run, whole, rng, 0) == 0
        made = kill_until_done(run, stopped, rng, min(kills_a_run, left))
        assert made > 0, "the run ends before it can be killed"
        assert outcome(stopped) == outcome(whole), name
        assert ("rolled back" in str(outcome(whole)["metrics"])) == ("rolled back" in name)
        shutil.rmtree(stopped)
        left -= made
        if not left:
            return


def test_a_run_that_is_killed_three_times_ends_as_one_that_is_not(tmp_path: Path) -> None:
    check(3, 3, tmp_path)


def test_every_run_that_the_long_test_kills_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long test is not run by CI: what it kills must not go stale."""
    draw_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, run in RUNS.items():
        assert main([*command(run, tmp_path / name), "--iterations=1"]) == 0, name


@pytest.mark.crash
def test_runs_that_are_killed_a_hundred_times_end_as_those_that_are_not(tmp_path: Path) -> None:
    check(100, 4, tmp_path)
