"""The network of a texture: convolutions on the levels of a pyramid, from the finest to the coarsest."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..data import as_float
from .networks import channels_last

__all__ = ["Pyramid", "field_of_view"]


class Pyramid(nn.Module):
    """A mean over positions at each level of a pyramid, of images of any size.

        G₀ = Y − m,   G_{k+1} = half(G_k),   B_k = squares(G_k − box(G_{k+1}))/s_k,   but B_K = squares(G_K)/s_K
        h_k = features_k(B_k, half(h_{k−1})),   f = Σ_k v_k · mean over positions of h_k

    ``half`` is the mean of 2 × 2 pixels, ``squares`` makes these four pixels the channels of one position, and ``box``
    is the mean of the nine of them around. s_k is the standard deviation of B_k on the photograph: fine detail, which
    is faint, is learned as fast as what is coarse. Coarser levels see larger grain, and, by the features of the finer
    ones, how fine detail depends on it.

    f begins at 0.

    Args:
        channels: of the images, 1 or 3.
        widths: channels of the features of levels 0, …, K.
    """

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.levels = nn.ModuleList()
        self.weights = nn.ParameterList([torch.zeros(width) for width in widths])  # v_k
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("spread", torch.ones(len(widths)))
        for finer, width in zip([0, *widths], widths, strict=False):
            seen, mixed = nn.Conv2d(4 * channels + finer, width, 3), nn.Conv2d(width, width, 1)
            for layer in (seen, mixed):
                nn.init.kaiming_normal_(layer.weight, 0.2)
            self.levels.append(channels_last(nn.Sequential(seen, nn.LeakyReLU(0.2), mixed, nn.LeakyReLU(0.2))))

    mean: Tensor
    spread: Tensor

    @property
    def grid(self) -> int:
        return 1 << len(self.levels)

    @property
    def halo(self) -> int:
        return 2 * self.grid

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fits m and s_k to patches of a photograph, (n, c, h, w), uint8 or float in [−1, 1]."""
        images = as_float(images).to(self.mean)
        self.mean.copy_(images.mean((0, 2, 3)).view_as(self.mean))
        g = images - self.mean
        for k in range(len(self.levels)):
            bands, g = self._bands(g, k, periodic=False)
            self.spread[k] = bands.square().mean().sqrt().clamp_min(0.001)

    def forward(self, images: Tensor, *, periodic: bool = False, halo: int = 0) -> Tensor:
        """f, (n, c, H, W) → (n,); as `StationaryNetwork` says. H and W are multiples of ``grid``.

        The features of a view lie two of their level's positions, of 2^{k+1} pixels each, from its border.
        """
        g = images - self.mean
        f, finer = images.new_zeros(len(images)), None
        for k, (features, weights) in enumerate(zip(self.levels, self.weights, strict=True)):
            bands, g = self._bands(g, k, periodic=periodic)
            x = bands / self.spread[k]
            if finer is not None:
                x = torch.cat([x, nn.functional.avg_pool2d(finer, 2)], 1)
            h = finer = features(wrapped(x) if periodic else x)
            counted = h if periodic else inner(h, max(0, (halo >> (k + 1)) - 2))
            f = f + counted.mean((2, 3), dtype=images.dtype) @ weights / 4**k
        return f

    def _bands(self, g: Tensor, k: int, *, periodic: bool) -> tuple[Tensor, Tensor]:
        """s_k B_k, one position less on each side of a view; and G_{k+1}."""
        squares, halved = nn.functional.pixel_unshuffle(g, 2), nn.functional.avg_pool2d(g, 2)
        squares = squares if periodic else inner(squares, 1)
        if k < len(self.levels) - 1:
            box = nn.functional.avg_pool2d(wrapped(halved) if periodic else halved, 3, stride=1)
            squares = squares - box.repeat_interleave(4, 1)
        return squares.contiguous(memory_format=torch.channels_last), halved


def field_of_view(levels: int) -> int:
    """The side in pixels of the smallest image that a position of the coarsest level can be computed from."""
    return 5 << levels


def inner(x: Tensor, width: int) -> Tensor:
    """x without ``width`` pixels at each border."""
    return x[..., width : x.shape[2] - width, width : x.shape[3] - width]


def wrapped(x: Tensor) -> Tensor:
    """x on a torus, with the opposite borders around it, (n, c, h, w) → (n, c, h + 2, w + 2)."""
    y: Tensor = Wrapped.apply(x)
    return y


class Wrapped(torch.autograd.Function):
    """`wrapped`, by concatenation, which keeps images channels-last as circular padding does not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = torch.cat([x[..., -1:], x, x[..., :1]], 3)
        return torch.cat([x[..., -1:, :], x, x[..., :1, :]], 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[..., -2, :] += gradient[..., 0, :]
        gradient[..., 1, :] += gradient[..., -1, :]
        gradient[..., -2] += gradient[..., 0]
        gradient[..., 1] += gradient[..., -1]
        return inner(gradient, 1).contiguous(memory_format=torch.channels_last)
