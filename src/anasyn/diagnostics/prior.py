"""A test of whether the inferred z are distributed as the model states: N(0, I), or as its learned prior."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..evaluation import evenly
from ..rng import standard_normal

__all__ = ["MAX_TESTED", "SIGNIFICANCE", "Aggregate", "aggregate"]

Finding = Literal["agrees with", "spreads beyond", "is concentrated within", "differs in shape from"]

SIGNIFICANCE = 0.05
"""p-value below which the z count as different from their prior."""

MAX_TESTED = 256  # z
NUM_REFERENCE = 1000
NUM_NULL = 999


@dataclass(frozen=True)
class Aggregate:
    """The inferred z of all images, or other z, compared with their prior."""

    num: int  # z that were tested
    mean_square: tuple[float, ...]  # per dimension
    mean_square_all: float  # over all dimensions
    mean_square_p: float  # two-sided
    prior_mean_square: float  # over all dimensions, 1 for N(0, I)
    energy_distance: float  # of the sample: n draws from the prior give about E‖z − z'‖/n, not 0
    energy_p: float
    finding: Finding


def aggregate(z: Tensor, *, prior: Tensor | None = None, rng: torch.Generator) -> Aggregate:
    """Tests z_i ~ p(z), i = 1 … n, by their energy distance from the prior p and by their mean square.

        2 E‖z − x‖ − E‖z − z'‖ − E‖x − x'‖,   x, x' ~ p(z)

    If the model fits, one draw from the posterior of each image gives n draws from the prior. The p-values are Monte
    Carlo and exact for any n: (1 + the number of sets, among `NUM_NULL` of n draws from p, that are at least as
    extreme) / (1 + `NUM_NULL`). A few images have little power: for eleven in two dimensions and p = N(0, I), only a
    mean square outside about 0.5 … 1.7 is significant.

    Args:
        z: inferred latent factors, (n, d); at most `MAX_TESTED`, evenly spaced, are tested.
        prior: many draws from p, (m, d), from which sets are chosen at random; None for p = N(0, I).
        rng: on the CPU.

    Source: Székely and Rizzo 2013.
    """
    z = z.detach().double().cpu()
    z = z[evenly(len(z), MAX_TESTED)]
    n, d = z.shape
    pool = prior.detach().double().cpu() if prior is not None else None

    def draw(num: int) -> Tensor:
        if pool is None:
            return standard_normal(z.new_empty(num, d), rng)
        return pool[torch.randint(len(pool), (num,), generator=rng)]

    reference = draw(NUM_REFERENCE)
    among_reference = torch.cdist(reference, reference).mean()

    def energy(sample: Tensor) -> float:
        return float(2 * torch.cdist(sample, reference).mean() - torch.cdist(sample, sample).mean() - among_reference)

    found, square = energy(z), float((z**2).mean())
    expected = 1.0 if pool is None else float((pool**2).mean())
    nulls = [draw(n) for _ in range(NUM_NULL)]
    squares = torch.tensor([(null**2).mean() for null in nulls])
    distances = torch.tensor([energy(null) for null in nulls])
    energy_p = _p_value(int((distances >= found).sum()))
    above, below = _p_value(int((squares >= square).sum())), _p_value(int((squares <= square).sum()))
    square_p = min(1.0, 2 * min(above, below))
    finding: Finding
    if min(energy_p, square_p) * 2 >= SIGNIFICANCE:  # two tests: Bonferroni
        finding = "agrees with"
    elif square_p * 2 >= SIGNIFICANCE:
        finding = "differs in shape from"
    else:
        finding = "spreads beyond" if square > expected else "is concentrated within"
    mean_square = tuple((z**2).mean(0).tolist())
    return Aggregate(n, mean_square, square, square_p, expected, found, energy_p, finding)


def _p_value(at_least: int) -> float:
    return (1 + at_least) / (1 + NUM_NULL)
