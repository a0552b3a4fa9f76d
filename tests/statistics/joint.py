"""Geweke's joint test of a whole iteration of Algorithm 1."""

import math

import numpy as np
import torch
from torch import Tensor

from anasyn import Divergence, GeneratorLearner, mcmc
from anasyn.models import Generator
from anasyn.rng import derive

from .cases import FLOAT, normal
from .comparing import SIGMAS, Caught, mean_error, twice


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
FEWER = {"replicas": 400, "iterations": 120}  # enough to catch chains that are not their images'


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


def check_weight_step() -> None:
    """One iteration moves W by γ mean_i (Y_i − W z_i) z_iᵀ / σ², z the chains' positions after it, to 1e-12."""
    rng = derive(0, "weight step")
    weight, _, images = draw_joint(1, rng)
    model = Generator(Replicas(weight.clone()), FACTORS, SIGMA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learner = GeneratorLearner(model, kernel=JOINT_KERNELS["MALA"], num_steps=3, optimizer=optimizer)
    learner.begin(images[0], IMAGES, rng=rng)
    learner.step(torch.arange(IMAGES), images[0], rng=rng)
    z = learner.chains.positions
    expected = weight[0] + 0.1 * (images[0] - z @ weight[0].T).T @ z / IMAGES / SIGMA**2
    off = (model.network.weight[0] - expected).abs().max().item()
    if not off < 1e-12:
        raise Caught(f"the weights' step is off by {off:.3g}")
