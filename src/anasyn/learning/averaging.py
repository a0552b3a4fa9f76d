"""The exponential moving average of the weights, kept beside each weight in the optimiser's state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .learner import Learner

__all__ = ["average_decay", "averaged", "begin_average", "keep_average", "update_average", "use_average"]

AVERAGE = "average"
"""Of the optimiser's state of a weight: its average; of the optimiser's defaults: the decay."""


def average_decay(decay: float, iteration: int) -> float:
    """β_t = min(β, (1 + t) / (10 + t)), with t = ``iteration``, iterations done.

    Until it reaches β, at t ≈ 9 / (1 − β), the average is about that of the last tenth of the iterations: a weight that
    has moved from 0 to w at a constant speed has the average 0.9 w. The initial weights have a share of 1/C(t+9, 9).

    Source: the rule of TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``.
    """
    return min(decay, (1 + iteration) / (10 + iteration))


def keep_average(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Makes `learn` keep, from the next priming of this optimiser on, an average of the weights that it updates.

        θ̄_0 = θ_0,   θ̄_{t+1} = β_t θ̄_t + (1 − β_t) θ_{t+1}

    Only weights are averaged: the model's buffers, such as a learned σ, and the chains always have their current
    values. Learning does not depend on the average. Checkpoints and the guard's last good state contain it.

    Args:
        optimizer: before its first step.
        decay: β, at least 0 and below 1; β_t is that of `average_decay`. 0 keeps no average.

    Raises:
        ValueError: β is out of its range.

    Source: Polyak and Juditsky 1992, *Acceleration of stochastic approximation by averaging*; with a constant β, for
        energy-based models, Du and Mordatch 2019, *Implicit generation and modeling with energy-based models*.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay: expected at least 0 and below 1, got {decay}")
    optimizer.defaults[AVERAGE] = decay


def begin_average(optimizer: torch.optim.Optimizer) -> None:
    """Begins the average at the present weights, if one is to be kept."""
    if optimizer.defaults.get(AVERAGE):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight.requires_grad:
                    optimizer.state[weight][AVERAGE] = weight.detach().clone()


@torch.no_grad()
def update_average(learner: Learner) -> None:
    """After a learning step, before its iteration is counted: moves the average towards the new weights."""
    for weight, average in _averages(learner):
        assert learner.optimizer
        average.lerp_(weight, 1 - average_decay(learner.optimizer.defaults[AVERAGE], learner.iteration))


@torch.no_grad()
def use_average(learner: Learner) -> None:
    """Replaces the weights by their average, if one is kept. The learner is then for use, not for learning on."""
    for weight, average in _averages(learner):
        weight.copy_(average)


@contextmanager
def averaged(learner: Learner) -> Iterator[None]:
    """A context in which the learner has the average in place of its weights, if one is kept; then it learns on."""
    before = [(weight, weight.detach().clone()) for weight, _ in _averages(learner)]
    use_average(learner)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in before:
                weight.copy_(value)


def _averages(learner: Learner) -> list[tuple[Tensor, Tensor]]:
    """Each weight and its average; empty if none is kept."""
    state = learner.optimizer.state if learner.optimizer else {}
    return [(weight, slots[AVERAGE]) for weight, slots in state.items() if AVERAGE in slots]
