"""log Z of an unnormalised density by annealed importance sampling, bounded from below and from above."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from .likelihood import LowerBound

__all__ = ["NormalizerBracket", "bracket_normalizer", "log_normalizer"]


class NormalizerBracket(NamedTuple):
    """Stochastic bounds of log Z, each with the standard error by the jackknife over chains, fields of shape ()."""

    lower: Tensor  # nats
    lower_error: Tensor
    upper: Tensor  # nats
    upper_error: Tensor
    effective_sample_size: Tensor  # of the weights of the lower bound, 1 to the number of chains


def log_normalizer(
    log_density: mcmc.LogDensity,
    reference: mcmc.LogDensity,
    draws: Tensor,
    *,
    num_temperatures: int,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> LowerBound:
    """log ∫ exp(log_density) − log ∫ exp(reference), in expectation a lower bound; fields of shape ().

    With a descriptor's log-density and the reference −‖Y‖²/2s² it is log Z(θ); with a learned prior's log-density of z
    and the normalised N(0, I) it is ``log_prior_normalizer`` of `log_likelihood`.

    Args:
        log_density: (n, *event) → (n,).
        reference: likewise.
        draws: exact, independent draws from the reference, (n, *event); a quarter of them are pilot chains.
        num_temperatures: T, as for `mcmc.geometric_schedule`.
        rng: on the draws' device.
        progress: called after every transition, of which there are 2 (T − 1).
    """
    chains = _Chains(log_density, reference, draws, num_temperatures, rng, None, progress)
    return LowerBound.of(chains.forward())


def bracket_normalizer(
    log_density: mcmc.LogDensity,
    reference: mcmc.LogDensity,
    draws: Tensor,
    ends: Tensor,
    *,
    num_temperatures: int,
    rng: torch.Generator,
    kernel: mcmc.Kernel | None = None,
    progress: Callable[[], None] | None = None,
) -> NormalizerBracket:
    """log ∫ exp(log_density) − log ∫ exp(reference) from both sides.

    The upper bound is one in expectation if ``ends`` are draws from the density. Of chains that have not reached it,
    the bracket is wide, or its sides are in the wrong order.

    Args:
        ends: draws from the density, (m, *event), m ≥ 2, in practice the ends of long chains.
        kernel: the transition, whose step size pilot chains adapt; None for MALA with the draws' standard deviation.
        progress: called after every transition, of which there are 3 (T − 1).

    The other arguments are those of `log_normalizer`.

    Source: Grosse, Ghahramani and Adams 2015, *Sandwiching the marginal likelihood using bidirectional Monte Carlo*.
    """
    chains = _Chains(log_density, reference, draws, num_temperatures, rng, kernel, progress)
    lower, reverse = LowerBound.of(chains.forward()), LowerBound.of(chains.reverse(ends))
    return NormalizerBracket(lower.value, lower.error, -reverse.value, reverse.error, lower.effective_sample_size)


class _Chains:
    """The path from the reference to the density, and the step sizes that pilot chains found for it."""

    def __init__(
        self,
        log_density: mcmc.LogDensity,
        reference: mcmc.LogDensity,
        draws: Tensor,
        num_temperatures: int,
        rng: torch.Generator,
        kernel: mcmc.Kernel | None,
        progress: Callable[[], None] | None,
    ):
        self.rng, self.progress = rng, progress
        num_pilots = max(len(draws) // 4, 2)
        pilots, self.draws = draws[:num_pilots], draws[num_pilots:]
        with torch.no_grad():
            ratio = (log_density(pilots) - reference(pilots)).double()
        scale = max(ratio.std().item(), 1e-6)  # a path's steps of β are geometric above its inverse
        self.path = mcmc.Path(reference, log_density, mcmc.geometric_schedule(num_temperatures, scale))
        self.kernel = kernel or mcmc.MALA(pilots.std().item())
        self.step_sizes = mcmc.pilot(self.kernel, self.path, pilots, group_size=num_pilots, rng=rng, progress=progress)

    def forward(self) -> Tensor:
        """Log weights of chains from the reference to the density."""
        steps = self.step_sizes.expand(-1, len(self.draws))
        return mcmc.anneal_forward(
            self.kernel, self.path, self.draws, step_sizes=steps, rng=self.rng, progress=self.progress
        )

    def reverse(self, ends: Tensor) -> Tensor:
        """Log weights of chains from the density to the reference."""
        steps = self.step_sizes.expand(-1, len(ends))
        return mcmc.anneal_reverse(self.kernel, self.path, ends, step_sizes=steps, rng=self.rng, progress=self.progress)
