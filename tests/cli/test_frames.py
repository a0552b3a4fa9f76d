"""Films from the command line: learned as frames in order, resumed, and written as films."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import draw_cats, read_frames, save_film, to_uint8
from anasyn.methods.paths import through
from anasyn.run import Run

from ..commands import Command, assert_same_run, refused, without_figures
from .small import SMALL

NUM = 12
LEARN = ("learn", "generator", *SMALL, "--quiet", "--frames")


def cats(num: int) -> torch.Tensor:
    angle = 2 * torch.pi * torch.arange(num) / num
    return draw_cats(0.5 + 0.45 * torch.stack([angle.cos(), angle.sin()], 1), 16)


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An animation of a cat of 16 pixels that changes and turns."""
    path = tmp_path_factory.mktemp("films") / "walk.webp"
    save_film(path, cats(NUM))
    return path


@pytest.fixture(scope="session")
def filmed(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator of these frames with its figures and report, not to be changed."""
    from anasyn.cli import main

    path = tmp_path_factory.mktemp("runs") / "walk"
    assert main([*map(str, LEARN), "--data", str(walk), "--out", str(path)]) == 0
    return path


def test_a_film_is_learned_as_its_frames_in_their_order(filmed: Path, walk: Path) -> None:
    run = Run.open(filmed)
    assert torch.equal(run.images().pixels, cats(NUM))
    assert run.data().names == [f"walk.webp#{k:04d}" for k in range(NUM)]
    assert run.settings.data == str(walk)
    config = json.loads((filmed / "config.json").read_text())["settings"]
    assert (config["frames"], config["hold_out"], config["size"]) == ("on", 0.0, 16)
    assert (filmed / "figures" / "path.png").exists()
    assert "Path of the frames" in (filmed / "report.html").read_text()


def test_a_run_that_learns_on_keeps_no_picture_of_its_path_as_it_was(
    filmed: Path, walk: Path, command: Command, tmp_path: Path
) -> None:
    """Nor of its long run. Learning ends here before new ones are drawn, as if it had been killed."""
    run = shutil.copytree(filmed, tmp_path / "run")
    shutil.copy(run / "figures" / "path.png", run / "figures" / "long_run.png")
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        assert command(*LEARN, "--data", walk, "--out", run, "--iterations", 6).status == 0
    assert command("report", run).status == 0
    text = (run / "report.html").read_text()
    assert "Path of the frames" not in text
    assert "Long run" not in text
    assert command(*LEARN, "--data", walk, "--out", run, "--iterations", 7).status == 0
    assert "Path of the frames" in (run / "report.html").read_text()
    learn = (each for each in LEARN if each != "--frames")
    assert command(*learn, "--data", "drawn-cats", "--out", run, "--overwrite").status == 0
    assert not (run / "figures" / "path.png").exists()
    assert "Path of the frames" not in (run / "report.html").read_text()


def test_the_figures_for_papers_have_the_path(filmed: Path, command: Command, tmp_path: Path) -> None:
    assert command("figures", filmed, "--format", "png", "--out", tmp_path / "paper").status == 0
    assert (tmp_path / "paper" / "path.png").exists()


def test_a_stopped_run_goes_on_bit_for_bit(filmed: Path, walk: Path, command: Command, tmp_path: Path) -> None:
    parts = ("--data", walk, "--out", tmp_path / "run", "--schedule", "constant")
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        for iterations in (2, 4):
            assert command(*LEARN, *parts, "--iterations", iterations).status == 0
        whole = ("--data", walk, "--out", tmp_path / "whole", "--schedule", "constant")
        assert command(*LEARN, *whole).status == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_another_film_under_the_same_name_is_noticed(
    walk: Path, command: Command, tmp_path: Path, no_figures: None
) -> None:
    film = shutil.copy(walk, tmp_path / "walk.webp")
    learn = (*LEARN, "--data", film, "--out", tmp_path / "run", "--iterations")
    assert command(*learn, 2).status == 0
    save_film(film, cats(NUM)[:-2])
    refused(command(*learn, 3), film, "gone walk.webp#0010, walk.webp#0011", "--accept-new-data")
    assert command(*learn, 3, "--accept-new-data").status == 0
    assert len(Run.open(tmp_path / "run").learned().chains.positions) == NUM - 2


def test_a_folder_of_frames_is_read_in_natural_order(
    walk: Path, command: Command, tmp_path: Path, no_figures: None
) -> None:
    (tmp_path / "frames").mkdir()
    for k, image in enumerate(read_frames(walk, 16).pixels):
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(tmp_path / "frames" / f"{k}.png")
    assert command(*LEARN, "--data", tmp_path / "frames", "--out", tmp_path / "run").status == 0
    assert torch.equal(Run.open(tmp_path / "run").images().pixels, cats(NUM))
    assert command("sample", tmp_path / "run", "--num", NUM, "--film").status == 0
    assert through_the_frames(tmp_path / "run", tmp_path / "run" / "samples" / "film.webp", NUM)


def test_of_many_frames_none_is_held_out(command: Command, tmp_path: Path, no_figures: None) -> None:
    save_film(tmp_path / "long.webp", cats(110))
    learn = (*LEARN, "--data", tmp_path / "long.webp", "--batch-size", 30, "--out")
    loud = [each for each in learn if each != "--quiet"]
    done = command(*loud, tmp_path / "run", "--iterations", 1)
    assert done.status == 0
    assert "frames: none is held out" in done.err
    assert Run.open(tmp_path / "run").split_images()[1] is None
    assert command(*learn, tmp_path / "asked", "--iterations", 1, "--hold-out", 0.1).status == 0
    held_out = Run.open(tmp_path / "asked").split_images()[1]
    assert held_out is not None
    assert len(held_out) == 11


def through_the_frames(run: Path, film: Path, num: int) -> bool:
    """Whether a film is f(z) along the curve through the z of a run's frames."""
    learner = Run.open(run).learned()
    with torch.no_grad():
        expected = to_uint8(learner.model(through(learner.chains.positions, num)))
    with Image.open(film) as image:
        frames = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    found = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    return torch.equal(found, expected)


@pytest.mark.parametrize("num", [NUM, 30])
def test_the_film_passes_through_the_z_of_the_frames(num: int, filmed: Path, command: Command, tmp_path: Path) -> None:
    done = command("sample", filmed, "--num", num, "--film", "--out", tmp_path / "out")
    assert done == (0, f"{tmp_path / 'out' / 'film.webp'}\n", "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["film.webp"]
    assert through_the_frames(filmed, tmp_path / "out" / "film.webp", num)


def test_other_runs_with_z_have_a_film_of_random_z(generator: Path, command: Command, tmp_path: Path) -> None:
    films = []
    for seed in (0, 0, 1):
        out = tmp_path / f"{len(films)}"
        assert command("sample", generator, "--num", 20, "--film", "--seed", seed, "--out", out).status == 0
        films.append((out / "film.webp").read_bytes())
        with Image.open(out / "film.webp") as image:
            assert image.format == "WEBP"
            assert image.is_animated
            assert image.info["loop"] == 0
    assert films[0] == films[1] != films[2]


def test_what_is_wrong_is_said_in_one_line(
    filmed: Path, descriptor: Path, walk: Path, command: Command, tmp_path: Path
) -> None:
    refused(command("sample", descriptor, "--num", 4, "--film"), "infers no z", "generator, latent-prior")
    refused(command("sample", filmed, "--num", 1, "--film"), "--num", "at least 2")
    refused(command("sample", filmed, "--num", 4, "--film", "--revise", 1), "--film", "--revise")
    cut = tmp_path / "cut.webp"
    cut.write_bytes(walk.read_bytes()[:-200])
    still = tmp_path / "still.gif"
    Image.new("RGB", (16, 16)).save(still)
    out = ("--out", tmp_path / "run")
    refused(command(*LEARN, "--data", cut, *out), cut)
    refused(command(*LEARN, "--data", still, *out), still, "a single picture", "GIF, WebP or APNG")
    refused(command(*LEARN, "--data", tmp_path / "nowhere", *out), "nowhere", "is not there")
    refused(command(*LEARN[:-1], "--data", walk, *out), walk, "expected a folder", "--frames")
    refused(command("learn", "descriptor", "--data", walk, *out), walk, "expected a folder", "--frames")
    refused(command("learn", "descriptor", "--data", walk, *out, "--frames"), "--frames")
    assert not (tmp_path / "run").exists()


def test_another_film_can_be_reconstructed(filmed: Path, walk: Path, command: Command, tmp_path: Path) -> None:
    other = tmp_path / "other.webp"
    save_film(other, cats(NUM)[:3])
    done = command("reconstruct", filmed, "--data", other)
    assert json.loads(done.out)["num_images"] == 3
