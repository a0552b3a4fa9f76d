"""Hamiltonian Monte Carlo."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from torch import Tensor

from ..rng import Rng, standard_normal
from .kernel import Info, LogDensity, Preconditioner, State, color, color_transposed, evaluate, inner, per_chain
from .langevin import accept

__all__ = ["HMC", "leapfrog"]


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo with unit mass, or with mass (L Lᵀ)⁻¹: p is stationary at any step size.

        p ~ N(0, I);   (x', p') = several leapfrog steps of size ε from (x, p)
        accepted with probability  min(1, exp[H(x, p) − H(x', p')]),   H(x, p) = −log p(x) + ‖p‖²/2

    Stable for ε < 2/√λ_max. With one leapfrog step it is MALA with δ = ε.

    Args:
        step_size: ε, a number or one for each chain, (n,).
        num_leapfrog_steps: at least 1.
        preconditioner: L of the mass; None for I.

    Source: Neal 2011, *MCMC using Hamiltonian dynamics*; the target acceptance of 0.8 is that of Stan.
    """

    step_size: float | Tensor = 0.1
    num_leapfrog_steps: int = 5
    preconditioner: Preconditioner | None = None

    target_acceptance: ClassVar[float | None] = 0.8

    def __post_init__(self) -> None:
        if self.num_leapfrog_steps < 1:
            raise ValueError(f"num_leapfrog_steps: expected at least 1, got {self.num_leapfrog_steps}")

    def step(self, log_density: LogDensity, state: State, rng: Rng) -> tuple[State, Info]:
        """One transition; an end point whose energy is not finite is rejected and reported as divergent."""
        momentum = standard_normal(state.position, rng)
        proposal, new_momentum = leapfrog(log_density, state, momentum, self.num_leapfrog_steps, self.preconditioner)
        kinetic = 0.5 * inner(momentum, momentum)
        new_kinetic = 0.5 * inner(new_momentum, new_momentum)
        log_alpha = (proposal.log_density - new_kinetic) - (state.log_density - kinetic)
        return accept(state, proposal, log_alpha, rng)

    def with_step_size(self, step_size: float | Tensor) -> Self:
        """This kernel with another ε."""
        return replace(self, step_size=step_size)

    def with_preconditioner(self, preconditioner: Preconditioner) -> Self:
        """This kernel with another L."""
        return replace(self, preconditioner=preconditioner)


def leapfrog(
    log_density: LogDensity,
    state: State,
    momentum: Tensor,
    num_steps: int,
    preconditioner: Preconditioner | None = None,
) -> tuple[State, Tensor]:
    """``num_steps`` leapfrog steps of size ε from (x, p): volume-preserving, and reversible by p → −p.

    p ← p + (ε/2) Lᵀ ∂ log p(x)/∂x;   x ← x + ε L p;   p ← p + (ε/2) Lᵀ ∂ log p(x)/∂x
    """
    position, value, gradient, step_size = state
    epsilon = per_chain(step_size, position)
    for _ in range(num_steps):
        momentum = momentum + 0.5 * epsilon * color_transposed(preconditioner, gradient)
        position = position + epsilon * color(preconditioner, momentum)
        value, gradient = evaluate(log_density, position)
        momentum = momentum + 0.5 * epsilon * color_transposed(preconditioner, gradient)
    return State(position, value, gradient, step_size), momentum
