"""Step-size adaptation, and the largest step size that is stable."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ..rng import Rng, standard_normal
from .kernel import Kernel, LogDensity, Preconditioner, State, color, color_transposed, init, inner, per_chain

__all__ = ["Stability", "adapt", "stability", "warm_up"]

K = TypeVar("K", bound=Kernel)


def adapt(kernel: Kernel, step_size: Tensor, acceptance_rate: Tensor, *, gain: float) -> Tensor:
    """Moves each chain's step size towards the target acceptance: log δ ← log δ + gain · (acceptance − target).

    Args:
        kernel: the transition; without a target acceptance, the step sizes are returned unchanged.
        step_size: δ, (n,).
        acceptance_rate: mean over each chain's last transitions, (n,).
        gain: of the Robbins–Monro step; constant while the density changes, decreasing for a fixed density.

    Source: Robbins and Monro 1951; Andrieu and Thoms 2008, §4.
    """
    if kernel.target_acceptance is None:
        return step_size
    return step_size * (gain * (acceptance_rate - kernel.target_acceptance)).exp()


def warm_up(kernel: K, log_density: LogDensity, position: Tensor, *, num_steps: int, rng: Rng) -> tuple[K, State]:
    """Runs the chains while adapting each one's step size; returns the kernel with fixed step sizes, and the state.

    The gain falls as t^(−0.6), and the step size returned is the geometric mean over the second half, which averages
    out the fluctuations of the adaptation (Polyak and Juditsky 1992).

    Args:
        kernel: the transition; one without a target acceptance keeps its step size.
        log_density: (n, *event) → (n,).
        position: where the chains start, (n, *event).
        num_steps: transitions, ≥ 1.
        rng: the random generator, on the device of ``position``.
    """
    state = init(log_density, position, kernel.step_size)
    log_mean = torch.zeros_like(state.step_size)
    second_half = range(num_steps // 2, num_steps)
    for t in range(num_steps):
        state, info = kernel.step(log_density, state, rng)
        moved = adapt(kernel, state.step_size, info.acceptance_rate, gain=2 * (t + 1) ** -0.6)
        state = state._replace(step_size=moved)
        if t in second_half:
            log_mean = log_mean + moved.log() / len(second_half)
    state = state._replace(step_size=log_mean.exp())
    return kernel.with_step_size(state.step_size), state


class Stability(NamedTuple):
    """The largest curvature at each chain's position, and the limit of stable step sizes there."""

    lambda_max: Tensor  # (n,), largest eigenvalue of −∂² log p/∂x²
    limit: Tensor  # (n,), 2/√λ_max; infinite where no curvature is positive


def stability(
    log_density: LogDensity,
    position: Tensor,
    preconditioner: Preconditioner | None = None,
    *,
    rng: Rng,
    num_iterations: int = 20,
) -> Stability:
    """λ_max of −∂² log p/∂x² at each position, by power iteration on Hessian-vector products, and 2/√λ_max.

    With a preconditioner L, of −Lᵀ (∂² log p/∂x²) L.

    Unadjusted Langevin dynamics and the leapfrog are stable on a Gaussian of curvature λ if and only if δ² λ < 4.
    A first power iteration finds the largest modulus. Shifted by it, no eigenvalue is negative, and a second power
    iteration finds the largest one. The Rayleigh quotient returned never exceeds the true λ_max.

    Args:
        log_density: (n, *event) → (n,), twice differentiable.
        position: (n, *event).
        preconditioner: L; None for I.
        rng: for the starting vectors, on the device of ``position``.
        num_iterations: Hessian-vector products in each power iteration.
    """
    with torch.enable_grad():
        position = position.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(log_density(position).sum(), position, create_graph=True)

    def curvature_times(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:  # a linear log-density has no curvature
            return torch.zeros_like(vector)
        (product,) = torch.autograd.grad(
            gradient,
            position,
            color(preconditioner, vector),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return -color_transposed(preconditioner, product)

    def largest(shift: Tensor) -> tuple[Tensor, Tensor]:
        vector = standard_normal(position, rng)
        quotient = torch.zeros_like(shift)
        for _ in range(num_iterations):
            vector = vector / per_chain(inner(vector, vector).sqrt().clamp_min(1e-30), vector)
            product = curvature_times(vector)
            quotient = inner(vector, product)
            vector = product + per_chain(shift, vector) * vector
        return quotient, inner(product, product).sqrt()

    first, modulus = largest(torch.zeros(len(position), dtype=position.dtype, device=position.device))
    shifted, _ = largest(modulus)
    lambda_max = torch.maximum(first, shifted)
    return Stability(lambda_max, 2 / lambda_max.clamp_min(0).sqrt())
