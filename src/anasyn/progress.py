"""How learning goes, on standard error: a moving line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .learning import Record

__all__ = ["show"]

SECONDS_BETWEEN_LINES = 5.0


def show(records: Iterable["Record"], total: int, *, quiet: bool) -> Iterator["Record"]:
    """Passes the records through and shows iteration, loss, acceptance, step size and time left.

    Args:
        records: of a run that ends at iteration ``total``.
        total: the last iteration.
        quiet: show nothing.
    """
    if quiet:
        yield from records
    elif sys.stderr.isatty():
        yield from _moving_line(records, total)
    else:
        yield from _plain_lines(records, total)


def _moving_line(records: Iterable["Record"], total: int) -> Iterator["Record"]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as progress:
        task = progress.add_task("", total=total, numbers="")
        for record in records:
            progress.update(task, completed=record.iteration, numbers=_numbers(record))
            yield record


def _plain_lines(records: Iterable["Record"], total: int) -> Iterator["Record"]:
    began = shown = time.monotonic()
    first = None
    for record in records:
        now = time.monotonic()
        first = record.iteration if first is None else first
        if record.iteration in (first, total) or now - shown > SECONDS_BETWEEN_LINES:
            left = (now - began) / (record.iteration - first + 1) * (total - record.iteration)
            print(f"{record.iteration}/{total}  {_numbers(record)}  {left:.0f} s left", file=sys.stderr, flush=True)
            shown = now
        yield record


def _numbers(record: "Record") -> str:
    mse = f"  mse {record.measures['mse']:.4f}" if "mse" in record.measures else ""
    return f"loss {record.loss:.4g}{mse}  acceptance {record.acceptance_rate:.2f}  step size {record.step_size:.3g}"
