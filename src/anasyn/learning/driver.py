"""The one loop that advances any learner."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor

from .. import ranks
from ..memory import release
from ..models import DataSet, Images, floats, observed
from ..rng import streams
from .averaging import update_average
from .combining import combined
from .guard import Guard
from .learner import Learner, step_limit
from .loading import loaded
from .record import Divergence, Record
from .shards import Shard, batches, begin
from .state import prime, restore, shared_tensors

__all__ = ["constant", "learn", "linear_decay"]

STABILITY_CHECKS = (0, 3, 15, 63)
"""Iterations at which λ_max is measured: it grows as the model learns, fastest at first."""
READ_TOGETHER = {"cuda": 5}
"""By the type of a device that computes on its own: iterations whose records are read together, as it is waited for."""


def linear_decay(progress: float) -> float:
    """The learning rate falls linearly to 0 over the run."""
    return 1 - progress


def constant(progress: float) -> float:
    """The learning rate stays the same."""
    return 1.0


def learn(
    learner: Learner,
    images: DataSet,
    *,
    num_iterations: int,
    seed: int = 0,
    batch_size: int | None = None,
    schedule: Callable[[float], float] = linear_decay,
    guard: Guard | None = None,
    held_out: DataSet | None = None,
) -> Iterator[Record]:
    """Advances a learner from its present iteration to ``num_iterations``, and yields each iteration's record.

    Each iteration is judged before weights and chains change, and yielded when it is done. On a GPU, by one process,
    iterations follow each other without waiting for it. In every fifth, and before a good state is kept, the records
    of all up to there are read and judged, and then yielded one by one, while the learner is where the last one ended.

    Args:
        learner: the learner; its model determines the device.
        images: the data set, (n, *event), uint8 or float32 in [−1, 1]; for a learner of a generator,
            it may be what is seen of the images. Each of several processes is given all, and learns from its part.
        num_iterations: T, counted from the learner's first iteration.
        seed: determines, with the iteration, every random number.
        batch_size: images an iteration; None for all.
        schedule: the factor on the optimiser's learning rates, as a function of t/T, the share of iterations done; not
            on that of a parameter group whose ``"decays"`` is False.
        guard: watches each iteration and rolls the learner back when it is in trouble: the iterations after its last
            good state are then done, and yielded, again. None for a new one.
        held_out: images from which no weight is learned, (m, *event); in an epoch, the learner sees them once as well.

    Raises:
        Divergence: rolling back has not helped; the message names the cause and the limit of stable step sizes. The
            learner is in its last good state.
    """
    device = next(learner.model.parameters()).device
    batch_size = batch_size or len(images)
    num_held_out = 0 if held_out is None else len(held_out)
    own, own_held_out = Shard.both(len(images), num_held_out, batch_size)
    own.require_images()
    mine = own.part(images, device)
    mine_held_out = own_held_out.part(mine[:0] if held_out is None else held_out, device)
    guard = guard or Guard()
    if not len(learner.chains.step_sizes):
        begin(learner, observed(floats(mine[: own.width])).values.to(device), own, own_held_out, seed)
        learner.prepare(mine, mine_held_out, whole=images)
    if learner.optimizer and not learner.optimizer.state:
        prime(learner.optimizer)
    ranks.broadcast(*shared_tensors(learner).values())  # as other machines may compute the first weights otherwise
    guard.begin(learner, mine, own.width)
    groups = learner.optimizer.param_groups if learner.optimizer else []
    rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]

    def batches_from(shard: Shard, images: DataSet) -> Iterator[tuple[Tensor, Images]]:
        return loaded(images, batches(shard, seed, learner.iteration), device)

    coming, coming_held_out = batches_from(own, mine), batches_from(own_held_out, mine_held_out)
    own_places, held_out_places = own.places.to(device), own_held_out.places.to(device)
    together = 1 if ranks.count() > 1 else READ_TOGETHER.get(device.type, 1)
    unread: list[tuple[int, Record, list[str]]] = []  # t, record and messages of each iteration not yielded yet
    events: list[str] = []
    rolled_back = False
    while learner.iteration < num_iterations:
        if not unread:
            began = time.perf_counter()
        t = learner.iteration
        guard.keep(learner)
        index, batch = next(coming)
        places = own_places[index]
        for group, rate in zip(groups, rates, strict=True):
            decay = schedule(t / num_iterations) if group.get("decays", True) else 1.0
            group["lr"] = rate * guard.rate_factor * decay
        events += _stability_warnings(learner, index, batch, places, seed)

        def watch(record: Record, num_images: int = len(index)) -> Record:
            whole = combined(record, learner.model, num_images)
            if together == 1:
                guard.watch(whole)
            return whole

        is_last = (t + 1) % together == 0 or guard.due(t + 1) or t + 1 == num_iterations
        try:
            record = learner.step(index, batch, rng=streams(seed, "chain noise", t, places), watch=watch)
            unread.append((t, record, events))
            events = []
            if is_last and together > 1:
                for done, record, _ in unread:
                    learner.iteration = done  # if this one is in trouble, the learner is rolled back from here
                    guard.watch(record)
            if is_last:
                guard.watch_weights(learner.model, record)
        except Divergence as trouble:
            if together > 1:  # what followed it has changed weights and chains: those with a limit are the good ones
                restore(learner, guard.good)
            step = step_limit(learner, index, batch, rng=streams(seed, "stability", t, places))
            events = [event for *_, of_unread in unread for event in of_unread] + events
            events.append(guard.roll_back(learner, trouble, step, tuple(events)))
            unread.clear()
            coming, coming_held_out = batches_from(own, mine), batches_from(own_held_out, mine_held_out)
            rolled_back = True
            continue
        update_average(learner)
        if num_held_out:
            index, batch = next(coming_held_out)
            places = held_out_places[index]
            learner.validate(index, batch, rng=streams(seed, "held-out", t, places))
        learner.iteration += 1
        release()
        if not is_last:
            continue
        seconds = (time.perf_counter() - began) / len(unread)
        for t, record, told in unread:
            yield replace(record, iteration=t + 1, seconds=seconds, events=tuple(told), rolled_back=rolled_back)
            rolled_back = False
        unread.clear()


def _stability_warnings(learner: Learner, index: Tensor, images: Images, places: Tensor, seed: int) -> tuple[str, ...]:
    """In the first iterations: a warning if the step size is above the chains' stability limit."""
    adapted = learner.kernel is not None and learner.kernel.target_acceptance is not None
    if learner.iteration not in (STABILITY_CHECKS[:1] if adapted else STABILITY_CHECKS):
        return ()
    step = step_limit(learner, index, images, rng=streams(seed, "stability", learner.iteration, places))
    if step is None or step.step_size < step.limit:
        return ()
    return (f"{step}; {'it is adapted from there' if adapted else 'choose a smaller one, or kernel mala or hmc'}",)
