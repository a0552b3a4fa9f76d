"""A generator's inference with its learned weights: mixing, stability, modes, and whether z fits its prior."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .. import mcmc
from ..evaluation import evenly
from ..evaluation.inference import scores
from ..evaluation.likelihood import DrawPrior
from ..models import Generator, Images, floats, observed
from ..processor import frozen
from ..rng import standard_normal
from .chains import R_HAT, ChainDraws, arviz, effective_sample_size, finite, gradients_per_step, r_hat, sample
from .latent_prior import PriorChains, diagnose_prior, judge_prior
from .modes import BARRIER, OtherMode, around, barrier, peaks
from .prior import Aggregate, aggregate

__all__ = ["MASS", "GeneratorDiagnosis", "diagnose_generator"]

MASS = 10.0
"""Nats below the mode of the inferred z beyond which another mode has negligible mass: e^−10 = 5 · 10⁻⁵."""

MAX_IMAGES = 16
NUM_CHAINS = 4
SPREAD = 3.0  # posterior standard deviations
NUM_STARTS = 256


@dataclass(frozen=True)
class GeneratorDiagnosis:
    """The result of `diagnose_generator`; tuples of numbers have one entry for each image."""

    verdict: str
    reasons: tuple[str, ...]
    protocol: str
    names: tuple[str, ...]
    num_images: int  # of the whole set
    step_size: tuple[float, ...]  # of MALA, adapted at the learned weights
    acceptance_rate: tuple[float, ...]
    ess_per_1000_gradients: tuple[float, ...]  # in the worst coordinate
    r_hat: tuple[float, ...]  # of the chains around the inferred z, in the worst coordinate
    fresh_r_hat: tuple[float, ...]  # of the chains from N(0, I)
    lambda_max: tuple[float, ...]  # of the posterior, at the inferred z
    stability_limit: tuple[float, ...]  # of δ, 2/√λ_max
    other_modes: tuple[OtherMode, ...]  # one for each chain that ended in one
    prior: Aggregate
    prior_chains: PriorChains | None  # of a learned prior
    chains: ChainDraws = field(repr=False)  # around the inferred z
    fresh_chains: ChainDraws = field(repr=False)  # from N(0, I)

    @property
    def multimodal(self) -> tuple[str, ...]:
        """The names of the images of which a chain ended in another mode than that of the inferred z."""
        found = {mode.image for mode in self.other_modes}
        return tuple(name for name in self.names if name in found)

    @property
    def inference_data(self) -> Any:
        """The chains around the inferred z as `arviz.InferenceData`: z in (chain, draw, image, coordinate)."""
        return self.chains.inference_data(self.names)

    @property
    def fresh_inference_data(self) -> Any:
        """The chains from N(0, I), likewise."""
        return self.fresh_chains.inference_data(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the chains, for JSON; a number that is not finite is None."""
        plain = {name: value for name, value in vars(self).items() if not isinstance(value, ChainDraws)}
        plain["other_modes"] = [asdict(mode) for mode in self.other_modes]
        plain["prior"] = asdict(self.prior)
        plain["prior_chains"] = self.prior_chains and asdict(self.prior_chains)
        return {**finite(plain), "multimodal": list(self.multimodal)}


def diagnose_generator(
    model: Generator,
    images: Images,
    z: Tensor,
    names: tuple[str, ...],
    *,
    draw_prior: DrawPrior | None = None,
    num_warm_up: int = 60,
    num_draws: int = 200,
    rng: torch.Generator,
) -> GeneratorDiagnosis:
    """Runs MALA with the learned weights from two kinds of starts, and compares the inferred z with their prior.

    Four chains for each image start around its inferred z, 3 posterior standard deviations away, and show whether
    chains mix within a mode. Four others start at the best peaks of log p(Y, z) among `NUM_STARTS` z ~ N(0, I) and
    look for other modes. A chain is in another mode if log p falls by `BARRIER` nats between its highest point and z_i.
    There may be modes that no chain finds. Of a learned prior, long chains are run as well.

    Args:
        model: the generator with its learned weights, in float32.
        images: Y, (n, *event), uint8 or float in [−1, 1], or what is seen of them; chains run for at most
            `MAX_IMAGES`, evenly spaced.
        z: the inferred latent factors, (n, d), on the model's device.
        names: of the images.
        draw_prior: number, rng → samples of z; not needed for a prior N(0, I), of which there is nothing to diagnose.
        num_warm_up: transitions in which step sizes are adapted, which also serve as burn-in.
        num_draws: draws of each chain.
        rng: on the device of ``z``.

    Raises:
        InputError: arviz is missing.
        ValueError: numbers of images, z and names differ, or draws from a learned prior are not given.
    """
    arviz()  # raises before the chains run
    if not len(images) == len(z) == len(names):
        got = f"{len(z)} z and {len(names)} names"
        raise ValueError(f"z, names: expected one for each of {len(images)} images, got {got}")
    on_cpu = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng, device=rng.device)))
    if (model.prior is None) != (draw_prior is None):
        raise ValueError("draw_prior: expected for a learned prior, and for no other")
    prior_chains, draws = diagnose_prior(model, draw_prior, rng=rng) if draw_prior else (None, None)
    prior = aggregate(z, prior=draws, rng=on_cpu)
    chosen = evenly(len(images), MAX_IMAGES)
    names, num_images = tuple(names[i] for i in chosen.tolist()), len(images)
    images, z = floats(images[chosen.to(observed(images).values.device)].to(z.device)), z[chosen.to(z.device)]
    repeated = images[torch.arange(len(z), device=z.device).repeat(NUM_CHAINS)]
    kernel = mcmc.MALA(0.1)  # arbitrary: at first, the warm-up changes it up to threefold in a step
    with frozen(model):

        def log_posterior(position: Tensor) -> Tensor:
            return model.log_joint(position, repeated)

        def run(starts: Tensor, num_draws: int) -> tuple[ChainDraws, Tensor]:
            return sample(kernel, log_posterior, starts, num_warm_up=num_warm_up, num_draws=num_draws, rng=rng)

        lambda_max, limit = mcmc.stability(lambda position: model.log_joint(position, images), z, rng=rng)
        chains, step_size = run(around(model, z, num_chains=NUM_CHAINS, spread=SPREAD, rng=rng), num_draws)
        fresh, _ = run(_fresh_starts(model, images, rng), max(num_draws // 4, 4))
        modes = _other_modes(model, images, z, names, chains, fresh)

    evaluations = NUM_CHAINS * num_draws * gradients_per_step(kernel)
    which = f"{len(names)} evenly spaced of the {num_images}" if len(names) < num_images else f"the {num_images}"
    protocol = (
        f"{which} images; MALA with the learned weights, step sizes adapted in {num_warm_up} transitions and then "
        f"fixed; for each image, {NUM_CHAINS} chains of {num_draws} draws from z + {SPREAD:g} posterior standard "
        f"deviations, and {NUM_CHAINS} of {fresh.positions.shape[1]} from the best peaks of log p(Y, z) among "
        f"{NUM_STARTS} z ~ N(0, I); another mode is one behind a barrier of {BARRIER:g} nats"
    )
    found = GeneratorDiagnosis(
        verdict="",
        reasons=(),
        protocol=protocol,
        names=names,
        num_images=num_images,
        step_size=tuple(step_size.tolist()),
        acceptance_rate=tuple(chains.acceptance_rate.mean((0, 1)).tolist()),
        ess_per_1000_gradients=tuple(1000 * n / evaluations for n in effective_sample_size(chains.positions)),
        r_hat=r_hat(chains.positions),
        fresh_r_hat=r_hat(fresh.positions),
        lambda_max=tuple(lambda_max.tolist()),
        stability_limit=tuple(limit.tolist()),
        other_modes=modes,
        prior=prior,
        prior_chains=prior_chains,
        chains=chains,
        fresh_chains=fresh,
    )
    verdict, reasons = _judge(found)
    return replace(found, verdict=verdict, reasons=reasons)


@torch.no_grad()
def _fresh_starts(model: Generator, images: Images, rng: torch.Generator) -> Tensor:
    """The best peaks of each image's log p(Y, z) among z ~ N(0, I), the same for all images, (c, n, d)."""
    starts = standard_normal(observed(images).values.new_empty(NUM_STARTS, model.latent_dim), rng)
    score = scores(model, starts, model(starts), images)
    return starts[peaks(score, starts, num=NUM_CHAINS)].transpose(0, 1)


def _other_modes(
    model: Generator, images: Images, z: Tensor, names: tuple[str, ...], chains: ChainDraws, fresh: ChainDraws
) -> tuple[OtherMode, ...]:
    """The chains whose highest point is separated from the inferred z by a barrier."""
    tops, heights, barriers = [], [], []
    for kind in (chains, fresh):
        height, draw = kind.log_density.max(1)  # (c, n)
        for k in range(len(height)):
            top = kind.positions[k, draw[k], torch.arange(len(z))].to(z)
            tops.append(top.cpu())
            heights.append(height[k])
            barriers.append(barrier(model, images, z, top).cpu())
    height, depth = torch.stack(heights), torch.stack(barriers)  # (2c, n)
    distance = (torch.stack(tops) - z.cpu()).norm(dim=-1)
    with torch.no_grad():
        here = model.log_joint(z, images).cpu()
    c = len(chains.positions)
    same = torch.where(depth[:c] <= BARRIER, height[:c], -torch.inf)
    here = torch.maximum(here, same.amax(0))
    return tuple(
        OtherMode(
            image=names[i],
            start="around" if k < c else "fresh",
            chain=k % c,
            difference=float(height[k, i] - here[i]),
            barrier=float(depth[k, i]),
            distance=float(distance[k, i]),
        )
        for i in range(len(names))
        for k in range(2 * c)
        if depth[k, i] > BARRIER
    )


def _judge(found: GeneratorDiagnosis) -> tuple[str, tuple[str, ...]]:
    """The verdict in words, and its reasons."""
    n, names, prior, ess = len(found.names), found.names, found.prior, found.ess_per_1000_gradients
    stuck = [name for name, value in zip(names, found.r_hat, strict=True) if not value < R_HAT]
    fits = f"z {prior.finding} its prior"
    if prior.finding == "agrees with":
        fits += f", as far as {prior.num} images can show"
    mixing = f"chains mix within the mode at {n - len(stuck)} of {n} images" if stuck else "chains mix within modes"
    with_mass = {mode.image for mode in found.other_modes if mode.difference > -MASS}
    others = "no other mode was found"
    if found.multimodal:
        others = (
            f"the posterior has other modes at {len(found.multimodal)} of {n} images, with mass at {len(with_mass)}"
        )
    apart = f"; {R_HAT:g} or more at {', '.join(stuck)}" if stuck else f", all below {R_HAT:g}"
    share = torch.tensor(found.step_size) / torch.tensor(found.stability_limit)
    reasons = [
        f"mean z² {prior.mean_square_all:.2f} per dimension, {prior.prior_mean_square:.3g} under the prior "
        f"(p = {prior.mean_square_p:.3f}), energy distance to it {prior.energy_distance:.3f} "
        f"(p = {prior.energy_p:.3f}), {prior.num} z",
        f"R-hat around the inferred z: median {_median(found.r_hat):.3f}, largest {max(found.r_hat):.3f}{apart}",
        f"{_median(ess):.0f} effective draws per 1000 gradients (median of images), {min(ess):.0f} at the worst image",
        f"MALA's step size is {float(share.median()):.2f} of the stability limit 2/√λ_max (median of images)",
    ]
    if found.multimodal:
        reasons.append(f"chains ended in another mode at {', '.join(found.multimodal)}")
    better = {mode.image: mode.difference for mode in found.other_modes if mode.difference > 0}
    if better:
        best = max(better, key=lambda name: better[name])
        reasons.append(
            f"another mode is higher than the inferred z's at {', '.join(name for name in names if name in better)} "
            f"(by {better[best]:.0f} nats at {best})"
        )
    verdict = f"{fits}; {mixing}; {others}"
    if found.prior_chains:
        of_prior, reason = judge_prior(found.prior_chains)
        verdict, reasons = f"{verdict}; {of_prior}", [*reasons, reason]
    return verdict, tuple(reasons)


def _median(values: tuple[float, ...]) -> float:
    return float(torch.tensor(values).median())
