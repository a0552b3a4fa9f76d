"""`anasyn restore`: what it writes and prints, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn import progress
from anasyn.data import draw_cats, drawn_factors, save_image
from anasyn.evaluation import restoration
from anasyn.run import Run
from anasyn.run.removal import remove

from ..commands import Command

SIDE = 16
SMALL = ("--size", SIDE, "--width", 16, "--quiet", "--precision", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn cats of 16 × 16 pixels."""
    path = tmp_path_factory.mktemp("cats")
    for i, image in enumerate(draw_cats(drawn_factors(8), SIDE)):
        save_image(path / f"{i}.png", image)
    return path


@pytest.fixture
def run(command: Command, folder: Path, tmp_path: Path, no_figures: None) -> Path:
    """A generator, learned for a few iterations."""
    path = tmp_path / "run"
    assert command("learn", "generator", "--data", folder, "--iterations", 3, *SMALL, "--out", path).status == 0
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_restored_images_have_the_seen_pixels_of_a_painted_file(
    run: Path, folder: Path, tmp_path: Path, command: Command
):
    """A hole is painted into each file: all other pixels come back as they were, and the draws differ in the hole."""
    painted = tmp_path / "painted"
    painted.mkdir()
    for file in folder.iterdir():
        image = Image.open(file).convert("RGBA")
        image.paste((0, 0, 0, 0), (4, 6, 10, 12))
        image.save(painted / file.name)
    done = command("restore", run, "--data", painted, "--draws", 3, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert result["num_images"] == 8
    assert "mse" not in result  # nobody knows what was in the hole
    for i, name in enumerate(result["images"]):
        before, after = pixels(folder / name), pixels(tmp_path / "out" / "restored" / f"{i:05d}.png")
        hole = np.zeros((SIDE, SIDE), bool)
        hole[6:12, 4:10] = True
        assert (before[~hole] == after[~hole]).all()
        assert (pixels(tmp_path / "out" / "spread" / f"{i:05d}.png")[~hole] == 0).all()
        one, two = (pixels(tmp_path / "out" / "draws" / f"{i:05d}-{k}.png") for k in range(2))
        assert (one[~hole] == before[~hole]).all()
        assert (one[hole] != two[hole]).any()
    kept = Run.open(run).restoration()
    assert kept is not None
    assert kept["draws"].shape == (3, 8, 3, SIDE, SIDE)


def test_errors_are_printed_where_the_truth_is_known(run: Path, folder: Path, tmp_path: Path, command: Command):
    done = command("restore", run, "--data", folder, "--occlude", "half", "--draws", 2, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert 0 < result["mse"] <= result["draw_mse"] < 4
    assert 0 <= result["within_80"] <= 1
    assert "truth" in (Run.open(run).restoration() or {})


@pytest.mark.parametrize("method", ["generator", "recovery"])
def test_progress_is_shown_from_the_first_to_the_last_step_unless_quiet(
    method: str, folder: Path, tmp_path: Path, command: Command, no_figures: None, monkeypatch: pytest.MonkeyPatch
):
    """Half of the images are the run's own, whose chains start at the z that learning inferred."""
    monkeypatch.setattr(restoration, "AT_ONCE", 3)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    own = tmp_path / "own"
    own.mkdir()
    for i in range(4):
        shutil.copy(folder / f"{i}.png", own)
    more = {"generator": ("--occlude", "half"), "recovery": ("--num-steps", 2)}[method]
    learn = ("learn", method, "--data", own, "--iterations", 2, *SMALL, *more)
    assert command(*learn, "--out", tmp_path / "run").status == 0
    restore = ("restore", tmp_path / "run", "--data", folder, "--occlude", "half", "--draws", 2, "--out")
    done = command(*restore, tmp_path / "out")
    assert done.status == 0, done.err
    first, *others = done.err.splitlines()
    lines = [re.fullmatch(r"restoring  (\d+)/(\d+)", first)]
    lines += [re.fullmatch(r"restoring  (\d+)/(\d+)  \d+ s left", line) for line in others]
    counts = [(int(line[1]), int(line[2])) for line in lines if line]
    assert len(counts) == len(lines)
    assert counts == [(k, len(counts)) for k in range(1, len(counts) + 1)]
    quiet = command(*restore, tmp_path / "other", "--quiet")
    assert quiet.err == ""
    assert json.loads(quiet.out) == json.loads(done.out) | {"out": str(tmp_path / "other")}


def test_small_copies_are_enlarged(run: Path, folder: Path, tmp_path: Path, command: Command):
    done = command("restore", run, "--data", folder, "--as", "small:2", "--draws", 2, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert pixels(tmp_path / "out" / "restored" / "00000.png").shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("method", ["descriptor", "recovery", "latent-prior", "cooperative"])
def test_every_method_restores_and_keeps_what_is_seen(
    method: str, folder: Path, tmp_path: Path, command: Command, no_figures: None
):
    quick = ("--num-steps", 2) if method in ("descriptor", "recovery") else ()
    learned = command("learn", method, "--data", folder, "--iterations", 2, *SMALL, *quick, "--out", tmp_path / "run")
    assert learned.status == 0, learned.err
    done = command("restore", tmp_path / "run", "--data", folder, "--occlude", "square:6", "--draws", 2,
                   "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 0, done.err
    kept = Run.open(tmp_path / "run").restoration()
    assert kept is not None
    same = (kept["restored"] == kept["truth"]).all(1)
    assert (same.flatten(1).sum(1) >= SIDE * SIDE - 36).all()
    if method in ("descriptor", "recovery"):
        refused = command("restore", tmp_path / "run", "--data", folder, "--as", "small:2", "--out", tmp_path / "other")
        assert refused.status == 2
        assert "fills in missing pixels only" in refused.err


def test_a_run_learns_on_after_it_has_restored_and_the_restored_images_are_outdated(
    run: Path, folder: Path, tmp_path: Path, command: Command
):
    assert command("restore", run, "--data", folder, "--occlude", "half", "--out", tmp_path / "out").status == 0
    assert command("learn", "generator", "--data", folder, "--iterations", 4, *SMALL, "--out", run).status == 0
    assert Run.open(run).restoration() is None


def test_a_run_that_is_deleted_leaves_no_restored_images(run: Path, folder: Path, tmp_path: Path, command: Command):
    assert command("restore", run, "--data", folder, "--occlude", "half", "--out", tmp_path / "out").status == 0
    remove(run)
    assert not (run / "restored.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing is missing"),
        (("--occlude", "salt:2"), "salt:SHARE"),
        (("--as", "small:1"), "K from 2 to 16"),
        (("--as", "small:3"), "blocks of 3 x 3"),
        (("--as", "small:2", "--occlude", "half"), "neither --masks nor --occlude"),
        (("--masks", "nowhere"), "masks: nowhere"),
        (("--occlude", "square:16"), "smaller than the images"),
        (("--occlude", "half", "--draws", 1), "at least 2"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    options: tuple[object, ...], said: str, run: Path, folder: Path, tmp_path: Path, command: Command
):
    done = command("restore", run, "--data", folder, *options, "--out", tmp_path / "out")
    assert done.status == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_that_learns_from_occluded_images_restores_them(
    folder: Path, tmp_path: Path, command: Command, no_figures: None
):
    """Its own images are those that it sees: what was hidden in learning is missing, and unknown."""
    path = tmp_path / "run"
    occluded = ("--data", folder, "--occlude", "square:6", "--iterations", 2)
    assert command("learn", "generator", *occluded, *SMALL, "--out", path).status == 0
    masks = Run.open(path).images().masks
    assert masks is not None
    assert torch.equal((~masks).flatten(1).sum(1), torch.full((8,), 36))
    done = command("restore", path, "--draws", 2, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "mse" not in json.loads(done.out)
