"""A learned prior's chains: whether long ones mix, and whether samples are draws from what they draw from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import mcmc
from ..evaluation.likelihood import DrawPrior
from ..models import Generator
from ..processor import frozen
from ..rng import standard_normal
from .chains import R_HAT, effective_sample_size, gradients_per_step, r_hat, sample
from .prior import MAX_TESTED, Aggregate, aggregate

__all__ = ["PriorChains", "diagnose_prior", "judge_prior"]

NUM_CHAINS = 32
NUM_WARM_UP = 500
SPREAD = 2.0  # standard deviations of N(0, I), for overdispersed starts

DIFFER = 0.005
"""p-value, of the mean square or of the energy distance, below which samples count as different from long chains."""


@dataclass(frozen=True)
class PriorChains:
    """Long chains of a learned prior, and samples compared with them."""

    r_hat: float  # in the worst coordinate
    ess_per_1000_gradients: float  # in the worst coordinate
    step_size: float  # of MALA
    acceptance_rate: float
    samples: Aggregate  # against the long chains


def diagnose_prior(
    model: Generator,
    draw_prior: DrawPrior,
    *,
    num_draws: int = 500,
    rng: torch.Generator,
) -> tuple[PriorChains, Tensor]:
    """Runs long MALA chains of a learned prior from starts twice as wide as N(0, I), and compares samples with them.

    Args:
        model: the generator, whose prior is learned.
        draw_prior: number, rng → samples of z.
        num_draws: of each of the `NUM_CHAINS` chains.
        rng: on the model's device.

    Returns:
        what was found, and the chains' draws, (m, d), on the CPU.

    Raises:
        InputError: arviz is missing.
        ValueError: the model's prior is not learned.
    """
    if model.prior is None:
        raise ValueError("model: expected a generator with a LatentPrior, got one with N(0, I)")
    drawn = draw_prior(MAX_TESTED, rng)
    starts = SPREAD * standard_normal(drawn.new_empty(NUM_CHAINS, 1, model.latent_dim), rng)
    kernel = mcmc.MALA(0.4)
    with frozen(model.prior):
        chains, step_size = sample(
            kernel, model.prior.log_density, starts, num_warm_up=NUM_WARM_UP, num_draws=num_draws, rng=rng
        )
    pool = chains.positions.flatten(0, 2)
    on_cpu = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng, device=rng.device)))
    found = PriorChains(
        r_hat=r_hat(chains.positions)[0],
        ess_per_1000_gradients=1000
        * effective_sample_size(chains.positions)[0]
        / (NUM_CHAINS * num_draws * gradients_per_step(kernel)),
        step_size=float(step_size),
        acceptance_rate=float(chains.acceptance_rate.mean()),
        samples=aggregate(drawn, prior=pool, rng=on_cpu),
    )
    return found, pool


def judge_prior(found: PriorChains) -> tuple[str, str]:
    """The verdict on a learned prior's chains in words, and its reason."""
    samples = found.samples
    if not found.r_hat < R_HAT:
        verdict = "the prior's long chains do not mix"
    elif min(samples.mean_square_p, samples.energy_p) >= DIFFER:
        verdict = "samples are draws from the learned prior"
    else:
        verdict = "samples are not draws from the learned prior: chains that are so short differ from long ones"
    reason = (
        f"long chains of the prior: R-hat {found.r_hat:.3f} (mixing: below {R_HAT:g}), "
        f"{found.ess_per_1000_gradients:.0f} effective draws per 1000 gradients; {samples.num} samples have "
        f"mean z² {samples.mean_square_all:.2f}, {samples.prior_mean_square:.2f} in the long chains "
        f"(p = {samples.mean_square_p:.3f}), and energy distance {samples.energy_distance:.3f} to these "
        f"(p = {samples.energy_p:.3f}; draws from the prior: both at least {DIFFER:g})"
    )
    return verdict, reason
