"""Adaptation of step sizes to a target acceptance rate."""

import numpy as np

from anasyn import mcmc
from anasyn.rng import derive

from .cases import CASES
from .comparing import Caught, twice

ADAPTED = {"MALA": lambda delta, case: mcmc.MALA(delta), "HMC": lambda delta, case: mcmc.HMC(delta, case.hmc[1])}
INITIAL_STEPS = (1e-4, 1e-2, 1.0, 10.0)


def adapted_acceptance(case_name: str, name: str, initial: float, seed: int, warm_up_steps: int = 2000) -> float:
    """Mean acceptance over chains and 200 steps after warm-up, less the target."""
    case = CASES[case_name]
    before = ADAPTED[name](initial, case)
    start = case.start(200, derive(seed, "start"))
    warm, state = mcmc.warm_up(before, case.log_density, start, num_steps=warm_up_steps, rng=derive(seed, "warm-up"))
    after, info = mcmc.run(warm, case.log_density, state.position, num_steps=200, rng=derive(seed, "measure"))
    if not (after.step_size == warm.step_size).all():
        raise Caught("step sizes still move after the warm-up")
    return info.acceptance_rate.mean().item() - before.target_acceptance


def check_adaptation(case_name: str, name: str, initial: float, seed: int = 0) -> None:
    """`warm_up` ends within 0.03 of the target acceptance, from any initial step size; then frozen means frozen."""

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([adapted_acceptance(case_name, name, initial, seed) / 0.03]), np.array(["acceptance"])

    twice(found, f"{name} on {case_name} from step {initial}", seed)
