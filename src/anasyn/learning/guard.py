"""The guard: detects divergence, rolls the learner back, and lowers its rates."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..memory import copied
from ..models import DataSet
from .learner import Learner, StepLimit
from .record import Divergence, Record, require_finite
from .state import restore, tensors_of

__all__ = ["Guard"]

MAX_ROLLBACKS = 8
ITERATIONS_BETWEEN_GOOD_STATES = 50
MIN_ACCEPTANCE = 0.01  # below this acceptance rate, an adjusted kernel rejects practically everything
MAX_MSE_RATIO = 1.5  # of the mse to that of the first iteration
MAX_GAP_RATIO = 10  # of an energy gap whose sign changes to its limit
PATIENCE = 20
"""Iterations in which the mse may be too high, or an energy gap beyond its limit keep its sign, and visits of every
chain in which practically every proposal may be rejected."""

TROUBLE = {
    "z_mean_square": ("z has left its prior", "a smaller step size, kernel mala, or a larger sigma"),
    "pixel_max": ("the chains have left the data's range", "a smaller step size, or a smaller learning rate"),
    "energy_gap": ("grown past what chains can make up", "a smaller learning rate, more data noise, or start data"),
}
"""For each measure that may have a limit: what exceeding it means, and what helps."""

STATE = ("rate_factor", "rollbacks", "healthy", "rejecting", "one_signed", "first_mse", "worse", "good_iteration")
"""The attributes that a checkpoint keeps beside the last good state."""


class Guard:
    """Watches every iteration; when learning is in trouble, rolls the learner back to its last good state.

    Learning is in trouble if

    - a loss, gradient, chain or weight is not finite;
    - a measure exceeds the learner's own limit for it (`Learner.limits`): the mean of z², the range of the chains'
      pixels, or the energy gap d_t; the gap only after `PATIENCE` iterations of one sign or at `MAX_GAP_RATIO` times
      its limit, because a gap that changes its sign is one that the chains still make up for;
    - an adjusted kernel has rejected practically every proposal in `PATIENCE` visits of every chain;
    - the mse has exceeded that of the first iteration by the factor `MAX_MSE_RATIO` for `PATIENCE` iterations.

    A state is good if every measure is within half its limit; every 50 iterations the state is kept if it is good.
    After a rollback, learning continues with either half the learning rate or smaller step sizes, in turn.

    Args:
        active: False watches nothing.

    Source: rolling back and lowering the rate, Du and Mordatch 2019 and Grathwohl et al. 2020; an energy gap that
    grows with one sign as the mark of collapse, Nijkamp et al. 2020.
    """

    def __init__(self, active: bool = True):
        self.active = active
        self.rate_factor = 1.0  # of the optimiser's learning rates
        self.rollbacks = 0
        self.healthy = True  # every measure is within half its limit
        # Counts of consecutive iterations up to the present one:
        self.rejecting = 0  # in which practically every proposal was rejected
        self.one_signed = 0  # with an energy gap of the same sign; counted below 0 for a negative gap
        self.worse = 0  # with an mse above MAX_MSE_RATIO times the first
        self.first_mse = 0.0
        self.good_iteration = 0
        self.good: dict[str, Tensor] = {}

    def begin(self, learner: Learner, images: DataSet, batch_size: int) -> None:
        """Notes the limits of this learner on these images, (n, *event), of which an iteration takes a batch."""
        self._limits = learner.limits(images[:1])
        self._adjusted = learner.kernel is not None and learner.kernel.target_acceptance is not None
        self._iterations_rejecting = PATIENCE * math.ceil(len(images) / batch_size)  # that are too many

    @staticmethod
    def due(iteration: int) -> bool:
        """Whether a copy is due before this iteration, for which every iteration before it must have been watched."""
        return iteration % ITERATIONS_BETWEEN_GOOD_STATES == 0

    def keep(self, learner: Learner) -> None:
        """Before an iteration: copies the learner's state if a copy is due and the state is good."""
        if self.active and (not self.good or (self.due(learner.iteration) and self.healthy)):
            self.good = {name: copied(tensor) for name, tensor in tensors_of(learner).items()}
            self.good_iteration = learner.iteration

    def watch(self, record: Record) -> None:
        """Inspects an iteration: before weights and chains change, or some iterations later (see `learn`).

        Raises:
            Divergence: learning is in trouble.
        """
        if not self.active:
            return
        require_finite(record)
        self._watch_acceptance(record)
        self._watch_mse(record)
        self.healthy = 2 * self.rejecting < self._iterations_rejecting and not self.worse
        self._watch_limits(record)

    def _watch_acceptance(self, record: Record) -> None:
        self.rejecting = self.rejecting + 1 if self._adjusted and record.acceptance_rate < MIN_ACCEPTANCE else 0
        if self.rejecting >= self._iterations_rejecting:
            cause = f"acceptance_rate below {MIN_ACCEPTANCE} for {self.rejecting} iterations"
            raise Divergence(cause, "a smaller step size, or a smaller learning rate", record)

    def _watch_mse(self, record: Record) -> None:
        mse = record.measures.get("mse", 0.0)
        self.first_mse = self.first_mse or mse
        self.worse = self.worse + 1 if mse > MAX_MSE_RATIO * self.first_mse else 0
        if self.worse >= PATIENCE:
            first = f"{MAX_MSE_RATIO} times its first value, {self.first_mse:.3g},"
            cause = f"mse = {mse:.3g} is above {first} for {PATIENCE} iterations"
            raise Divergence(cause, "a smaller learning rate", record)

    def _watch_limits(self, record: Record) -> None:
        positive = record.measures.get("energy_gap", 0.0) > 0
        self.one_signed = max(self.one_signed, 0) + 1 if positive else min(self.one_signed, 0) - 1
        for name, limit in self._limits.items():
            value = abs(record.measures[name])
            self.healthy &= value <= limit / 2
            tolerated = name == "energy_gap" and abs(self.one_signed) < PATIENCE and value <= MAX_GAP_RATIO * limit
            if value > limit and not tolerated:
                meaning, advice = TROUBLE[name]
                raise Divergence(f"{name} = {value:.3g} is above {limit:.3g}: {meaning}", advice, record)

    def watch_weights(self, model: nn.Module, record: Record) -> None:
        """Inspects the weights after the iteration of this record has changed them.

        Raises:
            Divergence: one is not finite.
        """
        if self.active and not torch.nn.utils.get_total_norm(model.parameters()).isfinite():
            raise Divergence("the weights are not finite", "a smaller learning rate", record, updated=True)

    def roll_back(
        self, learner: Learner, trouble: Divergence, step: StepLimit | None, events: tuple[str, ...] = ()
    ) -> str:
        """Restores the last good state and lowers the learning rate or the step sizes; returns a message.

        The learning rate is lowered first, then the step sizes, and so on in turn. An exception is trouble in the
        first iteration after the good state. If its weights were not updated yet, they are the good ones, and only
        smaller steps can help; otherwise the update itself is at fault, and only a lower learning rate can help.

        Args:
            learner: the one in trouble.
            trouble: its cause.
            step: its chains' step size and stability limit; None for a learner without a step size.
            events: messages not reported yet; if this is the last rollback, the error's record reports them.

        Raises:
            Divergence: after `MAX_ROLLBACKS` rollbacks; the learner is in its last good state.
        """
        came_from = learner.iteration
        restore(learner, self.good)
        learner.iteration = self.good_iteration
        self.healthy, self.rejecting, self.one_signed, self.worse = True, 0, 0, 0
        if self.good_iteration == 0:
            self.first_mse = 0.0  # the first iteration will be done again
        cause = str(trouble) if trouble.updated or step is None else f"{trouble}; {step}"
        if self.rollbacks == MAX_ROLLBACKS:
            end = f"iteration {came_from + 1} diverged: {cause}; {MAX_ROLLBACKS} rollbacks did not help"
            record = trouble.record and replace(
                trouble.record, iteration=came_from + 1, events=(*events, end), rolled_back=True
            )
            raise Divergence(end, trouble.advice, record)
        self.rollbacks += 1
        lower_rate = trouble.updated if came_from == self.good_iteration else self.rollbacks % 2 == 1
        if lower_rate:
            self.rate_factor /= 2
            change = f"learning rate × {self.rate_factor:.3g} of the initial one"
        else:
            factor = min(0.5, 0.9 * step.limit / step.step_size) if step else 0.5  # 0.5 where the limit is NaN
            learner.chains.step_sizes.mul_(factor)
            self.good["chains.step_sizes"].mul_(factor)
            change = f"step sizes × {factor:.3g}"
        return f"rolled back from iteration {came_from + 1} to {self.good_iteration}: {cause}; from here {change}"

    def state_dict(self) -> dict[str, Any]:
        """The guard's numbers, as JSON can hold them; the last good state, `good`, is not among them."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        for name in STATE:
            setattr(self, name, state[name])
