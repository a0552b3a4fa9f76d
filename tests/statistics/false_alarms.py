"""How often the suite of a right sampler would fail if its seeds were drawn again."""

from dataclasses import dataclass

import torch
from scipy import stats

from .adaptation import ADAPTED, INITIAL_STEPS
from .calibration import CALIBRATED
from .cases import CASES, GENERATORS, KERNELS
from .comparing import LEVEL, SIGMAS
from .joint import JOINT_KERNELS, draw_joint, joint_functionals
from .single import REPEATS, SINGLE


@dataclass(frozen=True)
class Family:
    """Comparisons of one kind: how many, and the chance that one is beyond its threshold in a single run."""

    comparisons: int
    single: float

    @property
    def rate(self) -> float:
        """Of a false alarm anywhere in the family, by Bonferroni's bound: both of two independent runs must fail."""
        return self.comparisons * self.single**2


ADAPTATION_MARGIN = (
    4.0  # standard deviations between the worst case's mean error and the tolerance of 0.03; measured: above 5
)


def families() -> dict[str, Family]:
    """All statistical comparisons of right samplers, counted from the tables that the tests run through."""
    dims = sum(case.dim for case in CASES.values())
    beyond = 2 * stats.norm.sf(SIGMAS)
    quantities = sum(GENERATORS[generator]().latent_dim + 2 for generator, _ in CALIBRATED)
    functionals = len(joint_functionals(*draw_joint(2, torch.Generator())))
    return {
        "moments, quantiles and log-density": Family(len(KERNELS) * (5 * dims + len(CASES)), beyond),
        "Kolmogorov-Smirnov": Family(2 * dims, LEVEL),
        "simulation-based calibration": Family(quantities, LEVEL),
        "Geweke's joint test": Family(functionals * (len(JOINT_KERNELS) + 1), beyond),
        "independent chains": Family(REPEATS * (2 + 3 + 3), beyond),
        "step sizes and temperatures": Family(3 * len(SINGLE) + 3, beyond),
        "adaptation": Family(len(CASES) * len(ADAPTED) * len(INITIAL_STEPS), 2 * stats.norm.sf(ADAPTATION_MARGIN)),
    }


def false_alarm_rate() -> float:
    return sum(family.rate for family in families().values())
