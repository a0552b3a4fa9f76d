"""Networks whose weights are fixed while chains run, so that a CPU can keep them in the layout it computes with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .onednn import Conv, Convolution, can_replace, has_hooks
from .probe import dtypes

__all__ = ["frozen"]

Layer = Callable[[Tensor], Tensor]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switches off the gradients of a model's weights, which saves a third of every step, and speeds up convolutions.

    On a CPU, consecutive convolutions in any `nn.Sequential` of the model are computed by `Convolutions`, where
    possible. Inside the context the weights must not change, and no hook may be added to the model.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    accelerated = [(vars(module), layers) for module in model.modules() if (layers := fused(module))]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        for attributes, layers in accelerated:
            attributes["forward"] = partial(through, layers)  # of this instance only, not of its class
        yield
    finally:
        for attributes, _ in accelerated:
            attributes.pop("forward", None)
        for parameter in trained:
            parameter.requires_grad_(True)


def through(layers: Sequence[Layer], input: Tensor) -> Tensor:
    """What `nn.Sequential.forward` does."""
    for layer in layers:
        input = layer(input)
    return input


def fused(module: nn.Module) -> list[Layer]:
    """The layers of an `nn.Sequential` with its convolutions fused; empty where there is nothing to fuse.

    A Sequential is left as it is if a layer has hooks, since fused layers are not called and would not run them.
    """
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return []
    if not (usable := dtypes()) or "forward" in vars(module) or any(map(has_hooks, module)):
        return []
    layers = list(joined(module, usable))
    return layers if any(isinstance(layer, Convolutions) for layer in layers) else []


def joined(layers: Iterable[nn.Module], usable: Sequence[torch.dtype]) -> Iterator[Layer]:
    """The layers, with consecutive convolutions, each with the LeakyReLU that may follow it, joined into one."""
    run: list[tuple[Conv, float | None]] = []
    for layer in layers:
        if can_replace(layer, usable):
            run.append((layer, None))
        elif run and run[-1][1] is None and type(layer) is nn.LeakyReLU and layer.negative_slope >= 0:
            run[-1] = (run[-1][0], layer.negative_slope)
        else:
            if run:
                yield Convolutions(run, usable)
                run = []
            yield layer
    if run:
        yield Convolutions(run, usable)


class Convolutions:
    """Consecutive convolutions, each with its LeakyReLU if it has one, (n, c, h, w) → (n, c', h', w').

    In a small network half of a chain's time is spent around the convolutions. Here a convolution and its LeakyReLU are
    one pass, and weights are converted to oneDNN's layout once instead of at every call. The gradient with respect to
    an image of three channels, which oneDNN computes eight times slower, is a convolution to four times as many.
    """

    def __init__(self, layers: Sequence[tuple[Conv, float | None]], usable: Sequence[torch.dtype]):
        self.layers = layers
        self.dtypes = usable
        self.laid_out: dict[torch.dtype, list[Convolution]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        first, _ = self.layers[0]
        autocast = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64  # which autocast ignores
        dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
        ours = (
            x.device.type == "cpu"
            and dtype in self.dtypes
            and (autocast or dtype == first.weight.dtype)
            and x.dim() == 4
            and x.shape[1] == first.in_channels
            and not torch.compiler.is_compiling()  # the compiler knows only PyTorch's own layers
        )
        if not ours:
            return self.as_layers(x)
        y: Tensor = Fused.apply(x.to(dtype), self)
        return y

    def forward(self, x: Tensor) -> list[Tensor]:  # the output of each layer
        if x.dtype not in self.laid_out:
            self.laid_out[x.dtype] = [Convolution(layer, slope, x.dtype) for layer, slope in self.layers]
        features = [x]
        for convolution in self.laid_out[x.dtype]:
            features.append(convolution.forward(features[-1]))
        return features[1:]

    def backward(self, gradient: Tensor, features: Sequence[Tensor | None]) -> Tensor:
        """The gradient with respect to x, given that of the last feature; features are x and each layer's output."""
        gradient = gradient.clone(memory_format=torch.channels_last)  # changed in place below
        sides = [feature.shape[2:] for feature in features[:-1] if feature is not None]
        for convolution, y in reversed(list(zip(self.laid_out[gradient.dtype], features[1:], strict=True))):
            gradient = convolution.backward(gradient, sides.pop(), y)
        return gradient

    def as_layers(self, x: Tensor) -> Tensor:
        """The same output, computed by PyTorch's own layers."""
        for layer, slope in self.layers:
            x = layer(x)
            if slope is not None:
                x = nn.functional.leaky_relu(x, slope)
        return x


class Fused(torch.autograd.Function):
    """`Convolutions` by oneDNN, differentiable with respect to x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Convolutions) -> Tensor:
        *features, y = run.forward(x)
        # The derivative of a last LeakyReLU needs a copy of y, which the following layer may change in place.
        kept = None if run.layers[-1][1] is None else y.clone()
        ctx.run = run
        ctx.save_for_backward(x, *features, kept)
        return y.data  # y may be a view, and autograd refuses to change a view that a Function has returned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # for a second derivative, which only PyTorch's own layers have
            x = ctx.saved_tensors[0]
            with torch.autocast("cpu", x.dtype, enabled=x.dtype != torch.float32):
                y = ctx.run.as_layers(x)
            return torch.autograd.grad(y, x, gradient, create_graph=True)[0], None
        return ctx.run.backward(gradient, ctx.saved_tensors), None
