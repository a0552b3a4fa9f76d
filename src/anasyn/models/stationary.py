"""The networks of a texture's ladder: a sum over positions, of images of any size, and of tori."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import as_float
from .ladder import GAIN as LADDER_GAIN
from .ladder import Ladder

__all__ = ["OnTorus", "StationaryConv", "field_of_view"]

TILE = 768  # pixels of the side of a tile
GAIN = 0.02  # of the features' sum: it makes the weights v of the order of 1, like the others


class StationaryConv(nn.Module):
    """For each level t of a ladder, a sum over the positions of convolutions at S scales:

        h_0 = a(w_0 ∗ u + b_{0,t}),   h'_k = a(w_k ∗ h_{k−1} + b_{k,t}),   h_k = h'_k + a(w'_k ∗ h'_k + b'_{k,t})
        network_t(y) = 0.02 r_t² Σ_k Σ_positions v_{k,t} · h_k + Σ_pixels m_t · y/100,   u = (y − m_t)/r_t

    w_k has kernel 4 and stride 2, so that h_k has a position for each 2^{k+1} × 2^{k+1} pixels; w'_k has kernel 3, and
    a is SiLU. The levels share w and w', and have biases and v of their own. r_t is the standard deviation of the y_t
    of the photograph, and m_t their mean colour: in these units all levels, and all photographs, look alike. What is
    beyond the border counts as of the mean colour. The last sum makes N(m_t, s_t² I) of the ladder's N(0, s_t² I).

    The network is the same at every place but for the grid of its strides. As it is learned from patches at all places
    relative to that grid, the density comes out nearly the same for all of them.

    Args:
        ladder: of the noise levels.
        widths: channels of h_0, …, h_{S−1}.
        channels: of the images, 1 or 3.
        contrast: standard deviation of the photograph's pixels.
    """

    def __init__(self, ladder: Ladder, widths: Sequence[int], channels: int, contrast: float):
        super().__init__()
        levels = range(ladder.levels)
        self.ladder = ladder
        self.units = [
            ladder.shrinkage(t) * (ladder.alpha_bar(t) * contrast**2 + 1 - ladder.alpha_bar(t)) ** 0.5 for t in levels
        ]
        pairs = list(zip([channels, *widths], widths, strict=False))
        self.halving = nn.ParameterList(torch.empty(k, c, 4, 4) for c, k in pairs)  # w
        self.mixing = nn.ParameterList(torch.empty(k, k, 3, 3) for k in widths[1:])  # w'
        for weight in (*self.halving, *self.mixing):
            nn.init.normal_(weight, std=1.5 * weight[0].numel() ** -0.5)
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.biases = nn.ParameterList(torch.zeros(len(levels), k) for k in widths)
        self.mixed_biases = nn.ParameterList(torch.zeros(len(levels), k) for k in widths[1:])
        self.heads = nn.ParameterList(0.05 * torch.randn(len(levels), k) for k in widths)
        self.register_buffer("colour", torch.zeros(channels, 1, 1))

    colour: Tensor  # the mean over the photograph, (c, 1, 1)

    @property
    def grid(self) -> int:
        """The network is the same under moves by so many pixels."""
        return 1 << len(self.halving)

    @property
    def halo(self) -> int:
        """Pixels around a cell of the grid that its position sees at most, rounded up to a multiple of the grid."""
        seen = (field_of_view(len(self.halving)) - self.grid) // 2
        return -(-seen // self.grid) * self.grid

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fits the mean colour to patches of the photograph, (n, c, h, w), uint8 or float in [−1, 1]."""
        some = as_float(images[:: max(len(images) // 256, 1)]).to(self.colour)
        self.colour.copy_(some.mean((0, 2, 3))[:, None, None])

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        """The network of one level, 0 ≤ level < T: images (n, c, H, W) → (n,), H and W multiples of the grid."""
        return AtLevel(self, level)

    def sum(self, images: Tensor, level: int, *, periodic: bool = False, halo: int = 0) -> Tensor:
        """The sum over positions, (n, c, H, W) → (n,).

        Args:
            images: (n, c, H, W), H and W multiples of the grid.
            level: t.
            periodic: whether the images are tori, whose opposite borders are neighbours.
            halo: leave out positions that are less than so many pixels, a multiple of the grid, from the border.
        """
        unit, mean = self.units[level], self.mean(level)
        h, total = (images - mean) / unit, images.new_zeros(len(images))
        for k, halving in enumerate(self.halving):
            h = functional.silu(functional.conv2d(bordered(h, periodic), halving, self.biases[k][level], stride=2))
            if k:
                mixing, bias = self.mixing[k - 1], self.mixed_biases[k - 1][level]
                h = h + functional.silu(functional.conv2d(bordered(h, periodic), mixing, bias))
            total = total + (inner(h, halo >> (k + 1)).sum((2, 3), dtype=images.dtype) * self.heads[k][level]).sum(1)
        shift: Tensor = (inner(images, halo) * mean).sum((1, 2, 3)) / LADDER_GAIN
        return GAIN * unit**2 * total + shift

    def mean(self, level: int) -> Tensor:
        """m_t, the mean colour of y_t, (c, 1, 1)."""
        return self.ladder.shrinkage(level) * self.ladder.alpha_bar(level) ** 0.5 * self.colour


class AtLevel(nn.Module):
    """The network of one level, whose weights are those of all."""

    def __init__(self, network: StationaryConv, level: int):
        super().__init__()
        self.network = network
        self.level = level

    def forward(self, images: Tensor) -> Tensor:
        return self.network.sum(images, self.level)


class OnTorus(nn.Module):
    """The same sums on tori of any height and width, in parts, which bounds the memory.

    Args:
        network: whose weights these are.
        tile: side in pixels of a part, a multiple of the grid.
    """

    def __init__(self, network: StationaryConv, tile: int = TILE):
        super().__init__()
        self.network = network
        self.tile = tile

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        """The network of one level, 0 ≤ level < T: tori (n, c, H, W) → (n,), H and W multiples of the grid."""
        return TorusAtLevel(self, level)


class TorusAtLevel(nn.Module):
    """The network of one level on tori."""

    def __init__(self, torus: OnTorus, level: int):
        super().__init__()
        self.torus = torus
        self.level = level

    def forward(self, images: Tensor) -> Tensor:
        network, size = self.torus.network, images.shape[2:]
        if any(side % network.grid for side in size):
            raise ValueError(f"images: expected sides in multiples of {network.grid}, got {size[0]} × {size[1]}")
        if max(size) <= self.torus.tile + network.halo:  # a part, with what is around it, would not be smaller
            return network.sum(images, self.level, periodic=True)
        f: Tensor = Tiled.apply(images, self)
        return f


class Tiled(torch.autograd.Function):
    """A sum over the positions of large tori, and its gradient in the images alone, a tile of positions at a time."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, at: TorusAtLevel) -> Tensor:
        network, tile, (height, width) = at.torus.network, at.torus.tile, images.shape[2:]
        halo = network.halo
        rows, columns = (torch.arange(-halo, side + halo, device=images.device) % side for side in (height, width))
        gradient = torch.zeros_like(images)
        value = images.new_zeros(len(images))
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                i, j = rows[top : top + tile + 2 * halo], columns[left : left + tile + 2 * halo]
                with torch.enable_grad():
                    part = images[:, :, i][..., j].contiguous(memory_format=torch.channels_last).requires_grad_()
                    f = network.sum(part, at.level, halo=halo)
                    (of_part,) = torch.autograd.grad(f.sum(), part)
                folded = gradient.new_zeros((*images.shape[:3], len(j))).index_add_(2, i, of_part)
                gradient.index_add_(3, j, folded)
                value += f.detach()
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[:, None, None, None] * ctx.saved_tensors[0], None


def field_of_view(scales: int) -> int:
    """The side in pixels of what a position of the coarsest of S scales sees: 7 · 2^S − 10."""
    return (7 << scales) - 10


def inner(x: Tensor, width: int) -> Tensor:
    """x without ``width`` pixels at each border."""
    return x[..., width : x.shape[2] - width, width : x.shape[3] - width]


def bordered(x: Tensor, periodic: bool) -> Tensor:
    """x with one pixel more at each border: 0, or on a torus those of the opposite border."""
    if not periodic:
        return functional.pad(x, (1, 1, 1, 1))
    y: Tensor = Wrapped.apply(x)
    return y


class Wrapped(torch.autograd.Function):
    """x with the opposite borders around it, by concatenation: circular padding would not keep it channels-last."""

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
