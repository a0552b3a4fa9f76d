"""The planted faults: each is an edit of the package's own source and names the checks that must fail under it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ..planting import plant
from . import adaptation, calibration, joint, leapfrog, moments, single
from .cases import CASES

CHECKS: dict[str, Callable[[], None]] = {
    **{
        f"moments, {name}, {case}": lambda case=case, name=name: moments.check_moments(case, name)
        for name, case in [
            ("Langevin", "linear posterior 2-d"),
            ("MALA", "linear posterior 2-d"),
            ("HMC", "linear posterior 2-d"),
            ("Langevin", "bimodal 1-d"),
            ("MALA", "bimodal 1-d"),
            ("HMC", "bimodal 1-d"),
            ("MALA", "descriptor 2y² − y⁴/4"),
            ("HMC", "descriptor 2y² − y⁴/4"),
        ]
    },
    **{
        f"distribution, {name}, {case}": lambda case=case, name=name: moments.check_distribution(case, name)
        for name in ("MALA", "HMC")
        for case in ("bimodal 1-d", "linear posterior 2-d")
    },
    **{
        f"calibration, {name}, {generator}": lambda g=generator, name=name: calibration.check_calibration(g, name)
        for generator, name in calibration.CALIBRATED
    },
    **{f"joint, {name}": lambda name=name: joint.check_joint(name) for name in joint.JOINT_KERNELS},
    "joint, MALA, fewer": lambda: joint.check_joint("MALA", **joint.FEWER),
    "step of the weights": joint.check_weight_step,
    "start without a graph": single.check_detached,
    **{f"own step sizes, {name}": lambda name=name: single.check_own_step_sizes(name) for name in single.SINGLE},
    **{f"independence, {name}": lambda name=name: single.check_independent_chains(name) for name in single.SINGLE},
    **{f"frozen, {name}": lambda name=name: single.check_frozen(name) for name in single.SINGLE},
    "temperature": single.check_temperature,
    "leapfrog: reversible": lambda: leapfrog.check_reversible("banana"),
    "leapfrog: volume": lambda: leapfrog.check_volume("banana"),
    "leapfrog: energy": lambda: leapfrog.check_energy_order("banana"),
    "adaptation, MALA": lambda: adaptation.check_adaptation("1-d", "MALA", 1e-4),
    "adaptation, HMC": lambda: adaptation.check_adaptation("1-d", "HMC", 1e-4),
}


def truths() -> None:
    """Works out what the checks expect, once, before a fault could reach it."""
    for case in ("linear posterior 2-d", "bimodal 1-d", "descriptor 2y² − y⁴/4", "1-d", "banana"):
        assert CASES[case].quantiles.size
        assert CASES[case].unadjusted


@dataclass(frozen=True)
class Fault:
    """An edit of one function, ``where`` as ``module:name``: every ``old`` becomes its ``new``."""

    where: str
    edits: dict[str, str]
    caught_by: tuple[str, ...]

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Works out what is expected, and then edits the function wherever it is known."""
        truths()
        plant(monkeypatch, self.where, self.edits)


PROPOSE, ACCEPT, STEP = "anasyn.mcmc.langevin:propose", "anasyn.mcmc.langevin:accept", "anasyn.mcmc.hmc:HMC.step"
MOVED, RATIO = "anasyn.mcmc.langevin:moved", "anasyn.mcmc.langevin:log_ratio"
LEAPFROG, KERNEL, ADAPT = "anasyn.mcmc.hmc:leapfrog", "anasyn.mcmc.kernel:", "anasyn.mcmc.adaptation:"
GENERATOR, DESCRIPTOR = "anasyn.models.generator:Generator.", "anasyn.models.descriptor:Descriptor."
WARM, LEARNER = "anasyn.mcmc.chains:WarmChains.", "anasyn.learning.generator:GeneratorLearner."
MALA, HMC = (
    ("calibration, MALA, linear", "calibration, MALA, nonlinear"),
    ("calibration, HMC, linear", "calibration, HMC, nonlinear"),
)
LANGEVIN = ("calibration, Langevin, linear", "calibration, Langevin, nonlinear")
ADJUSTED = (*MALA, *HMC)
POSTERIOR = tuple(f"moments, {name}, linear posterior 2-d" for name in ("Langevin", "MALA", "HMC"))
JOINT = ("joint, MALA", "joint, HMC")
QUICK_JOINT = ("joint, MALA, fewer", *JOINT)
KICK = "momentum = momentum + 0.5 * epsilon * color_transposed(preconditioner, gradient)"
MOVE = "position = position + epsilon * color(preconditioner, momentum)"
KEPT = "State(position, value, gradient, state.step_size)"

FAULTS: dict[str, Fault] = {
    "proposal terms swapped": Fault(
        RATIO,
        {"- r * inner(": "+ r * inner("},
        ("moments, MALA, bimodal 1-d", "distribution, MALA, bimodal 1-d", *MALA),
    ),
    "proposal terms left out": Fault(
        RATIO,
        {"- r * inner(": "- 0 * inner("},
        ("moments, MALA, bimodal 1-d", "calibration, MALA, nonlinear"),
    ),
    "noise δ² for δ, a missing square root": Fault(
        MOVED, {"* delta) * noise": "* delta**2) * noise"}, ("moments, Langevin, bimodal 1-d", *LANGEVIN, *MALA)
    ),
    "drift δ² for δ²/2": Fault(
        MOVED, {"(0.5 * delta**2)": "(delta**2)"}, ("moments, Langevin, bimodal 1-d", *LANGEVIN, *MALA)
    ),
    "temperature without its square root": Fault(
        MOVED, {"(math.sqrt(temperature) * delta)": "(temperature * delta)"}, ("temperature",)
    ),
    "temperature squared": Fault(
        MOVED, {"(math.sqrt(temperature) * delta)": "(temperature**2 * delta)"}, ("temperature",)
    ),
    "noise shared by the chains": Fault(
        PROPOSE,
        {"standard_normal(position, rng)": "standard_normal(position[:1], rng).expand_as(position)"},
        ("independence, Langevin", "independence, MALA"),
    ),
    "noise the same at every step": Fault(
        PROPOSE,
        {"standard_normal(position, rng)": "standard_normal(position, torch.Generator().manual_seed(0))"},
        ("moments, Langevin, bimodal 1-d", "moments, MALA, bimodal 1-d", *LANGEVIN, *MALA),
    ),
    "one step size for all chains": Fault(
        PROPOSE,
        {
            "position, value, gradient, step_size = state": "position, value, gradient, step_size = state._replace("
            "step_size=state.step_size.mean().expand_as(state.step_size))"
        },
        ("own step sizes, Langevin", "own step sizes, MALA"),
    ),
    "one step size for all chains, leapfrog": Fault(
        LEAPFROG,
        {"per_chain(step_size, position)": "step_size.mean()"},
        ("own step sizes, HMC",),
    ),
    "stale gradient after a rejection": Fault(
        ACCEPT, {KEPT: "State(position, value, proposal.gradient, state.step_size)"}, (*MALA, *HMC)
    ),
    "stale log-density after a rejection": Fault(
        ACCEPT, {KEPT: "State(position, proposal.log_density, gradient, state.step_size)"}, (*MALA, *HMC)
    ),
    "stale gradient after an acceptance": Fault(
        ACCEPT, {KEPT: "State(position, value, state.gradient, state.step_size)"}, (*MALA, *HMC)
    ),
    "one acceptance for all chains": Fault(
        ACCEPT, {"uniform(log_alpha, rng)": "uniform(log_alpha[:1], rng)"}, ("independence, MALA", "independence, HMC")
    ),
    "every proposal accepted": Fault(
        ACCEPT,
        {"per_chain(accepted, new)": "per_chain(log_alpha, new).isfinite()"},
        ("moments, MALA, bimodal 1-d", "moments, HMC, bimodal 1-d", *MALA, *HMC),
    ),
    "momentum not refreshed": Fault(
        STEP,
        {"standard_normal(state.position, rng)": "standard_normal(state.position, type(rng)().manual_seed(0))"},
        ("moments, HMC, bimodal 1-d", *HMC),
    ),
    "kinetic energy left out": Fault(
        STEP, {"new_kinetic) - (": "0) - (", "state.log_density - kinetic": "state.log_density"}, HMC
    ),
    "whole kicks in the leapfrog": Fault(LEAPFROG, {"0.5 * epsilon": "epsilon"}, ("leapfrog: energy",)),
    "leapfrog with friction": Fault(
        LEAPFROG,
        {MOVE: f"momentum = 0.5 * momentum; {MOVE}"},
        ("leapfrog: reversible", "leapfrog: volume", *HMC),
    ),
    "Euler's order of the kicks": Fault(
        LEAPFROG,
        {
            MOVE: f"{KICK}; {MOVE}",
            f"    {KICK}\n    return": "    return",
        },
        ("leapfrog: reversible", *HMC),
    ),
    "gradient divided by the number of chains": Fault(
        KERNEL + "evaluate", {"value.sum()": "value.mean()"}, ("moments, Langevin, bimodal 1-d", *LANGEVIN)
    ),
    "prior of the wrong sign": Fault(
        GENERATOR + "log_prior", {"-0.5 * (z**2)": "0.5 * (z**2)"}, (*POSTERIOR, *ADJUSTED, *LANGEVIN, *JOINT)
    ),
    "prior doubled": Fault(GENERATOR + "log_prior", {"-0.5 * (z**2)": "-(z**2)"}, (*ADJUSTED, *JOINT)),
    "prior left out": Fault(GENERATOR + "log_prior", {"-0.5 * (z**2)": "0 * (z**2)"}, (*ADJUSTED, *JOINT)),
    "likelihood divided by the batch": Fault(
        GENERATOR + "log_likelihood", {"-squares / (2": "-squares / (len(z) * 2"}, (*ADJUSTED, *JOINT)
    ),
    "likelihood with σ for σ²": Fault(
        GENERATOR + "log_likelihood", {"(2 * self.sigma**2)": "(2 * self.sigma)"}, (*ADJUSTED, *JOINT)
    ),
    "reference density left out": Fault(
        DESCRIPTOR + "energy",
        {"self.reference_energy(images) - self": "0 * self.reference_energy(images) - self"},
        ("moments, MALA, descriptor 2y² − y⁴/4", "moments, HMC, descriptor 2y² − y⁴/4"),
    ),
    "adaptation while draws are made": Fault(
        KERNEL + "draws",
        {
            "state, _ = kernel.step(log_density, state, rng)": "state, info = kernel.step(log_density, state, rng); "
            "state = state._replace(step_size=state.step_size * (3 * (info.acceptance_rate - 0.574)).exp())"
        },
        ("frozen, MALA", "frozen, HMC", "frozen, Langevin", "moments, MALA, bimodal 1-d"),
    ),
    "adaptation in the wrong direction": Fault(
        ADAPT + "adapt",
        {"acceptance_rate - kernel.target_acceptance": "kernel.target_acceptance - acceptance_rate"},
        ("adaptation, MALA", "adaptation, HMC"),
    ),
    "adapted step sizes thrown away": Fault(
        ADAPT + "warm_up",
        {"return kernel.with_step_size(state.step_size), state": "return kernel, state"},
        ("adaptation, MALA", "adaptation, HMC"),
    ),
    "warm chains stored under the wrong index": Fault(
        WARM + "store", {"self.positions[index] = position": "self.positions[index] = position.flip(0)"}, QUICK_JOINT
    ),
    "chains cold where they should be warm": Fault(
        WARM + "start", {"return self.positions[index]": "return torch.randn_like(self.positions[index])"}, QUICK_JOINT
    ),
    "chains under other images' posteriors": Fault(
        "anasyn.learning.inference:infer",
        {"given=(images,)": "given=(images.roll(1, 0),)"},
        QUICK_JOINT,
    ),
    "learning gradient of the wrong sign": Fault(
        LEARNER + "step", {"loss.backward()": "(-loss).backward()"}, ("step of the weights", *JOINT)
    ),
    "learning gradient with σ for σ²": Fault(
        LEARNER + "step", {"/ (2 * self.model.sigma**2)": "/ (2 * self.model.sigma)"}, ("step of the weights", *JOINT)
    ),
    "gradient through the chain's start": Fault(
        KERNEL + "init", {"State(position.detach(),": "State(position,"}, ("start without a graph", *JOINT)
    ),
}


def table() -> str:
    """The table of docs/statistics.md."""
    rows = [f"| {name} | `{fault.where}` | {'; '.join(fault.caught_by)} |" for name, fault in FAULTS.items()]
    return "\n".join(["| fault | edited | caught by |", "|---|---|---|", *rows])
