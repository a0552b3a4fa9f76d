"""How bad input is answered: one line, exit status 2 or a warning, and nothing lost."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SMALL = ("--size", 16, "--width", 8, "--num-steps", 1, "--iterations", 2, "--precision", "float32", "--quiet")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


def refused(outcome: Outcome, *words: object) -> None:
    """Exit status 2 and one line, on standard error only, with these words in it."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("anasyn: ")
    one_line(outcome.err, *words)


def warned(outcome: Outcome, *words: object) -> None:
    """Exit status 0, and one line that warns, with these words in it."""
    assert outcome.status == 0, outcome
    assert outcome.err.startswith("warning: ")
    one_line(outcome.err, *words)


def one_line(text: str, *words: object) -> None:
    assert text.endswith("\n")
    assert text[:-1].isprintable(), text  # no line break, nor what a terminal would obey
    for word in words:
        assert str(word) in text, (word, text)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file under a folder with its content, and every folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def copy(run: Path, to: Path) -> Path:
    """A run of one's own, to be damaged."""
    for name, content in tree(run).items():
        if content is not None:
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes(content)
    return to
