"""A ladder of descriptors for each class by the ordinary commands: `anasyn learn recovery --conditional`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from anasyn.data import load_images
from anasyn.learning import RecoveryLearner, tensors_of
from anasyn.run import Run

from ..commands import Command, Outcome, refused, tree
from ..planting import plant

pytestmark = pytest.mark.usefixtures("coarse_distances")

SMALL = ("--size", 16, "--width", 8, "--num-steps", 2, "--levels", 2, "--quiet", "--precision", "float32",
         "--batch-size", 5, "--largest-noise", 10, "--schedule", "constant")  # fmt: skip


def learn(command: Command, data: Path, out: Path, *more: object) -> Outcome:
    return command("learn", "recovery", "--conditional", "--data", data, *SMALL, "--out", out, *more)


def test_it_goes_on_bit_for_bit(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    assert learn(command, classes, tmp_path / "one", "--iterations", 9).status == 0
    for iterations in (4, 9):
        assert learn(command, classes, tmp_path / "other", "--iterations", iterations).status == 0
    one, other = (Run.open(tmp_path / name).learned() for name in ("one", "other"))
    assert one.classes == ("cats", "egrets")
    assert one.labels.tolist() == [0] * 6 + [1] * 6
    assert all(torch.equal(tensor, tensors_of(other)[name]) for name, tensor in tensors_of(one).items())


def check_samples_are_of_their_class(command: Command, classes: Path, out: Path) -> None:
    """The mean of the samples is nearer to the mean image of their class than to that of the other."""
    assert learn(command, classes, out, "--iterations", 120, "--num-steps", 5).status == 0
    means = {name: load_images(classes / name, 16).mean(0) for name in ("cats", "egrets")}
    shutil.rmtree(classes)  # the names of the classes are kept with the run
    for name, other in (("cats", "egrets"), ("egrets", "cats")):
        assert command("sample", out, "--num", 12, "--class", name).status == 0
        samples = Run.open(out).sample(12, seed=0, of_class=name).mean(0)
        assert (samples - means[name]).norm() < (samples - means[other]).norm(), name


def test_samples_are_of_their_class(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    check_samples_are_of_their_class(command, classes, tmp_path / "run")


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("anasyn.learning.recovery:RecoveryLearner.draw", {" and labels is None": ""}),
        ("anasyn.run.directory:Run.sample", {"classes.names.index(of_class)": "1 - classes.names.index(of_class)"}),
    ],
    ids=["ignored", "exchanged"],
)
def test_another_class_than_asked_for_is_caught(
    where: str, edits, command: Command, classes: Path, tmp_path: Path, no_figures: None, monkeypatch
) -> None:
    plant(monkeypatch, where, edits)
    with pytest.raises(AssertionError):
        check_samples_are_of_their_class(command, classes, tmp_path / "run")


def test_samples_without_a_class_are_of_all(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    assert learn(command, classes, tmp_path / "run", "--iterations", 2).status == 0
    run = Run.open(tmp_path / "run")
    assert run.sample(3, seed=1).shape == (3, 3, 16, 16)
    assert torch.equal(run.sample(3, seed=1), run.sample(3, seed=1))
    assert not torch.equal(run.sample(3, seed=1, of_class="cats"), run.sample(3, seed=1, of_class="egrets"))


@pytest.mark.parametrize(
    ("kept", "given"),
    [("cats egrets", [0] * 6 + [1] * 6), ("egrets", [1] * 6), ("", None)],
    ids=["two folders", "one folder", "no folder"],
)
def test_images_are_restored_given_their_class_if_they_lie_in_class_folders(
    kept: str, given: list[int] | None, command: Command, classes: Path, tmp_path: Path, no_figures: None, monkeypatch
) -> None:
    run, used = tmp_path / "run", []
    assert learn(command, classes, run, "--iterations", 1).status == 0
    for name in {"cats", "egrets"} - {*kept.split()}:
        shutil.rmtree(classes / name) if kept else shutil.move(classes / name, tmp_path / name)
    draw = RecoveryLearner.draw

    def drawn(self: RecoveryLearner, num: int, **options: Any) -> torch.Tensor:
        used.append(None if options["labels"] is None else options["labels"].tolist())
        return draw(self, num, **options)

    monkeypatch.setattr(RecoveryLearner, "draw", drawn)
    data = classes if kept else tmp_path / "cats"
    restore = ("restore", run, "--data", data, "--occlude", "half", "--draws", 2, "--out", tmp_path / "out")
    done = command(*restore)
    assert done.status == 0, done.err
    assert used == [given, given]


@pytest.mark.parametrize("others", [["dogs"], ["cats", "dogs", "egrets"]], ids=["alone", "beside others"])
def test_images_of_a_class_that_the_run_does_not_know_are_not_restored(
    others: list[str], command: Command, classes: Path, tmp_path: Path, no_figures: None
) -> None:
    run = tmp_path / "run"
    assert learn(command, classes, run, "--iterations", 1).status == 0
    for name in others:
        shutil.copytree(classes / "cats", tmp_path / "other" / name)
    restore = ("restore", run, "--data", tmp_path / "other", "--occlude", "half", "--out", tmp_path / "out")
    refused(command(*restore), "class", "cats, egrets", "got images of dogs")
    assert not (tmp_path / "out").exists()


def test_it_is_evaluated_diagnosed_and_reported(command: Command, classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert learn(command, classes, run, "--iterations", 2).status == 0
    assert (run / "figures" / "samples.png").exists()
    assert "ladder of noise" in json.loads(command("evaluate", run).out)["swd"]["protocol"]
    assert command("diagnose", run).out.startswith("not learned\n")
    assert command("report", run).status == 0
    assert "--conditional on" in (run / "report.html").read_text()


def test_a_network_of_one_s_own_sees_the_class_as_channels(
    command: Command, classes: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "classed.py").write_text(
        "from torch import nn\n\ndef make(settings):\n    return nn.Sequential("
        "nn.Conv2d(6, 4, 4, stride=4), nn.SiLU(), nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert learn(command, classes, tmp_path / "run", "--iterations", 2, "--network", "classed:make").status == 0
    model, images = Run.open(tmp_path / "run").learned().model, torch.zeros(2, 3, 16, 16)
    first, second = (model.at(0, torch.tensor(labels)).network(images) for labels in ([0, 1], [1, 1]))
    assert first[0] != second[0]
    assert first[1] == second[1]


# ------------------------------------------------------------------------------------------------- bad input


def test_a_folder_without_classes_is_refused(command: Command, cats: Path, tmp_path: Path) -> None:
    refused(learn(command, cats, tmp_path / "run"), "conditional", "two or more class folders", cats)
    refused(learn(command, Path("drawn-cats"), tmp_path / "run"), "conditional", "two or more class folders")
    assert not (tmp_path / "run").exists()


def test_one_class_is_refused(command: Command, classes: Path, tmp_path: Path) -> None:
    shutil.rmtree(classes / "egrets")
    refused(learn(command, classes, tmp_path / "run"), "conditional", "two or more class folders", classes)
    assert not (tmp_path / "run").exists()


def test_a_class_that_is_not_there_is_refused_and_the_others_named(
    command: Command, classes: Path, tmp_path: Path, no_figures: None
) -> None:
    run = tmp_path / "run"
    assert learn(command, classes, run, "--iterations", 1).status == 0
    before = tree(run)
    for name in ("dogs", "", "Cats", "two\nlines", "0"):
        refused(command("sample", run, "--num", 1, "--class", name), "class", "cats, egrets")
    assert tree(run) == before


def test_a_class_of_a_run_without_is_refused(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    done = command("learn", "recovery", "--data", classes, *SMALL, "--out", tmp_path / "run", "--iterations", 1)
    assert done.status == 0
    refused(command("sample", tmp_path / "run", "--num", 1, "--class", "cats"), "class", "--conditional", "recovery")
    small = (*SMALL[:4], "--num-steps", 1, "--iterations", 1, "--precision", "float32", "--quiet")
    assert command("learn", "generator", "--data", classes, "--out", tmp_path / "other", *small).status == 0
    refused(command("sample", tmp_path / "other", "--num", 1, "--class", "cats"), "class", "--conditional", "recovery")


def test_a_run_may_not_become_conditional(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    done = command("learn", "recovery", "--data", classes, *SMALL, "--out", tmp_path / "run", "--iterations", 1)
    assert done.status == 0
    refused(learn(command, classes, tmp_path / "run", "--iterations", 2), "conditional", "off", "on")


def test_images_in_other_classes_have_changed(
    command: Command, classes: Path, tmp_path: Path, no_figures: None
) -> None:
    """The last cat becomes the first egret: the images and their order are the same, their classes are not."""
    run, cat = tmp_path / "run", "drawn-cats-00005.png"
    assert learn(command, classes, run, "--iterations", 2).status == 0
    (classes / "cats" / cat).rename(classes / "egrets" / cat)
    refused(learn(command, classes, run, "--iterations", 4), f"in other classes egrets/{cat}", "--accept-new-data")
    assert Run.open(run).saved_iteration() == 2
    assert command("sample", run, "--num", 1, "--class", "cats").status == 0  # which needs no images
    assert learn(command, classes, run, "--iterations", 4, "--accept-new-data").status == 0
    assert Run.open(run).learned().labels.tolist() == [0] * 5 + [1] * 7


def test_a_run_keeps_its_classes(command: Command, classes: Path, tmp_path: Path, no_figures: None) -> None:
    run = tmp_path / "run"
    assert learn(command, classes, run, "--iterations", 2).status == 0
    (classes / "egrets").rename(classes / "herons")
    refused(learn(command, classes, run, "--iterations", 4), "in other classes herons/")
    done = learn(command, classes, run, "--iterations", 4, "--accept-new-data")
    refused(done, "cats, egrets", "cats, herons")


def test_a_run_without_classes_does_not_mind_other_folders(
    command: Command, classes: Path, tmp_path: Path, no_figures: None
) -> None:
    small = ("learn", "recovery", "--data", classes, *SMALL, "--out", tmp_path / "run", "--iterations")
    assert command(*small, 1).status == 0
    (classes / "egrets").rename(classes / "herons")
    assert command(*small, 2).status == 0
