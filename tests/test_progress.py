"""The progress shown while learning, and that it does not change the records."""

import io
import sys
from collections.abc import Iterator

import pytest

from anasyn import progress
from anasyn.learning import Record


def records(first: int, last: int) -> Iterator[Record]:
    for iteration in range(first, last + 1):
        yield Record(1234.5678, 0.571, 0.0312, {"mse": 0.25} if iteration % 2 else {}, iteration)


class Clock:
    """A monotonic clock that advances whenever it is read."""

    def __init__(self, seconds: float):
        self.now, self.seconds = 0.0, seconds

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_all_records_pass(
    quiet: bool, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    shown = list(progress.show(records(1, 7), 7, quiet=quiet))
    assert shown == list(records(1, 7))
    out, err = capsys.readouterr()
    assert out == ""
    assert (err == "") == quiet


def test_plain_lines_are_the_first_the_last_and_one_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "time", Clock(1.0))
    list(progress.show(records(11, 31), 31, quiet=False))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "11/31  loss 1235  mse 0.2500  acceptance 0.57  step size 0.0312"
    assert lines[1] == "17/31  loss 1235  mse 0.2500  acceptance 0.57  step size 0.0312  14 s left"
    assert [line.split("/")[0] for line in lines] == ["11", "17", "23", "29", "31"]
    assert lines[-1].endswith("  0 s left")
    assert "mse" not in next(progress_line for progress_line in [progress._numbers(next(records(2, 2)))])


def test_the_first_iteration_says_nothing_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes a minute to prepare, and the others a second each."""
    clock = Clock(1.0)
    monkeypatch.setattr(progress, "time", clock)

    def prepared() -> Iterator[Record]:
        clock.now += 60
        yield from records(1, 20)

    list(progress.show(prepared(), 20, quiet=False))
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("  ")[2] for line in lines[1:]] == ["13 s left", "7 s left", "1 s left", "0 s left"]


def test_the_first_step_says_nothing_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes a minute to prepare, and the others two seconds each."""
    clock = Clock(2.0)
    monkeypatch.setattr(progress, "time", clock)
    count = progress.counter("restoring")
    clock.now += 60
    for done in range(1, 11):
        count(done, 10)
    assert capsys.readouterr().err.splitlines() == [
        "restoring  1/10",
        "restoring  4/10  12 s left",
        "restoring  7/10  6 s left",
        "restoring  10/10  0 s left",
    ]


def test_a_line_on_a_terminal_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    list(progress.show(records(1, 9), 9, quiet=False))
    assert "9/9" in terminal.getvalue()
    assert "loss 1235  mse 0.2500" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_whoever_stops_reading_is_not_kept_waiting() -> None:
    source = records(1, 1000)
    for record in progress.show(source, 1000, quiet=False):
        if record.iteration == 3:
            break
    assert next(source).iteration == 4
