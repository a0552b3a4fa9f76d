"""The progress of learning, on standard error: a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .learning import Record

__all__ = ["counter", "say", "show", "silenced", "steps"]

SECONDS_BETWEEN_LINES = 5.0

Step = TypeVar("Step")

_silent = False


@contextmanager
def silenced(silent: bool) -> Iterator[None]:
    """If ``silent``, `counter`, `steps` and `say` show nothing meanwhile."""
    global _silent
    before, _silent = _silent, silent
    try:
        yield
    finally:
        _silent = before


def say(line: str) -> None:
    """Prints a line about what is going on."""
    if not _silent:
        print(line, file=sys.stderr, flush=True)


def show(records: Iterable["Record"], total: int, *, quiet: bool) -> Iterator["Record"]:
    """Yields the records of a run of ``total`` iterations; shows their numbers and the time left, unless ``quiet``."""
    if quiet:
        yield from records
    elif sys.stderr.isatty():
        yield from _progress_bar(records, total)
    else:
        yield from _plain_lines(records, total)


class TimeLeft:
    """The time left as text, by the steps after the first one, which prepares what the others use."""

    def __init__(self) -> None:
        self.first, self.began = 0, 0.0

    def __call__(self, done: int, total: int, now: float) -> str:
        """After each of the steps, at the time ``now`` in seconds; nothing after the first."""
        if not self.first:
            self.first, self.began = done, now
        measured = done - self.first
        return f"  {(now - self.began) / measured * (total - done):.0f} s left" if measured else ""


def counter(what: str) -> Callable[[int, int], None]:
    """A function of the steps done and the steps in all, which prints a line every few seconds with the time left."""
    shown = time.monotonic()
    time_left = TimeLeft()

    def count(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        left = time_left(done, total, now)
        if now - shown > SECONDS_BETWEEN_LINES:
            say(f"{what}  {done}/{total}{left}")
            shown = now

    return count


def steps(done: Iterable[Step], total: int, what: str) -> Iterator[Step]:
    """Yields the results of ``total`` steps as they are done; shows a bar, or a line every few seconds."""
    if _silent:
        yield from done
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import track

        yield from track(done, description=escape(what), total=total, console=Console(stderr=True), transient=True)
        return
    count = counter(what)
    for number, step in enumerate(done, 1):
        yield step
        count(number, total)


def _progress_bar(records: Iterable["Record"], total: int) -> Iterator["Record"]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    numbers, left = TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(compact=True)
    columns = (MofNCompleteColumn(), BarColumn(), numbers, left, TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as progress:
        task = progress.add_task("", total=total, numbers="")
        for record in records:
            progress.update(task, completed=record.iteration, numbers=_numbers(record))
            yield record


def _plain_lines(records: Iterable["Record"], total: int) -> Iterator["Record"]:
    shown = 0.0
    time_left = TimeLeft()
    for record in records:
        now = time.monotonic()
        left = time_left(record.iteration, total, now)
        if not left or record.iteration == total or now - shown > SECONDS_BETWEEN_LINES:
            print(f"{record.iteration}/{total}  {_numbers(record)}{left}", file=sys.stderr, flush=True)
            shown = now
        yield record


def _numbers(record: "Record") -> str:
    mse = f"  mse {record.measures['mse']:.4f}" if "mse" in record.measures else ""
    return f"loss {record.loss:.4g}{mse}  acceptance {record.acceptance_rate:.2f}  step size {record.step_size:.3g}"
