"""Whether a descriptor's chains sample its density: acceptance, Stein's identities, and long runs from three starts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import mcmc
from ..data import as_float, to_uint8
from ..evaluation import sliced_wasserstein, swd_levels
from ..mcmc import mean_image
from ..mcmc.kernel import color
from ..methods.synthesis import LONG_RUN
from ..models import Descriptor
from ..processor import frozen
from ..rng import standard_normal
from .agreement import Agreement, agreement
from .chains import arviz, finite, gradients_per_step
from .gap import Gap, energy_gap
from .long_run import FRAMES, STATISTICS, LongRun, Stein, watch
from .verdict import Distances, Verdict, judge

__all__ = ["DescriptorDiagnosis", "diagnose_descriptor"]


@dataclass(frozen=True)
class DescriptorDiagnosis:
    """The result of `diagnose_descriptor`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    protocol: str
    names: tuple[str, ...]
    num_images: int  # of the whole set
    num_steps: int  # transitions in the training length
    temperature: float
    acceptance_rate: float  # over the training length, from the learner's starts
    distances: Distances  # that the verdict is based on
    stein_data: Stein
    stein_synthesized: Stein
    stein_long: tuple[Stein, Stein]  # after the long run, from the data and from the starts
    agreement: Agreement  # of long chains from the data, from the starts and from noise
    reference_divergence: float  # KL(p_θ ‖ p₀) + KL(p₀ ‖ p_θ) by the long chains from noise, nats
    gap: Gap | None
    diverged: int | None  # transitions after which a chain of the long run was no longer finite
    long_run: LongRun = field(repr=False)

    @property
    def inference_data(self) -> Any:
        """The long run's statistics as `arviz.InferenceData`: (chain, draw, image), the chains "data" and "start"."""
        run = self.long_run
        statistics = {name: getattr(run, name).numpy() for name in STATISTICS}
        return arviz().from_dict(
            sample_stats={"acceptance_rate": statistics.pop("acceptance_rate")},
            posterior=statistics,
            coords={"image": list(self.names), "chain": ["data", "start"], "draw": np.array(run.steps)},
            dims={name: ["image"] for name in STATISTICS},
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the chains' frames, for JSON; the statistics of the long run are means over the images."""

        def by_chain(values: Sequence[Any]) -> dict[str, Any]:
            return dict(zip(("data", "start"), values, strict=True))

        run = self.long_run
        plain = {name: value for name, value in vars(self).items() if name != "long_run"}
        plain["distances"] = asdict(self.distances)
        plain["agreement"] = asdict(self.agreement)
        plain["gap"] = asdict(self.gap) if self.gap else None
        plain["stein_data"] = self.stein_data._asdict()
        plain["stein_synthesized"] = self.stein_synthesized._asdict()
        plain["stein_long"] = by_chain([stein._asdict() for stein in self.stein_long])
        statistics = {name: by_chain(getattr(run, name).mean(-1).tolist()) for name in STATISTICS}
        frames = {"frame_steps": run.frame_steps, "swd": by_chain(run.swd)}
        plain["long_run"] = {"steps": run.steps, **statistics, **frames}
        return dict(finite(plain))


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
    proposed: bool = False,
    rng: torch.Generator,
) -> DescriptorDiagnosis:
    """Runs chains of `LONG_RUN` training lengths from the data and from the learner's starts, and gives a verdict.

    `density`: long chains stay near the data and forget where they started, so that they can be read as draws from the
    density.
    `short-run sampler`: the samples are good at the training length, but long chains leave the data.
    `not learned`: the samples are not good at the training length. The exact rule is that of `verdict.judge`.

    Args:
        model: the descriptor with its learned weights, in float32.
        kernel: the transition; its step size, a number or one for each start, is not adapted.
        num_steps: l, transitions in the training length.
        starts: where the learner's chains start, one for each image, (n, c, H, W).
        images: (n, c, H, W), uint8 or float in [−1, 1]; 2n chains run at once, and then n from the model's reference.
        records: the numbers of the iterations, as `Run.metrics` gives them, for their ``energy_gap``; may be empty.
        names: of the images; None for their indices.
        num_images: size of the whole set, if ``images`` are an evenly spaced part of it.
        data_noise: of the noise that learning adds to the images (`Descriptor.observe`), and which is added here too.
        proposed: whether the starts are the proposals of a generator that learns from the descriptor.
        rng: on the model's device.

    Raises:
        ValueError: numbers of images, starts and names differ, or log p is not finite where chains start.
    """
    device = next(model.parameters()).device
    names = names or tuple(str(i) for i in range(len(images)))
    num_images = num_images or len(images)
    if not len(images) == len(starts) == len(names):
        got = f"{len(starts)} and {len(names)}"
        raise ValueError(f"starts, names: expected one for each of {len(images)} images, got {got}")
    step_size = torch.as_tensor(kernel.step_size, dtype=torch.float32, device=device).expand(len(images))
    temperature = kernel.temperature if isinstance(kernel, mcmc.Langevin) else 1.0
    clean, starts = as_float(images.to(device)), as_float(starts.to(device))
    data = model.observe(clean, data_noise, rng)
    watched = watch(model, kernel.with_step_size(step_size.repeat(2)), num_steps, torch.cat([data, starts]), rng)
    with frozen(model):
        noise = model.draw_reference(clean, rng)
        num_long = LONG_RUN * num_steps
        state, _ = mcmc.run(kernel.with_step_size(step_size), model.log_density, noise, num_steps=num_long, rng=rng)
        with torch.no_grad():  # log p_θ − log p₀ = f − const: its mean under p_θ less that under p₀
            divergence = (model(state.position).mean() - model(noise).mean()).item()
    from_noise = to_uint8(state.position) if state.position.isfinite().all() else None

    levels = min(3, swd_levels(min(clean.shape[2:])))
    reference = to_uint8(clean)

    def distance(pixels: Tensor) -> float:
        return sliced_wasserstein(pixels, reference, levels=levels).mean

    def diffused(lengths: int) -> Tensor:
        """The data after that many training lengths of the kernel's noise without a density."""
        transitions = num_steps * lengths * gradients_per_step(kernel)
        scale = (step_size * (temperature * transitions) ** 0.5).view(-1, 1, 1, 1)
        return to_uint8(data + scale * color(kernel.preconditioner, standard_normal(data, rng)))

    missing = len(FRAMES) - len(watched.frames)  # after a chain was no longer finite
    swd = [[distance(half) for half in frame.chunk(2)] for frame in watched.frames] + [[math.inf, math.inf]] * missing
    from_data, from_starts = (tuple(row) for row in zip(*swd, strict=True))
    data_end, starts_end = (None, None) if missing else watched.frames[-1].chunk(2)
    agree = agreement(data_end, starts_end, from_noise)
    distances = Distances(
        noise=distance(to_uint8(data)),
        halves=sliced_wasserstein(to_uint8(data[::2]), reference[1::2], levels=levels).mean if len(data) > 1 else 0.0,
        mean_colour=distance(to_uint8(mean_image(clean, rng))),
        starts=from_starts[0],
        synthesized=from_starts[1],
        data_short=from_data[1],
        data_long=from_data[-1],
        starts_long=from_starts[-1],
        noise_long=distance(from_noise) if from_noise is not None else math.inf,
        diffused_short=distance(diffused(1)),
        diffused_long=distance(diffused(LONG_RUN)),
    )
    long_run = LongRun(
        steps=tuple(watched.steps),
        **{name: torch.stack(rows, 1).cpu() for name, rows in watched.statistics.items()},
        frame_steps=tuple(num_steps * length for length in FRAMES[: len(watched.frames)]),
        frames=torch.stack([frame.unflatten(0, (2, -1)) for frame in watched.frames], 1).cpu(),
        swd=(from_data, from_starts),
    )
    steins = watched.steins + [(Stein(math.nan, math.nan),) * 2] * missing
    steins_long = (steins[-1][0].ratio, steins[-1][1].ratio)
    # A fitted reference is near the images itself: chains from it have to come to the same density as all others.
    fitted = model.reference is not None
    same = agree.same and (agree.forgotten or not fitted)
    verdict, reasons = judge(distances, steins_long, divergence, same=same, earned=proposed or fitted)
    which = f"{len(names)} evenly spaced of the {num_images}" if len(names) < num_images else f"the {num_images}"
    added = f" with noise {data_noise:g}, as in learning" if data_noise else ""
    protocol = (
        f"{which} images; chains of {num_long} transitions, {LONG_RUN} training lengths, with the learned weights, "
        f"from the data{added}, from the learner's starts and from noise; distances are the sliced Wasserstein "
        f"distance × 10³ of 7 × 7 patches to the images, mean over {levels} levels of the pyramid"
    )
    found = DescriptorDiagnosis(
        verdict=verdict,
        reasons=reasons,
        protocol=protocol,
        names=names,
        num_images=num_images,
        num_steps=num_steps,
        temperature=temperature,
        acceptance_rate=float(watched.short_acceptance[1].mean()),
        distances=distances,
        stein_data=steins[0][0],
        stein_synthesized=steins[1][1],
        stein_long=steins[-1],
        agreement=agree,
        reference_divergence=divergence,
        gap=energy_gap([record["energy_gap"] for record in records if "energy_gap" in record]),
        diverged=watched.diverged,
        long_run=long_run,
    )
    return replace(found, reasons=(*reasons, *_more_reasons(found, adjusted=kernel.target_acceptance is not None)))


def _more_reasons(found: DescriptorDiagnosis, adjusted: bool) -> list[str]:
    """What else speaks for or against reading the chains as draws from the density."""
    correction = "the Metropolis–Hastings correction accepts"
    if not adjusted:
        correction = "there is no Metropolis–Hastings correction; it would accept"
    reasons = [f"{correction} {found.acceptance_rate:.2f} of the proposals over the training length"]
    if found.temperature != 1:
        temperature = f"{found.temperature:g}"
        reasons.append(f"temperature {temperature}: the chains sample p^(1/{temperature}), not the density p")
    ratios = [each.ratio for each in (found.stein_data, found.stein_synthesized, *found.stein_long)]
    outside = found.long_run.outside.mean(-1)[:, -1].tolist()
    energy = found.long_run.energy.mean(-1)
    reasons += found.agreement.reasons()
    reasons += [
        "Stein's −E[y · ∇ log p]/D, 1 under the density: {:.2f} at the data, {:.2f} at the synthesised images, "
        "{:.2f} and {:.2f} after the long run from the data and from the starts".format(*ratios),
        f"pixels outside [−1, 1] at the end of the long run: {outside[0]:.1%} from the data, "
        f"{outside[1]:.1%} from the starts",
        f"mean energy of chains from the data: {energy[0, 0]:.4g} at the start, {energy[0, -1]:.4g} at the end; "
        f"of chains from the starts: {energy[1, -1]:.4g} at the end",
    ]
    if found.diverged is not None:
        reasons.append(f"a chain was no longer finite after {found.diverged} transitions")
    if found.gap:
        gap = found.gap
        reasons.append(
            f"d_t {gap.finding} over the last {gap.num} iterations: mean {gap.mean:.3g}, spread {gap.spread:.3g}, "
            f"trend {gap.trend:+.2f} spreads, {gap.share_of_one_sign:.0%} of one sign, "
            f"autocorrelation {gap.autocorrelation:+.2f}"
        )
    return reasons
