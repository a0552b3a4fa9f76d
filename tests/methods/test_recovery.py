"""A ladder of descriptors by the ordinary commands: learned, continued, sampled, evaluated, diagnosed and reported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.cli import main
from anasyn.learning import tensors_of
from anasyn.run import Run

pytestmark = pytest.mark.usefixtures("coarse_distances")

SMALL = ("--size", "16", "--width", "8", "--num-steps", "2", "--levels", "3", "--quiet", "--precision", "float32",
         "--batch-size", "5", "--largest-noise", "10")  # fmt: skip


def learn(cats: Path, out: Path, *more: str) -> int:
    """With a constant learning rate, which does not depend on the number of iterations."""
    return main(["learn", "recovery", "--data", str(cats), *SMALL, "--schedule", "constant", "--out", str(out), *more])


@pytest.fixture(scope="module")
def run(cats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert learn(cats, path, "--iterations", "11") == 0
    return path


def test_it_goes_on_bit_for_bit(run: Path, cats: Path, tmp_path: Path, no_figures: None) -> None:
    for iterations in ("4", "11"):  # which stops between the levels
        assert learn(cats, tmp_path / "other", "--iterations", iterations) == 0
    one, other = (tensors_of(Run.open(path).learned()) for path in (run, tmp_path / "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("kernel", ["mala", "hmc"])
def test_other_kernels_adapt_their_steps(kernel: str, cats: Path, tmp_path: Path, no_figures: None) -> None:
    assert learn(cats, tmp_path / "run", "--iterations", "3", "--kernel", kernel, "--step-size", "0.3") == 0
    assert (Run.open(tmp_path / "run").learned().chains.step_sizes != 0.3).all()


def test_the_levels_take_turns_and_the_metrics_tell_each_one_s_gap(run: Path) -> None:
    for line in Run.open(run).metrics():
        level = (line["iteration"] - 1) % 3
        assert [name for name in line if name.startswith("energy_gap_")] == [f"energy_gap_{level}"]
        assert line[f"energy_gap_{level}"] == line["energy_gap"]


def test_it_samples(run: Path) -> None:
    assert main(["sample", str(run), "--num", "3"]) == 0
    assert np.asarray(Image.open(run / "samples" / "00000.png")).shape == (16, 16, 3)
    assert torch.equal(Run.open(run).sample(3, seed=1), Run.open(run).sample(3, seed=1))
    assert (run / "figures" / "samples.png").exists()


def test_it_is_evaluated_diagnosed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    assert "ladder of noise" in json.loads(capsys.readouterr().out)["swd"]["protocol"]
    assert main(["diagnose", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("not learned\n")
    assert len([line for line in said.splitlines() if line[:5].strip().isdigit()]) == 3  # a row for each level
    assert main(["report", str(run)]) == 0
    assert "not learned" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--smallest-noise", "20"), "smallest_noise"),
        (("--largest-noise", "0.01"), "largest_noise"),
        (("--smallest-noise", "3", "--largest-noise", "2"), "smallest_noise"),
        (("--levels", "0"), "levels"),
    ],
)
def test_a_ladder_that_does_not_rise_is_refused(
    options: tuple[str, ...], named: str, cats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert learn(cats, tmp_path / "run", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not (tmp_path / "run").exists()


NETWORK = """
from torch import nn

def make(settings):
    c, h, w = settings.shape
    return nn.Sequential(nn.Conv2d(c + 1, 4, 4, stride=4), nn.SiLU(), nn.Flatten(), nn.Linear(h * w // 4, 1),
                         nn.Flatten(0))
"""


def test_a_network_of_one_s_own_sees_the_level_as_a_channel(
    cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    (tmp_path / "levelled.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    assert learn(cats, tmp_path / "run", "--iterations", "2", "--network", "levelled:make") == 0
    model = Run.open(tmp_path / "run").learned().model
    images = torch.zeros(2, 3, 16, 16)
    outputs = [model.at(t).network(images) for t in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
