"""Simulation-based calibration of z | Y."""

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from anasyn import mcmc
from anasyn.models import Generator
from anasyn.rng import derive

from .cases import GENERATORS, normal
from .comparing import strength_of_p, twice

CALIBRATED: dict[tuple[str, str], tuple[mcmc.Kernel, int]] = {  # the kernel and the transitions between two draws
    ("linear", "Langevin"): (mcmc.Langevin(0.1), 200),
    ("linear", "MALA"): (mcmc.MALA(1.3), 15),
    ("linear", "HMC"): (mcmc.HMC(1.05, 3), 10),
    ("nonlinear", "Langevin"): (mcmc.Langevin(0.1), 300),
    ("nonlinear", "MALA"): (mcmc.MALA(1.8), 20),
    ("nonlinear", "HMC"): (mcmc.HMC(1.2, 3), 10),
}
LARGE_STEP = (mcmc.Langevin(1.1), 10)
NUM_SIMULATIONS, NUM_UNADJUSTED, NUM_RANKED = 6000, 2000, 19  # unadjusted Langevin's small steps are many


def rank_p_values(model: Generator, transition: mcmc.Kernel, thin: int, seed: int) -> dict[str, float]:
    """p-values of uniform ranks of z and of log p(Y | z) among posterior draws: N simulations are N chains at once.

    z* ~ p(z), Y ~ p(Y | z*), then 19 draws of z | Y; the ranks of z* among them are uniform on 0…19 if and, for the
    log-likelihood too, only if the draws are the posterior's. Source: Talts et al. 2018, algorithm 1; Modrák et al.
    2023 for quantities besides z: without the log-likelihood a sampler of the prior would pass, and without ‖z‖² one
    that leaves the prior out.
    """
    num = NUM_UNADJUSTED if isinstance(transition, mcmc.Langevin) else NUM_SIMULATIONS
    rng = derive(seed, "simulation")
    truth = normal(num, model.latent_dim, rng=rng)
    with torch.no_grad():
        images = model(truth) + model.sigma * normal(num, 3, rng=rng)

    def density(z: Tensor) -> Tensor:
        return model.log_joint(z, images)

    start = normal(num, model.latent_dim, rng=rng)
    start = mcmc.run(transition, density, start, num_steps=4 * thin, rng=derive(seed, "burn-in"))[0].position
    drawn = mcmc.draws(transition, density, start, num_draws=NUM_RANKED, rng=derive(seed, "draws"), thin=thin)

    def likelihood(z: Tensor) -> Tensor:  # written out: a fault in the model must not be judged by itself
        return -((images - model(z)) ** 2).sum(1)

    quantities = {f"z{j}": (truth[:, j], drawn[..., j]) for j in range(model.latent_dim)}
    quantities["‖z‖²"] = ((truth**2).sum(1), (drawn**2).sum(2))
    with torch.no_grad():
        quantities["log-likelihood"] = (likelihood(truth), torch.stack([likelihood(z) for z in drawn]))
    return {
        name: float(stats.chisquare(np.bincount((draws < true).sum(0), minlength=NUM_RANKED + 1)).pvalue)
        for name, (true, draws) in quantities.items()
    }


def check_calibration(generator: str, name: str, seed: int = 0) -> None:
    """Simulation-based calibration of z | Y: no p-value at or below 1e-4, twice."""

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        p = rank_p_values(GENERATORS[generator](), *CALIBRATED[generator, name], seed)
        return strength_of_p(list(p.values())), np.array(list(p))

    twice(found, f"{name} on the {generator} generator, calibration", seed)
