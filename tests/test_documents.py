"""The documents: their Python examples run, and the files that they name exist."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from anasyn.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def examples() -> list[str]:
    """The Python blocks of the README, in order."""
    return re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def named_files(document: Path) -> set[Path]:
    """What a document links to, relative to itself, and the paths of the repository that it names as code."""
    text = document.read_text("utf-8")
    links = {document.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)}
    return links | {ROOT / path for path in re.findall(r"\b((?:src|tests|docs|benchmarks)/[\w./-]+\w)", text)}


def test_the_examples_of_the_readme_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """As written, on four drawn faces, but for the number of learning iterations."""
    monkeypatch.chdir(tmp_path)
    main(["data", "draw", "drawn-cats", "faces", "--num", "4"])
    code = "\n".join(examples())
    assert code.count("num_iterations=600") == 1
    capsys.readouterr()
    names: dict[str, object] = {}
    exec(compile(code.replace("num_iterations=600", "num_iterations=3"), str(README), "exec"), names)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3"]
    assert names["images"].shape == (4, 3, 64, 64)
    assert names["learner"].chains.positions.shape == (4, 2)
    assert names["draws"].shape == (1000, 100, 2)
    network = names["linear"](SimpleNamespace(latent_dim=2))
    assert network(torch.zeros(5, 2)).shape == (5, 3, 64, 64)


def test_the_tutorial_of_a_film_runs_as_it_is_written(tmp_path, monkeypatch):
    """But for a smaller network and fewer iterations."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "film.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, "film.md", "exec"), {})
    learn, sample = (shlex.split(line)[1:] for line in re.findall(r"^anasyn .*$", text, re.MULTILINE))
    assert main([*learn, "--width", "8", "--iterations", "2", "--size", "16", "--quiet"]) == 0
    assert main(sample) == 0
    assert {"path.png"} <= {path.name for path in Path("runs/walk/figures").iterdir()}
    with Image.open("runs/walk/samples/film.webp") as film:
        assert film.is_animated


def test_the_tutorial_of_restoring_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    """But for a smaller network and fewer iterations."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "restore.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, "restore.md", "exec"), {})
    learn, restore, tried = (shlex.split(line)[1:] for line in re.findall(r"^anasyn .*$", text, re.MULTILINE))
    assert main([*learn, "--width", "8", "--iterations", "2", "--size", "32", "--quiet"]) == 0
    assert main(restore) == 0
    assert len(list(Path("restored/restored").iterdir())) == 16
    capsys.readouterr()
    assert main(tried) == 0
    assert {"mse", "draw_mse", "within_80"} <= json.loads(capsys.readouterr().out).keys()


def test_the_readme_names_the_tested_version_of_pytorch():
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert f"PyTorch {pinned}" in README.read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_file_that_a_document_names_exists(document):
    missing = {str(path) for path in named_files(document) if not path.exists()}
    assert not missing - {str(ROOT / "benchmarks/results/all.json")}  # which a benchmark writes
