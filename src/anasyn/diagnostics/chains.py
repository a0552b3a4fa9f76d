"""Several chains an image: run, kept with what each step told, and judged by effective sample size and R-hat."""

import math
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import mcmc
from ..errors import InputError

__all__ = ["ChainDraws", "arviz", "effective_sample_size", "finite", "gradients_per_step", "r_hat", "sample"]


def arviz() -> Any:
    """The module `arviz`, imported at its first use.

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
    acceptance_rate: Tensor  # (c, t, n), min(1, α); of an unadjusted kernel, what a test would give

    def inference_data(self, names: tuple[str, ...]) -> Any:
        """The same as `arviz.InferenceData`: z in (chain, draw, image, coordinate), and what each step told."""
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
    """Runs c chains for each of n images; the step sizes are found first, one an image, and then frozen.

    Each chain looks for its own step size on its way in; the median of an image's chains is used by all of them,
    so that one that was lost does not decide.

    Args:
        kernel: the transition; one without a target acceptance keeps its step size, a number or (n,).
        log_density: of the c · n chains, chain by chain: row k · n + i belongs to image i.
        starts: (c, n, d).
        num_warm_up: transitions before the first draw; they are the burn-in too.
        num_draws: t, draws of each chain.
        rng: on the device of ``starts``.

    Returns the draws, on the CPU, and the step sizes, (n,).
    """
    c, n, d = starts.shape
    step_size = torch.as_tensor(kernel.step_size, dtype=starts.dtype, device=starts.device).expand(n)
    warm, state = mcmc.warm_up(
        kernel.with_step_size(step_size.repeat(c)), log_density, starts.flatten(0, 1), num_steps=num_warm_up, rng=rng
    )
    found = torch.as_tensor(warm.step_size).view(c, n).log().quantile(0.5, dim=0).exp()
    state = state._replace(step_size=found.repeat(c))
    frozen = kernel.with_step_size(found.repeat(c))
    positions, values, rates = [], [], []
    for _ in range(num_draws):
        state, info = frozen.step(log_density, state, rng)
        positions.append(state.position)
        values.append(state.log_density)
        rates.append(info.acceptance_rate)
    draws = ChainDraws(
        torch.stack(positions).view(num_draws, c, n, d).transpose(0, 1).cpu(),
        torch.stack(values).view(num_draws, c, n).transpose(0, 1).cpu(),
        torch.stack(rates).view(num_draws, c, n).transpose(0, 1).cpu(),
    )
    return draws, found


def gradients_per_step(kernel: mcmc.Kernel) -> int:
    """Gradients of log p that one transition evaluates."""
    return kernel.num_leapfrog_steps if isinstance(kernel, mcmc.HMC) else 1


def effective_sample_size(positions: Tensor) -> tuple[float, ...]:
    """Of each image the bulk effective sample size of its worst coordinate, all chains together.

    Args:
        positions: (c, t, n, d), t ≥ 4.

    Raises:
        InputError: arviz is missing.

    Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, by arviz.
    """
    ess = arviz().ess(arviz().convert_to_dataset({"z": positions.double().numpy()}))["z"].values
    return _numbers(ess.min(-1))


def r_hat(positions: Tensor) -> tuple[float, ...]:
    """Of each image the rank-normalised split-R-hat of its worst coordinate; 1 where the chains agree.

    Not a number where a coordinate never moved: no chain can be judged that stands still.

    Args:
        positions: (c, t, n, d), c ≥ 2, t ≥ 4.

    Raises:
        InputError: arviz is missing.

    Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, by arviz.
    """
    values = arviz().rhat(arviz().convert_to_dataset({"z": positions.double().numpy()}))["z"].values
    return _numbers(values.max(-1))


def finite(value: Any) -> Any:
    """What JSON can hold of a number, or of numbers in tuples and dicts: null where a number is not finite."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
