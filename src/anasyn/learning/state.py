"""All that a learner is, as named tensors: to be kept, written, and put back."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ..mcmc import Chains

__all__ = ["non_finite", "prime", "restore", "tensors_of"]


class Stateful(Protocol):
    """What of a learner changes while it learns, its iteration apart."""

    optimizer: torch.optim.Optimizer

    @property
    def model(self) -> nn.Module: ...

    @property
    def chains(self) -> Chains: ...


def prime(optimizer: torch.optim.Optimizer) -> None:
    """Gives each weight what the optimiser keeps of it, at zero, so that it has names and shapes from the start.

    A first step of Adam, or of SGD without dampening, from these zeros is the one it makes from nothing.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before = [(weight, weight.detach().clone()) for weight in weights]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for weight, value in before:  # weight decay moves one whose gradient is zero
            weight.copy_(value)
        for kept in optimizer.state.values():
            for slot in kept.values():
                if isinstance(slot, Tensor):
                    slot.zero_()


def tensors_of(learner: Stateful) -> dict[str, Tensor]:
    """The learner's own tensors, by name: the weights, what the optimiser keeps of each, and the chains."""
    tensors = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    for name, weight in learner.model.named_parameters():
        for slot, tensor in learner.optimizer.state.get(weight, {}).items():
            if isinstance(tensor, Tensor):
                tensors[f"optimizer.{name}.{slot}"] = tensor
    return tensors | {f"chains.{name}": tensor for name, tensor in learner.chains.state_dict().items()}


@torch.no_grad()
def restore(learner: Stateful, tensors: dict[str, Tensor]) -> None:
    """Puts back what `tensors_of` named; of a learner that has begun, into the tensors it has."""
    for name, tensor in tensors_of(learner).items():
        tensor.copy_(tensors[name])


def non_finite(learner: Stateful) -> str | None:
    """The name of a tensor that is not finite; None where there is none."""
    return next((name for name, tensor in tensors_of(learner).items() if not tensor.isfinite().all()), None)
