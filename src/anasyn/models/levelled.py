"""Networks that know the level of noise in their images, and their classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .networks import Head, Size, channels_last, sides

__all__ = ["LevelledConv", "WithLevel"]


class LevelledConv(nn.Module):
    """Convolutions whose weights all levels share, with biases and a last linear layer for each level.

    At one level it is an ordinary network of convolutions with SiLU between them: smooth, for the sake of the chains.
    All but the last halve the sides, with kernel 4 and stride 2; the last has kernel 3. Classes share the features
    and have a last linear layer each: the logarithm of the ratio of two classes' densities is linear in the features.

    Args:
        size: side of the images in pixels, or (height, width); at least 8.
        levels: T.
        widths: channels of the layers.
        channels: of the images, 1 or 3.
        classes: K > 1, or 1 for a model without classes.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many halvings.
    """

    def __init__(
        self, size: Size, levels: int, widths: Sequence[int] = (32, 64, 64), channels: int = 3, classes: int = 1
    ):
        super().__init__()
        halvings = len(widths) - 1
        height, width = sides(size, halvings)
        pairs = list(zip([channels, *widths], widths, strict=False))
        convolutions = [nn.Conv2d(c, k, 4, stride=2, padding=1, bias=False) for c, k in pairs[:halvings]]
        convolutions += [nn.Conv2d(c, k, 3, padding=1, bias=False) for c, k in pairs[halvings:]]
        self.convolutions = channels_last(nn.Sequential(*convolutions))
        self.biases = nn.ModuleList(nn.ParameterList(torch.zeros(k) for k in widths) for _ in range(levels))
        features = widths[-1] * (height >> halvings) * (width >> halvings)
        self.heads = nn.ModuleList(Head(features, classes) for _ in range(levels))

    def at(self, level: int, labels: Tensor | None = None) -> nn.Sequential:
        """The network of one level, 0 ≤ level < T, and of the images' classes; its weights are this module's own."""
        layers: list[nn.Module] = []
        for shared, bias in zip(self.convolutions, self.biases[level].parameters(), strict=True):
            assert isinstance(shared, nn.Conv2d)
            shape = shared.in_channels, shared.out_channels, shared.kernel_size[0]
            layer = nn.Conv2d(*shape, stride=shared.stride[0], padding=1, device="meta")
            layer.weight, layer.bias = shared.weight, bias
            layers += [layer, nn.SiLU()]
        return nn.Sequential(*layers, self.heads[level], *([] if labels is None else [OfClass(labels)]))


class WithLevel(nn.Module):
    """One network for all levels, which sees the level as one more channel: t/(T − 1) at every pixel, or 0 if T = 1.

    With K > 1 classes it sees the image's class as K further channels, of which the class's own is 1 and the others 0.

    Args:
        network: (n, c + 1, H, W) → (n,), or with classes (n, c + 1 + K, H, W) → (n,).
        levels: T.
        classes: K, or 1 for a model without classes.
    """

    def __init__(self, network: nn.Module, levels: int, classes: int = 1):
        super().__init__()
        self.network = network
        self.levels = levels
        self.classes = classes

    def at(self, level: int, labels: Tensor | None = None) -> nn.Sequential:
        """The network of one level, 0 ≤ level < T, and of the images' classes: images (n, c, H, W) → (n,)."""
        of_class = [] if labels is None else [ChannelsOfClass(labels, self.classes)]
        return nn.Sequential(OneMoreChannel(level / max(self.levels - 1, 1)), *of_class, self.network)


class OneMoreChannel(nn.Module):
    """Images with a constant channel after their own, (n, c, H, W) → (n, c + 1, H, W)."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, torch.full_like(images[:, :1], self.value)], 1)


class ChannelsOfClass(nn.Module):
    """Images with K constant channels after their own, 1 in that of the image's class: (n, c, H, W) → (n, c + K, H, W).

    Args:
        labels: the images' classes, (n,), from 0 to K − 1.
        classes: K.
    """

    def __init__(self, labels: Tensor, classes: int):
        super().__init__()
        self.one_hot = functional.one_hot(labels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, self.one_hot[:, :, None, None] * torch.ones_like(images[:, :1])], 1)


class OfClass(nn.Module):
    """Of each image's numbers, one for each class, that of its own class, (n, K) → (n,).

    Args:
        labels: the images' classes, (n,), from 0 to K − 1.
    """

    def __init__(self, labels: Tensor):
        super().__init__()
        self.labels = labels

    def forward(self, numbers: Tensor) -> Tensor:
        return numbers.gather(1, self.labels[:, None]).squeeze(1)
