"""Markov chain Monte Carlo for any log-density: kernels, loops over steps, step-size adaptation, and chains."""

from .adaptation import Stability, adapt, stability, warm_up
from .chains import Chains, ColdChains, PersistentChains, WarmChains, mean_image, reference_noise, uniform_noise
from .hmc import HMC, leapfrog
from .kernel import Info, Kernel, LogDensity, State, draws, init, run
from .langevin import MALA, Langevin

__all__ = [
    "HMC",
    "MALA",
    "Chains",
    "ColdChains",
    "Info",
    "Kernel",
    "Langevin",
    "LogDensity",
    "PersistentChains",
    "Stability",
    "State",
    "WarmChains",
    "adapt",
    "draws",
    "init",
    "leapfrog",
    "mean_image",
    "reference_noise",
    "run",
    "stability",
    "uniform_noise",
    "warm_up",
]
