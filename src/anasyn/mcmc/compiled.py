"""Several transitions of a kernel compiled into one, for densities so small that a step is all overhead."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from typing import Any, Self

import torch
from torch import Tensor

from ..rng import Drawn, Rng
from .kernel import Info, Kernel, LogDensity, State, transitions

__all__ = ["Compiled"]


@dataclass(frozen=True)
class Compiled:
    """``num_steps`` transitions of ``kernel`` as one, by `torch.compile`; p is stationary as it is for ``kernel``.

    A step of MALA on a density of two numbers is forty small operations; compiled they are one loop over the
    chains. The first step compiles, for some ten seconds; another log-density, shape or dtype compiles anew. Worth
    it from a hundred thousand transitions on; a convolutional network gains nothing.

        kernel = mcmc.Compiled(mcmc.MALA(0.5), num_steps=8)
        state, info = mcmc.run(kernel, log_density, position, num_steps=12_500, rng=rng)     # 100,000 transitions

    The transitions' numbers are drawn ahead, all normal ones first: equal seeds give equal chains, which are not
    those of the bare kernel.

    Args:
        kernel: the transition; it draws one normal number a coordinate and at most one uniform number a chain.
        num_steps: how many make one step, ≥ 1; each gradient in them adds its own time to the compiler's, so that of
            HMC, whose one transition has many, 1 is enough.
    """

    kernel: Kernel
    num_steps: int = 8

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps: expected at least 1, got {self.num_steps}")

    @property
    def step_size(self) -> float | Tensor:
        return self.kernel.step_size

    @property
    def target_acceptance(self) -> float | None:
        return self.kernel.target_acceptance

    def step(self, log_density: LogDensity, state: State, rng: Rng) -> tuple[State, Info]:
        """``num_steps`` transitions; of them the mean acceptance rate, and whether any diverged."""
        assert isinstance(rng, torch.Generator)
        n, *event = state.position.shape
        dtype, device = state.position.dtype, state.position.device
        normal = torch.randn((self.num_steps, *event, n), generator=rng, dtype=dtype, device=device).movedim(-1, 1)
        tests = self.num_steps if self.target_acceptance is not None else 0  # an unadjusted kernel needs none
        uniform = torch.rand((tests, n), generator=rng, dtype=dtype, device=device)
        state = state._replace(position=side_by_side(state.position), gradient=side_by_side(state.gradient))
        with torch.no_grad():
            return compiler()(self.kernel, log_density, state, normal, uniform)

    def with_step_size(self, step_size: float | Tensor) -> Self:
        """This kernel with another step size."""
        return replace(self, kernel=self.kernel.with_step_size(step_size))


def side_by_side(x: Tensor) -> Tensor:
    """``x``, (n, *event), with one number of all chains side by side in memory, as a loop over the chains reads it."""
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


def several(
    kernel: Kernel, log_density: LogDensity, state: State, normal: Tensor, uniform: Tensor
) -> tuple[State, Info]:
    """A transition for each row of the numbers drawn; for an unadjusted kernel there are no uniform ones."""
    return transitions(kernel, log_density, state, [Drawn(*row) for row in zip_longest(normal, uniform)])


@cache
def compiler() -> Callable[..., Any]:
    """`several`, compiled; made when it is first asked for, since the compiler's import takes longer than torch's."""
    return torch.compile(several, fullgraph=True, dynamic=False)
