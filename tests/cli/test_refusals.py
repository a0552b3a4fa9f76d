"""Wrong input: one line on standard error that says what is wrong, exit status 2, and nothing written."""

from pathlib import Path

import pytest
import torch

from ..commands import Command, refused, tree
from .small import SMALL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["lern"], ["lern", "learn"]),
        (["learn"], ["RECIPE"]),
        (["learn", "dragon"], ["dragon", "generator", "descriptor"]),
        (["learn", "generator", "--sigmas", "1"], ["--sigmas", "see anasyn learn generator --help"]),
        (["learn", "generator", "--reference-std", "1"], ["--reference-std"]),
        (["learn", "generator", "--sig", "1"], ["--sig"]),
        (["learn", "generator"], ["--data", "folder"]),
        (["learn", "generator", "--data", "nowhere"], ["nowhere", "folder", "drawn-cats"]),
        (["learn", "generator", "--data", "./nowhere"], ["nowhere", "is not there", "expected a folder"]),
        (["learn", "generator", "--kernel", "gibbs"], ["kernel", "langevin, mala, hmc", "gibbs"]),
        (["learn", "generator", "--optimizer", "adamw"], ["optimizer", "adam, sgd", "adamw"]),
        (["learn", "generator", "--precision", "float16"], ["precision", "bfloat16", "float16"]),
        (["learn", "generator", "--device", "tpu"], ["device", "cuda", "tpu"]),
        (["learn", "descriptor", "--start", "cold"], ["start", "persistent", "cold"]),
        (["learn", "generator", "--temperature", "0.1"], ["temperature", "langevin", "mala", "0.1"]),
        (["sample", "."], ["--num"]),
        (["sample", ".", "--num", "0"], ["--num", "at least 1", "0"]),
        (["sample", ".", "--num", "many"], ["--num", "many"]),
        (["sample", ".", "--num", "2", "--seed", "-1"], ["--seed", "at least 0", "-1"]),
        (["sample", ".", "--num", "2"], ["no run here", "config.json"]),
        (["reconstruct", "nowhere"], ["nowhere", "no run here"]),
        (["evaluate", ".", "--measure", "mse"], ["--measure mse", "see anasyn evaluate --help"]),
        (["data", "list", "--all"], ["--all", "see anasyn data list --help"]),
        (["report", "nowhere"], ["nowhere", "no run here"]),
        (["report"], ["RUN"]),
        (["data"], ["ACTION"]),
        (["data", "fetch", "unicorns"], ["unicorns", "lion-tiger, egret"]),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], words: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(command(*arguments), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(command: Command, cats: Path, tmp_path: Path) -> None:
    done = command("learn", "generator", "--data", cats, "--out", tmp_path / "run", "--device", "cuda", *SMALL)
    refused(done, "device: cuda", "--device cpu")
    assert not (tmp_path / "run").exists()


def test_where_nothing_can_be_written(
    command: Command, cats: Path, generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anasyn.report.diagnosis.write", lambda run: None)  # it takes long, and has its own tests
    (tmp_path / "file").write_text("a file")
    refused(command("learn", "generator", "--data", cats, "--out", tmp_path / "file", *SMALL), tmp_path / "file")
    refused(command("learn", "generator", "--data", cats, "--out", tmp_path / "file" / "run", *SMALL), "file/run")
    refused(command("sample", generator, "--num", 1, "--out", tmp_path / "file"), tmp_path / "file")
    refused(command("report", generator, "--out", tmp_path / "no" / "report.html"), tmp_path / "no")
    refused(command("data", "draw", "drawn-cats", tmp_path / "file"), tmp_path / "file")


@pytest.mark.parametrize("arguments", [("sample", "--num", 2), ("reconstruct",)], ids=lambda words: words[0])
def test_nothing_that_is_there_is_written_over(
    command: Command, generator: Path, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    (tmp_path / "00000.png").write_bytes(b"mine")
    name, *options = arguments
    refused(command(name, generator, *options, "--out", tmp_path), tmp_path, "empty directory")
    assert tree(tmp_path) == {"00000.png": b"mine"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--low", 1, "--high", 1), ["--low", "--high"]),
        (("--low", 2, "--high", -2), ["--low", "--high"]),
        (("--low", "nan"), ["--low", "nan"]),
        (("--high", "inf"), ["--high", "inf"]),
        (("--low=-1e30",), ["--low"]),
        (("--low", "x"), ["--low", "x"]),
        (("--points", 0), ["--points", 0]),
        (("--points", 100000), ["--points", 100000]),
        (("--axes", 1, 3), ["--axes", "1 to 2", "1 3"]),
        (("--axes", 2, 2), ["--axes", "1 to 2", "2 2"]),
        (("--axes", 0, 1), ["--axes", 0]),
        (("--axes", 1), ["--axes"]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_interpolating_over_what_is_no_square(
    options: tuple[object, ...], words: list[object], command: Command, generator: Path
) -> None:
    before = tree(generator)
    refused(command("interpolate", generator, *options), *words)
    assert tree(generator) == before


def test_a_descriptor_has_no_z(command: Command, descriptor: Path) -> None:
    for name in ("reconstruct", "interpolate"):
        refused(
            command(name, descriptor), descriptor, "holds a descriptor, which infers no z; expected a run of generator"
        )
