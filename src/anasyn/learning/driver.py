"""The one loop that advances any learner."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
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
    training = Part(own, own.part(images, device), seed, device)
    validation = Part(
        own_held_out, own_held_out.part(images[:0] if held_out is None else held_out, device), seed, device
    )
    if not len(learner.chains.step_sizes):
        begin(learner, observed(floats(training.images[: own.width])).values.to(device), own, own_held_out, seed)
        learner.prepare(training.images, validation.images, whole=images)
    if learner.optimizer and not learner.optimizer.state:
        prime(learner.optimizer)
    ranks.broadcast(*shared_tensors(learner).values())  # as other machines may compute the first weights otherwise
    guard = guard or Guard()
    guard.begin(learner, training.images, own.width)
    yield from Loop(learner, guard, training, validation, num_iterations, schedule).records()


@dataclass
class Part:
    """A process's images of a data set, in the order in which the iterations use them."""

    shard: Shard  # which of the data set's images they are
    images: DataSet
    seed: int  # determines the order
    device: torch.device  # of the batches

    def start(self, iteration: int) -> None:
        """The next batch is that of this iteration."""
        self._places = self.shard.places.to(self.device)
        self._coming = loaded(self.images, batches(self.shard, self.seed, iteration), self.device)

    def next(self) -> tuple[Tensor, Images, Tensor]:
        """A batch: the images' places among this process's, the images, and their places in the data set."""
        index, images = next(self._coming)
        return index, images, self._places[index]


@dataclass
class Loop:
    """The iterations of `learn`, of which some are read and judged together."""

    learner: Learner  # it has begun
    guard: Guard
    training: Part  # its seed is that of every random number
    validation: Part  # may be empty
    num_iterations: int
    schedule: Callable[[float], float]

    def records(self) -> Iterator[Record]:
        """Advances the learner to the last iteration, and yields the records."""
        self._start(())
        rolled_back = False
        while self.learner.iteration < self.num_iterations:
            began = time.perf_counter()
            self.guard.keep(self.learner)
            try:
                self._advance()
            except Divergence as trouble:
                self._start(self._roll_back(trouble))
                rolled_back = True
                continue
            seconds = (time.perf_counter() - began) / len(self.unread)
            for t, record in self.unread.items():
                events = self.messages.pop(t)
                yield replace(record, iteration=t + 1, seconds=seconds, events=events, rolled_back=rolled_back)
                rolled_back = False
            self.unread.clear()

    def _start(self, messages: tuple[str, ...]) -> None:
        """Goes on from the learner's present iteration, whose record reports these messages."""
        self.training.start(self.learner.iteration)
        self.validation.start(self.learner.iteration)
        self.unread: dict[int, Record] = {}  # by iteration, those that are not yielded yet
        self.messages = {self.learner.iteration: messages}  # for their records

    def _advance(self) -> None:
        """Iterations up to and including the first after which all records are read."""
        is_last = False
        while not is_last:
            t = self.learner.iteration + 1
            is_last = t % self.together == 0 or self.guard.due(t) or t == self.num_iterations
            self._iterate(is_last)

    @property
    def together(self) -> int:
        """The number of iterations whose records are read together."""
        return 1 if ranks.count() > 1 else READ_TOGETHER.get(self.training.device.type, 1)

    def _iterate(self, is_last: bool) -> None:
        """One iteration; in the last of those that are read together, all are judged."""
        learner, seed, t = self.learner, self.training.seed, self.learner.iteration
        index, images, places = self.batch = self.training.next()
        self._set_rates()
        warnings = _stability_warnings(learner, index, images, places, seed)
        self.messages[t] = self.messages.get(t, ()) + warnings
        watch = partial(self._watch, num_images=len(index))
        self.unread[t] = learner.step(index, images, rng=streams(seed, "chain noise", t, places), watch=watch)
        if is_last:
            self._judge()
        update_average(learner)
        if self.validation.shard.num_images:
            index, images, places = self.validation.next()
            learner.validate(index, images, rng=streams(seed, "held-out", t, places))
        learner.iteration += 1
        release()

    def _set_rates(self) -> None:
        """The optimiser's learning rates of the present iteration."""
        for group in self.learner.optimizer.param_groups if self.learner.optimizer else []:
            initial = group.setdefault("initial_lr", group["lr"])
            progress = self.learner.iteration / self.num_iterations
            decay = self.schedule(progress) if group.get("decays", True) else 1.0
            group["lr"] = initial * self.guard.rate_factor * decay

    def _watch(self, record: Record, num_images: int) -> Record:
        """The record of all processes' images, judged before weights and chains change if it is read alone."""
        whole = combined(record, self.learner.model, num_images)
        if self.together == 1:
            self.guard.watch(whole)
        return whole

    def _judge(self) -> None:
        """Judges the records that are not judged yet, and the weights.

        Raises:
            Divergence: the learner's iteration is then that in trouble.
        """
        if self.together > 1:
            for t, record in self.unread.items():
                self.learner.iteration = t
                self.guard.watch(record)
        self.guard.watch_weights(self.learner.model, self.unread[self.learner.iteration])

    def _roll_back(self, trouble: Divergence) -> tuple[str, ...]:
        """Returns to the last good state, and all messages that were not reported."""
        learner, (index, images, places) = self.learner, self.batch
        if self.together > 1:  # what followed has changed weights and chains: those with a limit are the good ones
            restore(learner, self.guard.good)
        step = step_limit(
            learner, index, images, rng=streams(self.training.seed, "stability", max(self.messages), places)
        )
        messages = tuple(message for of_iteration in self.messages.values() for message in of_iteration)
        return (*messages, self.guard.roll_back(learner, trouble, step, messages))


def _stability_warnings(learner: Learner, index: Tensor, images: Images, places: Tensor, seed: int) -> tuple[str, ...]:
    """In the first iterations: a warning if the step size is above the chains' stability limit.

    One that is adapted from there may be above it in a few chains, which reject more at first; there is a warning if it
    is above twice the limit.
    """
    adapted = learner.kernel is not None and learner.kernel.target_acceptance is not None
    if learner.iteration not in (STABILITY_CHECKS[:1] if adapted else STABILITY_CHECKS):
        return ()
    step = step_limit(learner, index, images, rng=streams(seed, "stability", learner.iteration, places))
    if step is None or step.step_size < (2 * step.limit if adapted else step.limit):
        return ()
    return (f"{step}; {'it is adapted from there' if adapted else 'choose a smaller one, or kernel mala or hmc'}",)
