"""Whether a descriptor's chains sample its density: acceptance, Stein's identities, and a long run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import mcmc
from ..data import as_float, to_uint8
from ..evaluation import sliced_wasserstein, swd_levels
from ..mcmc import State, mean_image
from ..mcmc.kernel import inner
from ..models import Descriptor
from ..processor import frozen
from ..rng import standard_normal
from .chains import arviz, finite, gradients_per_step
from .gap import Gap, energy_gap
from .verdict import Distances, Verdict, judge

__all__ = ["FRAMES", "DescriptorDiagnosis", "LongRun", "Stein", "diagnose_descriptor", "stein"]

FRAMES = (0, 1, 2, 5, 10)
"""Where the long run is held against the data and shown, in training lengths."""

RECORDS_A_LENGTH = 10  # statistics kept in one training length


class Stein(NamedTuple):
    """Two identities that hold of draws from any density, each as a ratio that is 1 where it holds."""

    ratio: float  # −E[y · ∇ log p(y)] / D
    gradient: float  # n ‖mean ∇ log p‖² / mean ‖∇ log p‖²: 1 of n independent draws, n of n equal gradients


def stein(position: Tensor, gradient: Tensor) -> Stein:
    """Stein's identities E[y · ∇ log p] = −D and E[∇ log p] = 0 over n points, as ratios.

    Args:
        position: y, (n, *event).
        gradient: ∇ log p(y), (n, *event).
    """
    n, dim = len(position), position[0].numel()
    ratio = -inner(position, gradient).mean() / dim
    mean = gradient.mean(0, keepdim=True)
    square = n * inner(mean, mean)[0] / inner(gradient, gradient).mean()
    return Stein(float(ratio), float(square))


@dataclass(frozen=True)
class LongRun:
    """Chains from the data and from the learner's starts, n of each, watched for many training lengths."""

    steps: tuple[int, ...]  # transitions done when statistics were kept, from 0; t of them
    energy: Tensor  # (2, t, n): from the data, from the starts; E(Y) but for a constant
    mean: Tensor  # (2, t, n), of the pixels
    std: Tensor  # (2, t, n), of the pixels
    outside: Tensor  # (2, t, n), share of the pixels outside [−1, 1]
    stein: Tensor  # (2, t, n), −y · ∇ log p(y) / D, whose mean is 1 under p
    acceptance_rate: Tensor  # (2, t, n), mean since the last record; of an unadjusted kernel, what a test would give
    frame_steps: tuple[int, ...]  # transitions done at the frames
    frames: Tensor  # uint8 (2, frames, n, 3, H, W), cut to [−1, 1]
    swd: tuple[tuple[float, ...], tuple[float, ...]]  # × 10³, of the frames to the data, from the data and the starts

    def __post_init__(self) -> None:
        assert len(self.frame_steps) == self.frames.shape[1]


@dataclass(frozen=True)
class DescriptorDiagnosis:
    """What `diagnose_descriptor` found."""

    verdict: Verdict
    reasons: tuple[str, ...]
    protocol: str
    names: tuple[str, ...]
    num_images: int  # of the whole set
    num_steps: int  # transitions of the training length
    temperature: float
    acceptance_rate: float  # along the training length, of the learner's starts; of an unadjusted kernel, as above
    distances: Distances  # what the verdict rests on
    stein_data: Stein
    stein_synthesized: Stein
    stein_long: tuple[Stein, Stein]  # after the long run, from the data and from the starts
    gap: Gap | None
    diverged: int | None  # transitions after which a chain of the long run was no longer finite
    long_run: LongRun = field(repr=False)

    @property
    def inference_data(self) -> Any:
        """The long run's statistics as `arviz.InferenceData`: (chain, draw, image), the chains "data" and "start"."""
        run = self.long_run
        posterior = {name: getattr(run, name) for name in ("energy", "mean", "std", "outside", "stein")}
        return arviz().from_dict(
            posterior={name: value.numpy() for name, value in posterior.items()},
            sample_stats={"acceptance_rate": run.acceptance_rate.numpy()},
            coords={"image": list(self.names), "chain": ["data", "start"], "draw": np.array(run.steps)},
            dims={name: ["image"] for name in (*posterior, "acceptance_rate")},
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the chains' frames, as JSON can hold it; of the long run, means over the images."""
        run = self.long_run
        plain = {name: value for name, value in vars(self).items() if name != "long_run"}
        plain["distances"] = asdict(self.distances)
        plain["gap"] = asdict(self.gap) if self.gap else None
        plain["stein_data"] = self.stein_data._asdict()
        plain["stein_synthesized"] = self.stein_synthesized._asdict()
        plain["stein_long"] = {k: v._asdict() for k, v in zip(("data", "start"), self.stein_long, strict=True)}
        statistics = {
            name: dict(zip(("data", "start"), getattr(run, name).mean(-1).tolist(), strict=True))
            for name in ("energy", "mean", "std", "outside", "stein", "acceptance_rate")
        }
        frames = {"frame_steps": run.frame_steps, "swd": dict(zip(("data", "start"), run.swd, strict=True))}
        plain["long_run"] = {"steps": run.steps, **statistics, **frames}
        return {"model": "descriptor", **finite(plain)}


def diagnose_descriptor(
    model: Descriptor,
    kernel: mcmc.Kernel,
    num_steps: int,
    starts: Tensor,
    images: Tensor,
    records: Sequence[Mapping[str, Any]],
    *,
    names: tuple[str, ...] | None = None,
    num_images: int | None = None,
    data_noise: float = 0.0,
    rng: torch.Generator,
) -> DescriptorDiagnosis:
    """Runs chains of ten training lengths from the data and from the learner's starts, and gives one of three verdicts.

    `density`: long chains stay with the data, so that they may be read as draws from the density stated.
    `short-run sampler`: at the training length samples are good, and long chains leave the data.
    `not learned`: samples are not good at the training length. The rule is `verdict.judge`'s.

    Args:
        model: the descriptor, at its learned weights; in float32.
        kernel: the transition; its step size, a number or one a start, stays as it is.
        num_steps: l, transitions of the training length.
        starts: where the learner's chains start, one an image, (n, 3, H, W).
        images: (n, 3, H, W), uint8 or float in [−1, 1]; 2n chains run at once.
        records: the iterations' numbers, of which ``energy_gap`` is read, as `Run.metrics` gives them; may be empty.
        names: of the images; their numbers where None.
        num_images: of the whole set, where ``images`` are an evenly spaced part of it; told in the protocol.
        data_noise: standard deviation of the noise that learning adds to the images: the data are as it sees them.
        rng: on the model's device.

    Raises:
        ValueError: numbers of images, starts and names differ, or log p is not finite where chains start.
    """
    device = next(model.parameters()).device
    names = names or tuple(str(i) for i in range(len(images)))
    num_images = num_images or len(images)
    if not len(images) == len(starts) == len(names):
        raise ValueError(
            f"starts, names: expected one for each of {len(images)} images, got {len(starts)} and {len(names)}"
        )
    step_size = torch.as_tensor(kernel.step_size, dtype=torch.float32, device=device).expand(len(images))
    kernel = kernel.with_step_size(step_size.repeat(2))
    clean, starts = as_float(images.to(device)), as_float(starts.to(device))
    data = clean + data_noise * standard_normal(clean, rng)

    temperature = kernel.temperature if isinstance(kernel, mcmc.Langevin) else 1.0
    watched = _watch(model, kernel, num_steps, torch.cat([data, starts]), rng)
    levels = min(3, swd_levels(min(clean.shape[2:])))
    reference = to_uint8(clean)

    def to_data(pixels: Tensor) -> float:
        return sliced_wasserstein(pixels, reference, levels=levels).mean

    def diffused(lengths: int) -> Tensor:
        """The data after that many training lengths without a density: the kernel's noise alone."""
        transitions = num_steps * lengths * gradients_per_step(kernel)
        scale = (step_size * (temperature * transitions) ** 0.5).view(-1, 1, 1, 1)
        return to_uint8(data + scale * standard_normal(data, rng))

    # Where a chain was no longer finite there are no images to hold against the data.
    missing = len(FRAMES) - len(watched.frames)
    apart = [[to_data(part) for part in frame.chunk(2)] for frame in watched.frames] + [[math.inf, math.inf]] * missing
    from_data, from_starts = (tuple(row) for row in zip(*apart, strict=True))
    distances = Distances(
        noise=to_data(to_uint8(data)),
        halves=sliced_wasserstein(to_uint8(data[::2]), reference[1::2], levels=levels).mean if len(data) > 1 else 0.0,
        mean_colour=to_data(to_uint8(mean_image(clean, rng))),
        starts=from_starts[0],
        synthesized=from_starts[1],
        data_short=from_data[1],
        data_long=from_data[-1],
        starts_long=from_starts[-1],
        diffused_short=to_data(diffused(1)),
        diffused_long=to_data(diffused(FRAMES[-1])),
    )
    long_run = LongRun(
        steps=tuple(watched.steps),
        **{name: torch.stack(rows, 1).cpu() for name, rows in watched.statistics.items()},
        frame_steps=tuple(num_steps * length for length in FRAMES[: len(watched.frames)]),
        frames=torch.stack([frame.unflatten(0, (2, -1)) for frame in watched.frames], 1).cpu(),
        swd=(from_data, from_starts),
    )
    gap = energy_gap([record["energy_gap"] for record in records if "energy_gap" in record])
    acceptance_rate = float(watched.short_acceptance[1].mean())
    steins = watched.steins + [(Stein(math.nan, math.nan),) * 2] * missing
    stein_long = steins[-1]
    verdict, reasons = judge(distances, (stein_long[0].ratio, stein_long[1].ratio))
    which = f"{len(names)} evenly spaced of the {num_images}" if len(names) < num_images else f"the {num_images}"
    noise = f" with noise {data_noise:g}, as learning sees them," if data_noise else ""
    protocol = (
        f"{which} images; at the learned weights {FRAMES[-1] * num_steps} transitions, {FRAMES[-1]} training lengths, "
        f"from the data{noise} and from the learner's starts; distances are the sliced Wasserstein distance × 10³ of "
        f"7 × 7 patches to the images, mean over {levels} levels of the pyramid"
    )
    more = _more_reasons(kernel, temperature, acceptance_rate, steins, gap, long_run, watched.diverged)
    return DescriptorDiagnosis(
        verdict=verdict,
        reasons=(*reasons, *more),
        protocol=protocol,
        names=names,
        num_images=num_images,
        num_steps=num_steps,
        temperature=temperature,
        acceptance_rate=acceptance_rate,
        distances=distances,
        stein_data=steins[0][0],
        stein_synthesized=steins[1][1],
        stein_long=stein_long,
        gap=gap,
        diverged=watched.diverged,
        long_run=long_run,
    )


class _Watched(NamedTuple):
    steps: list[int]
    statistics: dict[str, list[Tensor]]
    frames: list[Tensor]
    steins: list[tuple[Stein, Stein]]  # at the frames
    short_acceptance: Tensor  # (2, n)
    diverged: int | None


def _watch(model: Descriptor, kernel: mcmc.Kernel, num_steps: int, position: Tensor, rng: torch.Generator) -> _Watched:
    """The long run of 2n chains, ended where one is no longer finite: nothing can be said of what follows."""
    every = max(1, num_steps // RECORDS_A_LENGTH)
    watched = _Watched([], {name: [] for name in STATISTICS}, [], [], torch.zeros(2, len(position) // 2), None)
    with frozen(model):
        state = mcmc.init(model.log_density, position, kernel.step_size)
        rate, rates, since = torch.zeros_like(state.log_density), torch.zeros_like(state.log_density), 0
        for t in range(FRAMES[-1] * num_steps + 1):
            if t > 0:
                state, info = kernel.step(model.log_density, state, rng)
                rate, since = rate + info.acceptance_rate, since + 1
                rates = rates + info.acceptance_rate
            if not (state.log_density.isfinite().all() and state.position.isfinite().all()):
                if t == 0:
                    raise ValueError("log_density: not finite at an image or at a start")
                return watched._replace(diverged=t, short_acceptance=_halves(rates / t).cpu())
            if t == num_steps:
                watched = watched._replace(short_acceptance=_halves(rates / num_steps).cpu())
            lengths, rest = divmod(t, num_steps)
            if rest % every == 0:
                watched.steps.append(t)
                for name, value in _statistics(state).items():
                    watched.statistics[name].append(_halves(value))
                watched.statistics["acceptance_rate"].append(_halves(rate / max(since, 1)))
                rate, since = torch.zeros_like(rate), 0
            if rest == 0 and lengths in FRAMES:
                watched.frames.append(to_uint8(state.position))
                halves = zip(state.position.chunk(2), state.gradient.chunk(2), strict=True)
                first, second = (stein(y, g) for y, g in halves)
                watched.steins.append((first, second))
    return watched


STATISTICS = ("energy", "mean", "std", "outside", "stein", "acceptance_rate")


def _statistics(state: State) -> dict[str, Tensor]:
    pixels = state.position.flatten(1)
    return {
        "energy": -state.log_density,
        "mean": pixels.mean(1),
        "std": pixels.std(1),
        "outside": (pixels.abs() > 1).to(pixels.dtype).mean(1),
        "stein": -inner(state.position, state.gradient) / pixels.shape[1],
    }


def _halves(values: Tensor) -> Tensor:
    return values.unflatten(0, (2, -1))


def _more_reasons(
    kernel: mcmc.Kernel,
    temperature: float,
    acceptance_rate: float,
    steins: list[tuple[Stein, Stein]],
    gap: Gap | None,
    run: LongRun,
    diverged: int | None,
) -> list[str]:
    """What else speaks for or against reading the chains as draws from the density."""
    adjusted = kernel.target_acceptance is not None
    test = "the Metropolis-Hastings test accepts" if adjusted else "no test is made; it would accept"
    reasons = [f"{test} {acceptance_rate:.2f} of the proposals along the training length"]
    if temperature != 1:
        reasons.append(f"temperature {temperature:g}: chains sample p^(1/{temperature:g}), not the density stated")
    ratios = [each.ratio for each in (steins[0][0], steins[1][1], *steins[-1])]
    reasons.append(
        "Stein's −E[y · ∇ log p]/D, 1 under the density: {:.2f} at the data, {:.2f} at the synthesised, "
        "{:.2f} and {:.2f} after the long run from the data and from the starts".format(*ratios)
    )
    outside = run.outside.mean(-1)[:, -1].tolist()
    reasons.append(
        f"pixels outside [−1, 1] at the end of the long run: {outside[0]:.1%} from the data, "
        f"{outside[1]:.1%} from the starts"
    )
    energy = run.energy.mean(-1)
    reasons.append(
        f"mean energy of chains from the data: {energy[0, 0]:.4g} at first, {energy[0, -1]:.4g} at the end; "
        f"from the starts {energy[1, -1]:.4g} at the end"
    )
    if diverged is not None:
        reasons.append(f"a chain was no longer finite after {diverged} transitions")
    if gap:
        reasons.append(
            f"d_t {gap.finding} over the last {gap.num} iterations: mean {gap.mean:.3g}, spread {gap.spread:.3g}, "
            f"trend {gap.trend:+.2f} spreads, {gap.share_of_one_sign:.0%} of one sign, "
            f"autocorrelation {gap.autocorrelation:+.2f}"
        )
    return reasons
