"""The design's test: a third method learns, resumes, samples and is evaluated by the ordinary commands."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.cli import main
from anasyn.recipes import RECIPES
from anasyn.run import Run

from . import ppca

pytestmark = pytest.mark.usefixtures("coarse_distances")


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "ppca", ppca.RECIPE)
        yield


def learn(cats: Path, out: Path, *more: str) -> None:
    settings = ("--size", "16", "--sigma", "0.6", "--quiet")  # of a wider noise EM needs fewer iterations
    assert main(["learn", "ppca", "--data", str(cats), *settings, "--out", str(out), *more]) == 0


@pytest.fixture(scope="module")
def run(_known: None, cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    learn(cats, path, "--iterations", "150")
    return path


def test_it_learns_the_principal_subspace(run: Path) -> None:
    opened = Run.open(run)
    learner = opened.learned()
    y = learner.model(torch.zeros(1, 4)).flatten(1)
    images = opened.images().pixels.flatten(1) / 127.5 - 1
    centred = images - images.mean(0)
    torch.testing.assert_close(y[0], images.mean(0), atol=1e-4, rtol=0)
    # At the maximum of the likelihood W spans the leading eigenvectors, and |w|² = λ − σ² along each.
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / len(images)).flip(0)[:4]
    weights = torch.linalg.svdvals(learner.linear.weight) ** 2
    torch.testing.assert_close(weights, eigenvalues - learner.model.sigma**2, rtol=2e-2, atol=0)


def test_it_goes_on_bit_for_bit(run: Path, cats: Path, tmp_path: Path, no_figures: None) -> None:
    learn(cats, tmp_path / "other", "--iterations", "25")
    learn(cats, tmp_path / "other", "--iterations", "150")
    one, other = Run.open(run), Run.open(tmp_path / "other")
    for name, tensor in one.learned().model.state_dict().items():
        assert torch.equal(tensor, other.learned().model.state_dict()[name])
    losses = [[line["loss"] for line in each.metrics()] for each in (one, other)]
    assert losses[0] == losses[1]


def test_it_samples_reconstructs_and_interpolates(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "--num", "5"]) == 0
    assert len(list((run / "samples").glob("0*.png"))) == 5
    assert np.asarray(Image.open(run / "samples" / "00000.png")).shape == (16, 16, 3)
    capsys.readouterr()
    assert main(["reconstruct", str(run)]) == 0
    assert json.loads(capsys.readouterr().out)["mse"] < 0.05
    assert main(["interpolate", str(run)]) == 0
    assert (run / "figures" / "interpolation.png").exists()


def test_it_is_evaluated_diagnosed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    measures = json.loads(capsys.readouterr().out)
    assert {"training_mse", "coverage_mse", "swd"} <= measures.keys()
    assert "W z + b" in measures["swd"]["protocol"]
    assert main(["diagnose", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inference"]["names"]
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "W z + b at random z" in page
    assert "ppca" in page
    assert main(["figures", str(run), "--format", "png"]) == 0
