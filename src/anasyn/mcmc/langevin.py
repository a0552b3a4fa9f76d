"""Langevin dynamics, with and without a Metropolis–Hastings correction."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..fusion import fused
from ..rng import Rng, standard_normal, uniform
from .kernel import Info, LogDensity, Preconditioner, State, color_transposed, evaluate, inner, per_chain

__all__ = ["MALA", "Langevin"]


@dataclass(frozen=True)
class Langevin:
    """Unadjusted Langevin dynamics.

        x ← x + (δ²/2) ∂ log p(x)/∂x + √T δ U,   U ~ N(0, I)                                 (7, 16)

    Its stationary density differs from p^(1/T) by O(δ²). It is unstable for δ ≥ 2/√λ_max, with λ_max the largest
    curvature −∂² log p/∂x².

    Args:
        step_size: δ as the papers write it, a number or one for each chain, (n,).
        temperature: T; a value other than 1 samples p^(1/T) instead of p.
        preconditioner: L; None for I.

    Source: Han et al., AAAI 2017, eq. 7; Xie et al., ICML 2016, eq. 16.
    """

    step_size: float | Tensor
    temperature: float = 1.0
    preconditioner: Preconditioner | None = None

    target_acceptance: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {self.temperature}")

    def step(self, log_density: LogDensity, state: State, rng: Rng) -> tuple[State, Info]:
        """One transition; the acceptance rate reported is what a Metropolis–Hastings correction would have."""
        proposal, log_alpha = propose(log_density, state, rng, self.temperature, self.preconditioner)
        return proposal, Info(acceptance_rate(log_alpha), ~log_alpha.isfinite())

    def with_step_size(self, step_size: float | Tensor) -> Self:
        """This kernel with another δ."""
        return replace(self, step_size=step_size)

    def with_preconditioner(self, preconditioner: Preconditioner) -> Self:
        """This kernel with another L."""
        return replace(self, preconditioner=preconditioner)


@dataclass(frozen=True)
class MALA:
    """Metropolis-adjusted Langevin algorithm: p is stationary at any step size.

        y = x + (δ²/2) ∂ log p(x)/∂x + δ U,   U ~ N(0, I)
        accepted with probability  α = min(1, p(y) q(x|y) / p(x) q(y|x)),
        q(y|x) = N(y; x + (δ²/2) ∂ log p(x)/∂x, δ² I)

    Args:
        step_size: δ, a number or one for each chain, (n,).
        preconditioner: L; None for I.

    Source: Roberts and Tweedie 1996; Roberts and Rosenthal 1998 for the optimal acceptance, 0.574.
    """

    step_size: float | Tensor = 0.1
    preconditioner: Preconditioner | None = None

    target_acceptance: ClassVar[float | None] = 0.574

    def step(self, log_density: LogDensity, state: State, rng: Rng) -> tuple[State, Info]:
        """One transition; a proposal whose log-density or gradient is not finite is rejected, and is divergent."""
        proposal, log_alpha = propose(log_density, state, rng, 1.0, self.preconditioner)
        return accept(state, proposal, log_alpha, rng)

    def with_step_size(self, step_size: float | Tensor) -> Self:
        """This kernel with another δ."""
        return replace(self, step_size=step_size)

    def with_preconditioner(self, preconditioner: Preconditioner) -> Self:
        """This kernel with another L."""
        return replace(self, preconditioner=preconditioner)


def propose(
    log_density: LogDensity,
    state: State,
    rng: Rng,
    temperature: float = 1.0,
    preconditioner: Preconditioner | None = None,
) -> tuple[State, Tensor]:
    """The Langevin proposal y of each chain and its log acceptance ratio under p^(1/T), (n,).

    With y = x + L [(δ²/2) Lᵀ g(x) + √T δ u], s = Lᵀ [g(x) + g(y)] and r = δ / 2√T, the proposals' densities reduce to

        log α = [log p(y) − log p(x)] / T − r s·(u + (r/2) s)
    """
    position, value, gradient, step_size = state
    delta = per_chain(step_size, position)
    noise = standard_normal(position, rng)
    # Without L, the same sums in the same order: rounding decides where long chains go.
    if preconditioner:
        drift = (0.5 * delta**2) * preconditioner.color_transposed(gradient)
        proposed = position + preconditioner.color(drift + (math.sqrt(temperature) * delta) * noise)
    else:
        proposed = moved(position, gradient, noise, delta, temperature)
    new_value, new_gradient = evaluate(log_density, proposed)
    s = color_transposed(preconditioner, gradient + new_gradient)
    log_alpha = log_ratio(value, new_value, s, noise, step_size / (2 * math.sqrt(temperature)), temperature)
    return State(proposed, new_value, new_gradient, step_size), log_alpha


@fused
def moved(position: Tensor, gradient: Tensor, noise: Tensor, delta: Tensor, temperature: float) -> Tensor:
    """y = x + (δ²/2) g(x) + √T δ u."""
    return position + (0.5 * delta**2) * gradient + (math.sqrt(temperature) * delta) * noise


@fused
def log_ratio(value: Tensor, new_value: Tensor, s: Tensor, noise: Tensor, r: Tensor, temperature: float) -> Tensor:
    """log α = [log p(y) − log p(x)] / T − r s·(u + (r/2) s), (n,)."""
    return (new_value - value) / temperature - r * inner(s, noise + per_chain(0.5 * r, s) * s)


@fused
def acceptance_rate(log_alpha: Tensor) -> Tensor:
    """min(1, α), and 0 where α is NaN: such a proposal is never accepted."""
    return torch.where(log_alpha < 0, log_alpha.exp(), (log_alpha >= 0).to(log_alpha.dtype))


def accept(state: State, proposal: State, log_alpha: Tensor, rng: Rng) -> tuple[State, Info]:
    """The Metropolis–Hastings correction: each chain moves to its proposal with probability min(1, α), or stays.

    Position, log-density and gradient change together: the next step must not start from a stale one.
    """
    log_alpha = torch.where(proposal.log_density.isfinite(), log_alpha, -math.inf)  # log p = +∞ is no density either
    accepted = log_alpha > uniform(log_alpha, rng).log()
    position, value, gradient = (
        torch.where(per_chain(accepted, new), new, old) for new, old in zip(proposal[:3], state[:3], strict=True)
    )
    return State(position, value, gradient, state.step_size), Info(acceptance_rate(log_alpha), ~log_alpha.isfinite())
