"""The networks of the two models. No batch norm: it would make a row depend on the other rows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .frozen import Layers, frozen

__all__ = ["conv", "deconv", "frozen"]


def deconv(latent_dim: int, size: int = 64, widths: Sequence[int] = (256, 128, 64, 32), channels: int = 3) -> Layers:
    """The generator's network f: z, (n, d) → images in (−1, 1), (n, channels, size, size).

    A linear layer to a small square, then transposed convolutions (kernel 4, stride 2) that double it,
    LeakyReLU 0.2 between, tanh at the end. What exceeds ``size`` in the last layer is cropped.

    The first weights keep the variance from layer to layer (He et al. 2015; PyTorch's own shrink an image
    a hundredfold, and the posterior then pulls z far out of its prior before the weights have grown). The
    first bias is drawn too: without it f(z) is a cone over z = 0, where every image meets in grey.

    Args:
        latent_dim: d.
        size: side of the images in pixels, at least 8.
        widths: channels of the hidden layers, the first at the coarsest square; one doubling follows each.
        channels: of the images.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many doublings.
    """
    base = _coarsest_side(size, len(widths))
    layers: list[nn.Module] = [nn.Linear(latent_dim, widths[0] * base**2), Square(widths[0], base)]
    for width, narrower in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.LeakyReLU(0.2), nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1)]
    layers += [nn.Tanh(), Crop(size)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=latent_dim**-0.5)
            nn.init.normal_(layer.bias, std=0.3)
        elif isinstance(layer, nn.ConvTranspose2d):
            fan_in = layer.in_channels * 2**2  # of the 4 × 4 weights, stride 2 lets 2 × 2 reach a pixel
            nn.init.normal_(layer.weight, std=nn.init.calculate_gain("leaky_relu", 0.2) * fan_in**-0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return channels_last(Layers(*layers))


def conv(size: int = 64, widths: Sequence[int] = (32, 64, 128, 128), strides: int = 3, channels: int = 3) -> Layers:
    """The descriptor's network: images, (n, channels, size, size) → a number each, (n,).

    Convolutions with kernel 4 and stride 2 for the first ``strides`` layers, then kernel 3 and stride 1,
    LeakyReLU 0.2, and a linear head without bias: a constant of f cancels in every gradient.

    Args:
        size: side of the images in pixels, at least 8.
        widths: channels of the layers.
        strides: how many of them halve the side.
        channels: of the images.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many halvings.
    """
    _coarsest_side(size, strides)
    layers: list[nn.Module] = []
    side = size
    for depth, (width, wider) in enumerate(zip([channels, *widths], widths, strict=False)):
        if depth < strides:
            layers += [nn.Conv2d(width, wider, 4, stride=2, padding=1)]
            side //= 2
        else:
            layers += [nn.Conv2d(width, wider, 3, padding=1)]
        layers += [nn.LeakyReLU(0.2)]
    layers += [Head(widths[-1] * side**2)]
    return channels_last(Layers(*layers))


def channels_last(network: Layers) -> Layers:
    """The network with its convolutions' weights in the memory format of the images."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class Square(nn.Module):
    """Each row of features as a square of ``width`` channels, (n, side² · width) → (n, width, side, side).

    Channels-last in memory, as all that follows: in the other format the first layer's gradient is slow.
    """

    def __init__(self, width: int, side: int):
        super().__init__()
        self.width = width
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        return features.unflatten(1, (self.side, self.side, self.width)).permute(0, 3, 1, 2)


class Crop(nn.Module):
    """The upper left ``size`` × ``size`` pixels of each image."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.size, : self.size]


class Head(nn.Linear):
    """Σ_k w_k x_k of each image's features, (n, c, h, w) → (n,), summed in the weights' precision, not the features'.

    The features are flattened as they lie in memory, channels last. Flattened in the order of their shape they would
    be copied, and their gradient would come back in the other format, slow in every layer below.
    """

    def __init__(self, features: int):
        super().__init__(features, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.permute(0, 2, 3, 1).flatten(1).to(self.weight.dtype)).squeeze(1)


def _coarsest_side(size: int, halvings: int) -> int:
    least = max(8, 1 << (halvings + 1))
    if size < least:
        raise ValueError(f"size: expected at least {least} pixels for {halvings} halvings, got {size}")
    return -(-size // (1 << halvings))
