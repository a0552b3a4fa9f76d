"""The table that drives every kernel: densities, exact expectations, starts and step sizes.

A case's truth is a closed form (Gaussians) or a quadrature (d ≤ 2). Unadjusted Langevin is never compared with the
target: at a finite step it has another stationary density, and its truth is that one, exactly: in closed form on a
Gaussian, else the fixed point of its own transition on a grid.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from scipy.stats import norm
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.mcmc.kernel import evaluate
from anasyn.models import Descriptor, Generator
from anasyn.rng import derive

FLOAT = torch.float64
QUANTILES = (0.1, 0.5, 0.9)
KERNELS = ("Langevin", "MALA", "HMC")


def tensor(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=FLOAT)


def normal(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng)


# ---- laws: what the functionals of a case are expected to be


@dataclass(frozen=True)
class Law:
    """A distribution by what the checks ask of it: ``second`` is E(x − centre)² about the target's mean."""

    mean: np.ndarray  # (d,)
    second: np.ndarray  # (d,)
    cdf: tuple[Callable[[np.ndarray], np.ndarray], ...]  # of each coordinate
    log_density: float  # E log p, p the target as the case states it


def gaussian_law(mean: Tensor, covariance: Tensor, precision: Tensor) -> Law:
    """N(mean, covariance), whose log-density is stated as −½ (x − mean)ᵀ precision (x − mean)."""
    scale = covariance.diagonal().sqrt()
    cdf = tuple(lambda x, m=m, s=s: norm.cdf(x, m, s) for m, s in zip(mean.tolist(), scale.tolist(), strict=True))
    expected = -0.5 * (precision * covariance).sum().item()
    return Law(mean.numpy(), covariance.diagonal().numpy(), cdf, expected)


Box = tuple[tuple[float, float], ...]


def grid(box: Box, spacing: float) -> list[Tensor]:
    """The axes of a grid; 0 lies between two nodes wherever an axis is symmetric (a kink costs least there)."""
    return [torch.linspace(lo, hi, 2 * math.ceil((hi - lo) / spacing / 2), dtype=FLOAT) for lo, hi in box]


def nodes(axes: list[Tensor]) -> Tensor:
    return torch.stack([x.flatten() for x in torch.meshgrid(*axes, indexing="ij")], 1)


def quadrature_law(log_density: mcmc.LogDensity, box: Box) -> Law:
    """The target by the trapezoidal rule, which converges faster than any power of the spacing where p is smooth."""
    axes = grid(box, (box[0][1] - box[0][0]) / (20_000 if len(box) == 1 else 500))
    x = nodes(axes)
    value = log_density(x).detach()
    weight = value.softmax(0)
    mean = weight @ x
    cdf = []
    for j, axis in enumerate(axes):
        other = tuple(k for k in range(len(axes)) if k != j)
        marginal = weight.view([len(a) for a in axes]).sum(other) if other else weight
        integral = make_interp_spline(axis.numpy(), marginal.numpy(), k=3).antiderivative()
        total = integral(axis[-1].item())
        cdf.append(lambda q, f=integral, t=total, a=axis: f(np.clip(q, a[0].item(), a[-1].item())) / t)
    return Law(mean.numpy(), (weight @ (x - mean) ** 2).numpy(), tuple(cdf), (weight @ value).item())


def langevin_law(log_density: mcmc.LogDensity, box: Box, delta: float, centre: np.ndarray, finer: float = 1.0) -> Law:
    """The stationary density of x ← m(x) + δU, m(x) = x + (δ²/2) ∂ log p(x)/∂x: the fixed point of its transition.

    On a grid of spacing h < δ/1.5 the trapezoidal rule integrates the Gaussian of width δ to exp(−π²δ²/h²) = 1e-9.
    The transition is a Gaussian of independent coordinates, so that one application is a product of two thin matrices.
    """
    axes = grid(box, delta / (finer * (10 if len(box) == 1 else 1.5)))
    x = nodes(axes)
    value, gradient = evaluate(log_density, x)
    moved = x + 0.5 * delta**2 * gradient
    to = [torch.exp(-0.5 * ((axis[:, None] - moved[:, j]) / delta) ** 2) for j, axis in enumerate(axes)]
    weight = value.softmax(0)
    for _ in range(3000):
        new = to[0] @ weight if len(to) == 1 else ((to[0] * weight) @ to[1].T).flatten()
        new = new / new.sum()
        change, weight = (new - weight).abs().sum().item(), new
        if change < 1e-9:
            break
    mean = weight @ moved

    def mixture(centres: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda q: norm.cdf((np.asarray(q)[..., None] - centres) / delta) @ weight.numpy()

    cdf = tuple(mixture(column.numpy()) for column in moved.unbind(1))
    second = weight @ (x - tensor(centre)) ** 2
    return Law(mean.numpy(), second.numpy(), cdf, (weight @ value).item())


# ---- cases


@dataclass(frozen=True)
class Case:
    """One density and how each kernel samples it.

    Args:
        log_density: (n, d) → (n,), up to a constant.
        langevin, mala, hmc: step sizes δ, δ and ε with the number of leapfrog steps.
        thin: transitions between two draws, of Langevin, MALA and HMC.
        box: where the mass is, for the quadratures; None where the truth is a closed form.
        gaussian: its mean and covariance where it is one.
        exact_start: draws from the density itself, (n, rng) → (n, d): chains start there where a walk from afar
            would take too long, and what is tested is that exact draws stay exact draws.
        spread: of the other starts, in standard deviations; below 1 where the tails are too light for a long step, from
            where MALA and HMC would never return.
        smooth: whether the gradient is, as the leapfrog's order needs.
    """

    log_density: mcmc.LogDensity
    langevin: float
    mala: float
    hmc: tuple[float, int]
    thin: tuple[int, int, int]
    box: Box | None = None
    gaussian: tuple[Tensor, Tensor] | None = None
    exact_start: Callable[[int, torch.Generator], Tensor] | None = None
    spread: float = 1.5
    smooth: bool = True

    def kernel(self, name: str) -> mcmc.Kernel:
        return {
            "Langevin": mcmc.Langevin(self.langevin),
            "MALA": mcmc.MALA(self.mala),
            "HMC": mcmc.HMC(self.hmc[0], self.hmc[1]),
        }[name]

    @cached_property
    def target(self) -> Law:
        if self.gaussian:
            mean, covariance = self.gaussian
            return gaussian_law(mean, covariance, torch.linalg.inv(covariance))
        assert self.box
        return quadrature_law(self.log_density, self.box)

    @cached_property
    def unadjusted(self) -> Law:
        """The law of unadjusted Langevin; on N(m, Σ) it is N(m, Σ (I − δ²Σ⁻¹/4)⁻¹)."""
        if self.gaussian:
            mean, covariance = self.gaussian
            precision = torch.linalg.inv(covariance)
            narrowing = torch.eye(len(mean), dtype=FLOAT) - self.langevin**2 / 4 * precision
            return gaussian_law(mean, torch.linalg.inv(precision @ narrowing), precision)
        assert self.box
        return langevin_law(self.log_density, self.box, self.langevin, self.target.mean)

    @property
    def dim(self) -> int:
        return len(self.target.mean)

    @cached_property
    def quantiles(self) -> np.ndarray:
        """Of the target, (3, d), by bisection of its distribution function."""
        lo = np.repeat(self.target.mean - 60 * self.target.second**0.5, 3).reshape(-1, 3)
        hi = 2 * self.target.mean[:, None] - lo
        for _ in range(60):
            middle = (lo + hi) / 2
            below = np.stack([cdf(q) for cdf, q in zip(self.target.cdf, middle, strict=True)]) < np.array(QUANTILES)
            lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
        return lo.T

    def functionals(self, x: np.ndarray) -> np.ndarray:
        """x, (x − μ)², 1[x ≤ q] for each quantile q, and log p: (…, d) → (…, 5d + 1)."""
        with torch.no_grad():
            value = self.log_density(tensor(x.reshape(-1, x.shape[-1]))).numpy().reshape(*x.shape[:-1], 1)
        below = [(x <= q).astype(float) for q in self.quantiles]
        return np.concatenate([x, (x - self.target.mean) ** 2, *below, value], -1)

    def expected(self, kernel: str) -> np.ndarray:
        """What the functionals are on average, (5d + 1,)."""
        law = self.unadjusted if kernel == "Langevin" else self.target
        below = [[cdf(q).item() for cdf, q in zip(law.cdf, row, strict=True)] for row in self.quantiles]
        return np.concatenate([law.mean, law.second, *below, [law.log_density]])

    def start(self, num: int, rng: torch.Generator) -> Tensor:
        if self.exact_start:
            return self.exact_start(num, rng)
        return tensor(self.target.mean) + self.spread * tensor(self.target.second).sqrt() * normal(
            num, self.dim, rng=rng
        )


def gaussian(mean: Tensor, covariance: Tensor, **settings: object) -> Case:
    precision = torch.linalg.inv(covariance)
    return Case(
        lambda x: -0.5 * (((x - mean) @ precision) * (x - mean)).sum(1), gaussian=(mean, covariance), **settings
    )


def rotated(variances: Tensor, seed: int) -> Tensor:
    turn = torch.linalg.qr(normal(len(variances), len(variances), rng=derive(seed, "turn")))[0]
    return turn @ torch.diag(variances) @ turn.T


def two_humps(x: Tensor) -> Tensor:
    """½ N(−2, 1) + ½ N(2, 1)."""
    return torch.logsumexp(torch.stack([-0.5 * (x - 2) ** 2, -0.5 * (x + 2) ** 2]), 0).sum(1)


def unlike_humps(x: Tensor) -> Tensor:
    """0.3 N((−1.2, −0.8), I) + 0.7 N((1.2, 0.8), 0.8² I)."""
    centre = tensor([1.2, 0.8])
    left = math.log(0.3) - 0.5 * ((x + centre) ** 2).sum(1)
    right = math.log(0.7 / 0.8**2) - 0.5 * ((x - centre) ** 2).sum(1) / 0.8**2
    return torch.logaddexp(left, right)


def banana(x: Tensor) -> Tensor:
    """x₁ ~ N(0, 1), x₂ | x₁ ~ N(0.3 x₁², 0.6²)."""
    return -0.5 * x[:, 0] ** 2 - 0.5 * (x[:, 1] - 0.3 * x[:, 0] ** 2) ** 2 / 0.36


FUNNEL = 0.75


def funnel(x: Tensor) -> Tensor:
    """v ~ N(0, 0.75²), x | v ~ N(0, eᵛ). Neal's has 3 for 0.75: no step size suits both its ends."""
    v, u = x.unbind(1)
    return -0.5 * (v / FUNNEL) ** 2 - 0.5 * v - 0.5 * u**2 * (-v).exp()


def draw_funnel(num: int, rng: torch.Generator) -> Tensor:
    v = FUNNEL * normal(num, rng=rng)
    return torch.stack([v, (v / 2).exp() * normal(num, rng=rng)], 1)


def student(x: Tensor) -> Tensor:
    """Student's t with 10 degrees of freedom: x² still has a variance and a fourth moment."""
    return -5.5 * torch.log1p(x**2 / 10).sum(1)


class Pointwise(nn.Module):
    """f of one pixel as a descriptor's network."""

    def __init__(self, f: Callable[[Tensor], Tensor]):
        super().__init__()
        self.f = f

    def forward(self, y: Tensor) -> Tensor:
        return self.f(y).sum(1)


@cache
def linear_generator(latent_dim: int, sigma: float) -> Generator:
    """f(z) = Wz + b into 3 pixels; with d = 1 and σ = 1 case 7."""
    network = nn.Linear(latent_dim, 3, dtype=FLOAT)
    weight = {1: [[3**0.5], [0.0], [0.0]], 2: [[1.5, 0.4], [-0.5, 1.1], [0.6, 0.6]]}[latent_dim]
    with torch.no_grad():
        network.weight.copy_(tensor(weight))
        network.bias.copy_(tensor([0.0, 0.0, 0.0] if latent_dim == 1 else [0.3, -0.2, 0.1]))
    return Generator(network, latent_dim, sigma).requires_grad_(False)


@cache
def nonlinear_generator(latent_dim: int, sigma: float) -> Generator:
    """f(z) = B tanh(Az + a) + b into 3 pixels, its weights drawn once."""
    rng = derive(5, "nonlinear generator", latent_dim)
    network = nn.Sequential(nn.Linear(latent_dim, 8, dtype=FLOAT), nn.Tanh(), nn.Linear(8, 3, dtype=FLOAT))
    with torch.no_grad():
        for parameter, scale in zip(network.parameters(), (1.2, 0.8, 0.6, 0.3), strict=True):
            parameter.copy_(scale * normal(*parameter.shape, rng=rng))
    return Generator(network, latent_dim, sigma).requires_grad_(False)


# of simulation-based calibration: σ so large that the prior counts, and far from 1, or σ for σ² would be no fault
GENERATORS = {"linear": lambda: linear_generator(2, 1.5), "nonlinear": lambda: nonlinear_generator(1, 1.5)}


def posterior(model: Generator, image: Tensor) -> mcmc.LogDensity:
    return lambda z: model.log_joint(z, image.expand(len(z), -1))


def observed(model: Generator, z: list[float], seed: int = 1) -> Tensor:
    noise = normal(1, 3, rng=derive(seed, "observed"))
    return model(tensor([z])) + model.sigma * noise


S5 = torch.logspace(-1, 0, 5, dtype=FLOAT)
S20 = torch.linspace(0.5, 1.5, 20, dtype=FLOAT)
S100 = torch.linspace(0.7, 1.3, 100, dtype=FLOAT)
UNIT4, UNIT6 = (-4.5, 4.5), (-6.5, 6.5)

CASES: dict[str, Case] = {
    "1-d": gaussian(tensor([1.0]), tensor([[4.0]]), langevin=1.6, mala=3.0, hmc=(2.2, 2), thin=(4, 3, 2)),
    "correlated 2-d": gaussian(
        tensor([1.0, -1.0]), tensor([[1.0, 0.9], [0.9, 1.0]]), langevin=0.3, mala=0.5, hmc=(0.35, 4), thin=(20, 12, 3)
    ),
    "badly scaled 5-d": gaussian(
        torch.linspace(-1, 1, 5, dtype=FLOAT),
        torch.diag(S5**2),
        langevin=0.12,
        mala=0.16,
        hmc=(0.13, 8),
        thin=(60, 60, 6),
    ),
    "20-d": gaussian(
        torch.linspace(-2, 2, 20, dtype=FLOAT),
        rotated(S20**2, 1),
        langevin=0.4,
        mala=0.6,
        hmc=(0.45, 4),
        thin=(15, 15, 4),
    ),
    "100-d": gaussian(
        torch.zeros(100, dtype=FLOAT), torch.diag(S100**2), langevin=0.5, mala=0.6, hmc=(0.4, 4), thin=(10, 12, 3)
    ),
    "bimodal 1-d": Case(two_humps, 0.5, 1.8, (0.9, 4), (20, 12, 4), box=((-10, 10),)),
    "bimodal 2-d": Case(unlike_humps, 0.45, 1.1, (0.6, 4), (25, 15, 4), box=((-6.5, 6), (-6.5, 6))),
    "banana": Case(banana, 0.25, 0.8, (0.45, 5), (30, 20, 4), box=((-5.5, 5.5), (-3.5, 12))),
    "funnel": Case(funnel, 0.25, 0.8, (0.4, 5), (30, 25, 8), box=((-4, 4), (-16, 16)), exact_start=draw_funnel),
    "Student-t": Case(student, 0.5, 1.6, (0.9, 3), (10, 5, 3), box=((-60, 60),)),
    "descriptor max(0, y)": Case(
        Descriptor(Pointwise(lambda y: y.clamp_min(0)), 1.0).log_density,
        *(0.5, 1.6, (0.9, 3), (10, 5, 3)),
        box=((-9, 9),),
        smooth=False,
    ),
    "descriptor 2y² − y⁴/4": Case(
        Descriptor(Pointwise(lambda y: 2 * y**2 - 0.25 * y**4), 1.0).log_density,
        *(0.3, 0.7, (0.4, 4), (50, 30, 10)),
        box=((-5, 5),),
        spread=0.5,
    ),
    "linear posterior 1-d": Case(
        posterior(linear_generator(1, 1.0), tensor([[2.0, 0.0, 0.0]])), 0.4, 0.8, (0.35, 3), (5, 5, 2), box=((-4, 5.5),)
    ),
    "linear posterior 2-d": Case(
        posterior(linear_generator(2, 0.8), observed(linear_generator(2, 0.8), [0.8, -1.0])),
        *(0.3, 0.8, (0.4, 3), (10, 6, 3)),
        box=(UNIT4, UNIT4),
    ),
    "nonlinear posterior 1-d": Case(
        posterior(nonlinear_generator(1, 0.6), observed(nonlinear_generator(1, 0.6), [0.4])),
        *(0.3, 0.7, (0.4, 4), (20, 12, 5)),
        box=(UNIT6,),
    ),
    "nonlinear posterior 2-d": Case(
        posterior(nonlinear_generator(2, 0.6), observed(nonlinear_generator(2, 0.6), [0.3, -0.5])),
        *(0.2, 0.6, (0.3, 5), (40, 25, 6)),
        box=((-6, 6), (-6, 6)),
    ),
}
FAST = (
    "1-d",
    "correlated 2-d",
    "bimodal 1-d",
    "descriptor max(0, y)",
    "linear posterior 2-d",
    "nonlinear posterior 1-d",
)
