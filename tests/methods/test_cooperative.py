"""A generator and a descriptor that learn cooperatively, by the ordinary commands: learned, sampled, evaluated."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn import mcmc
from anasyn.cli import main
from anasyn.learning import tensors_of
from anasyn.rng import derive
from anasyn.run import Run

from ..commands import Command, refused
from ..planting import plant

pytestmark = pytest.mark.usefixtures("coarse_distances")

SMALL = ("--size", "16", "--width", "8", "--generator-width", "8", "--num-steps", "3", "--quiet",
         "--precision", "float32", "--batch-size", "5")  # fmt: skip


def learn(cats: Path, out: Path, *more: str) -> int:
    """With a constant learning rate, which does not depend on the number of iterations."""
    return main(
        ["learn", "cooperative", "--data", str(cats), *SMALL, "--schedule", "constant", "--out", str(out), *more]
    )


@pytest.fixture(scope="module")
def run(cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert learn(cats, path, "--iterations", "9") == 0
    return path


@pytest.mark.parametrize("kernel", ["langevin", "mala", "hmc"])
def test_it_goes_on_bit_for_bit(kernel: str, cats: Path, tmp_path: Path, no_figures: None) -> None:
    more = ("--kernel", kernel, "--recall-steps", "2")
    assert learn(cats, tmp_path / "one", "--iterations", "9", *more) == 0
    for iterations in ("4", "9"):
        assert learn(cats, tmp_path / "other", "--iterations", iterations, *more) == 0
    one, other = (tensors_of(Run.open(tmp_path / name).learned()) for name in ("one", "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert (one["chains.step_sizes"] == 0.01).all() == (kernel == "langevin")
    assert (one["chains.recall_step_sizes"] != 0.03).all()


def check_the_images_z_are_for_the_user_alone(cats: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are the same whether or not the images' z move."""
    for name in ("moved", "left"):
        assert learn(cats, folder / name, "--iterations", "3") == 0
        monkeypatch.setattr("anasyn.learning.cooperative.IMAGE_STEPS", 0)
    moved, left = (Run.open(folder / name).learned() for name in ("moved", "left"))
    assert not torch.equal(moved.chains.latents.positions, left.chains.latents.positions)
    assert all(torch.equal(x, left.model.state_dict()[name]) for name, x in moved.model.state_dict().items())


def test_the_images_z_are_for_the_user_alone(
    cats: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_the_images_z_are_for_the_user_alone(cats, tmp_path, monkeypatch)
    step = "anasyn.learning.cooperative:CooperativeLearner.step"
    plant(monkeypatch, step, {"generator(recalled.position)": "generator(self.chains.latents.positions[index])"})
    with pytest.raises(AssertionError):
        check_the_images_z_are_for_the_user_alone(cats, tmp_path / "planted", monkeypatch)


def test_samples_are_revisions_of_what_the_generator_proposes(run: Path) -> None:
    opened = Run.open(run)
    learner = opened.learned()
    model, rng = learner.model, derive(1, "sample")
    proposals = model.generator.sample(3, rng=rng)
    state, _ = mcmc.run(mcmc.Langevin(0.01), model.descriptor.log_density, proposals, num_steps=3, rng=rng)
    assert torch.equal(opened.sample(3, seed=1, revise=0), proposals)
    torch.testing.assert_close(opened.sample(3, seed=1), state.position)
    assert torch.equal(opened.sample(3, seed=1, revise=3), opened.sample(3, seed=1))
    assert not torch.equal(opened.sample(3, seed=1, revise=4), opened.sample(3, seed=1))
    assert not torch.equal(opened.sample(3, seed=2, revise=0), proposals)


def test_the_commands_revise(run: Path, command: Command, tmp_path: Path) -> None:
    shown = {}
    for steps in ("0", "2", None):
        out = tmp_path / str(steps)
        more = ("--revise", steps) if steps else ()
        assert command("sample", run, "--num", 3, "--out", out, *more).status == 0
        shown[steps] = np.asarray(Image.open(out / "00000.png")).astype(int)
        assert shown[steps].shape == (16, 16, 3)
    assert np.abs(shown["0"] - shown["2"]).max() > 0
    assert np.abs(shown["0"] - shown["2"]).mean() < np.abs(shown["0"] - shown[None]).mean()
    for word in ("-1", "many", ""):
        refused(command("sample", run, "--num", 1, "--revise", word), "--revise", "expected an integer of at least 0")


def test_a_run_without_a_revision_refuses_one(cats: Path, command: Command, tmp_path: Path, no_figures: None) -> None:
    small = ("--size", 16, "--width", 8, "--iterations", 1, "--precision", "float32", "--quiet")
    assert command("learn", "generator", "--data", cats, "--out", tmp_path / "run", *small).status == 0
    done = command("sample", tmp_path / "run", "--num", 1, "--revise", 0)
    refused(done, tmp_path / "run", "holds a generator, which has no revision; expected a run of cooperative")
    assert not (tmp_path / "run" / "samples").exists()


def test_the_metrics_tell_about_both(run: Path) -> None:
    for line in Run.open(run).metrics():
        likelihood = line["generator_mse"] * 3 * 16 * 16 / (2 * 0.3**2)
        assert line["loss"] == pytest.approx(likelihood - line["energy_gap"], rel=1e-5)
        assert line["revision"] == pytest.approx(0.01 * 3**0.5, rel=0.3)  # hardly more than the noise, at first
        assert 0 < line["recall_acceptance_rate"] <= 1


def test_it_is_evaluated_diagnosed_and_reported(run: Path, command: Command) -> None:
    assert json.loads(command("reconstruct", run).out)["num_images"] == 12
    assert command("interpolate", run).status == 0
    measures = json.loads(command("evaluate", run, "--fast").out)
    assert {"training_mse", "acceptance_rate", "proposals_swd", "swd", "log_likelihood"} <= measures.keys()
    assert "proposals before their revision" in measures["proposals_swd"]["protocol"]
    result = json.loads(command("diagnose", run, "--json").out)
    assert {"inference", "synthesis"} <= result.keys()
    assert not any("the starts are near" in reason for reason in result["reasons"])
    assert command("report", run).status == 0
    page = (run / "report.html").read_text()
    assert "from a proposal of the generator to its revision" in page
    assert "revised by the descriptor" in page
    assert command("figures", run, "--format", "png").status == 0
    assert {"revisions.png", "revision.png", "energy_gap.png"} <= {path.name for path in (run / "paper").iterdir()}


def test_networks_of_the_user_s_own_are_refused_by_their_setting(cats: Path, command: Command, tmp_path: Path) -> None:
    learn = ("learn", "cooperative", "--data", cats, "--out", tmp_path / "run", *SMALL)
    for option in ("network", "generator_network"):
        done = command(*learn, f"--{option.replace('_', '-')}", "torch.nn:Identity")
        refused(done, f"{option}: ", "torch.nn:Identity")
    assert not (tmp_path / "run").exists()
