"""One process at a time learns in a run's directory."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from anasyn.cli import main
from anasyn.errors import InputError
from anasyn.run import locked


def hold(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with locked(path):
        held.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds tmp_path/run until it is killed."""
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", held))
    process.start()
    assert held.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_refused_and_harms_nothing(holder, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    before = sorted(os.listdir(tmp_path / "run"))
    assert main(["learn", "generator", "--data", "drawn-cats", "--out", str(tmp_path / "run")]) == 2
    error = capfd.readouterr().err
    assert "another process is learning in it" in error
    assert error.count("\n") == 1
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_a_lock_ends_with_its_process(holder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another process"), locked(tmp_path / "run"):
        pass
    holder.kill()
    holder.join()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").exists()


def test_nothing_is_left_of_a_lock(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("new", "kept", "filled"):
        with locked(tmp_path / name):
            if name == "filled":
                (tmp_path / name / "config.json").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "filled", "kept"]
