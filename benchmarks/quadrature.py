"""Unadjusted Langevin dynamics on a density of two variables, computed by sums over a grid instead of sampling."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc.kernel import evaluate

__all__ = ["Table", "Variance", "bias_of", "tabulate", "unadjusted_covariance", "unadjusted_ess"]

Variance = Literal["every direction", "coordinates"]

EXTENT = 6.0  # standard deviations that a table extends to either side of the mode
MOST_POINTS = 6400  # of a table; the transition matrix has the square of this number of entries


class Table(NamedTuple):
    """A log-density of two variables and its gradient on a regular grid of squares."""

    points: Tensor  # (m, 2)
    log_density: Tensor  # (m,)
    gradient: Tensor  # (m, 2)
    spacing: float

    def covariance(self) -> Tensor:
        """The density's, (2, 2), by quadrature: exact to rounding if the spacing is below the density's width."""
        return _covariance(self.points, (self.log_density - self.log_density.max()).exp())


def tabulate(log_density: mcmc.LogDensity, centre: Tensor, covariance: Tensor, spacing: float) -> Table:
    """Tabulates a log-density of two variables around a mode, as far as `EXTENT` standard deviations.

    Args:
        log_density: (m, 2) → (m,).
        centre: the mode, (2,).
        covariance: an estimate of the density's covariance around the mode, (2, 2).
        spacing: of the grid.

    Raises:
        ValueError: the grid would have more than `MOST_POINTS` points.
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

    The sum over points is exact for δ above the spacing: its error is e^(−2π²δ²/h²). Probability
    that would leave the table stays in it, at the points nearest to the proposal's mean.

    Args:
        table: the tabulated density.
        step_size: δ.
        tolerance: iteration ends when the variances change relatively by less in one relaxation time.
    """
    pi, _ = _stationary(table, step_size, tolerance)
    return _covariance(table.points, pi.double())


def unadjusted_ess(table: Table, step_size: float) -> float:
    """Effective draws per step of unadjusted Langevin at stationarity, of the worst coordinate, by the same sums.

        1/(1 + 2 Σ_t ρ_t),   ρ_t = corr(x_0, x_t)

    An estimate from chains, which have few effective draws here, would be wrong by a third.
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
        pi = pi / pi.sum()  # corrects the rounding errors of float32
        after = _covariance(table.points, pi.double())
        if bias_of(after, before) < tolerance:
            break
        before = after
    return pi, transition


def _covariance(points: Tensor, weights: Tensor) -> Tensor:
    weights = weights / weights.sum()
    centred = points - weights @ points
    return (weights[:, None] * centred).T @ centred


def bias_of(covariance: Tensor, truth: Tensor, of: Variance = "every direction") -> float:
    """The largest |variance / true variance − 1| over all directions or over the coordinates."""
    if of == "coordinates":
        return float((covariance.diagonal() / truth.diagonal() - 1).abs().max())
    factor = torch.linalg.cholesky(truth)
    whitened = torch.linalg.solve_triangular(factor, covariance, upper=False)
    whitened = torch.linalg.solve_triangular(factor, whitened.T, upper=False)
    return float((torch.linalg.eigvalsh(whitened) - 1).abs().max())
