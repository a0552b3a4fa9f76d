"""What a gradient evaluation buys: MALA against unadjusted Langevin dynamics at the largest step of bounded bias."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..mcmc.kernel import evaluate
from ..models import Generator
from ..processor import frozen
from .chains import effective_sample_size, gradients_per_step, sample
from .modes import around

__all__ = ["Comparison", "Table", "compare_kernels", "ess_per_gradient", "tabulate", "unadjusted_covariance"]

Variance = Literal["every direction", "coordinates"]

NUM_CHAINS = 4
FRACTIONS = tuple(0.95 * 2 ** (-k / 6) for k in range(25))  # of the stability limit, to 1/17 of it
EXTENT = 6.0  # standard deviations that a table reaches to either side
MOST_POINTS = 6400  # of a table: the transition matrix has that many squared entries


class Table(NamedTuple):
    """A log-density of two variables and its gradient on a regular grid of squares."""

    points: Tensor  # (m, 2)
    log_density: Tensor  # (m,)
    gradient: Tensor  # (m, 2)
    spacing: float

    def covariance(self) -> Tensor:
        """Of the density, (2, 2), by quadrature: exact to rounding once the spacing is below the density's width."""
        return _covariance(self.points, (self.log_density - self.log_density.max()).exp())


@dataclass(frozen=True)
class Comparison:
    """One image's row. ESS is that of the worst coordinate."""

    name: str
    mala_step_size: float
    mala_ess_per_gradient: float
    mala_bias: float  # in variance, against quadrature: Monte Carlo error only
    unadjusted_step_size: float  # the largest of the grid whose bias is within the bound
    unadjusted_bias: float  # in variance at stationarity, of the worst direction or coordinate
    unadjusted_ess_per_gradient: float
    stability_limit: float  # 2/√λ_max
    ratio: float  # of the two ESS per gradient; not a number where no step of the grid keeps to the bound


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
    """Of each image the effective draws of its worst coordinate of z that a gradient evaluation gives.

    Four chains an image start around z, one posterior standard deviation away, and are warmed up; an adjusted
    kernel finds its step sizes on the way. Only the steps after that are counted.

    Args:
        model: the generator.
        images: Y, (n, *event) in [−1, 1], float.
        z: inferred latent factors, (n, d).
        kernel: the transition; its step size a number or (n,).
        num_steps: of each chain.
        num_warm_up: transitions before.
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
    """ESS per gradient of MALA, its step sizes found by warm-up, and of unadjusted Langevin at bounded bias.

    The unadjusted kernel's step is the largest of a grid at which its stationary variance is within ``bias`` of the
    posterior's. Its variance and its effective draws are by quadrature over a table of the posterior around the
    mode, so that no Monte Carlo error decides; MALA's are those of four chains on the model itself. That unadjusted
    draws are biased still, by up to ``bias``, and MALA's not, is no part of the ratio.

    Args:
        model: the generator, of d = 2.
        images: Y, (n, *event) in [−1, 1], float.
        z: inferred latent factors, (n, 2).
        names: of the images.
        bias: bound on |variance / true variance − 1|.
        of: the variances that are bounded: of every direction of z, whose stiffest decides; or of its coordinates,
            which are mostly variance along the softest, so that larger steps are let through.
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
            mala_bias=_bias(mala[:, :, i].flatten(0, 1).double().T.cov(), truths[i], of),
            unadjusted_step_size=step_sizes[i],
            unadjusted_bias=biases[i],
            unadjusted_ess_per_gradient=unadjusted[i],
            stability_limit=float(limit[i]),
            ratio=adjusted[i] / unadjusted[i],
        )
        for i in range(len(images))
    ]


def tabulate(log_density: mcmc.LogDensity, centre: Tensor, covariance: Tensor, spacing: float) -> Table:
    """Tabulates a log-density of two variables around a mode, as far as `EXTENT` standard deviations.

    Args:
        log_density: (m, 2) → (m,).
        centre: of the mode, (2,).
        covariance: its shape, (2, 2).
        spacing: of the grid.

    Raises:
        ValueError: that would take more than `MOST_POINTS` points.
    """
    squares, axes = torch.linalg.eigh(covariance)
    half = [max(2, math.ceil(EXTENT * float(square) ** 0.5 / spacing)) for square in squares]
    if (2 * half[0] + 1) * (2 * half[1] + 1) > MOST_POINTS:
        raise ValueError(f"spacing: {spacing:g} needs more than {MOST_POINTS} points for the covariance {covariance}")
    ticks = [spacing * torch.arange(-h, h + 1, dtype=covariance.dtype) for h in half]
    points = centre + torch.cartesian_prod(*ticks) @ axes.T
    values, gradients = zip(*(evaluate(log_density, part) for part in points.split(256)), strict=True)
    return Table(points, torch.cat(values), torch.cat(gradients), spacing)


def unadjusted_covariance(table: Table, step_size: float, *, tolerance: float = 1e-4) -> Tensor:
    """The covariance (2, 2) of unadjusted Langevin's stationary density, biased by O(δ²).

        q(y|x) = N(y; x + (δ²/2) ∂ log p(x)/∂x, δ² I)   on the table's points;   π = π q by power iteration

    The sum over points is exact for δ above the spacing: its error is e^(−2π²δ²/h²). What a step takes out of the
    table returns at its nearest points.

    Args:
        table: of the density.
        step_size: δ.
        tolerance: relative change of the variances in one relaxation time, at which iteration ends.
    """
    pi, _ = _stationary(table, step_size, tolerance)
    return _covariance(table.points, pi.double())


def unadjusted_ess(table: Table, step_size: float) -> float:
    """Effective draws a step of unadjusted Langevin at stationarity, of the worst coordinate, by the same sums.

        1/(1 + 2 Σ_t ρ_t),   ρ_t = corr(x_0, x_t)

    Exact where a chain's estimate, whose effective draws are few, would be off by a third.
    """
    pi, transition = _stationary(table, step_size, 1e-4)
    points = table.points.float()
    centred = points - pi @ points
    ahead, variance = centred, pi @ centred**2
    time = torch.ones(2)
    while True:
        ahead = transition @ ahead  # E[x_t | x_0], which falls to 0
        correlation = pi @ (centred * ahead) / variance
        time += 2 * correlation.cpu()
        if correlation.abs().max() < 1e-3:
            return float(1 / time.max())


def _stationary(table: Table, step_size: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """The stationary probabilities of the table's points, (m,), and the transition matrix, (m, m)."""
    mean = table.points + 0.5 * step_size**2 * table.gradient
    transition = (-(torch.cdist(mean, table.points) ** 2) / (2 * step_size**2)).softmax(1).float()
    pi = (table.log_density - table.log_density.max()).exp()
    pi = (pi / pi.sum()).float()
    before = _covariance(table.points, pi.double())
    steps = max(10, math.ceil(2 * float(torch.linalg.eigvalsh(before)[1]) / step_size**2))  # of one relaxation time
    for _ in range(50):
        for _ in range(steps):
            pi = pi @ transition
        pi = pi / pi.sum()  # float32 loses a little in every sum
        after = _covariance(table.points, pi.double())
        if _bias(after, before) < tolerance:
            break
        before = after
    return pi, transition


def _table(model: Generator, image: Tensor, draws: Tensor) -> Table:
    """The posterior of one image around the mode its draws are from, as finely as its steps need."""
    covariance = draws.T.cov()
    spacing = 0.3 * float(torch.linalg.eigvalsh(covariance)[0]) ** 0.5

    def log_posterior(position: Tensor) -> Tensor:
        joint = model.log_joint(position.to(image), image.expand(len(position), *image.shape))
        return joint.double()

    with frozen(model):
        return tabulate(log_posterior, draws.mean(0), covariance, spacing)


def _largest_within(table: Table, bias: float, limit: float, of: Variance) -> tuple[float, float]:
    """The largest step of the grid that keeps to the bound, and its bias; not numbers where none does.

    By bisection: the bias grows with the step.
    """
    low, high = 0, len(FRACTIONS) - 1
    found = (math.nan, math.nan)
    truth = table.covariance()
    while low <= high:
        middle = (low + high) // 2
        step_size = FRACTIONS[middle] * limit
        worst = _bias(unadjusted_covariance(table, step_size), truth, of)
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


def _covariance(points: Tensor, weights: Tensor) -> Tensor:
    weights = weights / weights.sum()
    centred = points - weights @ points
    return (weights[:, None] * centred).T @ centred


def _bias(covariance: Tensor, truth: Tensor, of: Variance = "every direction") -> float:
    """The largest |variance / true variance − 1|."""
    if of == "coordinates":
        return float((covariance.diagonal() / truth.diagonal() - 1).abs().max())
    factor = torch.linalg.cholesky(truth)
    whitened = torch.linalg.solve_triangular(factor, covariance, upper=False)
    whitened = torch.linalg.solve_triangular(factor, whitened.T, upper=False)
    return float((torch.linalg.eigvalsh(whitened) - 1).abs().max())
