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
