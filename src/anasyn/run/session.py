"""Learning in a run's directory, from the last checkpoint on, with metrics and checkpoints."""

import time
from collections.abc import Generator
from dataclasses import replace

import torch

from .. import ranks
from ..data import ImageSet
from ..learning import Divergence, Guard, Learner, Record, constant, learn, linear_decay, non_finite
from ..models import data_set
from . import metrics
from .directory import Run

__all__ = ["advance"]

SECONDS_BETWEEN_CHECKPOINTS = 60.0
SHARE = 0.05  # of the time, that checkpoints may take if they are large


def advance(
    run: Run,
    learner: Learner,
    guard: Guard,
    images: ImageSet,
    held_out: ImageSet | None = None,
    *,
    events: tuple[str, ...] = (),
    stopped: list[int] | None = None,
) -> Generator[Record, None, None]:
    """Learns until the run's last iteration, yielding each iteration's record.

    Closing the generator stops the run after a complete iteration and saves it; so does a signal, see ``stopped``.

    Args:
        run: the run, whose directory is written to.
        learner, guard: from `Run.resume`.
        images: the training images.
        held_out: images from which no weight is learned.
        events: added to those of the first record.
        stopped: where something else appends the number of a signal by which the run is to stop; if it has stopped one
            of several processes, all stop, and have the number.

    Raises:
        Divergence: the learner cannot go on. The run is saved in its last good state; the last line of metrics.jsonl
            has the numbers of the iteration that diverged, and the cause.
    """
    settings, stopped = run.settings, [] if stopped is None else stopped
    assert settings.iterations is not None
    lines, writes = run.path / "metrics.jsonl", ranks.rank() == 0
    if writes:
        metrics.rewind(lines, learner.iteration)
    records = learn(
        learner,
        data_set(images),
        num_iterations=settings.iterations,
        seed=settings.seed,
        batch_size=settings.batch_size,
        schedule=linear_decay if settings.schedule == "linear" else constant,
        guard=guard,
        held_out=data_set(held_out) if held_out else None,
    )
    saved, interval = time.monotonic(), SECONDS_BETWEEN_CHECKPOINTS
    try:
        for record in records:
            record, events = replace(record, events=(*events, *record.events)), ()
            if writes:
                metrics.append(lines, record)
            is_last = record.iteration == learner.iteration  # of those that the learner has done
            overdue = is_last and time.monotonic() - saved > interval
            number = stopped[0] if is_last and stopped else 0
            number, due, broken = _of_any(number, overdue, overdue and bool(non_finite(learner)))
            if due and not broken:
                began = time.monotonic()
                run.save(learner, guard)
                saved = time.monotonic()
                interval = max(SECONDS_BETWEEN_CHECKPOINTS, (saved - began) / SHARE)
            yield record
            if number:
                stopped[:] = [number]
                break
    except Divergence as divergence:
        if divergence.record and writes:
            metrics.append(lines, divergence.record)
        run.save(learner, guard)
        raise
    except GeneratorExit:
        while record.iteration < learner.iteration:  # no more is learned for them
            record = next(records)
            metrics.append(lines, record)
        run.save(learner, guard)
        raise
    run.save(learner, guard)


def _of_any(*numbers: int) -> list[int]:
    """The largest of each of these numbers in any process, so that all decide alike."""
    found: list[int] = ranks.gathered(torch.tensor(numbers)).amax(0).tolist()
    return found
