"""Inference of the latent factors of images by MCMC from cold starts."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator, Images, observed
from ..processor import frozen
from ..rng import standard_normal
from .curvature import PosteriorMetric
from .distance import chunks

__all__ = ["Inference", "infer", "log_posterior", "num_evaluations"]

NUM_STARTS = 1024
NUM_CHAINS, NUM_STEPS = 4, 30
CHAINS_AT_ONCE = 512


class Inference(NamedTuple):
    """The result of inference for n images."""

    z: Tensor  # (n, d), the last state of each image's chain
    log_joint: Tensor  # (n,), log p(Y, z)
    reconstructions: Tensor  # (n, *event), f(z)
    mse: Tensor  # (n,), ‖Y − f(z)‖²/D, over the D values that are seen
    acceptance_rate: Tensor  # (n,), over the last ``num_steps`` transitions, whose step size is fixed


def infer(
    model: Generator,
    images: Images,
    *,
    num_starts: int = NUM_STARTS,
    num_chains: int = NUM_CHAINS,
    num_steps: int = NUM_STEPS,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> Inference:
    """Draws z from the posterior p(z | Y) ∝ p(Y, z) of each image, by MALA from cold starts.

    The posterior of a learned generator has many modes, of curvature about 10⁴, between which no chain moves in
    reasonable time: the start of a chain decides which mode it finds. Therefore the starts compete. Of ``num_starts``
    z ~ N(0, I), the same for all images, and the best linear estimate of z given Y, each image keeps the ``num_chains``
    of highest log p(Y, z); in more than a few dimensions no draw comes near an image, and the estimate does. These
    chains run ``num_steps`` transitions while their step sizes are adapted; the better half of them does so again,
    until one is left. It is then preconditioned by the curvature of its posterior (`PosteriorMetric`), warmed up again,
    and runs ``num_steps`` transitions with a fixed step size and without selection: its last state is a draw from
    p(z | Y) within the best mode found, also in directions of z that change the image little.

    Args:
        model: the generator.
        images: Y, (n, *event) in [−1, 1], float, or what is seen of them.
        num_starts: z that are tried for each image; f(z) is computed once for all images.
        num_chains: chains of each image in the first round, 1 to ``num_starts``.
        num_steps: transitions in each round, ≥ 1; in all, about 2 · num_chains · num_steps for each image.
        rng: the random generator, on the images' device.
        progress: called at every evaluation of log p(Y, z) by the chains, see `num_evaluations`.

    Raises:
        ValueError: a number is out of its range, or f is not finite at a z ~ N(0, I).

    Source: successive halving, Jamieson and Talwalkar 2016; MALA and its warm-up, `anasyn.mcmc`.
    """
    most = min(num_starts, CHAINS_AT_ONCE)
    if not 1 <= num_chains <= most:
        raise ValueError(f"num_chains: expected 1 to {most} with {num_starts} starts, got {num_chains}")
    if num_steps < 1:
        raise ValueError(f"num_steps: expected at least 1, got {num_steps}")
    values = observed(images).values
    if not values.is_floating_point():
        raise ValueError(f"images: expected floats in [−1, 1], got {values.dtype}")
    starts = standard_normal(values.new_empty(num_starts, model.latent_dim), rng)
    parts = []
    with frozen(model):
        sketches = sketch(model, starts)
        inverse = (LinearInverse if isinstance(images, Tensor) else LinearFit)(starts, sketches, model.sigma)
        for batch in chunks(images, CHAINS_AT_ONCE // num_chains):
            score, best = scores(model, starts, sketches, batch).topk(num_chains, dim=1)
            estimate = inverse(batch)
            with torch.no_grad():
                of_estimate = model.log_prior(estimate) - model.squares(estimate, batch) / (2 * model.sigma**2)
            score = torch.cat([score, of_estimate[:, None]], 1)
            candidates = torch.cat([starts[best], estimate[:, None]], 1)
            kept = score.topk(num_chains, dim=1).indices
            z = candidates.gather(1, kept[..., None].expand(-1, -1, model.latent_dim))
            parts.append(_compete(model, batch, z, num_steps, rng, progress))
    return Inference(*(torch.cat(part) for part in zip(*parts, strict=True)))


def num_evaluations(num_images: int) -> int:
    """How often the chains of `infer` evaluate log p(Y, z), of many images at once, if its numbers are the defaults."""
    rounds = NUM_CHAINS.bit_length() + 2  # of the competition; then a warm-up, and a run with a fixed step size
    return -(-num_images // (CHAINS_AT_ONCE // NUM_CHAINS)) * rounds * (NUM_STEPS + 1)


@torch.no_grad()
def sketch(model: Generator, starts: Tensor) -> Tensor:
    """f(z) at draws z ~ N(0, I), (n, d) → (n, *event); raises ValueError if it is not finite."""
    sketches = torch.cat([model(z) for z in chunks(starts, CHAINS_AT_ONCE)])
    if not sketches.isfinite().all():
        raise ValueError("model: f(z) is not finite at a z ~ N(0, I)")
    return sketches


def scores(model: Generator, starts: Tensor, sketches: Tensor, images: Images) -> Tensor:
    """log p(Y_i, z_j) of each image and each start, up to a constant, (b, n); ``sketches`` are the f(z_j)."""
    if isinstance(images, Tensor):
        squares = torch.cdist(images.flatten(1), sketches.flatten(1)) ** 2
    else:
        each = (images[i : i + 1].residuals(sketches) for i in range(len(images)))
        squares = torch.stack([(residuals**2).flatten(1).sum(1) for residuals in each])
    return model.log_prior(starts) - squares / (2 * model.sigma**2)


class LinearInverse:
    """The best linear estimate of z given an image, from pairs of z and f(z).

        ẑ(Y) = z̄ + Cov(z, f) (Cov(f) + σ² I)⁻¹ (Y − f̄)

    For a linear generator and many pairs it is the posterior mean.

    Args:
        z: draws from the prior, (n, d).
        sketches: f(z), (n, *event).
        sigma: σ, ().
    """

    def __init__(self, z: Tensor, sketches: Tensor, sigma: Tensor):
        f = sketches.flatten(1)
        self.mean_z, self.mean_f = z.mean(0), f.mean(0)
        centred = f - self.mean_f
        noise = len(z) * sigma**2 * torch.eye(len(z), dtype=torch.float64, device=z.device)
        solution = torch.linalg.solve((centred @ centred.T).double() + noise, (z - self.mean_z).double())
        self.matrix = centred.T @ solution.to(z)  # (D, d)

    def __call__(self, images: Images) -> Tensor:
        """Images Y that are seen whole, (b, *event) → ẑ, (b, d)."""
        return self.mean_z + (observed(images).values.flatten(1) - self.mean_f) @ self.matrix


class LinearFit:
    """An estimate of z given what is seen of an image, from the best linear approximation of f at draws z ~ N(0, I).

        f(z) ≈ f̄ + Lᵀ(z − z̄) + e,   ẑ(A Y) = z̄ + (I + M Mᵀ/s²)⁻¹ M (A Y − A f̄)/s²,   M = L Aᵀ

    with s² the sum of σ² and the mean square of e. For a linear generator it is the posterior mean.

    Args:
        z: draws from the prior, (n, d).
        sketches: f(z), (n, *event).
        sigma: σ, ().
    """

    def __init__(self, z: Tensor, sketches: Tensor, sigma: Tensor):
        self.mean_z, self.mean_f = z.mean(0), sketches.mean(0, keepdim=True)
        centred, f = z - self.mean_z, (sketches - self.mean_f).flatten(1)
        slopes = torch.linalg.lstsq(centred, f).solution
        self.variance = sigma**2 + (f - centred @ slopes).square().mean()
        self.slopes = slopes.unflatten(1, sketches.shape[1:])  # L, (d, *event)

    def __call__(self, images: Images) -> Tensor:
        """What is seen of b images → ẑ, (b, d)."""
        identity = torch.eye(len(self.slopes), dtype=self.slopes.dtype, device=self.slopes.device)
        found = []
        for image in (observed(images[i : i + 1]) for i in range(len(images))):
            slopes = image.observation(self.slopes).flatten(1)
            gap = -image.residuals(self.mean_f).flatten()
            precision = identity + slopes @ slopes.T / self.variance
            found.append(self.mean_z + torch.linalg.solve(precision, slopes @ gap / self.variance))
        return torch.stack(found).to(self.slopes.dtype)


def _compete(
    model: Generator,
    images: Images,
    z: Tensor,
    num_steps: int,
    rng: torch.Generator,
    progress: Callable[[], None] | None,
) -> Inference:
    """The rounds of `infer` for b images whose chains start at z, (b, k, d)."""
    b, k, d = z.shape
    rows = torch.arange(b, device=z.device)
    step_size = torch.full_like(z[..., 0], 0.1)  # arbitrary: at first, the warm-up changes it up to threefold in a step
    counts = [k >> r for r in range(k.bit_length())]  # k, k/2, …, 1
    for count, kept in pairwise([*counts, 1]):
        density = log_posterior(model, images[rows.repeat_interleave(count)], progress)
        kernel = mcmc.MALA(step_size.flatten())
        _, state = mcmc.warm_up(kernel, density, z.flatten(0, 1), num_steps=num_steps, rng=rng)
        best = state.log_density.view(b, count).topk(kept, dim=1).indices
        z = state.position.view(b, count, d).gather(1, best[..., None].expand(-1, -1, d))
        step_size = state.step_size.view(b, count).gather(1, best)
    density = log_posterior(model, images, progress)
    kernel = mcmc.MALA(d ** (-1 / 6), PosteriorMetric.at(model, images, z[:, 0]))
    kernel, state = mcmc.warm_up(kernel, density, z[:, 0], num_steps=num_steps, rng=rng)
    state, info = mcmc.run(kernel, density, state.position, num_steps=num_steps, rng=rng)
    with torch.no_grad():
        reconstructions = model(state.position)
        error = model.squares(state.position, images) / observed(images).num_seen
    return Inference(state.position, state.log_density, reconstructions, error, info.acceptance_rate)


def log_posterior(model: Generator, images: Images, progress: Callable[[], None] | None) -> mcmc.LogDensity:
    """log p(Y, z) as a function of z; ``progress`` is called at every evaluation."""

    def density(z: Tensor) -> Tensor:
        if progress:
            progress()
        return model.log_joint(z, images)

    return density
