"""The one loop that advances any learner."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..models import Images, floats, observed
from ..rng import derive
from .averaging import update_average
from .guard import Guard
from .learner import Learner, step_limit
from .record import Divergence, Record
from .state import prime

__all__ = ["batches", "constant", "learn", "linear_decay"]

STABILITY_CHECKS = (0, 3, 15, 63)
"""Iterations at which λ_max is measured: it grows as the model learns, fastest at first."""


def linear_decay(progress: float) -> float:
    """The learning rate falls linearly to 0 over the run."""
    return 1 - progress


def constant(progress: float) -> float:
    """The learning rate stays the same."""
    return 1.0


def learn(
    learner: Learner,
    images: Images,
    *,
    num_iterations: int,
    seed: int = 0,
    batch_size: int | None = None,
    schedule: Callable[[float], float] = linear_decay,
    guard: Guard | None = None,
    held_out: Images | None = None,
) -> Iterator[Record]:
    """Advances a learner from its present iteration to ``num_iterations``, and yields each iteration's record.

    Args:
        learner: the learner; its model determines the device.
        images: the data set, (n, *event), uint8 or float32 in [−1, 1]; for a learner of a generator,
            it may be what is seen of the images.
        num_iterations: T, counted from the learner's first iteration.
        seed: determines, with the iteration, every random number.
        batch_size: images an iteration; None for all.
        schedule: the factor on the optimiser's learning rates, as a function of t/T, the share of iterations done.
        guard: watches each iteration and rolls the learner back when it is in trouble: the iterations after its last
            good state are then done, and yielded, again. None for a new one.
        held_out: images from which no weight is learned, (m, *event); in an epoch, the learner sees them once as well.

    Raises:
        Divergence: rolling back has not helped; the message names the cause and the limit of stable step sizes. The
            learner is in its last good state.
    """
    device = next(learner.model.parameters()).device
    images = images.to(device)
    held_out = images[:0] if held_out is None else held_out.to(device)
    batch_size = batch_size or len(images)
    guard = guard or Guard()
    if not len(learner.chains.step_sizes):
        like = observed(floats(images[:1])).values
        learner.begin(like, len(images), len(held_out), rng=derive(seed, "chains", device=device))
        learner.prepare(images, held_out)
    if learner.optimizer and not learner.optimizer.state:
        prime(learner.optimizer)
    guard.begin(learner, images, batch_size)
    groups = learner.optimizer.param_groups if learner.optimizer else []
    rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
    order = batches(len(images), batch_size, seed, learner.iteration)
    events: list[str] = []
    rolled_back = False
    while learner.iteration < num_iterations:
        began = time.perf_counter()
        t = learner.iteration
        guard.keep(learner)
        index = next(order).to(device)
        batch = floats(images[index])
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * guard.rate_factor * schedule(t / num_iterations)
        events += _stability_warnings(learner, index, batch, seed)
        try:
            record = learner.step(index, batch, rng=derive(seed, "chain noise", t, device=device), watch=guard.watch)
            guard.watch_weights(learner.model, record)
        except Divergence as trouble:
            step = step_limit(learner, index, batch, seed)
            events.append(guard.roll_back(learner, trouble, step, tuple(events)))
            order = batches(len(images), batch_size, seed, learner.iteration)
            rolled_back = True
            continue
        update_average(learner)
        if len(held_out):
            parts = -(-len(images) // batch_size)
            index = next(batches(len(held_out), -(-len(held_out) // parts), seed, t)).to(device)
            learner.validate(index, floats(held_out[index]), rng=derive(seed, "held-out", t, device=device))
        learner.iteration += 1
        seconds = time.perf_counter() - began
        yield replace(record, iteration=t + 1, seconds=seconds, events=tuple(events), rolled_back=rolled_back)
        events, rolled_back = [], False


def batches(num_images: int, batch_size: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """The images' indices of iteration ``first``, ``first`` + 1, …: each epoch in a new order, cut into equal parts."""
    parts = -(-num_images // batch_size)
    epoch, skipped = divmod(first, parts)
    while True:
        order = torch.randperm(num_images, generator=derive(seed, "order", epoch))
        yield from torch.tensor_split(order, parts)[skipped:]
        epoch, skipped = epoch + 1, 0


def _stability_warnings(learner: Learner, index: Tensor, images: Images, seed: int) -> tuple[str, ...]:
    """In the first iterations: a warning if the step size is above the chains' stability limit."""
    adapted = learner.kernel is not None and learner.kernel.target_acceptance is not None
    if learner.iteration not in (STABILITY_CHECKS[:1] if adapted else STABILITY_CHECKS):
        return ()
    step = step_limit(learner, index, images, seed)
    if step is None or step.step_size < step.limit:
        return ()
    return (f"{step}; {'it is adapted from there' if adapted else 'choose a smaller one, or kernel mala or hmc'}",)
