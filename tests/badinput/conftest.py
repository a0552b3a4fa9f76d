"""What every table of bad input needs: the commands in this process, a good folder, and finished runs."""

import logging
from pathlib import Path

import pytest

from anasyn.cli import main
from anasyn.data import save_image
from anasyn.data.drawn import draw_cats, drawn_factors

from .answers import SMALL, Command, Outcome


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process; what it lets through fails the test."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            # As in the program, where nobody handles the log: what a library logs then goes to standard error.
            patch.setattr(logging.getLogger(), "handlers", [])
            try:
                status = main([str(each) for each in arguments])
            except SystemExit as left:
                status = int(left.code or 0)
        return Outcome(status, *capfd.readouterr())

    return run


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


def learned(model: str, data: Path, path: Path) -> Path:
    # Figures take most of the time; a run is whole without them. Both its checkpoints are kept.
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        patch.setattr("anasyn.run.session.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        assert main(["learn", model, "--data", str(data), "--out", str(path), *map(str, SMALL)]) == 0
    return path


@pytest.fixture(scope="session")
def generator(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator, not to be changed."""
    return learned("generator", good, tmp_path_factory.mktemp("runs") / "generator")


@pytest.fixture(scope="session")
def descriptor(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a descriptor, not to be changed."""
    return learned("descriptor", good, tmp_path_factory.mktemp("runs") / "descriptor")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what takes the most time and is not asked about."""
    without_figures(monkeypatch)


def without_figures(patch: pytest.MonkeyPatch) -> None:
    from anasyn.report import gallery, html

    patch.setattr(gallery, "write", lambda run, learner, images: (run.path / "figures").mkdir(exist_ok=True))
    patch.setattr(html, "write", lambda runs, out=None: (runs[0].path / "report.html").write_text("a report"))
