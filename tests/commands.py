"""What the tests of commands share: running them, and reading what they print and leave behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

PROGRAM = Path(sys.executable).with_name("anasyn")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


def program(*arguments: object, **options: object) -> Outcome:
    """Runs the installed program in a process of its own."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    return Outcome(done.returncode, done.stdout, done.stderr)


def refused(outcome: Outcome, *words: object) -> None:
    """Exit status 2 and one line, on standard error only, with these words in it."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("anasyn: ")
    one_line(outcome.err, *words)


def warned(outcome: Outcome, *words: object) -> None:
    """Exit status 0 and one line, a warning, with these words in it."""
    assert outcome.status == 0, outcome
    assert outcome.err.startswith("warning: ")
    one_line(outcome.err, *words)


def one_line(text: str, *words: object) -> None:
    assert text.endswith("\n")
    assert text[:-1].isprintable(), text  # no line break, and nothing that a terminal would obey
    for word in words:
        assert str(word) in text, (word, text)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file under a folder with its content, and every folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def learned(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    """All tensors of a run's last checkpoint, and its metrics without the seconds."""
    last = max((run / "checkpoints").iterdir())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files = sorted(last.glob("*.safetensors"))  # of one process, and so small that what belongs to images is in one
    assert len(files) == 2
    tensors = load_file(files[0]) | load_file(files[1])
    return tensors, [{**line, "seconds": None} for line in lines]


def assert_same_run(first: Path, second: Path) -> None:
    (tensors, metrics), (others, other_metrics) = learned(first), learned(second)
    assert metrics == other_metrics
    assert tensors.keys() == others.keys()
    different = [name for name, tensor in tensors.items() if not torch.equal(tensor, others[name])]
    assert different == []


def without_figures(patch: pytest.MonkeyPatch) -> None:
    """Leaves out the figures and the report, which take most of the time of a small run."""
    from anasyn.report import gallery, html

    def no_report(runs: list, out: Path | None = None) -> None:
        (runs[0].path / "report.html").write_text("a report")

    patch.setattr(gallery, "write", lambda run, learner, images: (run.path / "figures").mkdir(exist_ok=True))
    patch.setattr(html, "write", no_report)
