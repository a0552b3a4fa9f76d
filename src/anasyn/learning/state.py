"""The state of a learner as named tensors: for checkpoints, and for rolling back."""

import torch
from torch import Tensor

from ..memory import parts
from .averaging import begin_average
from .learner import Learner

__all__ = ["non_finite", "prime", "restore", "shared_tensors", "tensors_of", "tensors_of_images"]


def prime(optimizer: torch.optim.Optimizer) -> None:
    """Creates the optimiser's state of every weight that is learned, all zero, so that it can be saved from the start.

    A first step of Adam, or of SGD without dampening, from zeros is the same as from an empty state. An average of the
    weights, if one is to be kept (`keep_average`), begins here.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    before = [(weight, weight.detach().clone()) for weight in weights]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for weight, value in before:  # weight decay changes a weight even where its gradient is zero
            weight.copy_(value)
        for slots in optimizer.state.values():
            for slot in slots.values():
                if isinstance(slot, Tensor):
                    slot.zero_()
    begin_average(optimizer)


def shared_tensors(learner: Learner) -> dict[str, Tensor]:
    """The tensors that are the same in every process, by name: weights, the optimiser's state of each, and more."""
    tensors = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    for name, weight in learner.model.named_parameters():
        for slot, tensor in (learner.optimizer.state.get(weight, {}) if learner.optimizer else {}).items():
            if isinstance(tensor, Tensor):
                tensors[f"optimizer.{name}.{slot}"] = tensor
    return tensors | learner.kept()


def tensors_of_images(learner: Learner) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The learner's tensors of this process's images, by name: of training images, among them chains, and of others.

    The rows of a tensor belong to the images in their order, equally many to each, unless there are fewer rows than
    images: these use them in turn.
    """
    of_images, of_held_out = learner.kept_of_images()
    return {f"chains.{name}": tensor for name, tensor in learner.chains.state_dict().items()} | of_images, of_held_out


def tensors_of(learner: Learner) -> dict[str, Tensor]:
    """All tensors of the learner in this process, by name."""
    of_images, of_held_out = tensors_of_images(learner)
    return shared_tensors(learner) | of_images | of_held_out


@torch.no_grad()
def restore(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Copies tensors named as by `tensors_of` into those of a learner that has begun."""
    for name, tensor in tensors_of(learner).items():
        for part, source in zip(parts(tensor), parts(tensors[name]), strict=True):
            part.copy_(source)


def non_finite(learner: Learner) -> str | None:
    """The name of a tensor that is not finite; None if all are finite."""
    named = tensors_of(learner).items()
    return next((name for name, tensor in named if not all(part.isfinite().all() for part in parts(tensor))), None)
