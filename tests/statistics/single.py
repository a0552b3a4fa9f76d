"""Each chain by itself: on N(0, 1), where one transition is known exactly, and with frozen step sizes."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.rng import derive

from .cases import CASES, FLOAT, normal, tensor
from .comparing import SIGMAS, Caught, twice

SINGLE: dict[str, Callable[[float | Tensor], mcmc.Kernel]] = {
    "Langevin": mcmc.Langevin,
    "MALA": mcmc.MALA,
    "HMC": lambda delta: mcmc.HMC(delta, 1),  # with one leapfrog step it is MALA
}


REPEATS = 5


def standard_gaussian(x: Tensor) -> Tensor:
    return -0.5 * (x**2).sum(1)


def check_independent_chains(name: str, num: int = 4000, seed: int = 0) -> None:
    """Chains from one point are independent: x', x'² and the share that stays average as n independent draws do."""
    x, delta = 1.5, 1.2
    u = torch.linspace(-9, 9, 9001, dtype=FLOAT)
    weight = (-0.5 * u**2).softmax(0)
    y = x - 0.5 * delta**2 * x + delta * u
    alpha = torch.ones_like(u) if name == "Langevin" else (-(delta**2) / 8 * (y**2 - x**2)).clamp(max=0).exp()
    powers = ((y, x), (y**2, x**2)) + (((0 * y, 1.0),) if name != "Langevin" else ())
    means = [(weight @ (alpha * new + (1 - alpha) * old)).item() for new, old in powers]
    squares = [(weight @ (alpha * new**2 + (1 - alpha) * old**2)).item() for new, old in powers]

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        scores = []
        for repeat in range(REPEATS):
            start = torch.full((num, 1), x, dtype=FLOAT)
            rng = derive(seed, "one", repeat)
            moved = mcmc.run(SINGLE[name](delta), standard_gaussian, start, num_steps=1, rng=rng)[0].position[:, 0]
            ours = [moved.mean(), (moved**2).mean(), (moved == x).double().mean()][: len(means)]
            scores += [
                (mine.item() - mean) / ((square - mean**2) / num) ** 0.5
                for mine, mean, square in zip(ours, means, squares, strict=True)
            ]
        return np.array(scores) / SIGMAS, np.array(["x", "x²", "stays"][: len(means)] * REPEATS)

    twice(found, f"{name}, chains from one point", seed)


def check_own_step_sizes(name: str, num: int = 20_000, seed: int = 0) -> None:
    """Chains with δ = 0.5, 1 and 1.5 at once: E α = 1 − (2/π) arctan(δ³/8) for each (case 4)."""
    deltas = tensor([0.5, 1.0, 1.5])

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        start = normal(3 * num, 1, rng=derive(seed, "start"))
        transition = SINGLE[name](deltas.repeat_interleave(num))
        _, info = mcmc.run(transition, standard_gaussian, start, num_steps=1, rng=derive(seed, "one"))
        rates = info.acceptance_rate.view(3, num)
        expected = 1 - 2 / math.pi * (deltas**3 / 8).atan()
        scores = (rates.mean(1) - expected) / (rates.std(1) / num**0.5)
        return scores.numpy() / SIGMAS, np.array([f"δ = {delta}" for delta in deltas.tolist()])

    twice(found, f"{name}, step sizes", seed)


def check_temperature(num: int = 20_000, seed: int = 0) -> None:
    """Langevin at T on N(0, 1): variance T/(1 − δ²/4), at T = 0.25, 1 and 3."""
    temperatures = (0.25, 1.0, 3.0)

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        scores = []
        for temperature in temperatures:
            expected = temperature / (1 - 0.8**2 / 4)
            start = expected**0.5 * normal(num, 1, rng=derive(seed, "start"))
            state, _ = mcmc.run(
                mcmc.Langevin(0.8, temperature), standard_gaussian, start, num_steps=40, rng=derive(seed, "draws")
            )
            scores.append(((state.position**2).mean().item() / expected - 1) * (num / 2) ** 0.5)
        return np.array(scores) / SIGMAS, np.array([f"T = {t}" for t in temperatures])

    twice(found, "Langevin's temperature", seed)


def check_frozen(name: str) -> None:
    """While draws are made, by `draws` or `run`, each transition is given the very step sizes that were asked for."""
    case, seen = CASES["bimodal 1-d"], []
    deltas = torch.linspace(0.2, 1.2, 50, dtype=FLOAT)

    class Watched(type(case.kernel(name))):
        def step(self, log_density: mcmc.LogDensity, state: mcmc.State, rng: torch.Generator) -> tuple:
            seen.append(state.step_size)
            return super().step(log_density, state, rng)

    watched = Watched(deltas)
    start = case.start(50, derive(0, "start"))
    mcmc.draws(watched, case.log_density, start, num_draws=10, thin=3, rng=derive(0, "draws"))
    state, _ = mcmc.run(watched, case.log_density, start, num_steps=30, rng=derive(0, "draws"))
    if not (len(seen) == 60 and all(torch.equal(s, deltas) for s in (*seen, state.step_size))):
        raise Caught(f"{name}: step sizes move while draws are made")


def check_detached() -> None:
    """Chains carry no graph from where they start: a learner's gradient would run through them."""
    start = torch.zeros(2, 1, dtype=FLOAT, requires_grad=True)
    state = mcmc.init(standard_gaussian, start, 0.1)
    if any(part.requires_grad for part in state):
        raise Caught("the first state carries the graph of its start")
