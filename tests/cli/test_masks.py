"""Images that are not whole, from the command line: what is printed, kept, refused, and read of other folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.report import settings
from anasyn.run import Run

from ..commands import Command, assert_same_run, refused
from .small import SMALL


def whole(images: Path) -> list[Path]:
    return sorted(images.glob("*.png"))


@pytest.fixture
def holed(cats: Path, tmp_path: Path) -> Path:
    """The six cats, a quarter of two of them transparent."""
    folder = shutil.copytree(cats, tmp_path / "holed")
    for path in whole(folder)[:2]:
        image = Image.open(path).convert("RGBA")
        alpha = np.full((16, 16), 255, np.uint8)
        alpha[:8, 8:] = 0
        image.putalpha(Image.fromarray(alpha))
        image.save(path)
    return folder


@pytest.fixture
def masks(cats: Path, tmp_path: Path) -> Path:
    """A mask of each cat, which hides its left half."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for path in whole(cats):
        Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 8, 1).repeat(16, 0)).save(folder / f"{path.stem}.bmp")
    return folder


@pytest.fixture(params=["generator", "latent-prior"])
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("split", [(), ("--hold-out", 0.4)], ids=["all", "held out"])
def test_the_hidden_pixels_are_counted(
    recipe: str, split: tuple[object, ...], command: Command, holed: Path, tmp_path: Path, no_figures: None
) -> None:
    learn = ("learn", recipe, "--data", holed, "--out", tmp_path / "run", *SMALL, *split)
    for iterations in (2, 4):  # also where it goes on
        done = command(*learn, "--iterations", iterations)
        assert done.status == 0, done.err
        assert "  hidden pixels: 2 of 6 images, 25 % of their pixels\n" in done.err
        assert "\n  masks              none\n" in done.err
    white = command(*learn, "--out", tmp_path / "white", "--transparent", "white")
    assert (white.status, "hidden pixels" in white.err) == (0, False)
    hidden, seen = (Run.open(tmp_path / name) for name in ("run", "white"))
    assert hidden.images().fingerprint != seen.images().fingerprint


def test_images_that_are_whole_are_learned_from_as_ever(
    recipe: str, command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    learn = ("learn", recipe, "--data", cats, *SMALL)
    done = command(*learn, "--out", tmp_path / "hidden")
    assert (done.status, "hidden pixels" in done.err) == (0, False)
    assert command(*learn, "--out", tmp_path / "white", "--transparent", "white").status == 0
    assert_same_run(tmp_path / "hidden", tmp_path / "white")
    assert Run.open(tmp_path / "hidden").images().masks is None


def test_a_masked_run_is_resumed_bit_for_bit_in_any_directory(
    recipe: str,
    command: Command,
    cats: Path,
    masks: Path,
    tmp_path: Path,
    no_figures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn = ("learn", recipe, "--data", cats, *SMALL, "--schedule", "constant", "--occlude", "salt:.50")
    assert command(*learn, "--masks", masks, "--out", tmp_path / "run", "--iterations", 6).status == 0
    monkeypatch.chdir(tmp_path)
    for iterations in (3, 6):
        assert command(*learn, "--masks", "masks", "--out", "parts", "--iterations", iterations).status == 0
    assert_same_run(tmp_path / "run", tmp_path / "parts")
    monkeypatch.chdir(masks)
    run = Run.open(tmp_path / "parts")
    images = run.images()
    assert images.masks is not None
    assert not images.masks[..., :8].any()
    assert images.masks[..., 8:].sum() < 6 * 16 * 8
    assert (run.settings.masks, run.settings.occlude) == (str(masks), "salt:0.5")
    assert f"--masks {masks}" in settings.command(run)
    refused(command(*learn, "--out", tmp_path / "run"), "masks: ", "was begun with", masks)
    refused(
        command(*learn, "--masks", masks, "--occlude", "half", "--out", tmp_path / "run"),
        "occlude: ",
        "salt:0.5, got half",
    )


def test_changed_masks_are_changed_images(
    recipe: str, command: Command, cats: Path, masks: Path, tmp_path: Path, no_figures: None
) -> None:
    learn = ("learn", recipe, "--data", cats, "--masks", masks, "--out", tmp_path / "run", *SMALL)
    assert command(*learn).status == 0
    before = Run.open(tmp_path / "run").learned().chains.state_dict()["positions"]
    changed = whole(cats)[2]
    Image.new("L", (16, 16), 255).save(masks / f"{changed.stem}.bmp")
    refused(command(*learn), f"changed {changed.name}", "--accept-new-data")
    assert command(*learn, "--accept-new-data", "--iterations", 5).status == 0
    run = Run.open(tmp_path / "run")
    assert run.images().masks[2].all()
    assert before.shape == run.learned().chains.state_dict()["positions"].shape
    assert json.loads((tmp_path / "run/config.json").read_text())["data"]["fingerprint"] == run.images().fingerprint


def test_other_folders_have_no_masks_of_the_run_but_their_own_transparency(
    command: Command, cats: Path, holed: Path, masks: Path, tmp_path: Path, no_figures: None
) -> None:
    options = ("--masks", masks, "--occlude", "half")
    assert command("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL, *options).status == 0
    run = Run.open(tmp_path / "run")
    assert run.load().masks is not None
    assert run.load(str(cats)).masks is None
    other = run.load(str(holed))
    assert other.masks is not None
    assert other.masks.flatten(1).sum(1).tolist() == [192, 192, 256, 256, 256, 256]
    assert torch.equal(run.load(str(holed)).pixels[2:], run.load(str(cats)).pixels[2:])


@pytest.mark.parametrize("recipe", ["descriptor", "cooperative", "recovery"])
def test_methods_that_learn_from_whole_images_see_transparent_pixels_as_white(
    recipe: str, command: Command, holed: Path, masks: Path, tmp_path: Path, no_figures: None
) -> None:
    learn = ("learn", recipe, "--data", holed, "--out", tmp_path / "run", *SMALL, "--iterations", 1)
    refused(command(*learn, "--masks", masks), "--masks", "--help")
    assert command(*learn).status == 0
    images = Run.open(tmp_path / "run").images()
    assert images.masks is None
    assert (images.pixels[:2, :, :8, 8:] == 255).all()
