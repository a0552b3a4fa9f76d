"""Networks while chains run: their weights stand still, and a processor has them as its convolutions read them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .onednn import Conv, Convolution, dtypes, sides_after, stands_for

__all__ = ["Layers", "frozen"]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """While chains run the weights need no gradient, which saves a third of every step, and `Layers` are fast.

    The weights must not change inside.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    networks = [module for module in model.modules() if isinstance(module, Layers)]
    for parameter in trained:
        parameter.requires_grad_(False)
    for network in networks:
        network.joined = list(joined(network))
    runs = {run.key: run for network in networks for run in network.joined or () if isinstance(run, Convolutions)}
    RUNS.update(runs)
    try:
        yield
    finally:
        for key in runs:
            RUNS.pop(key, None)
        for network in networks:
            network.joined = None
        for parameter in trained:
            parameter.requires_grad_(True)


class Layers(nn.Sequential):
    """`nn.Sequential` whose convolutions are faster on a processor while the network is `frozen`.

    A chain's step through a small network takes as long beside its products as in them. Here a convolution is one
    pass with the LeakyReLU behind it, weights are brought into oneDNN's order once and not at every call, and the way
    back to an image's three channels, at which oneDNN is eight times slower, is a convolution to four times as many.
    """

    joined: list[Callable[[Tensor], Tensor]] | None = None  # the layers, while frozen

    def forward(self, x: Tensor) -> Tensor:
        if self.joined is None:
            y: Tensor = super().forward(x)
            return y
        for layer in self.joined:
            x = layer(x)
        return x


def joined(layers: Iterable[nn.Module]) -> Iterator[Callable[[Tensor], Tensor]]:
    """The layers, in which a run of convolutions, each with a LeakyReLU behind it or none, is one."""
    run: list[tuple[Conv, float | None]] = []
    for layer in layers:
        if isinstance(layer, Conv) and stands_for(layer):
            run.append((layer, None))
        elif run and run[-1][1] is None and isinstance(layer, nn.LeakyReLU) and layer.negative_slope >= 0:
            run[-1] = (run[-1][0], layer.negative_slope)
        else:
            if run:
                yield Convolutions(run)
                run = []
            yield layer
    if run:
        yield Convolutions(run)


class Convolutions:
    """Convolutions one after the other, each with its LeakyReLU, (n, c, h, w) → (n, c', h', w')."""

    def __init__(self, layers: Sequence[tuple[Conv, float | None]]):
        self.layers = layers
        self.key = id(layers[0][0])  # the same at every freezing
        self.dtypes = dtypes()
        self.laid_out: dict[torch.dtype, list[Convolution]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or dtype not in self.dtypes:
            return self.as_layers(x)
        y: Tensor
        if torch.compiler.is_compiling():
            *_, y = forward(x.to(dtype), self.key)
        else:
            y = Fused.apply(x.to(dtype), self)
        return y

    def forward(self, x: Tensor) -> list[Tensor]:
        """What each layer makes, of x first."""
        if x.dtype not in self.laid_out:
            self.laid_out[x.dtype] = [Convolution(layer, slope, x.dtype) for layer, slope in self.layers]
        features = [x]
        for convolution in self.laid_out[x.dtype]:
            features.append(convolution.forward(features[-1]))
        return features[1:]

    def backward(self, gradient: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The gradient by x, of that by the last of the features, x among them the first."""
        gradient = gradient.clone(memory_format=torch.channels_last)  # what follows is done in place
        features = list(features)
        for convolution in reversed(self.laid_out[gradient.dtype]):
            y = features.pop()
            gradient = convolution.backward(gradient, x=features[-1], y=y)
        return gradient

    def as_layers(self, x: Tensor) -> Tensor:
        """The same by PyTorch's own layers."""
        for layer, slope in self.layers:
            x = layer(x)
            if slope is not None:
                x = nn.functional.leaky_relu(x, slope)
        return x


class Fused(torch.autograd.Function):
    """`Convolutions` by oneDNN, differentiated by x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Convolutions) -> Tensor:
        features = run.forward(x)
        ctx.run = run
        ctx.save_for_backward(x, *features)
        return features[-1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # somebody asks for a second derivative, which PyTorch's own layers have
            x = ctx.saved_tensors[0]
            with torch.autocast("cpu", x.dtype, enabled=x.dtype != torch.float32):
                y = ctx.run.as_layers(x)
            return torch.autograd.grad(y, x, gradient, create_graph=True)[0], None
        return ctx.run.backward(gradient, ctx.saved_tensors), None


RUNS: dict[int, Convolutions] = {}
"""`Convolutions` by their keys, as a compiled function knows them: it does not look inside and calls what follows."""


@torch.library.custom_op("anasyn::convolutions", mutates_args=())
def forward(x: Tensor, key: int) -> list[Tensor]:
    """What each convolution makes."""
    return [y.contiguous(memory_format=torch.channels_last) for y in RUNS[key].forward(x)]


@torch.library.custom_op("anasyn::convolutions_backward", mutates_args=())
def backward(gradient: Tensor, features: list[Tensor], key: int) -> Tensor:
    """The gradient by x, the first of the features, of that by the last."""
    return RUNS[key].backward(gradient, features).contiguous(memory_format=torch.channels_last)


@forward.register_fake
def _(x: Tensor, key: int) -> list[Tensor]:
    features, sides = [], list(x.shape[2:])
    for layer, _ in RUNS[key].layers:
        sides = sides_after(layer, sides)
        features.append(x.new_empty(len(x), *sides, layer.out_channels).permute(0, 3, 1, 2))
    return features


@backward.register_fake
def _(gradient: Tensor, features: list[Tensor], key: int) -> Tensor:
    return torch.empty_like(features[0], memory_format=torch.channels_last)


def keep(ctx: Any, inputs: tuple[Tensor, int], output: list[Tensor]) -> None:
    x, ctx.key = inputs
    ctx.save_for_backward(x, *output)


def differentiate(ctx: Any, gradients: list[Tensor]) -> tuple[Tensor, None]:
    return backward(gradients[-1], list(ctx.saved_tensors), ctx.key), None


forward.register_autograd(differentiate, setup_context=keep)
