"""The one loop that advances any learner."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from .. import mcmc
from ..data import as_float
from ..rng import derive
from .guard import Divergence, Guard, Guarded, Watch
from .record import Record
from .state import prime

__all__ = ["Learner", "batches", "constant", "learn", "linear_decay"]

STABILITY_CHECKS = (0, 3, 15, 63)
"""Iterations at which λ_max is measured: it grows as the generator learns, fastest at first."""


class Learner(Guarded, Protocol):
    """One published algorithm; `GeneratorLearner` and `DescriptorLearner` are the two."""

    def begin(self, images: Tensor, num_images: int, *, rng: torch.Generator) -> None: ...

    def step(self, index: Tensor, images: Tensor, *, rng: torch.Generator, watch: Watch) -> Record: ...

    def stability(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> mcmc.Stability: ...


def linear_decay(progress: float) -> float:
    """The rate falls linearly to 0 over the run."""
    return 1 - progress


def constant(progress: float) -> float:
    """The rate stays as it is."""
    return 1.0


def learn(
    learner: Learner,
    images: Tensor,
    *,
    num_iterations: int,
    seed: int = 0,
    batch_size: int | None = None,
    schedule: Callable[[float], float] = linear_decay,
    guard: Guard | None = None,
) -> Iterator[Record]:
    """Advances a learner from the iteration where it stands to ``num_iterations``, yielding each one's record.

    Args:
        learner: what to advance; its model says on which device.
        images: the data set, (n, *event), uint8 or float32 in [−1, 1].
        num_iterations: T, counted from the learner's first.
        seed: every random number follows from it and from the iteration.
        batch_size: images an iteration; all where None.
        schedule: the factor on the optimiser's rates, given the share t/T of the iterations done.
        guard: what watches each iteration and takes the learner back when it is in trouble: the iterations
            after its last good state are then done, and yielded, again. A new one where None.

    Raises:
        Divergence: going back has not helped; the message says what is wrong, and what step size would be
            stable. The learner stands at its last good state.
    """
    device = next(learner.model.parameters()).device
    images = images.to(device)
    batch_size = batch_size or len(images)
    guard = guard or Guard()
    if not len(learner.chains.step_sizes):
        learner.begin(as_float(images[:1]), len(images), rng=derive(seed, "chains", device=device))
    if not learner.optimizer.state:
        prime(learner.optimizer)
    guard.begin(learner, images, batch_size)
    rates = [group.setdefault("initial_lr", group["lr"]) for group in learner.optimizer.param_groups]
    order = batches(len(images), batch_size, seed, learner.iteration)
    events: list[str] = []
    rolled_back = False
    while learner.iteration < num_iterations:
        began = time.perf_counter()
        t = learner.iteration
        guard.keep(learner)
        index = next(order).to(device)
        batch = as_float(images[index])
        for group, rate in zip(learner.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * guard.rate_factor * schedule(t / num_iterations)
        events += unstable(learner, index, batch, seed)
        try:
            record = learner.step(index, batch, rng=derive(seed, "chain noise", t, device=device), watch=guard.watch)
            guard.watch_weights(learner.model, record)
        except Divergence as trouble:
            step_size, limit, sentence = stability_sentence(learner, index, batch, seed)
            events.append(guard.roll_back(learner, trouble, step_size, limit, sentence, tuple(events)))
            order = batches(len(images), batch_size, seed, learner.iteration)
            rolled_back = True
            continue
        learner.iteration += 1
        seconds = time.perf_counter() - began
        yield replace(record, iteration=t + 1, seconds=seconds, events=tuple(events), rolled_back=rolled_back)
        events, rolled_back = [], False


def batches(num_images: int, batch_size: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """The images' indices of iteration ``first``, ``first`` + 1, …: each epoch a new order, cut into equal parts."""
    parts = -(-num_images // batch_size)
    epoch, skipped = divmod(first, parts)
    while True:
        order = torch.randperm(num_images, generator=derive(seed, "order", epoch))
        yield from torch.tensor_split(order, parts)[skipped:]
        epoch, skipped = epoch + 1, 0


def unstable(learner: Learner, index: Tensor, images: Tensor, seed: int) -> tuple[str, ...]:
    """What to tell the user, in the first iterations, of a step size at which the chains cannot be stable."""
    adapted = learner.kernel.target_acceptance is not None
    if learner.iteration not in (STABILITY_CHECKS[:1] if adapted else STABILITY_CHECKS):
        return ()
    step_size, limit, sentence = stability_sentence(learner, index, images, seed)
    if step_size < limit:
        return ()
    remedy = "it is adapted from there" if adapted else "choose a smaller one, or an adjusted kernel"
    return (f"{sentence}; {remedy}",)


def stability_sentence(learner: Learner, index: Tensor, images: Tensor, seed: int) -> tuple[float, float, str]:
    """The largest step size of these images' chains, the least limit 2/√λ_max, and both in words."""
    rng = derive(seed, "stability", learner.iteration, device=images.device)
    lambda_max, limits = learner.stability(index, images, rng=rng)
    step_size, limit = learner.chains.step_sizes[index].max().item(), limits.min().item()
    side = "below" if step_size < limit else "above"
    found = f"2/√λ_max = {limit:.3g} (λ_max = {lambda_max.max().item():.3g})"
    return step_size, limit, f"step size {step_size:.3g} is {side} the stability limit {found}"
