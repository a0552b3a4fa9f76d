"""What the tests of commands work on: six drawn cats, and finished runs of both models."""

import shutil
from pathlib import Path

import pytest

from anasyn.cli import main

from .small import SMALL


@pytest.fixture(scope="session")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn cats of 16 pixels, one of them under a hostile name."""
    folder = tmp_path_factory.mktemp("data") / "cats"
    assert main(["data", "draw", "drawn-cats", str(folder), "--num", "6", "--size", "16"]) == 0
    (folder / "drawn-cats-00003.png").rename(folder / "<script>.png")
    return folder


def finished(recipe: str, cats: Path, path: Path) -> Path:
    assert main(["learn", recipe, "--data", str(cats), "--out", str(path), *map(str, SMALL), "--quiet"]) == 0
    return path


@pytest.fixture(scope="session")
def generator(cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator with its figures and report, not to be changed."""
    return finished("generator", cats, tmp_path_factory.mktemp("runs") / "<script>generator")


@pytest.fixture(scope="session")
def descriptor(cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a descriptor with its figures and report, not to be changed."""
    return finished("descriptor", cats, tmp_path_factory.mktemp("runs") / "descriptor")


@pytest.fixture
def run(generator: Path, tmp_path: Path) -> Path:
    """A copy of the finished run of a generator, to be changed."""
    return shutil.copytree(generator, tmp_path / "run")
