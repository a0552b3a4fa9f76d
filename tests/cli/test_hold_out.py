"""Held-out images, learned σ and parameter expansion from the command line."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from anasyn.run import Run

from ..commands import Command, assert_same_run, refused
from .small import SMALL

LEARN = ("learn", "generator", *SMALL, "--quiet")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and ten drawn cats, of which a tenth is held out."""
    from anasyn.cli import main

    folder = tmp_path_factory.mktemp("many") / "cats"
    assert main(["data", "draw", "drawn-cats", str(folder), "--num", "110", "--size", "16"]) == 0
    return folder


@pytest.fixture
def learned(many: Path, command: Command, tmp_path: Path, no_figures: None) -> Path:
    assert command(*LEARN, "--data", many, "--out", tmp_path / "run", "--batch-size", 30).status == 0
    return tmp_path / "run"


def test_by_default_a_tenth_of_many_images_is_held_out(learned: Path) -> None:
    """Neither their names nor their z are among those of the training images, and σ is learned from them."""
    run = Run.open(learned)
    images, held_out = run.split_images()
    assert held_out is not None
    assert (len(images), len(held_out)) == (99, 11)
    assert not set(images.digests) & set(held_out.digests)
    assert run.learned().chains.state_dict()["positions"].shape == (99, 8)
    settings = json.loads((learned / "config.json").read_text())["settings"]
    assert (settings["hold_out"], settings["sigma"], settings["expand"]) == (0.1, "learned", "auto")
    sigmas = [record["sigma"] for record in run.metrics()]
    assert sigmas[0] == 0.3
    assert sigmas[-1] != 0.3
    learner = run.learned()
    _, kept = learner.kept_of_images()
    assert len(kept["held_out.positions"]) == len(kept["noise.residuals"]) == 11


def test_a_stopped_run_goes_on_bit_for_bit(learned: Path, many: Path, command: Command, no_figures: None) -> None:
    """σ, the held-out chains and the expanded layer are parts of the checkpoint."""
    whole = learned.parent / "whole"
    options = ("--data", many, "--batch-size", 30, "--iterations", 9)
    assert command(*LEARN, *options, "--out", whole, "--schedule", "constant").status == 0
    parts = learned.parent / "parts"
    for iterations in (5, 9):
        stopped = (*options[:-1], iterations)
        assert command(*LEARN, *stopped, "--out", parts, "--schedule", "constant").status == 0
    assert_same_run(whole, parts)


def test_changed_held_out_images_are_noticed(
    learned: Path, many: Path, command: Command, tmp_path: Path, no_figures: None
) -> None:
    changed = shutil.copytree(many, tmp_path / "changed")
    run = Run.open(learned)
    _, held_out = run.split_images()
    assert held_out is not None
    config = (learned / "config.json").read_text()
    (learned / "config.json").write_text(config.replace(str(many), str(changed)))
    (changed / held_out.names[0]).unlink()
    again = ("learn", "generator", "--data", changed, "--out", learned, "--iterations", 6, "--quiet")
    before = (learned / "config.json").read_text()
    refused(command(*again), "the images are not those")
    assert (learned / "config.json").read_text() == before  # not even the iterations
    assert command(*again, "--accept-new-data").status == 0
    after = Run.open(learned)
    assert after.saved_iteration() == 6
    chains = after.learned()
    assert len(chains.kept_of_images()[1]["held_out.positions"]) == 11  # of 109; one was a training image before
    assert len(chains.chains.state_dict()["positions"]) == 98


def test_evaluation_uses_the_held_out_images(learned: Path, command: Command, coarse_distances: None) -> None:
    measures = json.loads(command("evaluate", learned, "--fast").out)
    assert "11 held-out images" in measures["held_out_mse"]["protocol"]
    assert "held-out images" in measures["log_likelihood"]["protocol"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--hold-out", "0.17"), ("hold_out", "two or more of 6 images", "0.17 keeps 1")),
        (("--hold-out", "0.6"), ("hold_out", "at most 0.5")),
        (("--sigma", "learned", "--sigma-floor", "2"), ("sigma_floor", "pixels' own standard deviation", "got 2")),
        (("--sigma", "unknown"), ("sigma", "expected learned, or a finite number", "unknown")),
        (("--expand", "maybe"), ("expand", "auto, on, off")),
    ],
    ids=lambda each: " ".join(each),
)
def test_wrong_settings_are_refused(
    options: tuple[str, ...], words: tuple[str, ...], command: Command, cats: Path, tmp_path: Path
) -> None:
    refused(command(*LEARN, "--data", cats, "--out", tmp_path / "run", *options), *words)
    assert not (tmp_path / "run").exists()


NETWORK = '''
from torch import nn


def squashed(settings):
    """Begins with no linear layer."""
    return nn.Sequential(nn.Tanh(), nn.Linear(settings.latent_dim, 3 * 16 * 16), nn.Unflatten(1, settings.shape))
'''


@pytest.fixture
def squashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "squashing.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    return "squashing:squashed"


def test_a_network_that_cannot_be_expanded(
    command: Command, cats: Path, tmp_path: Path, squashed: str, no_figures: None
) -> None:
    """It is refused with `--expand on`; by default it is learned without, and this is said, unless it was asked for."""
    options = ("--data", cats, "--out", tmp_path / "run", "--network", squashed)
    refused(command(*LEARN, *options, "--expand", "on"), "expand", "linear layer", "expected auto or off")
    assert not (tmp_path / "run").exists()
    for expand, remarks in (("auto", 1), ("off", 0)):
        done = command(*LEARN[:-1], *options, "--overwrite", "--expand", expand)
        assert done.status == 0
        assert done.err.count("no parameter expansion") == remarks


def test_small_sets_say_what_they_do(command: Command, cats: Path, tmp_path: Path, no_figures: None) -> None:
    done = command(*LEARN[:-1], "--data", cats, "--out", tmp_path / "fixed")
    assert "no image is held out to learn sigma from: it stays 0.3" in done.err
    done = command(*LEARN[:-1], "--data", cats, "--out", tmp_path / "learned", "--sigma", "learned")
    assert "sigma is learned from the training images" in done.err
    assert Run.open(tmp_path / "learned").metrics()[-1]["sigma"] != 0.3


def test_expansion_can_be_left_out(command: Command, cats: Path, tmp_path: Path, no_figures: None) -> None:
    for expand in ("on", "off"):
        assert command(*LEARN, "--data", cats, "--out", tmp_path / expand, "--expand", expand).status == 0
    on, off = (Run.open(tmp_path / each).learned().chains.state_dict()["positions"] for each in ("on", "off"))
    assert not torch.equal(on, off)
