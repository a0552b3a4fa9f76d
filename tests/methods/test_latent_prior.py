"""A generator with a learned prior by the ordinary commands: learned, continued, sampled, evaluated and reported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.cli import main
from anasyn.learning import draw_prior, tensors_of
from anasyn.rng import derive
from anasyn.run import Run

pytestmark = pytest.mark.usefixtures("coarse_distances")

SMALL = ("--size", "16", "--width", "8", "--prior-width", "8", "--num-steps", "2", "--prior-steps", "3", "--quiet",
         "--precision", "float32", "--batch-size", "5", "--hold-out", "0.2", "--sigma", "learned")  # fmt: skip


def learn(cats: Path, out: Path, *more: str) -> int:
    """With a constant learning rate, which does not depend on the number of iterations."""
    return main(
        ["learn", "latent-prior", "--data", str(cats), *SMALL, "--schedule", "constant", "--out", str(out), *more]
    )


@pytest.fixture(scope="module")
def run(cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert learn(cats, path, "--iterations", "9") == 0
    return path


def test_it_goes_on_bit_for_bit(run: Path, cats: Path, tmp_path: Path, no_figures: None) -> None:
    for iterations in ("4", "9"):
        assert learn(cats, tmp_path / "other", "--iterations", iterations) == 0
    one, other = (tensors_of(Run.open(path).learned()) for path in (run, tmp_path / "other"))
    assert one.keys() == other.keys()
    assert {"prior.positions", "prior.step_sizes", "held_out.positions", "model.prior.network.0.weight"} <= one.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert one["model.prior.network.4.weight"].any()  # it began at 0


@pytest.mark.parametrize("kernel", ["langevin", "hmc"])
def test_other_kernels(kernel: str, cats: Path, tmp_path: Path, no_figures: None) -> None:
    assert learn(cats, tmp_path / "run", "--iterations", "3", "--kernel", kernel) == 0
    steps = Run.open(tmp_path / "run").learned().prior_chains.step_sizes
    assert (steps == 0.4).all() == (kernel == "langevin")


def test_the_metrics_tell_about_the_prior(run: Path) -> None:
    for line in Run.open(run).metrics():
        likelihood = line["mse"] * 3 * 16 * 16 / (2 * line["sigma"] ** 2)
        assert line["loss"] == pytest.approx(likelihood - line["prior_gap"], rel=1e-5)
        assert 0 < line["prior_acceptance_rate"] <= 1
        assert line["prior_mean_square"] > 0


def test_it_samples_from_the_learned_prior(run: Path) -> None:
    assert main(["sample", str(run), "--num", "3"]) == 0
    assert np.asarray(Image.open(run / "samples" / "00000.png")).shape == (16, 16, 3)
    learner = Run.open(run).learned()
    model, starts = learner.model, learner.prior_chains.positions
    with torch.no_grad():
        expected = model(draw_prior(model, 3, starts=starts, rng=derive(1, "sample")))
    assert torch.equal(Run.open(run).sample(3, seed=1), expected)
    assert not torch.equal(Run.open(run).sample(3, seed=2), expected)


def test_it_reconstructs_and_interpolates(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(run)]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 10  # two are held out
    assert main(["interpolate", str(run)]) == 0


def test_it_is_evaluated_diagnosed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    measures = json.loads(capsys.readouterr().out)
    assert {"training_mse", "held_out_mse", "swd"} <= measures.keys()
    assert "drawn from the learned prior" in measures["swd"]["protocol"]
    assert main(["diagnose", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inference"]["prior_chains"]["r_hat"] > 0
    assert main(["report", str(run)]) == 0
    assert "drawn from the learned prior" in (run / "report.html").read_text()
    assert main(["figures", str(run), "--format", "png"]) == 0
    assert (run / "paper" / "prior_gap.png").exists()
