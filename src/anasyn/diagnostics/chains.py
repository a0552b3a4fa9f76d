"""Several chains for each image, their effective sample size, and R-hat."""

import math
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .. import mcmc
from ..errors import InputError

__all__ = ["R_HAT", "ChainDraws", "arviz", "effective_sample_size", "finite", "gradients_per_step", "r_hat", "sample"]

R_HAT = 1.1
"""R-hat below which the chains of an image count as mixing.

Gelman and Rubin's 1.1, not the 1.01 of Vehtari et al. 2021: four chains of 200 draws have an effective sample size of
about 100, at which R-hat reaches 1.05 even for chains of the same distribution.
"""


def arviz() -> Any:
    """The module `arviz`, imported when it is first used.

    Raises:
        InputError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing a major refactor", FutureWarning)
        try:
            return import_module("arviz")
        except ImportError as cause:
            raise InputError('diagnose: arviz is missing; install it with pip install "anasyn[diagnostics]"') from cause


@dataclass(frozen=True)
class ChainDraws:
    """The draws of c chains for each of n images."""

    positions: Tensor  # (c, t, n, d)
    log_density: Tensor  # (c, t, n)
    acceptance_rate: Tensor  # (c, t, n), min(1, α)

    def inference_data(self, names: tuple[str, ...]) -> Any:
        """The draws as `arviz.InferenceData`: z (chain, draw, image, coordinate), with log-density and acceptance."""
        return arviz().from_dict(
            posterior={"z": self.positions.numpy()},
            sample_stats={"lp": self.log_density.numpy(), "acceptance_rate": self.acceptance_rate.numpy()},
            coords={"image": list(names), "coordinate": list(range(1, self.positions.shape[-1] + 1))},
            dims={"z": ["image", "coordinate"], "lp": ["image"], "acceptance_rate": ["image"]},
        )


def sample(
    kernel: mcmc.Kernel,
    log_density: mcmc.LogDensity,
    starts: Tensor,
    *,
    num_warm_up: int,
    num_draws: int,
    rng: torch.Generator,
) -> tuple[ChainDraws, Tensor]:
    """Runs c chains for each of n images; returns their draws, on the CPU, and the step sizes, (n,).

    During the warm-up each chain adapts its own step size. Then all chains of an image use the median of theirs, fixed,
    so that one lost chain does not determine it.

    Args:
        kernel: the transition; one without a target acceptance keeps its step size, a number or (n,).
        log_density: of the c · n chains; row k · n + i belongs to chain k of image i.
        starts: (c, n, d).
        num_warm_up: transitions before the first draw, which also serve as burn-in.
        num_draws: t, draws of each chain.
        rng: on the device of ``starts``.
    """
    c, n, _ = starts.shape
    step_size = torch.as_tensor(kernel.step_size, dtype=starts.dtype, device=starts.device).expand(n)
    warm, state = mcmc.warm_up(
        kernel.with_step_size(step_size.repeat(c)), log_density, starts.flatten(0, 1), num_steps=num_warm_up, rng=rng
    )
    found = torch.as_tensor(warm.step_size).view(c, n).log().quantile(0.5, dim=0).exp()
    state = state._replace(step_size=found.repeat(c))
    frozen = kernel.with_step_size(found.repeat(c))
    steps = []
    for _ in range(num_draws):
        state, info = frozen.step(log_density, state, rng)
        steps.append((state.position, state.log_density, info.acceptance_rate))
    stacked = (torch.stack(each).unflatten(1, (c, n)).transpose(0, 1).cpu() for each in zip(*steps, strict=True))
    return ChainDraws(*stacked), found


def gradients_per_step(kernel: mcmc.Kernel) -> int:
    """Gradients of log p that one transition evaluates."""
    return kernel.num_leapfrog_steps if isinstance(kernel, mcmc.HMC) else 1


def effective_sample_size(positions: Tensor) -> tuple[float, ...]:
    """For each image, the bulk effective sample size of all its chains in the worst coordinate.

    Args:
        positions: (c, t, n, d), t ≥ 4.

    Raises:
        InputError: arviz is missing.

    Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021; computed by arviz.
    """
    ess = arviz().ess(arviz().convert_to_dataset({"z": positions.double().numpy()}))["z"].values
    return tuple(ess.min(-1).tolist())


def r_hat(positions: Tensor) -> tuple[float, ...]:
    """For each image, the rank-normalised split-R-hat in the worst coordinate; NaN if a coordinate never moves.

    Args:
        positions: (c, t, n, d), c ≥ 2, t ≥ 4.

    Raises:
        InputError: arviz is missing.

    Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021; computed by arviz.
    """
    values = arviz().rhat(arviz().convert_to_dataset({"z": positions.double().numpy()}))["z"].values
    return tuple(values.max(-1).tolist())


def finite(value: Any) -> Any:
    """The value, for JSON: numbers that are not finite, also in tuples, lists and dicts, become None."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
