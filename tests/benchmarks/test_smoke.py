"""The benchmarks keep up with the package: each is imported and says what it does, and those that are quick run."""

import json
import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
FILES = sorted(FOLDER.glob("*.py"))
PROGRAMS = [file for file in FILES if "__main__" in file.read_text()]
QUICK = ["densities", "guarding"]  # with --fast; `test_gpu` runs another


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_it_is_imported(name: str) -> None:
    assert Path(str(import_module(name).__file__)).parent == FOLDER


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_it_says_what_it_does(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(file), run_name="__main__")
    assert left.value.code == 0
    assert "--out" in capsys.readouterr().out


@pytest.mark.parametrize("name", QUICK)
def test_its_smallest_case_runs(name: str, tmp_path: Path) -> None:
    """In a process of its own, since it changes functions and settings of the allocator; on drawn images."""
    drawn = {key: value for key, value in os.environ.items() if key != "ANASYN_PHOTOGRAPHS"}
    command = [sys.executable, FOLDER / f"{name}.py", "--fast", "--out", tmp_path / "rows.json"]
    done = subprocess.run(command, env=drawn, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows
    assert {row["benchmark"] for row in rows} == {name}
