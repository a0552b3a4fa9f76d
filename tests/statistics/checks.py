"""The checks: functions that pass for a right sampler and raise `Caught` for a wrong one.

Every statistical check of a right sampler is made twice before it fails: what the first run finds suspicious, at the
issue's own thresholds (4 standard errors, p ≤ 1e-4), an independent second run must find again. The chance of a false
alarm is the square of a single run's (`false_alarm_rate`).
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from anasyn import Divergence, GeneratorLearner, mcmc
from anasyn.mcmc import hmc, kernel
from anasyn.models import Generator
from anasyn.rng import derive

from .cases import CASES, FLOAT, GENERATORS, KERNELS, Case, normal, tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next version at import
    import arviz

SIGMAS = 4.0
LEVEL = 1e-4
MIN_ESS = 400  # below it a comparison has no power and counts as failed


class Caught(AssertionError):
    """A check failed: by how many times its threshold a statistic is off. What is exact fails infinitely."""

    def __init__(self, message: str, strength: float = math.inf):
        super().__init__(f"{message} ({strength:.3g} times the threshold)")
        self.strength = strength


def twice(found: Callable[[int], tuple[np.ndarray, np.ndarray]], what: str, seed: int) -> None:
    """Fails where both of two independent runs are beyond the threshold.

    Args:
        found: seed → each comparison's statistic in units of its threshold, and its name.
    """
    first, names = found(2 * seed)
    if not (suspicious := ~(np.abs(first) <= 1)).any():
        return
    second, _ = found(2 * seed + 1)
    confirmed = suspicious & ~(np.abs(second) <= 1)
    if confirmed.any():
        least = np.nan_to_num(np.minimum(np.abs(first), np.abs(second)), nan=math.inf, posinf=math.inf)
        worst = np.where(confirmed, least, 0).argmax()
        raise Caught(f"{what}: {names[worst]}", float(least[worst]))


def mean_error(values: np.ndarray) -> tuple[float, float]:
    """A mean over (draws, chains) and its Monte Carlo standard error sd/√ESS, the ESS by arviz."""
    return float(values.mean()), float(arviz.mcse(np.ascontiguousarray(values.T), method="mean"))


# ---- moments, quantiles, log-density and distribution of the table's cases


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


def strength_of_p(p: list[float]) -> np.ndarray:
    """log p / log 1e-4: above 1 where p is below the level."""
    return np.log(np.maximum(p, 1e-300)) / math.log(LEVEL)


# ---- simulation-based calibration

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


# ---- Geweke's joint test of a whole iteration of Algorithm 1


class Replicas(torch.nn.Module):
    """R linear generators side by side, f(z) = W_r z: one call of the learner runs R independent Algorithm 1s."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)  # (R, D, d)

    def forward(self, z: Tensor) -> Tensor:  # (R b, d), the replicas one after the other
        rows = z.view(len(self.weight), -1, self.weight.shape[2])
        return (rows @ self.weight.mT).flatten(0, 1)


class WeightStep(torch.optim.Optimizer):
    """W | z, Y by MALA, whose forward drift is the gradient that the learner has just left in ``W.grad``.

    The learner descends the mean over its batch of −log p(Y | z; W): times −(the batch's size), and n/b, that is the
    likelihood's estimate, and the prior's −W is added. The reverse drift and the densities are computed here, so that
    a wrong gradient is a wrong proposal density. The batch steers the proposal alone; all images decide on it.
    """

    def __init__(self, model: Generator, chains: mcmc.WarmChains, delta: float, rng: torch.Generator):
        super().__init__(list(model.parameters()), {})
        self.model, self.chains, self.delta, self.rng = model, chains, delta, rng
        self.images = torch.empty(0)  # (R, n, D)
        self.batch = torch.empty(0)  # (R, b), which of each replica's images the learner has seen
        self.accepted: list[float] = []

    def log_posterior(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """log p(Y | z, W) + log p(W), W_jk ~ N(0, 1), of all images, (R,), and the gradient of the batch's estimate."""
        weight = weight.detach().requires_grad_()
        z = self.chains.positions.detach().view(*self.images.shape[:2], -1)
        squares = ((self.images - z @ weight.mT) ** 2).sum(2) / (2 * self.model.sigma**2)
        prior = -0.5 * (weight**2).sum((1, 2))
        ratio = squares.shape[1] / self.batch.shape[1]
        estimate = prior - ratio * squares.gather(1, self.batch).sum(1)
        (gradient,) = torch.autograd.grad(estimate.sum(), weight)
        return (prior - squares.sum(1)).detach(), gradient

    def step(self, closure: None = None) -> None:
        (weight,) = self.param_groups[0]["params"]
        old = weight.detach().clone()
        drift = -weight.grad * len(old) * self.images.shape[1] - old
        new = old + 0.5 * self.delta**2 * drift + self.delta * normal(*old.shape, rng=self.rng)
        value, reverse = self.log_posterior(new)
        forth = ((new - old - 0.5 * self.delta**2 * drift) ** 2).sum((1, 2))
        back = ((old - new - 0.5 * self.delta**2 * reverse) ** 2).sum((1, 2))
        log_alpha = value - self.log_posterior(old)[0] + (forth - back) / (2 * self.delta**2)
        accepted = torch.rand(len(old), dtype=FLOAT, generator=self.rng).log() < log_alpha
        self.accepted.append(accepted.double().mean().item())
        weight.data = torch.where(accepted[:, None, None], new, old)


class LinkedChains(mcmc.WarmChains):
    """Warm chains whose starts carry a graph to the weights, as an amortised start's would; same values."""

    link: Tensor | float = 0.0  # (b, 1), zeros that depend on the weights

    def start(self, index: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
        with torch.enable_grad():
            return super().start(index, images, rng) + self.link

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        super().store(index, position.detach(), step_size)


class FrozenMALA(mcmc.MALA):
    """MALA without adaptation, which the learner does between iterations and which no exact test can have."""

    target_acceptance = None


class FrozenHMC(mcmc.HMC):
    target_acceptance = None


JOINT_KERNELS: dict[str, mcmc.Kernel] = {
    "Langevin": mcmc.Langevin(0.05),
    "MALA": FrozenMALA(0.4),
    "HMC": FrozenHMC(0.25, 2),
}
PIXELS, FACTORS, IMAGES, SIGMA = 2, 1, 4, 0.5


def joint_functionals(weight: Tensor, z: Tensor, images: Tensor) -> dict[str, np.ndarray]:
    """First, second and mixed moments of W (R, D, d), z (R, n, d) and Y (R, n, D), averaged over what is alike, (R,).

    All are clipped: a wrong sampler that runs away would else hide behind its own huge standard errors.
    """
    f = z @ weight.mT
    w2, z2 = weight.clamp(-3, 3) ** 2, z.clamp(-3, 3) ** 2
    terms = {
        "W": weight.clamp(-3, 3),
        "W²": w2,
        "W⁴": w2**2,
        "z": z.clamp(-3, 3),
        "z²": z2,
        "z⁴": z2**2,
        "W² z²": w2.mean((1, 2)) * z2.mean((1, 2)),
        "Y": images.clamp(-3, 3),
        "Y²": images.clamp(-3, 3) ** 2,
        "Y f(z)": (images * f).clamp(-9, 9),
        "(Y − f(z))²": ((images - f) ** 2).clamp(max=9 * SIGMA**2),
        "z² of the first image": z2[:, 0],
    }
    return {
        name: values.flatten(1).mean(1).numpy() if values.dim() > 1 else values.numpy()
        for name, values in terms.items()
    }


def draw_joint(num: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """W, z ~ N(0, I), Y | z, W: the marginal-conditional simulator."""
    weight, z = normal(num, PIXELS, FACTORS, rng=rng), normal(num, IMAGES, FACTORS, rng=rng)
    return weight, z, z @ weight.mT + SIGMA * normal(num, IMAGES, PIXELS, rng=rng)


def check_joint(name: str, replicas: int = 1000, iterations: int = 300, seed: int = 0) -> None:
    """Geweke 2004: Algorithm 1's own iterations, with Y drawn anew after each, leave the joint law of (W, z, Y) alone.

    Each iteration is one call of `GeneratorLearner.step` on half of the images in random order: warm start by index,
    inference, gradient, store, weights. The weights' step uses that half of the likelihood for its drift only.
    """

    def found(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = derive(seed, "joint")
        weight, z, images = draw_joint(replicas, rng)
        model = Generator(Replicas(weight), FACTORS, SIGMA)
        chains = LinkedChains(FACTORS)
        optimizer = WeightStep(model, chains, 0.4, rng)
        learner = GeneratorLearner(model, kernel=JOINT_KERNELS[name], num_steps=3, optimizer=optimizer)
        learner.chains = chains
        learner.begin(images.flatten(0, 1), replicas * IMAGES, rng=rng)
        chains.positions = z.flatten(0, 1).clone()
        traced = []
        for t in range(iterations):
            # half of every replica's images in an order of its own: rows stay with their replica
            optimizer.images = images
            optimizer.batch = torch.rand(replicas, IMAGES, generator=rng).argsort(1)[:, : IMAGES // 2]
            index = (optimizer.batch + IMAGES * torch.arange(replicas)[:, None]).flatten()
            weights = model.network.weight.sum((1, 2))
            chains.link = (weights - weights.detach()).repeat_interleave(IMAGES // 2)[:, None]
            try:
                learner.step(index, images.flatten(0, 1)[index], rng=derive(seed, "chain noise", t))
            except Divergence as cause:
                raise Caught(f"{name}: {cause}") from cause
            z, weight = chains.positions.view(replicas, IMAGES, FACTORS), model.network.weight.detach()
            traced.append(joint_functionals(weight, z, images))  # before Y is drawn anew, which would mend much
            images = z @ weight.mT + SIGMA * normal(replicas, IMAGES, PIXELS, rng=rng)
        if np.mean(optimizer.accepted) < 0.02:
            raise Caught("the weights hardly move")
        marginal = joint_functionals(*draw_joint(200_000, derive(seed, "marginal")))
        scores = []
        for functional, independent in marginal.items():
            mean, error = mean_error(np.stack([values[functional] for values in traced]))
            spread = independent.std() / len(independent) ** 0.5
            scores.append((mean - independent.mean()) / math.hypot(error, spread))
        return np.array(scores) / SIGMAS, np.array(list(marginal))

    twice(found, f"{name}, Geweke's joint test", seed)


# ---- each chain by itself, on N(0, 1), where one transition is known exactly

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


# ---- leapfrog: exact


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


# ---- adaptation

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


# ---- how often the suite of a right sampler would fail, were its seeds redrawn


@dataclass(frozen=True)
class Family:
    """Comparisons of one kind: how many, and the chance that one is beyond its threshold in a single run."""

    comparisons: int
    single: float

    @property
    def rate(self) -> float:
        """Of a false alarm anywhere in the family, by Bonferroni's bound: both of two independent runs must fail."""
        return self.comparisons * self.single**2


ADAPTATION_MARGIN = (
    4.0  # standard deviations between the worst case's mean error and the tolerance of 0.03; measured: above 5
)


def families() -> dict[str, Family]:
    """All statistical comparisons of right samplers, counted from the tables that the tests run through."""
    dims = sum(case.dim for case in CASES.values())
    beyond = 2 * stats.norm.sf(SIGMAS)
    quantities = sum(GENERATORS[generator]().latent_dim + 2 for generator, _ in CALIBRATED)
    functionals = len(joint_functionals(*draw_joint(2, torch.Generator())))
    return {
        "moments, quantiles and log-density": Family(len(KERNELS) * (5 * dims + len(CASES)), beyond),
        "Kolmogorov-Smirnov": Family(2 * dims, LEVEL),
        "simulation-based calibration": Family(quantities, LEVEL),
        "Geweke's joint test": Family(functionals * len(JOINT_KERNELS), beyond),
        "independent chains": Family(REPEATS * (2 + 3 + 3), beyond),
        "step sizes and temperatures": Family(3 * len(SINGLE) + 3, beyond),
        "adaptation": Family(len(CASES) * len(ADAPTED) * len(INITIAL_STEPS), 2 * stats.norm.sf(ADAPTATION_MARGIN)),
    }


def false_alarm_rate() -> float:
    return sum(family.rate for family in families().values())
