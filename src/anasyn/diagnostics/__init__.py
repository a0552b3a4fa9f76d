"""What chains say of a learned model: whether they mix, where they go, and what the model may be called."""

from .chains import ChainDraws, effective_sample_size, r_hat
from .descriptor import DescriptorDiagnosis, LongRun, Stein, diagnose_descriptor, stein
from .gap import Gap, energy_gap
from .generator import GeneratorDiagnosis, diagnose_generator
from .kernels import Comparison, compare_kernels, ess_per_gradient
from .modes import OtherMode
from .prior import Aggregate, aggregate
from .runs import diagnose
from .verdict import Distances, judge

__all__ = [
    "Aggregate",
    "ChainDraws",
    "Comparison",
    "DescriptorDiagnosis",
    "Distances",
    "Gap",
    "GeneratorDiagnosis",
    "LongRun",
    "OtherMode",
    "Stein",
    "aggregate",
    "compare_kernels",
    "diagnose",
    "diagnose_descriptor",
    "diagnose_generator",
    "effective_sample_size",
    "energy_gap",
    "ess_per_gradient",
    "judge",
    "r_hat",
    "stein",
]
