"""Images of other shapes: rectangles, grey images, and folders of class folders, from learning to the figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..commands import Command, refused
from .small import SMALL

pytestmark = pytest.mark.usefixtures("coarse_distances")

MODELS = {  # with the settings of a small, short run
    "generator": (*SMALL, "--iterations", 2, "--quiet"),
    "descriptor": (*SMALL, "--iterations", 2, "--quiet"),
    "cooperative": (*SMALL, "--iterations", 2, "--quiet", "--generator-width", 8),
}
FEW = "warning: density and neighbourhood_coverage left out: 4 images, at least 6 needed\n"


def drawn(folder: Path, *, grey: int = 0, num: int = 4) -> Path:
    """Pictures of 24 by 16 pixels, the first of them grey."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(num):
        shape = (24, 16) if number < grey else (24, 16, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def shape_of(file: Path) -> tuple[int, ...]:
    with Image.open(file) as image:
        return np.asarray(image).shape


@pytest.mark.parametrize("recipe", MODELS)
def test_rectangles_from_learning_to_the_figures(recipe: str, command: Command, tmp_path: Path) -> None:
    data, run = drawn(tmp_path / "data"), tmp_path / "run"
    learn = ("learn", recipe, "--data", data, "--out", run, *MODELS[recipe], "--size", "24x16")
    assert command(*learn).status == 0
    assert json.loads((run / "config.json").read_text())["settings"]["size"] == "24x16"
    assert command(*learn) == (0, f"{run / 'figures'}\n", "")  # the same size again
    assert command("sample", run, "--num", 2).status == 0
    assert shape_of(run / "samples" / "00000.png") == (24, 16, 3)
    if recipe != "descriptor":
        done = command("reconstruct", run, "--out", tmp_path / "out")
        assert json.loads(done.out)["num_images"] == 4
        assert shape_of(tmp_path / "out" / "00000.png") == (24, 16, 3)
        assert command("interpolate", run, "--points", 2).status == 0
    for arguments in (("evaluate", run), ("figures", run, "--format", "png")):
        done = command(*arguments)
        assert done.status == 0, arguments
        assert done.err in ("", FEW), arguments


@pytest.mark.parametrize("size", ["16x", "x16", "16x16x16", "15x16", "16x513", "16 x 16", "16.0"])
def test_what_is_no_size_is_refused(size: str, command: Command, cats: Path, tmp_path: Path) -> None:
    done = command("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL, "--size", size)
    refused(done, "--size", "expected 16 to 512 pixels, as 64 or as 96x64 (height x width)", f"got {size!r}")


@pytest.mark.parametrize(
    ("grey", "options", "channels"),
    [
        (4, (), 1),
        (4, ("--channels", "auto"), 1),
        (3, (), 3),
        (4, ("--channels", 3), 3),
        (0, ("--channels", 1), 1),
    ],
)
@pytest.mark.parametrize("recipe", MODELS)
def test_grey_images_are_learned_as_one_channel(
    recipe: str, grey: int, options: tuple[object, ...], channels: int, command: Command, tmp_path: Path,
    no_figures: None,
) -> None:  # fmt: skip
    data, run = drawn(tmp_path / "data", grey=grey), tmp_path / "run"
    learn = ("learn", recipe, "--data", data, "--out", run, *MODELS[recipe], *options)
    for _ in range(2):  # the same command again
        done = command(*learn)
        assert (done.status, done.err) == (0, "")
    assert json.loads((run / "config.json").read_text())["settings"]["channels"] == str(channels)
    assert command("sample", run, "--num", 1).status == 0
    assert shape_of(run / "samples" / "00000.png") == ((16, 16) if channels == 1 else (16, 16, 3))


@pytest.mark.parametrize("recipe", MODELS)
def test_grey_images_are_evaluated_and_reported(recipe: str, command: Command, tmp_path: Path) -> None:
    data, run = drawn(tmp_path / "data", grey=4), tmp_path / "run"
    learn = ("learn", recipe, "--data", data, "--out", run, *MODELS[recipe])
    for arguments in (learn, ("evaluate", run)):  # figures and a report are written at the end of learning
        done = command(*arguments)
        assert done.status == 0, arguments
        assert done.err in ("", FEW), arguments


@pytest.mark.parametrize("recipe", MODELS)
def test_class_folders_keep_their_classes(recipe: str, command: Command, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    for name in ("tiger", "lion"):
        drawn(data / name, num=2)
    learn = ("learn", recipe, "--data", data, "--out", run, *MODELS[recipe])
    assert command(*learn).status == 0
    listing = json.loads((run / "data.json").read_text())
    assert listing["labels"] == ["lion", "lion", "tiger", "tiger"]
    assert listing["names"] == ["lion/0.png", "lion/1.png", "tiger/0.png", "tiger/1.png"]
    assert (run / "figures" / "classes.png").exists()
    page = (run / "report.html").read_text()
    assert "lion" in page
    assert "tiger" in page
    assert command(*learn).status == 0  # the same command again
    (data / "tiger" / "1.png").rename(data / "lion" / "2.png")
    refused(command(*learn, "--iterations", 3), "tiger/1.png", "lion/2.png")


def test_the_latent_plane_is_coloured_by_class(command: Command, tmp_path: Path) -> None:
    for folder in ("tiger", "lion"):
        drawn(tmp_path / "classes" / folder, num=2)
    learn = ("learn", "generator", *SMALL, "--iterations", 2, "--quiet")
    assert command(*learn, "--data", tmp_path / "classes", "--out", tmp_path / "run").status == 0
    assert len(colours(tmp_path / "run" / "figures" / "latents.png")) >= 2


def colours(file: Path) -> set[tuple[int, ...]]:
    """The saturated colours that cover more than a few pixels."""
    with Image.open(file) as image:
        found = image.convert("RGB").getcolors(2**24) or []
    return {colour for count, colour in found if count > 20 and max(colour) - min(colour) > 60}
