"""Effective draws per gradient evaluation: MALA, and unadjusted Langevin at its largest step size of bounded bias."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.diagnostics.chains import effective_sample_size, gradients_per_step, sample
from anasyn.diagnostics.modes import around
from anasyn.models import Generator
from anasyn.processor import frozen
from quadrature import Table, Variance, bias_of, tabulate, unadjusted_covariance, unadjusted_ess

__all__ = ["Comparison", "compare_kernels", "ess_per_gradient"]

NUM_CHAINS = 4
FRACTIONS = tuple(0.95 * 2 ** (-k / 6) for k in range(25))  # of the stability limit, to 1/17 of it


@dataclass(frozen=True)
class Comparison:
    """The comparison on one image's posterior. ESS is that of the worst coordinate of z."""

    name: str
    mala_step_size: float
    mala_ess_per_gradient: float
    mala_bias: float  # in variance, against quadrature: Monte Carlo error only
    unadjusted_step_size: float  # the largest of the grid whose bias is within the bound
    unadjusted_bias: float  # in variance at stationarity, of the worst direction or coordinate
    unadjusted_ess_per_gradient: float
    stability_limit: float  # 2/√λ_max
    ratio: float  # of the two ESS per gradient; NaN if no step size of the grid satisfies the bound


def ess_per_gradient(
    model: Generator,
    images: Tensor,
    z: Tensor,
    kernel: mcmc.Kernel,
    *,
    num_steps: int = 400,
    num_warm_up: int = 60,
    rng: torch.Generator,
) -> tuple[float, ...]:
    """For each image, the effective draws of the worst coordinate of z per gradient evaluation.

    Four chains an image start around z, one posterior standard deviation away, and are warmed up, during which an
    adjusted kernel adapts its step sizes. Only the steps after that are counted.

    Args:
        model: the generator.
        images: Y, (n, *event) in [−1, 1], float.
        z: inferred latent factors, (n, d).
        kernel: the transition; its step size a number or (n,).
        num_steps: of each chain.
        num_warm_up: transitions before these.
        rng: on the images' device.

    Raises:
        InputError: arviz is missing.
    """
    draws, _ = _run(model, images, z, kernel, num_warm_up, num_steps, rng)
    evaluations = NUM_CHAINS * num_steps * gradients_per_step(kernel)
    return tuple(value / evaluations for value in effective_sample_size(draws))


def compare_kernels(
    model: Generator,
    images: Tensor,
    z: Tensor,
    names: Sequence[str],
    *,
    bias: float = 0.05,
    of: Variance = "every direction",
    num_steps: int = 1000,
    rng: torch.Generator,
) -> list[Comparison]:
    """ESS per gradient of MALA, with step sizes adapted by warm-up, and of unadjusted Langevin at bounded bias.

    The unadjusted kernel's step size is the largest of a grid at which its stationary variance is within ``bias`` of
    the posterior's. Its variance and effective draws are computed by quadrature over a table of the posterior around
    the mode, without Monte Carlo error; MALA's are those of four chains on the model itself. The ratio does not take
    into account that the unadjusted draws are biased, by up to ``bias``, and MALA's are not.

    Args:
        model: the generator, of d = 2.
        images: Y, (n, *event) in [−1, 1], float.
        z: inferred latent factors, (n, 2).
        names: of the images.
        bias: bound on |variance / true variance − 1|.
        of: the variances that are bounded: those of every direction of z, of which the stiffest is decisive, or those
            of its coordinates, which mostly lie along the softest direction and allow larger steps.
        num_steps: of each chain.
        rng: on the images' device.

    Raises:
        ValueError: d is not 2.
        InputError: arviz is missing.
    """
    if z.shape[1] != 2:
        raise ValueError(f"z: expected two coordinates, got {z.shape[1]}")
    mala, found = _run(model, images, z, mcmc.MALA(0.1), 100, num_steps, rng)
    with frozen(model):
        limit = mcmc.stability(lambda position: model.log_joint(position, images), z, rng=rng).limit
    step_sizes, biases, truths, unadjusted = [], [], [], []
    for i in range(len(images)):
        draws = mala[:, :, i].flatten(0, 1).double()
        table = _table(model, images[i], draws)
        truths.append(table.covariance())
        step_size, worst = _largest_within(table, bias, float(limit[i]), of)
        step_sizes.append(step_size)
        biases.append(worst)
        unadjusted.append(unadjusted_ess(table, step_size) if math.isfinite(step_size) else math.nan)
    adjusted = [value / (NUM_CHAINS * num_steps) for value in effective_sample_size(mala)]
    return [
        Comparison(
            name=names[i],
            mala_step_size=float(found[i]),
            mala_ess_per_gradient=adjusted[i],
            mala_bias=bias_of(mala[:, :, i].flatten(0, 1).double().T.cov(), truths[i], of),
            unadjusted_step_size=step_sizes[i],
            unadjusted_bias=biases[i],
            unadjusted_ess_per_gradient=unadjusted[i],
            stability_limit=float(limit[i]),
            ratio=adjusted[i] / unadjusted[i],
        )
        for i in range(len(images))
    ]


def _table(model: Generator, image: Tensor, draws: Tensor) -> Table:
    """The posterior of one image around the mode of its draws, on a grid that is fine enough for its step sizes."""
    covariance = draws.T.cov()
    spacing = 0.3 * float(torch.linalg.eigvalsh(covariance)[0]) ** 0.5

    def log_posterior(position: Tensor) -> Tensor:
        joint = model.log_joint(position.to(image), image.expand(len(position), *image.shape))
        return joint.double()

    with frozen(model):
        return tabulate(log_posterior, draws.mean(0), covariance, spacing)


def _largest_within(table: Table, bias: float, limit: float, of: Variance) -> tuple[float, float]:
    """The largest step size of the grid that satisfies the bound, and its bias; NaN if none does.

    By bisection, since the bias grows with the step size.
    """
    low, high = 0, len(FRACTIONS) - 1
    found = (math.nan, math.nan)
    truth = table.covariance()
    while low <= high:
        middle = (low + high) // 2
        step_size = FRACTIONS[middle] * limit
        worst = bias_of(unadjusted_covariance(table, step_size), truth, of)
        if worst < bias:
            found, high = (step_size, worst), middle - 1
        else:
            low = middle + 1
    return found


def _run(
    model: Generator,
    images: Tensor,
    z: Tensor,
    kernel: mcmc.Kernel,
    num_warm_up: int,
    num_draws: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    with frozen(model):
        repeated = images.repeat(NUM_CHAINS, *[1] * (images.dim() - 1))
        draws, found = sample(
            kernel,
            lambda position: model.log_joint(position, repeated),
            around(model, z, num_chains=NUM_CHAINS, spread=1.0, rng=rng),
            num_warm_up=num_warm_up,
            num_draws=num_draws,
            rng=rng,
        )
    return draws.positions, found
