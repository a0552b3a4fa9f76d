"""Learning in a run's directory, from the last checkpoint on, with metrics and checkpoints."""

import time
from collections.abc import Generator
from dataclasses import replace

from ..data import ImageSet
from ..learning import Divergence, Guard, Learner, Record, constant, learn, linear_decay, non_finite
from ..models import observe
from . import metrics
from .directory import Run

__all__ = ["advance"]

SECONDS_BETWEEN_CHECKPOINTS = 60.0


def advance(
    run: Run,
    learner: Learner,
    guard: Guard,
    images: ImageSet,
    held_out: ImageSet | None = None,
    *,
    events: tuple[str, ...] = (),
) -> Generator[Record, None, None]:
    """Learns until the run's last iteration, yielding each iteration's record.

    Closing the generator stops the run after a complete iteration and saves it.

    Args:
        run: the run, whose directory is written to.
        learner, guard: from `Run.resume`.
        images: the training images.
        held_out: images from which no weight is learned.
        events: added to those of the first record.

    Raises:
        Divergence: the learner cannot go on. The run is saved in its last good state; the last line of metrics.jsonl
            has the numbers of the iteration that diverged, and the cause.
    """
    settings = run.settings
    assert settings.iterations is not None
    lines = run.path / "metrics.jsonl"
    metrics.rewind(lines, learner.iteration)
    records = learn(
        learner,
        observe(images),
        num_iterations=settings.iterations,
        seed=settings.seed,
        batch_size=settings.batch_size,
        schedule=linear_decay if settings.schedule == "linear" else constant,
        guard=guard,
        held_out=observe(held_out) if held_out else None,
    )
    saved = time.monotonic()
    try:
        for record in records:
            record, events = replace(record, events=(*events, *record.events)), ()
            metrics.append(lines, record)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS and non_finite(learner) is None:
                run.save(learner, guard)
                saved = time.monotonic()
            yield record
    except Divergence as divergence:
        if divergence.record:
            metrics.append(lines, divergence.record)
        run.save(learner, guard)
        raise
    except GeneratorExit:
        run.save(learner, guard)
        raise
    run.save(learner, guard)
