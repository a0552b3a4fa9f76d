"""Several transitions of a kernel compiled into one, for densities so small that a step is all overhead."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from typing import Any, Self

import torch
from torch import Tensor

from ..rng import Drawn, Rng, draw
from .kernel import Info, Kernel, LogDensity, State

__all__ = ["Compiled"]


@dataclass(frozen=True)
class Compiled:
    """``num_steps`` transitions of ``kernel`` as one, by `torch.compile`; p is stationary as it is for ``kernel``.

    A step of MALA on a density of two numbers is forty small operations; compiled they are loops over the chains,
    which draw their random numbers, too. The first step compiles, for ten seconds or more; another log-density, shape
    or dtype compiles anew. Worth it from a hundred thousand transitions on.

        kernel = mcmc.Compiled(mcmc.MALA(0.5), num_steps=16)
        state, info = mcmc.run(kernel, log_density, position, num_steps=6_250, rng=rng)     # 100,000 transitions

    Of the step of a convolutional network that is `frozen` it compiles what stands beside the convolutions: 7 chains of
    64 × 64 pixels take four fifths of the time. It may be the kernel of a learner, which compiles once.

    Equal seeds give equal chains, which are not those of the bare kernel.

    Args:
        kernel: the transition; it draws one normal number a coordinate and at most one uniform number a chain.
        num_steps: how many make one step, ≥ 1; each gradient in them adds half a second or so to the compiler's time,
            so that of HMC, whose one transition has many, and of a convolutional network fewer are enough.
    """

    kernel: Kernel
    num_steps: int = 16

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
        device = state.position.device
        key = torch.randint(-(2**31), 2**31, (2,), generator=rng, dtype=torch.int32, device=device)
        state = side_by_side(state)
        with torch.no_grad(), gradients_compiled():
            return compiled(several)(self.kernel, log_density, state, key, self.num_steps)

    def with_step_size(self, step_size: float | Tensor) -> Self:
        """This kernel with another step size."""
        return replace(self, kernel=self.kernel.with_step_size(step_size))


def several(kernel: Kernel, log_density: LogDensity, state: State, key: Tensor, num_steps: int) -> tuple[State, Info]:
    """As many transitions, on numbers that are a function of the key."""
    tests = num_steps if kernel.target_acceptance is not None else 0  # an unadjusted kernel needs no uniform numbers
    normal, uniform = draw(key, num_steps, tests, state.position)
    acceptance = torch.zeros_like(state.log_density)
    divergent = torch.zeros_like(state.log_density, dtype=torch.bool)
    for numbers in zip_longest(normal, uniform):
        state, info = kernel.step(log_density, state, Drawn(*numbers))
        state = side_by_side(state)
        acceptance = acceptance + info.acceptance_rate
        divergent = divergent | info.divergent
    return state, Info(acceptance / num_steps, divergent)


def side_by_side(state: State) -> State:
    """Chains of vectors, one coordinate of all chains side by side in memory, as a loop over the chains reads it."""
    if state.position.dim() != 2:
        return state
    position, gradient = (x.T.contiguous().T for x in (state.position, state.gradient))
    return state._replace(position=position, gradient=gradient)


@cache
def gradients_compiled() -> AbstractContextManager[None]:
    """Within which a function that asks for a gradient is compiled whole.

    Made once: a new one takes 20 µs, and leaves a variable behind that nothing takes away.
    """
    within: AbstractContextManager[None] = torch._dynamo.config.patch(trace_autograd_ops=True)
    return within


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled; when it is first asked for, since the compiler's import takes longer than torch's."""
    from .graph import ManyChains

    options: dict[str, Any] = {
        "post_grad_custom_post_pass": ManyChains(),
        "score_fusion_memory_threshold": 1024,  # bytes; a few weights that loops share are no reason to join them
    }
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)
