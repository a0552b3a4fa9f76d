"""The guard: divergence is seen before the weights change, told with its cause, and answered by another course."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .. import mcmc
from .record import Record
from .state import Stateful, restore, tensors_of

__all__ = ["Divergence", "Guard", "Guarded", "Watch", "gradient_norm", "require_finite"]

MOST_ROLLBACKS = 8
ITERATIONS_BETWEEN_GOOD_STATES = 50
LEAST_ACCEPTANCE = 0.01
WORSE = 1.5
WANDERING = 10
PATIENCE = 20
"""Visits of every chain whose proposals were all but refused, and iterations of an energy gap of one sign or of an
mse worse than the first, before it is trouble."""


class Divergence(RuntimeError):
    """Learning cannot go on as it does. The message names the cause.

    Args:
        cause: what is wrong, with its number.
        advice: what to change in another run.
        record: the numbers of the iteration that was refused, where there are any.
        updated: whether it was seen only after the weights had changed.
    """

    def __init__(self, cause: str, advice: str = "", record: Record | None = None, updated: bool = False):
        super().__init__(cause)
        self.advice = advice
        self.record = record
        self.updated = updated


class Watch(Protocol):
    """Looks at an iteration's record before the weights change; raises `Divergence` where they must not."""

    def __call__(self, record: Record) -> None: ...


class Guarded(Stateful, Protocol):
    """What the guard needs of a learner."""

    kernel: mcmc.Kernel
    iteration: int

    def limits(self, images: Tensor) -> dict[str, float]: ...


class Guard:
    """Watches every iteration of a run; on trouble takes the learner back to its last good state, on a smaller course.

    Trouble is: a number that is not finite (loss, gradient, chains, weights); a measure beyond the learner's
    own limit (`limits`: ‖z‖² against its prior, chains outside the data's range, an energy gap d_t that is
    one-signed and has grown past what its chains could ever make up); an adjusted kernel that accepts nothing; a
    generator that explains the images worse than it did at first.
    A good state is one in which every measure is within half its limit; the last one is kept, at most every
    50 iterations. A course is changed by halving the learning rate, then the step sizes, in turn.

    Args:
        active: whether anything is watched at all.

    Source: going back and lowering the rate is what Du and Mordatch 2019 and Grathwohl et al. 2020 advise; a
    one-signed growing d_t is the mark of collapse in Nijkamp et al. 2020.
    """

    def __init__(self, active: bool = True):
        self.active = active
        self.rate_factor = 1.0  # on the optimiser's rates
        self.rollbacks = 0
        self.calm = True  # every measure is within half its limit
        self.refused = 0  # iterations running in which next to nothing was accepted
        self.one_sign = 0  # iterations running with d_t > 0; below 0: with d_t < 0
        self.first_mse = 0.0
        self.worse = 0  # iterations running in which the mse was well above its first
        self.good_iteration = 0
        self.good: dict[str, Tensor] = {}

    def begin(self, learner: Guarded, images: Tensor, batch_size: int) -> None:
        """Takes the limits of this learner on these images, (n, *event), of which an iteration takes a batch."""
        self._limits = learner.limits(images[:1])
        self._adjusted = learner.kernel.target_acceptance is not None
        self._patience = PATIENCE * math.ceil(len(images) / batch_size)

    def keep(self, learner: Guarded) -> None:
        """Keeps the learner's state, before an iteration, where it is due and good."""
        due = learner.iteration % ITERATIONS_BETWEEN_GOOD_STATES == 0
        if self.active and (not self.good or (due and self.calm)):
            self.good = {name: tensor.clone() for name, tensor in tensors_of(learner).items()}
            self.good_iteration = learner.iteration

    def watch(self, record: Record) -> None:
        """Looks at an iteration before the weights change.

        Raises:
            Divergence: it is in trouble; neither weights nor chains have been touched.
        """
        if not self.active:
            return
        require_finite(record)
        gap = record.measures.get("energy_gap", 0.0)
        self.one_sign = (max(self.one_sign, 0) + 1) if gap > 0 else (min(self.one_sign, 0) - 1)
        self.refused = self.refused + 1 if self._adjusted and record.acceptance_rate < LEAST_ACCEPTANCE else 0
        if self.refused >= self._patience:
            cause = f"acceptance_rate below {LEAST_ACCEPTANCE} for {self.refused} iterations"
            raise Divergence(cause, "a smaller step size, or a smaller learning rate", record)
        mse = record.measures.get("mse", 0.0)
        self.first_mse = self.first_mse or mse
        self.worse = self.worse + 1 if mse > WORSE * self.first_mse else 0
        if self.worse >= PATIENCE:
            cause = f"mse = {mse:.3g} is above {WORSE} times its first, {self.first_mse:.3g}, for {PATIENCE} iterations"
            raise Divergence(cause, "a smaller learning rate", record)
        self.calm = 2 * self.refused < self._patience and not self.worse
        for name, limit in self._limits.items():
            value = abs(record.measures[name])
            self.calm &= value <= limit / 2
            # A gap may wander from sign to sign beyond its limit, but not without end.
            wandering = name == "energy_gap" and abs(self.one_sign) < PATIENCE and value <= WANDERING * limit
            if value > limit and not wandering:
                meaning, advice = TROUBLE[name]
                raise Divergence(f"{name} = {value:.3g} is above {limit:.3g}: {meaning}", advice, record)

    def watch_weights(self, model: nn.Module, record: Record) -> None:
        """Looks at the weights after they have changed by the iteration of this record.

        Raises:
            Divergence: one is not finite.
        """
        if self.active and not torch.nn.utils.get_total_norm(model.parameters()).isfinite():
            raise Divergence("the weights are not finite", "a smaller learning rate", record, updated=True)

    def roll_back(
        self,
        learner: Guarded,
        trouble: Divergence,
        step_size: float,
        limit: float,
        sentence: str,
        events: tuple[str, ...] = (),
    ) -> str:
        """Takes the learner back to the last good state and changes the course; what was done, in words.

        A smaller rate is tried first, then a smaller step, and so on in turn. Trouble that is seen in the first
        iteration after a good state is seen at the good weights still, where only a smaller step can help, or else
        comes from their update, where only a smaller rate can.

        Args:
            learner: in trouble.
            trouble: its cause.
            step_size: the largest of its chains' step sizes.
            limit: the step size below which they are stable; not a number where the density is not finite.
            sentence: both, in words.
            events: what has not been told yet; where this is the end, they are told with it.

        Raises:
            Divergence: it has been taken back too often; it stands at the last good state.
        """
        came_from = learner.iteration
        restore(learner, self.good)
        learner.iteration = self.good_iteration
        self.calm, self.refused, self.one_sign, self.worse = True, 0, 0, 0
        if self.good_iteration == 0:
            self.first_mse = 0.0  # what comes is another first iteration
        cause = str(trouble) if trouble.updated else f"{trouble}; {sentence}"
        if self.rollbacks == MOST_ROLLBACKS:
            end = f"iteration {came_from + 1} diverged: {cause}; {MOST_ROLLBACKS} rollbacks did not help"
            record = trouble.record and replace(
                trouble.record, iteration=came_from + 1, events=(*events, end), rolled_back=True
            )
            raise Divergence(end, trouble.advice, record)
        self.rollbacks += 1
        smaller_rate = trouble.updated if came_from == self.good_iteration else self.rollbacks % 2 == 1
        if smaller_rate:
            self.rate_factor /= 2
            course = f"learning rate × {self.rate_factor:.3g} of what it was at first"
        else:
            factor = min(0.5, 0.9 * limit / step_size)  # 0.5 where the limit is not a number
            learner.chains.step_sizes.mul_(factor)
            self.good["chains.step_sizes"].mul_(factor)
            course = f"step sizes × {factor:.3g}"
        return f"rolled back from iteration {came_from + 1} to {self.good_iteration}: {cause}; from here {course}"

    def state_dict(self) -> dict[str, Any]:
        """All that the guard goes by but the good state, as JSON has it."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for name in STATE:
            setattr(self, name, state[name])


TROUBLE = {
    "z_mean_square": ("z has left its prior", "a smaller step size, kernel mala, or a larger sigma"),
    "pixel_max": ("the chains have left the data's range", "a smaller step size, or a smaller learning rate"),
    "energy_gap": (
        "grown past what the chains can make up",
        "a smaller learning rate, more data noise, or start data",
    ),
}
"""What it means that a measure is beyond its limit, and what helps."""

STATE = ("rate_factor", "rollbacks", "calm", "refused", "one_sign", "first_mse", "worse", "good_iteration")
"""The numbers that a guard goes by."""


def require_finite(record: Record) -> None:
    """The least that is watched: raises `Divergence` naming the record's numbers that are not finite."""
    numbers = {"loss": record.loss, "step_size": record.step_size, **record.measures}
    broken = [f"{name} = {value}" for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise Divergence(", ".join(broken), "a smaller step size or learning rate, or kernel mala", record)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """‖∂ loss / ∂ weights‖ over all parameters, a scalar tensor."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
