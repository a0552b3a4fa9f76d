"""What every MCMC kernel shares: the chains' state, the report of a step, and the two loops over steps."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from ..rng import Rng

__all__ = ["Info", "Kernel", "LogDensity", "Preconditioner", "State", "draws", "hold", "init", "run"]

LogDensity = Callable[[Tensor], Tensor]
"""A log-density, up to a constant: (n, *event) → (n,). Each value depends on its own row alone."""


class State(NamedTuple):
    """The positions of n chains, with what the next step needs of them, so that nothing is computed twice."""

    position: Tensor  # (n, *event)
    log_density: Tensor  # (n,)
    gradient: Tensor  # (n, *event), ∂ log p / ∂ position
    step_size: Tensor  # (n,), δ of each chain


class Info(NamedTuple):
    """What n chains did in one step, or over several."""

    acceptance_rate: Tensor  # (n,), min(1, α); for an unadjusted kernel, that of a Metropolis–Hastings correction
    divergent: Tensor  # (n,) bool, whether the log-density or gradient of a proposal was not finite


class Preconditioner(Protocol):
    """A linear map L. With C = L Lᵀ near the density's covariance, chains move equally fast in all directions.

    Transitions are those of x ↦ log p(L x), x = L⁻¹ position, whose step size has no unit.
    """

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, *event)."""

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, *event)."""


class Kernel(Protocol):
    """One MCMC transition. It owns neither the chains nor the density, which changes at every weight update."""

    target_acceptance: ClassVar[float | None]  # that the step size is adapted towards; None if it is fixed

    @property
    def step_size(self) -> float | Tensor: ...

    @property
    def preconditioner(self) -> Preconditioner | None: ...

    def step(self, log_density: LogDensity, state: State, rng: Rng) -> tuple[State, Info]: ...

    def with_step_size(self, step_size: float | Tensor) -> Self: ...

    def with_preconditioner(self, preconditioner: Preconditioner) -> Self: ...


def evaluate(log_density: LogDensity, position: Tensor) -> tuple[Tensor, Tensor]:
    """log p, (n,), and its gradient with respect to the position, (n, *event).

    Rows are independent, so that the gradient of the sum is that of each row. No gradient of a weight is accumulated.
    """
    with torch.enable_grad():
        position = position.detach().requires_grad_()
        value = log_density(position)
        (gradient,) = torch.autograd.grad(value.sum(), position)
    return value.detach(), gradient


def per_chain(value: Tensor, like: Tensor) -> Tensor:
    """One number per chain, (n,), reshaped to multiply ``like``, (n, *event)."""
    return value.view(-1, *[1] * (like.dim() - 1))


def color(preconditioner: Preconditioner | None, x: Tensor) -> Tensor:
    """L x; x without a preconditioner."""
    return preconditioner.color(x) if preconditioner else x


def color_transposed(preconditioner: Preconditioner | None, gradient: Tensor) -> Tensor:
    """Lᵀ g; g without a preconditioner."""
    return preconditioner.color_transposed(gradient) if preconditioner else gradient


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each chain's two events, (n,)."""
    return (a * b).sum(tuple(range(1, a.dim())))  # flatten would copy channels-last images


def init(log_density: LogDensity, position: Tensor, step_size: float | Tensor) -> State:
    """The state of chains that start at ``position``, (n, *event), with step sizes (n,) or one for all.

    Raises:
        ValueError: the log-density does not return one number per chain.
    """
    value, gradient = evaluate(log_density, position)
    if value.shape != position.shape[:1]:
        expected = f"one number per chain, shape {tuple(position.shape[:1])}"
        raise ValueError(f"log_density: expected {expected}, got {tuple(value.shape)}")
    step_size = torch.as_tensor(step_size, dtype=value.dtype, device=value.device).expand(value.shape)
    return State(position.detach(), value, gradient, step_size)


def run(kernel: Kernel, log_density: LogDensity, position: Tensor, *, num_steps: int, rng: Rng) -> tuple[State, Info]:
    """``num_steps`` transitions of n chains.

    Args:
        kernel: the transition.
        log_density: (n, *event) → (n,).
        position: where the chains start, (n, *event).
        num_steps: number of transitions, ≥ 0.
        rng: the random generator, on the device of ``position``.

    Returns:
        the last state; and each chain's mean acceptance rate and whether any of its steps was divergent, (n,).
    """
    state = init(log_density, position, kernel.step_size)
    acceptance = torch.zeros_like(state.log_density)
    divergent = torch.zeros_like(state.log_density, dtype=torch.bool)
    for _ in range(num_steps):
        state, info = kernel.step(log_density, state, rng)
        acceptance = acceptance + info.acceptance_rate
        divergent = divergent | info.divergent
    return state, Info(acceptance / max(num_steps, 1), divergent)


def hold(log_density: LogDensity, mask: Tensor, values: Tensor) -> LogDensity:
    """log p of the other entries given those under a mask, as a function of whole positions.

    What a position has under the mask is replaced by the values: it has no gradient, and a chain moves it to no effect.

    Args:
        log_density: (n, *event) → (n,).
        mask: of the entries that are known, bool, broadcast to (n, *event).
        values: where they are known, (n, *event).
    """
    return lambda position: log_density(torch.where(mask, values, position))


def draws(
    kernel: Kernel, log_density: LogDensity, position: Tensor, *, num_draws: int, rng: Rng, thin: int = 1
) -> Tensor:
    """The chains' positions after every ``thin`` transitions, (num_draws, n, *event). The step sizes are fixed.

    Args:
        kernel: the transition.
        log_density: (n, *event) → (n,).
        position: where the chains start, (n, *event); not among the draws.
        num_draws: draws of each chain.
        rng: the random generator, on the device of ``position``.
        thin: transitions from one draw to the next.
    """
    state = init(log_density, position, kernel.step_size)
    kept = position.new_empty((num_draws, *position.shape))
    for row in kept:
        for _ in range(thin):
            state, _ = kernel.step(log_density, state, rng)
        row.copy_(state.position)
    return kept
