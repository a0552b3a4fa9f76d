"""Moments, quantiles, log-density and distribution of the table's cases."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from anasyn import mcmc
from anasyn.rng import derive

from .cases import CASES, KERNELS, Case
from .comparing import MIN_ESS, SIGMAS, mean_error, strength_of_p, twice

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next version at import
    import arviz


@dataclass(frozen=True)
class Size:
    """How much is drawn: chains, draws of each, and the transitions before, in draws."""

    chains: int = 200
    draws: int = 100
    burn_in: int = 20


def sample(case: Case, name: str, size: Size, seed: int) -> np.ndarray:
    """(draws, chains, d), every ``thin``-th transition."""
    transition, thin = case.kernel(name), case.thin[KERNELS.index(name)]
    start = case.start(size.chains, derive(seed, "start"))
    if not case.exact_start:
        rng = derive(seed, "burn-in")
        start = mcmc.run(transition, case.log_density, start, num_steps=size.burn_in * thin, rng=rng)[0].position
    rng = derive(seed, "draws")
    return mcmc.draws(transition, case.log_density, start, num_draws=size.draws, rng=rng, thin=thin).numpy()


def functional_names(dim: int) -> np.ndarray:
    kinds = ("mean", "variance", "10 % quantile", "median", "90 % quantile")
    return np.array([f"{kind} of coordinate {j}" for kind in kinds for j in range(dim)] + ["log-density"])


def check_moments(case_name: str, name: str, size: Size = Size(), seed: int = 0) -> None:
    """Mean, variance, quantiles and log-density of a case are what they should be, within 4 standard errors."""
    case = CASES[case_name]

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        values = case.functionals(sample(case, name, size, seed))
        estimates = np.array([mean_error(values[..., j]) for j in range(values.shape[-1])])
        error = estimates[:, 1]
        scores = (estimates[:, 0] - case.expected(name)) / np.where(error > 0, error, 1e-12)
        scores[~(error < values.std((0, 1)) / MIN_ESS**0.5)] = np.inf  # chains that stand still tell nothing
        return scores / SIGMAS, functional_names(case.dim)

    twice(found, f"{name} on {case_name}", seed)


def check_distribution(case_name: str, name: str, size: Size = Size(draws=60), seed: int = 0) -> None:
    """Kolmogorov-Smirnov test of each coordinate, thinned to three times its integrated autocorrelation time."""
    case = CASES[case_name]

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = sample(case, name, size, seed)
        ratios = []
        for j, cdf in enumerate(case.target.cdf):
            time = x[..., j].size / float(arviz.ess(np.ascontiguousarray(x[..., j].T), method="mean"))
            thin = min(len(x), max(1, math.ceil(3 * time))) if math.isfinite(time) and time > 1.2 else 1
            thinned = x[::-1][::thin][..., j].ravel()
            ratios.append(stats.kstest(thinned, cdf, method="asymp").pvalue)
        return strength_of_p(ratios), np.array([f"coordinate {j}" for j in range(case.dim)])

    twice(found, f"{name} on {case_name}, Kolmogorov-Smirnov", seed)
