"""A folder of images, to learn from by the ordinary commands."""

from pathlib import Path

import pytest

from anasyn.cli import main


@pytest.fixture(scope="session")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn cats of 16 pixels."""
    folder = tmp_path_factory.mktemp("data") / "cats"
    assert main(["data", "draw", "drawn-cats", str(folder), "--num", "12", "--size", "16"]) == 0
    return folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Six drawn cats and six drawn egrets of 16 pixels, in a folder each."""
    for name in ("cats", "egrets"):
        folder = tmp_path / "classes" / name
        assert main(["data", "draw", f"drawn-{name}", str(folder), "--num", "6", "--size", "16"]) == 0
    return tmp_path / "classes"
