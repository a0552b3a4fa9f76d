"""One sitting of a run: learning goes on from the last checkpoint, logged and saved as it goes."""

import time
from collections.abc import Generator

from ..data.images import ImageSet
from ..learning import Divergence, Record, constant, learn, linear_decay
from .directory import Learner, Run

__all__ = ["advance"]

SECONDS_BETWEEN_CHECKPOINTS = 60.0


def advance(run: Run, learner: Learner, images: ImageSet) -> Generator[Record, None, None]:
    """Learns from where ``learner`` stands to the run's last iteration, yielding each iteration's record.

    Whoever stops reading stops the run after a whole iteration, saved.

    Raises:
        Divergence: the learner cannot go on; the run is saved as it was before.
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
    )
    saved = time.monotonic()
    try:
        for record in records:
            run.log(record)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                run.save(learner)
                saved = time.monotonic()
            yield record
    except (Divergence, GeneratorExit):
        run.save(learner)
        raise
    run.save(learner)
