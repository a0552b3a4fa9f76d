"""Networks that know the level of noise in their images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .networks import Head, Size, channels_last, sides

__all__ = ["LevelledConv", "WithLevel"]


class LevelledConv(nn.Module):
    """Convolutions whose weights all levels share, with biases and a last linear layer for each level.

    At one level it is an ordinary network of convolutions with SiLU between them: smooth, for the sake of the chains.
    All but the last halve the sides, with kernel 4 and stride 2; the last has kernel 3.

    Args:
        size: side of the images in pixels, or (height, width); at least 8.
        levels: T.
        widths: channels of the layers.
        channels: of the images, 1 or 3.

    Raises:
        ValueError: ``size`` is below 8 or too small for that many halvings.
    """

    def __init__(self, size: Size, levels: int, widths: Sequence[int] = (32, 64, 64), channels: int = 3):
        super().__init__()
        halvings = len(widths) - 1
        height, width = sides(size, halvings)
        pairs = list(zip([channels, *widths], widths, strict=False))
        convolutions = [nn.Conv2d(c, k, 4, stride=2, padding=1, bias=False) for c, k in pairs[:halvings]]
        convolutions += [nn.Conv2d(c, k, 3, padding=1, bias=False) for c, k in pairs[halvings:]]
        self.convolutions = channels_last(nn.Sequential(*convolutions))
        self.biases = nn.ModuleList(nn.ParameterList(torch.zeros(k) for k in widths) for _ in range(levels))
        features = widths[-1] * (height >> halvings) * (width >> halvings)
        self.heads = nn.ModuleList(Head(features) for _ in range(levels))

    def at(self, level: int) -> nn.Sequential:
        """The network of one level, 0 ≤ level < T; its weights are this module's own."""
        layers: list[nn.Module] = []
        for shared, bias in zip(self.convolutions, self.biases[level].parameters(), strict=True):
            assert isinstance(shared, nn.Conv2d)
            shape = shared.in_channels, shared.out_channels, shared.kernel_size[0]
            layer = nn.Conv2d(*shape, stride=shared.stride[0], padding=1, device="meta")
            layer.weight, layer.bias = shared.weight, bias
            layers += [layer, nn.SiLU()]
        return nn.Sequential(*layers, self.heads[level])


class WithLevel(nn.Module):
    """One network for all levels, which sees the level as one more channel: t/(T − 1) at every pixel, or 0 if T = 1.

    Args:
        network: (n, c + 1, H, W) → (n,).
        levels: T.
    """

    def __init__(self, network: nn.Module, levels: int):
        super().__init__()
        self.network = network
        self.levels = levels

    def at(self, level: int) -> nn.Sequential:
        """The network of one level, 0 ≤ level < T: images (n, c, H, W) → (n,)."""
        return nn.Sequential(OneMoreChannel(level / max(self.levels - 1, 1)), self.network)


class OneMoreChannel(nn.Module):
    """Images with a constant channel after their own, (n, c, H, W) → (n, c + 1, H, W)."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, torch.full_like(images[:, :1], self.value)], 1)
