"""Diagnosis of a learned model by MCMC: whether its chains mix, where they go, and what can be concluded from them."""

from .agreement import LEVEL, Agreement, agreement
from .chains import ChainDraws, effective_sample_size, r_hat
from .descriptor import DescriptorDiagnosis, diagnose_descriptor
from .gap import Gap, energy_gap
from .generator import GeneratorDiagnosis, diagnose_generator
from .latent_prior import PriorChains, diagnose_prior
from .long_run import LongRun, Stein, stein
from .modes import OtherMode
from .prior import Aggregate, aggregate
from .recovery import RecoveryDiagnosis, diagnose_recovery
from .runs import diagnose
from .verdict import Distances, judge

__all__ = [
    "LEVEL",
    "Aggregate",
    "Agreement",
    "ChainDraws",
    "DescriptorDiagnosis",
    "Distances",
    "Gap",
    "GeneratorDiagnosis",
    "LongRun",
    "OtherMode",
    "PriorChains",
    "RecoveryDiagnosis",
    "Stein",
    "aggregate",
    "agreement",
    "diagnose",
    "diagnose_descriptor",
    "diagnose_generator",
    "diagnose_prior",
    "diagnose_recovery",
    "effective_sample_size",
    "energy_gap",
    "judge",
    "r_hat",
    "stein",
]
