"""The transitions of an iteration as one CUDA graph, captured once and then replayed."""

import os
from collections.abc import Callable, Hashable
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..fusion import fusing
from ..processor import frozen, has_triton
from ..rng import Rng, Streams
from .kernel import Info, Kernel, State, run

__all__ = ["Replayed"]

Results = TypeVar("Results")
Repeat = Callable[[], object]
"""Computes again what has been captured, into the same results."""


class Replayed:
    """`run` under log-densities of a model that is `frozen` meanwhile, and updated in place from one call to the next.

    The kernels of a small network's transition take a GPU less time than a CPU takes to launch them. So all transitions
    of a call are captured as one CUDA graph, and later calls with arguments of the same shapes launch it as a whole. A
    graph reads its arguments at fixed addresses, to which each call copies its own: positions, step sizes, the keys of
    random numbers, and what the log-density is given. It reads the model's tensors where they are; if one has moved,
    everything is captured anew. It is not to be called where the model is frozen already: what has been computed of the
    weights there would not be captured.

    It is `run` itself, and captures nothing,

    - on other devices than GPUs, or if the environment variable ``ANASYN_GRAPHS`` is ``off``;
    - if ``rng`` is one source for all chains, or the log-density is given something that is not a tensor.

    Args:
        model: all tensors that the log-densities read are its parameters and buffers, or are given.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.addresses: list[int] = []
        self.graphs: dict[Hashable, Graph] = {}

    def __call__(
        self,
        kernel: Kernel,
        log_density: Callable[..., Tensor],
        position: Tensor,
        *,
        num_steps: int,
        rng: Rng,
        given: tuple[Any, ...] = (),
    ) -> tuple[State, Info]:
        """``num_steps`` transitions of n chains; arguments and results are those of `run`.

        Args:
            kernel: the transition; the graph has its own step sizes, and is captured anew for other fields.
            log_density: (n, *event), *given → (n,); a method of the model and not a closure, of which every call would
                have another.
            position, num_steps, rng: as for `run`.
            given: further arguments of the log-density.
        """
        tensors = all(isinstance(each, Tensor) for each in given)
        if not (can_capture(position.device) and isinstance(rng, Streams) and tensors):
            with frozen(self.model):
                return run(kernel, lambda x: log_density(x, *given), position, num_steps=num_steps, rng=rng)
        addresses = [tensor.data_ptr() for tensor in chain(self.model.parameters(), self.model.buffers())]
        if addresses != self.addresses:
            self.addresses, self.graphs = addresses, {}
        step_size = torch.as_tensor(kernel.step_size, dtype=position.dtype, device=position.device)
        arguments = (position, step_size, rng.keys + rng.calls, *given)  # the next draw of a row depends on their sum
        layouts = tuple((each.shape, each.stride(), each.dtype) for each in arguments)
        key = (kernel.with_step_size(1.0), log_density, num_steps, layouts)
        if key not in self.graphs:
            self.graphs[key] = Graph(self.model, kernel, log_density, num_steps, arguments)
        graph = self.graphs[key]
        state, info = graph(arguments)
        rng.calls += graph.draws
        return state, info


class Graph:
    """Captured transitions, with the tensors that they read and those that they write.

    Args:
        model, kernel, log_density, num_steps: of the transitions.
        arguments: positions, step sizes, keys, and what the log-density is given.
    """

    def __init__(
        self,
        model: nn.Module,
        kernel: Kernel,
        log_density: Callable[..., Tensor],
        num_steps: int,
        arguments: tuple[Tensor, ...],
    ):
        self.arguments = [each.clone() for each in arguments]
        self.draws = 0  # of each row's random numbers
        position, step_size, keys, *given = self.arguments

        def transitions() -> tuple[State, Info]:
            rng = Streams(keys, other=0)  # which is the key of rows that no transition has
            fixed = kernel.with_step_size(step_size)
            with frozen(model):  # whatever it computes of the weights is captured, too
                results = run(fixed, lambda x: log_density(x, *given), position, num_steps=num_steps, rng=rng)
            self.draws = rng.calls
            return results

        self.repeat, self.results = capture(transitions)

    def __call__(self, arguments: tuple[Tensor, ...]) -> tuple[State, Info]:
        """The transitions with these arguments; the results are copies, which no later call changes."""
        for own, each in zip(self.arguments, arguments, strict=True):
            own.copy_(each)
        self.repeat()
        state, info = self.results
        return State(*(each.clone() for each in state)), Info(*(each.clone() for each in info))


def can_capture(device: torch.device) -> bool:
    """Whether transitions on this device are to be captured."""
    return device.type == "cuda" and os.environ.get("ANASYN_GRAPHS") != "off"


def capture(function: Callable[[], Results]) -> tuple[Repeat, Results]:
    """Captures what a function computes on the GPU: what repeats it, and the results, which each repetition overwrites.

    Raises:
        RuntimeError: the function does what cannot be captured, such as copying a number to the CPU.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), fusing(has_triton()):
        function()  # kernels are compiled, and libraries choose theirs and allocate their workspaces, at a first call
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        # Only this thread is watched: that of NCCL may ask the driver anything meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"), fusing(has_triton()):
            results = function()
    except RuntimeError as error:
        error.add_note("The chains' transitions cannot be captured as a CUDA graph; ANASYN_GRAPHS=off does without.")
        raise
    return graph.replay, results
