"""What every table of bad input needs: a good folder, and finished runs."""

import math
from pathlib import Path

import pytest

from anasyn.cli import main
from anasyn.data import save_image
from anasyn.data.drawn import draw_cats, drawn_factors

from ..commands import without_figures
from .small import SMALL


def draw(folder: Path, num: int) -> Path:
    """So many good images of 16 pixels."""
    folder.mkdir(parents=True)
    for number, image in enumerate(draw_cats(drawn_factors(num), 16)):
        save_image(folder / f"good-{number}.png", image)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good images, as few as there may be; more may be put beside them."""
    return draw(tmp_path / "data", 2)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good images, not to be changed."""
    return draw(tmp_path_factory.mktemp("good") / "data", 3)


def finished(model: str, data: Path, path: Path, *more: str) -> Path:
    """A run of two iterations with the checkpoint of each."""
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        patch.setattr("anasyn.run.session.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        patch.setattr("anasyn.run.session.SHARE", math.inf)
        assert main(["learn", model, "--data", str(data), "--out", str(path), *more, *map(str, SMALL)]) == 0
    return path


@pytest.fixture(scope="session")
def generator(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator, not to be changed."""
    return finished("generator", good, tmp_path_factory.mktemp("runs") / "generator")


@pytest.fixture(scope="session")
def descriptor(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a descriptor, not to be changed."""
    return finished("descriptor", good, tmp_path_factory.mktemp("runs") / "descriptor")
