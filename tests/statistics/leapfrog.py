"""The leapfrog: reversible, volume-preserving and of second order."""

import numpy as np
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc import hmc, kernel
from anasyn.rng import derive

from .cases import CASES, Case, normal, tensor
from .comparing import Caught


def phase_point(case: Case, num: int, epsilon: float, seed: int = 0) -> tuple[mcmc.State, Tensor]:
    start = case.start(num, derive(seed, "start"))
    if not case.exact_start:  # starts are wider than the density: pulled back to its own width
        start = tensor(case.target.mean) + (start - tensor(case.target.mean)) / max(case.spread, 1)
    return mcmc.init(case.log_density, start, epsilon), normal(*start.shape, rng=derive(seed, "momentum"))


def check_reversible(case_name: str) -> None:
    """Forth, p → −p, and forth again leads back, to 1e-10."""
    case = CASES[case_name]
    state, momentum = phase_point(case, 50, case.hmc[0])
    there, kicked = hmc.leapfrog(case.log_density, state, momentum, 20)
    back, returned = hmc.leapfrog(case.log_density, there, -kicked, 20)
    off = max((back.position - state.position).abs().max().item(), (returned + momentum).abs().max().item())
    if not off < 1e-10:
        raise Caught(f"leapfrog on {case_name} comes back off by {off:.3g}")


def differentiable(log_density: mcmc.LogDensity, position: Tensor) -> tuple[Tensor, Tensor]:
    """`kernel.evaluate` that keeps the graph, so that the leapfrog's own code can be differentiated."""
    value = log_density(position)
    return value, torch.autograd.grad(value.sum(), position, create_graph=True)[0]


def check_volume(case_name: str) -> None:
    """|det ∂(x', p')/∂(x, p)| = 1 to 1e-9, the Jacobian by autograd."""
    case = CASES[case_name]
    (start, _, _, step_size), momentum = phase_point(case, 1, case.hmc[0])

    def move(phase: Tensor) -> Tensor:
        x, p = phase.view(2, 1, -1)
        value, gradient = differentiable(case.log_density, x)
        state, p = hmc.leapfrog(case.log_density, mcmc.State(x, value, gradient, step_size), p, 5)
        return torch.cat([state.position.flatten(), p.flatten()])

    original, hmc.evaluate = hmc.evaluate, differentiable
    try:
        jacobian = torch.autograd.functional.jacobian(move, torch.cat([start.flatten(), momentum.flatten()]))
    finally:
        hmc.evaluate = original
    off = abs(torch.linalg.slogdet(jacobian).logabsdet.item())
    if not off < 1e-9:
        raise Caught(f"leapfrog on {case_name} changes volume by exp({off:.3g})")


def check_energy_order(case_name: str) -> None:
    """The energy's error at a fixed time falls as ε²: the slope of log |ΔH| over log ε is 2 within 0.05."""
    case = CASES[case_name]
    time, counts = 4 * case.hmc[0], (32, 64, 128, 256)
    errors = []
    for count in counts:
        state, momentum = phase_point(case, 200, time / count)
        after, kicked = hmc.leapfrog(case.log_density, state, momentum, count)
        change = (after.log_density - state.log_density) - 0.5 * kernel.inner(kicked, kicked)
        errors.append((change + 0.5 * kernel.inner(momentum, momentum)).abs().mean().item())
    slope = np.polyfit(np.log([time / count for count in counts]), np.log(errors), 1)[0]
    if not abs(slope - 2) < 0.05:
        raise Caught(f"leapfrog on {case_name}: energy error of order {slope:.3g} in the step size")
