"""Annealed importance sampling: the ratio of two normalising constants, bounded from below and from above."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..rng import Rng
from .adaptation import adapt
from .kernel import Kernel, LogDensity, State, evaluate, init

__all__ = [
    "Path",
    "anneal_forward",
    "anneal_reverse",
    "effective_sample_size",
    "geometric_schedule",
    "log_mean_exp",
    "log_mean_exp_error",
    "pilot",
]

PILOT_GAIN = 0.5  # of the step sizes' adaptation; the density, and with it the best step size, changes all the time

Progress = Callable[[], None]
"""Called after every transition of the chains."""


def geometric_schedule(num_temperatures: int, scale: float) -> Tensor:
    """β_t = ((1 + a)^(t/T) − 1)/a, (T + 1,) float64: geometric above 1/a, and equal steps below, where p_β is p_0.

    For a target much narrower than the reference. The precisions of Gaussians along the path are 1 + β λ, and p_β
    changes by the same amount in each step if log(1 + β λ) does.

    Args:
        num_temperatures: T ≥ 1.
        scale: a > 0, of the order of λ: for instance the standard deviation of ℓ under the reference.

    Source: Gelman and Meng 1998, *Simulating normalizing constants*, for the optimal path's constant speed.
    """
    if num_temperatures < 1:
        raise ValueError(f"num_temperatures: expected at least 1, got {num_temperatures}")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale: expected a number above 0, got {scale}")
    betas = torch.expm1(torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64) * math.log1p(scale)) / scale
    betas[-1] = 1  # but for rounding
    return betas


@dataclass(frozen=True)
class Path:
    """The geometric path from a reference to a target, p_β(x) ∝ reference(x)^(1−β) target(x)^β.

    With r = log reference and ℓ = log target − log reference, log p_β = r + β ℓ: only the factor of ℓ changes.

    Args:
        reference: log-density, up to a constant, (n, *event) → (n,), whose draws are exact. It is evaluated once more
            than the target, and should be the cheap one of the two.
        target: log-density, up to a constant, (n, *event) → (n,).
        schedule: β_0 = 0 < … < β_T = 1, (T + 1,).

    Raises:
        ValueError: the schedule does not increase from 0 to 1.
    """

    reference: LogDensity
    target: LogDensity
    schedule: Tensor

    def __post_init__(self) -> None:
        betas = self.schedule
        if betas.dim() != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not (betas.diff() > 0).all():
            raise ValueError(f"schedule: expected numbers that increase from 0 to 1, got {betas.tolist()}")

    def log_density(self, beta: float) -> LogDensity:
        """log p_β, up to a constant."""
        return lambda x: (1 - beta) * self.reference(x) + beta * self.target(x)


class _Parts:
    """r and ℓ of chains and their gradients, taken from their state under p_β, so that ℓ is not evaluated again.

    The reference is evaluated, and ℓ = (log p_β − r)/β.
    """

    def __init__(self, path: Path, beta: float, state: State):
        self.position, value, gradient, _ = state
        self.r, self.r_gradient = evaluate(path.reference, self.position)
        self.ratio = (value - self.r) / beta
        self.ratio_gradient = (gradient - self.r_gradient) / beta

    def at(self, beta: float, step_size: Tensor) -> State:
        """The chains' state under p_β."""
        value, gradient = self.r + beta * self.ratio, self.r_gradient + beta * self.ratio_gradient
        return State(self.position, value, gradient, step_size)


def pilot(
    kernel: Kernel,
    path: Path,
    position: Tensor,
    *,
    group_size: int = 1,
    rng: Rng,
    progress: Progress | None = None,
) -> Tensor:
    """Step sizes for each temperature 0 < β < 1, (T − 1, n / group_size), found by chains that serve nothing else.

    A step size that depended on a weighted chain's own state would not leave p_β invariant, and the weights would be
    biased. Here they depend on other chains, with other random numbers, and the weights are exact given them.

    Args:
        kernel: the transition; its step size is where the adaptation begins. One without a target acceptance keeps it.
        path: from the reference to the target.
        position: draws from the reference, (n, *event), one for each pilot chain.
        group_size: neighbouring chains that share a step size, adapted by their mean acceptance; it divides n.
        rng: the random generator, on the device of ``position``; the weighted chains use its later numbers, or another.
        progress: called after every transition.
    """
    betas = path.schedule.tolist()
    beta = betas[1]
    state = _begin(path, beta, position, kernel.step_size)
    step_size = state.step_size[::group_size]
    found = []
    for new in betas[1:-1]:
        state = _Parts(path, beta, state).at(new, step_size.repeat_interleave(group_size))
        state, info = kernel.step(path.log_density(new), state, rng)
        rate = info.acceptance_rate.view(-1, group_size).mean(1)
        step_size = adapt(kernel, step_size, rate, gain=PILOT_GAIN)
        found.append(step_size)
        beta = new
        if progress:
            progress()
    return torch.stack(found) if found else step_size.new_empty(0, len(step_size))


def anneal_forward(
    kernel: Kernel,
    path: Path,
    position: Tensor,
    *,
    step_sizes: Tensor,
    rng: Rng,
    progress: Progress | None = None,
) -> Tensor:
    """Log weights of chains that go from the reference to the target, (n,) float64.

        x_0 ~ reference;   x_t ~ a transition from x_{t−1} that leaves p_{β_t} invariant, t = 1 … T − 1
        log w = Σ_{t=1}^{T} (β_t − β_{t−1}) ℓ(x_{t−1}),   E[w] = Z_target / Z_reference

    By Jensen's inequality the log of a mean of weights is, in expectation, a **lower** bound of
    log Z_target / Z_reference.

    Args:
        kernel: MALA or HMC: the transition must leave the density invariant, which unadjusted Langevin does not.
        path: from the reference to the target.
        position: exact, independent draws from the reference, (n, *event).
        step_sizes: of each temperature 0 < β < 1 and each chain, (T − 1, n), as `pilot` finds them.
        rng: the random generator, on the device of ``position``.
        progress: called after every transition.

    Raises:
        ValueError: the step sizes have another shape, or a density is NaN at a draw.

    Source: Neal 2001, *Annealed importance sampling*.
    """
    return _anneal(kernel, path, path.schedule.tolist(), position, step_sizes, rng, progress)


def anneal_reverse(
    kernel: Kernel,
    path: Path,
    position: Tensor,
    *,
    step_sizes: Tensor,
    rng: Rng,
    progress: Progress | None = None,
) -> Tensor:
    """Log weights of chains that go from the target to the reference, (n,) float64; arguments as `anneal_forward`.

        E[w] = Z_reference / Z_target

    Minus the log of a mean of these weights is in expectation an **upper** bound of log Z_target / Z_reference,
    if ``position`` are exact draws from the target. They need not be independent of one another.

    Source: Grosse, Ghahramani and Adams 2015, *Sandwiching the marginal likelihood using bidirectional Monte Carlo*.
    """
    return _anneal(kernel, path, path.schedule.flip(0).tolist(), position, step_sizes.flip(0), rng, progress)


def _anneal(
    kernel: Kernel,
    path: Path,
    betas: list[float],
    position: Tensor,
    step_sizes: Tensor,
    rng: Rng,
    progress: Progress | None,
) -> Tensor:
    """Σ_t (b_t − b_{t−1}) ℓ(x_{t−1}) along temperatures b_0, …, b_T, with transitions under all but the ends."""
    if step_sizes.shape != (len(betas) - 2, len(position)):
        expected = (len(betas) - 2, len(position))
        raise ValueError(f"step_sizes: expected shape {expected}, got {tuple(step_sizes.shape)}")
    beta = betas[0] or betas[1]  # under p_0 the state says nothing of ℓ
    state = _begin(path, beta, position, kernel.step_size)
    log_weights = torch.zeros_like(state.log_density, dtype=torch.float64)
    for t, (old, new) in enumerate(pairwise(betas)):
        parts = _Parts(path, beta, state)
        log_weights += (new - old) * parts.ratio
        if t < len(step_sizes):
            state, _ = kernel.step(path.log_density(new), parts.at(new, step_sizes[t]), rng)
            beta = new
            if progress:
                progress()
    return log_weights


def _begin(path: Path, beta: float, position: Tensor, step_size: float | Tensor) -> State:
    state = init(path.log_density(beta), position, step_size)
    if state.log_density.isnan().any():
        raise ValueError("path: a log-density is NaN where a chain starts")
    return state


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """log (1/k) Σ_j w_j over the last dimension, (..., k) → (...); never the mean of log weights, which is lower."""
    return log_weights.logsumexp(-1) - math.log(log_weights.shape[-1])


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(Σ_j w_j)² / Σ_j w_j² over the last dimension, from 1 (one weight dominates) to k (all equal)."""
    return (2 * log_weights.logsumexp(-1) - (2 * log_weights).logsumexp(-1)).exp()


def log_mean_exp_error(log_weights: Tensor) -> Tensor:
    """The standard error of `log_mean_exp` by the jackknife, (..., k) → (...), k ≥ 2 independent weights.

        s² = (k − 1)/k Σ_j (L_j − L̄)²,   L_j: the estimate without weight j

    It is large where one weight dominates. The delta method's error is at most 1 there.
    """
    k = log_weights.shape[-1]
    if k < 2:
        raise ValueError(f"log_weights: expected at least 2, got {k}")
    nothing = torch.full_like(log_weights[..., :1], -math.inf)
    before = torch.cat([nothing, log_weights[..., :-1].logcumsumexp(-1)], -1)
    after = torch.cat([nothing, log_weights[..., 1:].flip(-1).logcumsumexp(-1)], -1).flip(-1)
    without = torch.logaddexp(before, after) - math.log(k - 1)
    return ((k - 1) * without.var(-1, correction=0)).sqrt()
