"""What several processes must have in common, and what they need."""

import importlib.util
from pathlib import Path

import pytest

from anasyn import ranks
from anasyn.cli import main
from anasyn.errors import InputError
from anasyn.run import Run, processes

from ..commands import Command, refused

LEARN = ["learn", "generator", "--data=drawn-cats", "--size=16", "--width=8", "--iterations=2", "--quiet"]


@pytest.fixture
def run(tmp_path: Path, no_figures: None) -> Run:
    assert main([*LEARN, f"--out={tmp_path / 'run'}"]) == 0
    return Run.open(tmp_path / "run")


@pytest.mark.parametrize("what", ["images", "torch", "anasyn", "settings"])
def test_what_differs_between_processes_is_named(what: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "together", lambda value: [value, value | {what: "other"}])
    with pytest.raises(InputError, match=rf"devices: process 1 has other {what} than process 0"):
        run.require_same(run.images())


def test_the_same_in_all_processes_is_accepted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "together", lambda value: [value, dict(value)])
    run.require_same(run.images())


def test_what_to_install_is_said(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightning_fabric" else found(name))
    outcome = command(*LEARN, "--devices=2", f"--out={tmp_path / 'run'}")
    refused(outcome, "devices: several processes need Lightning Fabric", "pip install 'anasyn[distributed]'")
    assert not (tmp_path / "run").exists()


def test_an_error_of_one_process_is_raised_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others know that it is."""
    monkeypatch.setattr(ranks, "together", lambda value: [value, OSError("no space left")])
    with pytest.raises(OSError, match="no space"), ranks.agreed(OSError):
        pass
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    with pytest.raises(ranks.LostProcess), ranks.agreed(OSError):
        pass


def test_an_unexpected_error_is_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError), ranks.agreed(OSError):
        raise ZeroDivisionError


def test_processes_that_torchrun_did_not_start_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not processes.started()
    with processes.joined("cpu"):
        assert (ranks.rank(), ranks.count()) == (0, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not processes.started()
