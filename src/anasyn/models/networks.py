"""The networks of the models, without batch normalisation: it would make an image depend on the others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["conv", "deconv", "mlp"]

Size = int | tuple[int, int]
"""The side of square images in pixels, or their height and width."""

FEW_DIMENSIONS = 8  # of z, whose length then varies by a quarter or more


def deconv(
    latent_dim: int, size: Size = 64, widths: Sequence[int] = (256, 128, 64, 32), channels: int = 3
) -> nn.Sequential:
    """The generator's network f: z, (n, d) → images in (−1, 1), (n, channels, height, width).

    A linear layer makes a small image; transposed convolutions (kernel 4, stride 2) double its sides, with
    LeakyReLU 0.2 between them and tanh at the end. The last layer's output is cropped to ``size``.

    With up to 8 dimensions, an affine map u = B z + c comes first, and u is squashed into the ball of radius √d. The
    length of so few Gaussian numbers varies much, so that many draws from N(0, I) lie further out than any image's z;
    there, layers that are linear far out would exaggerate what distinguishes the images, to colours that none of them
    has. In more dimensions all lengths are near √d, and the squashing would cost likelihood. B = I and c = 0 have no
    gradient: only the parameter expansion changes them.

    The initial weights preserve the variance from layer to layer (He et al. 2015). PyTorch's defaults shrink an image
    a hundredfold, and the posterior then pulls z far out of its prior before the weights have grown. The first bias is
    random: without it f(z) is a cone whose apex, at z = 0, is grey.

    Args:
        latent_dim: d.
        size: side of the images in pixels, or (height, width); at least 8.
        widths: channels of the hidden layers, coarsest first; each is followed by a doubling.
        channels: of the images, 1 or 3.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many doublings.
    """
    height, width = (-(-side // (1 << len(widths))) for side in sides(size, len(widths)))
    layers: list[nn.Module] = [nn.Linear(latent_dim, widths[0] * height * width), Grid(widths[0], height, width)]
    for wide, narrower in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.LeakyReLU(0.2), nn.ConvTranspose2d(wide, narrower, 4, stride=2, padding=1)]
    layers += [nn.Tanh(), Crop(*sides(size, len(widths)))]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=latent_dim**-0.5)
            nn.init.normal_(layer.bias, std=0.3)
        elif isinstance(layer, nn.ConvTranspose2d):
            fan_in = layer.in_channels * 2**2  # with stride 2, only 2 × 2 of the 4 × 4 weights reach a pixel
            nn.init.normal_(layer.weight, std=nn.init.calculate_gain("leaky_relu", 0.2) * fan_in**-0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    if latent_dim <= FEW_DIMENSIONS:
        affine = nn.Linear(latent_dim, latent_dim).requires_grad_(False)
        nn.init.eye_(affine.weight)
        nn.init.zeros_(affine.bias)
        layers = [affine, Squash(), *layers]
    return channels_last(nn.Sequential(*layers))


def conv(
    size: Size = 64, widths: Sequence[int] = (32, 64, 128, 128), strides: int = 3, channels: int = 3
) -> nn.Sequential:
    """The descriptor's network: images, (n, channels, height, width) → one number per image, (n,).

    Convolutions with LeakyReLU 0.2, the first ``strides`` with kernel 4 and stride 2, the others with kernel 3; then a
    linear layer without bias: adding a constant to f changes no gradient.

    Args:
        size: side of the images in pixels, or (height, width); at least 8.
        widths: channels of the layers.
        strides: how many of them halve the sides.
        channels: of the images, 1 or 3.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many halvings.
    """
    height, width = sides(size, strides)
    layers: list[nn.Module] = []
    for depth, (narrow, wider) in enumerate(zip([channels, *widths], widths, strict=False)):
        if depth < strides:
            layers += [nn.Conv2d(narrow, wider, 4, stride=2, padding=1)]
            height, width = height // 2, width // 2
        else:
            layers += [nn.Conv2d(narrow, wider, 3, padding=1)]
        layers += [nn.LeakyReLU(0.2)]
    layers += [Head(widths[-1] * height * width)]
    return channels_last(nn.Sequential(*layers))


def mlp(latent_dim: int, width: int = 200) -> nn.Sequential:
    """The network of a learned prior: z, (n, d) → one number per z, (n,).

    Three linear layers with GELU between them, smooth for the sake of the chains; the last has no bias: adding a
    constant to f changes no gradient. It begins at 0, and the prior at N(0, I).

    Args:
        latent_dim: d.
        width: of the two hidden layers.
    """
    last = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(last.weight)
    hidden = [nn.Linear(latent_dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU()]
    return nn.Sequential(*hidden, last, nn.Flatten(0))


def channels_last(network: nn.Sequential) -> nn.Sequential:
    """The network, its convolutions' weights made channels-last like the images."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class Squash(nn.Module):
    """Each row u, (n, d), is drawn into the ball of radius √d: u / √(1 + ‖u‖²/d)."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * torch.rsqrt(1 + rows.square().mean(1, keepdim=True))


class Grid(nn.Module):
    """Each row of features as a small image, (n, height · width · channels) → (n, channels, height, width).

    The image is channels-last, like all that follow; otherwise the gradient of the first layer is slow.
    """

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features.unflatten(1, self.shape).permute(0, 3, 1, 2)


class Crop(nn.Module):
    """The upper left ``height`` × ``width`` pixels of each image."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.height, : self.width]


class Head(nn.Linear):
    """Σ_k w_k x_k over each image's features, (n, c, h, w) → (n,), summed in the precision of the weights.

    With K > 1 ``outputs``, each the sum with weights of its own: (n, c, h, w) → (n, K).

    The features are flattened in their memory order, channels last. Any other order would copy them, and their gradient
    would not be channels-last, which is slow in every layer below.
    """

    def __init__(self, features: int, outputs: int = 1):
        super().__init__(features, outputs, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.permute(0, 2, 3, 1).flatten(1).to(self.weight.dtype)).squeeze(1)


def sides(size: Size, halvings: int) -> tuple[int, int]:
    """Height and width; raises ValueError if they are too small for that many halvings."""
    height, width = (size, size) if isinstance(size, int) else size
    least = max(8, 1 << (halvings + 1))
    if min(height, width) < least:
        raise ValueError(f"size: expected at least {least} pixels for {halvings} halvings, got {size}")
    return height, width
