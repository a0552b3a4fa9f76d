"""Which convolutions can be computed another way: those that are PyTorch's own, without anything added."""

from typing import TypeGuard

from torch import nn

__all__ = ["Conv", "has_hooks", "is_plain"]

Conv = nn.Conv2d | nn.ConvTranspose2d


def is_plain(layer: nn.Module) -> TypeGuard[Conv]:
    """Whether the layer computes w ∗ x + b: only of the exact class, since a subclass may compute anything."""
    if type(layer) is not nn.Conv2d and type(layer) is not nn.ConvTranspose2d:
        return False
    padded_by_number = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return padded_by_number and layer.groups == 1 and layer.dilation == (1, 1) and "forward" not in vars(layer)


def has_hooks(layer: nn.Module) -> bool:
    """Whether calling the layer runs hooks, its own or those of all modules."""
    own = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(own) or nn.modules.module._has_any_global_hook()
