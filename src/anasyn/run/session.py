"""One sitting of a run: learning goes on from the last checkpoint, logged and saved as it goes."""

import time
from collections.abc import Generator
from dataclasses import replace

from ..data import ImageSet
from ..learning import Divergence, Guard, Record, constant, learn, linear_decay, non_finite
from .directory import Run
from .saved import Learner

__all__ = ["advance"]

SECONDS_BETWEEN_CHECKPOINTS = 60.0


def advance(
    run: Run, learner: Learner, guard: Guard, images: ImageSet, *, news: tuple[str, ...] = ()
) -> Generator[Record, None, None]:
    """Learns from where ``learner`` stands to the run's last iteration, yielding each iteration's record.

    Whoever stops reading stops the run after a whole iteration, saved.

    Args:
        run: where to.
        learner, guard: of `Run.resume`.
        images: the run's own.
        news: what is to be told with the first record.

    Raises:
        Divergence: the learner cannot go on; the run is saved as its last good state has it, and the refused
            iteration's numbers and the cause end metrics.jsonl.
    """
    recipe = run.recipe
    assert recipe.iterations is not None
    run.rewind(learner.iteration)
    records = learn(
        learner,
        images.pixels,
        num_iterations=recipe.iterations,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        schedule=linear_decay if recipe.schedule == "linear" else constant,
        guard=guard,
    )
    saved = time.monotonic()
    try:
        for record in records:
            record = replace(record, events=(*news, *record.events))
            news = ()
            run.log(record)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS and non_finite(learner) is None:
                run.save(learner, guard)
                saved = time.monotonic()
            yield record
    except Divergence as trouble:
        if trouble.record:
            run.log(trouble.record)
        run.save(learner, guard)
        raise
    except GeneratorExit:
        run.save(learner, guard)
        raise
    run.save(learner, guard)
