"""Markov chain Monte Carlo for any log-density: kernels, loops over steps, step-size adaptation, and chains."""

from .adaptation import Stability, adapt, stability, warm_up
from .annealing import (
    Path,
    anneal_forward,
    anneal_reverse,
    effective_sample_size,
    geometric_schedule,
    log_mean_exp,
    log_mean_exp_error,
    pilot,
)
from .chains import (
    Chains,
    ColdChains,
    PersistentChains,
    WarmChains,
    geometric_mean,
    mean_image,
    reference_noise,
    uniform_noise,
)
from .hmc import HMC, leapfrog
from .kernel import Info, Kernel, LogDensity, Preconditioner, State, draws, hold, init, run
from .langevin import MALA, Langevin
from .replay import Replayed

__all__ = [
    "HMC",
    "MALA",
    "Chains",
    "ColdChains",
    "Info",
    "Kernel",
    "Langevin",
    "LogDensity",
    "Path",
    "PersistentChains",
    "Preconditioner",
    "Replayed",
    "Stability",
    "State",
    "WarmChains",
    "adapt",
    "anneal_forward",
    "anneal_reverse",
    "draws",
    "effective_sample_size",
    "geometric_mean",
    "geometric_schedule",
    "hold",
    "init",
    "leapfrog",
    "log_mean_exp",
    "log_mean_exp_error",
    "mean_image",
    "pilot",
    "reference_noise",
    "run",
    "stability",
    "uniform_noise",
    "warm_up",
]
