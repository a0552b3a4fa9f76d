"""Inference of the latent factors of images by MCMC from cold starts."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator
from ..processor import frozen
from ..rng import standard_normal
from .distance import chunks, mse

__all__ = ["Inference", "infer"]

NUM_STARTS = 1024
CHAINS_AT_ONCE = 512


class Inference(NamedTuple):
    """The result of inference for n images."""

    z: Tensor  # (n, d), the last state of each image's chain
    log_joint: Tensor  # (n,), log p(Y, z)
    reconstructions: Tensor  # (n, *event), f(z)
    mse: Tensor  # (n,), ‖Y − f(z)‖²/D
    acceptance_rate: Tensor  # (n,), over the last ``num_steps`` transitions, whose step size is fixed


def infer(
    model: Generator,
    images: Tensor,
    *,
    num_starts: int = NUM_STARTS,
    num_chains: int = 4,
    num_steps: int = 30,
    rng: torch.Generator,
) -> Inference:
    """Draws z from the posterior p(z | Y) ∝ p(Y, z) of each image, by MALA from cold starts.

    The posterior of a learned generator has many modes, of curvature about 10⁴, between which no chain moves in
    reasonable time: the start of a chain decides which mode it finds. Therefore the starts compete. Of ``num_starts``
    z ~ N(0, I), the same for all images, and the best linear estimate of z given Y, each image keeps the ``num_chains``
    of highest log p(Y, z); in more than a few dimensions no draw comes near an image, and the estimate does. These
    chains run ``num_steps`` transitions while their step sizes are adapted; the better half of them does so again,
    until one is left. After another such warm-up it runs ``num_steps`` transitions with a fixed step size and without
    selection: its last state is a draw from p(z | Y) within the best mode found.

    Args:
        model: the generator.
        images: Y, (n, *event) in [−1, 1], float.
        num_starts: z that are tried for each image; f(z) is computed once for all images.
        num_chains: chains of each image in the first round, 1 to ``num_starts``.
        num_steps: transitions in each round, ≥ 1; in all, about 2 · num_chains · num_steps for each image.
        rng: the random generator, on the images' device.

    Raises:
        ValueError: a number is out of its range, or f is not finite at a z ~ N(0, I).

    Source: successive halving, Jamieson and Talwalkar 2016; MALA and its warm-up, `anasyn.mcmc`.
    """
    most = min(num_starts, CHAINS_AT_ONCE)
    if not 1 <= num_chains <= most:
        raise ValueError(f"num_chains: expected 1 to {most} with {num_starts} starts, got {num_chains}")
    if num_steps < 1:
        raise ValueError(f"num_steps: expected at least 1, got {num_steps}")
    if not images.is_floating_point():
        raise ValueError(f"images: expected floats in [−1, 1], got {images.dtype}")
    starts = standard_normal(images.new_empty(num_starts, model.latent_dim), rng)
    parts = []
    with frozen(model):
        sketches = sketch(model, starts)
        inverse = LinearInverse(starts, sketches, model.sigma)
        for batch in chunks(images, CHAINS_AT_ONCE // num_chains):
            score, best = scores(model, starts, sketches, batch).topk(num_chains, dim=1)
            estimate = inverse(batch)
            with torch.no_grad():
                squares = ((model(estimate) - batch) ** 2).flatten(1).sum(1)
                of_estimate = model.log_prior(estimate) - squares / (2 * model.sigma**2)
            score = torch.cat([score, of_estimate[:, None]], 1)
            candidates = torch.cat([starts[best], estimate[:, None]], 1)
            kept = score.topk(num_chains, dim=1).indices
            z = candidates.gather(1, kept[..., None].expand(-1, -1, model.latent_dim))
            parts.append(_compete(model, batch, z, num_steps, rng))
    return Inference(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def sketch(model: Generator, starts: Tensor) -> Tensor:
    """f(z) at draws z ~ N(0, I), (n, d) → (n, D); raises ValueError if it is not finite."""
    sketches = torch.cat([model(z).flatten(1) for z in chunks(starts, CHAINS_AT_ONCE)])
    if not sketches.isfinite().all():
        raise ValueError("model: f(z) is not finite at a z ~ N(0, I)")
    return sketches


def scores(model: Generator, starts: Tensor, sketches: Tensor, images: Tensor) -> Tensor:
    """log p(Y_i, z_j) of each image and each start, up to a constant, (b, n); ``sketches`` are the f(z_j)."""
    squares = torch.cdist(images.flatten(1), sketches) ** 2
    return model.log_prior(starts) - squares / (2 * model.sigma**2)


class LinearInverse:
    """The best linear estimate of z given an image, from pairs of z and f(z).

        ẑ(Y) = z̄ + Cov(z, f) (Cov(f) + σ² I)⁻¹ (Y − f̄)

    For a linear generator and many pairs it is the posterior mean.

    Args:
        z: draws from the prior, (n, d).
        sketches: f(z), (n, D).
        sigma: σ, ().
    """

    def __init__(self, z: Tensor, sketches: Tensor, sigma: Tensor):
        self.mean_z, self.mean_f = z.mean(0), sketches.mean(0)
        centred = sketches - self.mean_f
        noise = len(z) * sigma**2 * torch.eye(len(z), dtype=torch.float64, device=z.device)
        solution = torch.linalg.solve((centred @ centred.T).double() + noise, (z - self.mean_z).double())
        self.matrix = centred.T @ solution.to(z)  # (D, d)

    def __call__(self, images: Tensor) -> Tensor:
        """Images Y, (b, *event) → ẑ, (b, d)."""
        return self.mean_z + (images.flatten(1) - self.mean_f) @ self.matrix


def _compete(model: Generator, images: Tensor, z: Tensor, num_steps: int, rng: torch.Generator) -> Inference:
    """The rounds of `infer` for b images whose chains start at z, (b, k, d)."""
    b, k, d = z.shape
    step_size = torch.full_like(z[..., 0], 0.1)  # arbitrary: at first, the warm-up changes it up to threefold in a step
    counts = [k >> r for r in range(k.bit_length())]  # k, k/2, …, 1
    for count, kept in pairwise([*counts, 1]):
        log_posterior = _log_posterior(model, images.repeat_interleave(count, 0))
        kernel = mcmc.MALA(step_size.flatten())
        _, state = mcmc.warm_up(kernel, log_posterior, z.flatten(0, 1), num_steps=num_steps, rng=rng)
        best = state.log_density.view(b, count).topk(kept, dim=1).indices
        z = state.position.view(b, count, d).gather(1, best[..., None].expand(-1, -1, d))
        step_size = state.step_size.view(b, count).gather(1, best)
    log_posterior = _log_posterior(model, images)
    state, info = mcmc.run(mcmc.MALA(step_size[:, 0]), log_posterior, z[:, 0], num_steps=num_steps, rng=rng)
    with torch.no_grad():
        reconstructions = model(state.position)
    error = mse(images, reconstructions)
    return Inference(state.position, state.log_density, reconstructions, error, info.acceptance_rate)


def _log_posterior(model: Generator, images: Tensor) -> mcmc.LogDensity:
    return lambda z: model.log_joint(z, images)
