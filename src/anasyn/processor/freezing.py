"""Networks whose weights are fixed while chains run, so that their convolutions can be computed faster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from . import onednn
from .plain import Conv, has_hooks
from .probe import dtypes, has_triton

__all__ = ["frozen"]

Layer = Callable[[Tensor], Tensor]


class Convolution(Protocol):
    """y = LeakyReLU(w ∗ x + b), and its gradient with respect to x."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor, x: Tensor, slope: float | None) -> Tensor: ...


class Means(NamedTuple):
    """How a kind of device computes convolutions."""

    make: Callable[[Conv, float | None, torch.dtype], Convolution]  # of a layer, a slope or None, and a dtype
    can_replace: Callable[[nn.Module], bool]
    dtypes: Sequence[torch.dtype]
    converts: bool  # whether it takes any floating-point numbers, and returns the gradient in their dtype


def means_of(device: torch.device) -> Means | None:
    """How convolutions are computed on a device; None for by PyTorch's own layers."""
    if device.type == "cpu" and (usable := dtypes()):
        return Means(onednn.Convolution, partial(onednn.can_replace, dtypes=usable), usable, converts=False)
    if device.type == "cuda" and has_triton():
        from . import gpu

        return Means(gpu.Convolution, gpu.can_replace, (torch.bfloat16,), converts=True)
    return None


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switches off the gradients of a model's weights, which saves a third of every step, and speeds up convolutions.

    Consecutive convolutions in any `nn.Sequential` of the model are computed by `Convolutions`, where possible. Inside
    the context the weights must not change, and no hook may be added to the model.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    accelerated = [(vars(module), layers) for module in model.modules() if (layers := accelerated_layers(module))]
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


def accelerated_layers(module: nn.Module) -> list[Layer]:
    """The layers of an `nn.Sequential` with its convolutions joined; empty where there is nothing to join.

    A Sequential is left as it is if a layer has hooks, since joined layers are not called and would not run them.
    """
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return []
    if "forward" in vars(module) or any(map(has_hooks, module)):
        return []
    weight = next(module.parameters(), None)
    if weight is None or not (means := means_of(weight.device)):
        return []
    layers = list(joined(module, means))
    return layers if any(isinstance(layer, Convolutions) for layer in layers) else []


def joined(layers: Iterable[nn.Module], means: Means) -> Iterator[Layer]:
    """The layers, with consecutive convolutions, each with the LeakyReLU that may follow it, joined into one."""
    run: list[tuple[Conv, float | None]] = []
    for layer in layers:
        if isinstance(layer, Conv) and means.can_replace(layer):
            run.append((layer, None))
        elif run and run[-1][1] is None and type(layer) is nn.LeakyReLU and layer.negative_slope >= 0:
            run[-1] = (run[-1][0], layer.negative_slope)
        else:
            if run:
                yield Convolutions(run, means)
                run = []
            yield layer
    if run:
        yield Convolutions(run, means)


class Convolutions:
    """Consecutive convolutions, each with its LeakyReLU if it has one, (n, c, h, w) → (n, c', h', w').

    In a small network half of a chain's time is spent around the convolutions. Here a convolution and its LeakyReLU are
    one pass, and weights are laid out for it once instead of at every call. The gradient with respect to an image of
    three channels, which oneDNN and cuDNN compute many times slower, is a convolution to four times as many.
    """

    def __init__(self, layers: Sequence[tuple[Conv, float | None]], means: Means):
        self.layers = layers
        self.slopes = [slope for _, slope in layers]
        self.means = means
        self.laid_out: dict[torch.dtype, list[Convolution]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        first, _ = self.layers[0]
        device = first.weight.device.type
        autocast = torch.is_autocast_enabled(device) and x.dtype != torch.float64  # which autocast ignores
        dtype = torch.get_autocast_dtype(device) if autocast else x.dtype
        ours = (
            x.device.type == device
            and dtype in self.means.dtypes
            and (autocast or dtype == first.weight.dtype)
            and x.dim() == 4
            and x.shape[1] == first.in_channels
            and not torch.compiler.is_compiling()  # the compiler knows only PyTorch's own layers
        )
        if not ours:
            return self.as_layers(x)
        y: Tensor = Fused.apply(x if self.means.converts else x.to(dtype), self, dtype)
        return y

    def forward(self, x: Tensor, dtype: torch.dtype) -> list[Tensor]:  # the output of each layer
        if dtype not in self.laid_out:
            self.laid_out[dtype] = [self.means.make(layer, slope, dtype) for layer, slope in self.layers]
        features = [x]
        for convolution in self.laid_out[dtype]:
            features.append(convolution.forward(features[-1]))
        return features[1:]

    def backward(self, gradient: Tensor, features: Sequence[Tensor], last: Tensor | None) -> Tensor:
        """The gradient with respect to x, given that of the last output.

        Args:
            gradient: of the last output.
            features: x and the outputs of all layers but the last.
            last: the last output, if it is that of a LeakyReLU.
        """
        convolutions = self.laid_out[gradient.dtype]
        if last is None or self.slopes[-1] is None:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        else:
            own = gradient.clone(memory_format=torch.channels_last)
            gradient = onednn.leaky_gradient(own, last, self.slopes[-1])
        below = [None, *self.slopes[:-1]]
        for convolution, x, slope in reversed(list(zip(convolutions, features, below, strict=True))):
            gradient = convolution.backward(gradient, x, slope)
        return gradient

    def as_layers(self, x: Tensor) -> Tensor:
        """The same output, computed by PyTorch's own layers."""
        for layer, slope in self.layers:
            x = layer(x)
            if slope is not None:
                x = nn.functional.leaky_relu(x, slope)
        return x


class Fused(torch.autograd.Function):
    """`Convolutions` in a dtype, differentiable with respect to x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Convolutions, dtype: torch.dtype) -> Tensor:
        *features, y = run.forward(x, dtype)
        # The derivative of a last LeakyReLU needs a copy of y, which the following layer may change in place.
        kept = None if run.slopes[-1] is None else y.clone()
        ctx.run = run
        ctx.dtype = dtype
        ctx.save_for_backward(x, *features, kept)
        return y.data  # y may be a view, and autograd refuses to change a view that a Function has returned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # for a second derivative, which only PyTorch's own layers have
            x = ctx.saved_tensors[0]
            with torch.autocast(x.device.type, ctx.dtype, enabled=ctx.dtype != torch.float32):
                y = ctx.run.as_layers(x)
            return torch.autograd.grad(y, x, gradient, create_graph=True)[0], None, None
        *features, last = ctx.saved_tensors
        return ctx.run.backward(gradient, features, last), None, None
