"""Both models learn from the command line: what they generate is like the training images, and not like their mean."""

import json
from pathlib import Path

import pytest
import torch

from anasyn.data import read_folder, to_float
from anasyn.evaluation import sliced_wasserstein
from anasyn.mcmc.chains import mean_image

from ..commands import Command

pytestmark = pytest.mark.usefixtures("coarse_distances")


def pixels(folder: Path) -> torch.Tensor:
    return to_float(read_folder(folder, 16).pixels)


def test_a_generator_learns_to_reconstruct_and_to_sample(command: Command, tmp_path: Path, no_figures: None) -> None:
    data, run, out = tmp_path / "cats", tmp_path / "run", tmp_path / "out"
    command("data", "draw", "drawn-cats", data, "--num", 8, "--size", 16)
    settings = ("--size", 16, "--width", 64, "--num-steps", 3, "--iterations", 200, "--precision", "float32")
    assert command("learn", "generator", "--data", data, "--out", run, *settings, "--quiet").status == 0

    images = pixels(data)
    variance = images.var(0, correction=0).mean().item()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["mse"] < 0.35 * variance  # 0.21 was measured, 1 is a mean image's
    assert 0.3 < sum(line["acceptance_rate"] for line in metrics[-50:]) / 50 < 0.85

    command("reconstruct", run, "--out", out)
    distance = torch.cdist(pixels(out).flatten(1), images.flatten(1))
    assert torch.equal(distance.argmin(1), torch.arange(8))  # each is like its own image, not like the mean
    assert distance.diagonal().square().mean().item() / images[0].numel() < 0.35 * variance

    samples = tmp_path / "samples"
    command("sample", run, "--num", 200, "--out", samples)
    (samples / "grid.png").unlink()
    nearest = torch.cdist(images.flatten(1), pixels(samples).flatten(1)).square().min(1).values / images[0].numel()
    assert nearest.mean().item() < 0.6 * variance  # 0.27 was measured


def test_a_descriptor_learns_to_synthesise(command: Command, tmp_path: Path, no_figures: None) -> None:
    data, run, out = tmp_path / "egrets", tmp_path / "run", tmp_path / "out"
    command("data", "draw", "drawn-egrets", data, "--num", 8, "--size", 16)
    settings = ("--size", 16, "--width", 32, "--num-steps", 10, "--iterations", 100, "--learning-rate", 0.001)
    learn = ("learn", "descriptor", "--data", data, "--out", run, *settings, "--precision", "float32", "--quiet")
    assert command(*learn).status == 0
    command("sample", run, "--num", 8, "--out", out)
    (out / "grid.png").unlink()
    images = pixels(data)
    starts = mean_image(images, torch.Generator())
    synthesised = sliced_wasserstein(pixels(out), images, levels=2).mean
    assert synthesised < 0.4 * sliced_wasserstein(starts, images, levels=2).mean  # 0.15 was measured
