"""The networks of a texture's ladder: a sum over positions, of images of any size, and of tori."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..rng import Rng
from .descriptor import Descriptor
from .ladder import DescriptorLadder, Ladder
from .spectrum import Posterior, StationaryDescriptor, StationaryGaussian, filtered, turned

__all__ = ["OnTorus", "StationaryConv", "TextureLadder", "field_of_view"]

BORDER = 16  # pixels
TILE = 768  # pixels of the side of a tile
GAIN = 0.02  # of the features' sum: it makes the weights v of the order of 1, like the others


class StationaryConv(nn.Module):
    """For each level t of a ladder, a sum over the positions of convolutions at S scales:

        h_0 = a(w_0 ∗ u + b_{0,t}),   h'_k = a(w_k ∗ h_{k−1} + b_{k,t}),   h_k = h'_k + a(w'_k ∗ h'_k + b'_{k,t})
        network_t(y) = 0.02 r_t² Σ_k Σ_positions v_{k,t} · h_k,   u = (y − m_t)/r_t

    w_k has kernel 4 and stride 2, so that h_k has a position for each 2^{k+1} × 2^{k+1} pixels; w'_k has kernel 3, and
    a is SiLU. The levels share w and w', and have biases and v of their own; v is 0 at first. r_t is the standard
    deviation of the y_t of the photograph, and m_t their mean colour: in these units all levels, and all photographs,
    look alike. What is beyond the border counts as of the mean colour.

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
        self.units = [ladder.variance(t, contrast**2) ** 0.5 for t in levels]
        pairs = list(zip([channels, *widths], widths, strict=False))
        self.halving = nn.ParameterList(torch.empty(k, c, 4, 4) for c, k in pairs)  # w
        self.mixing = nn.ParameterList(torch.empty(k, k, 3, 3) for k in widths[1:])  # w'
        for weight in (*self.halving, *self.mixing):
            nn.init.normal_(weight, std=1.5 * weight[0].numel() ** -0.5)
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.biases = nn.ParameterList(torch.zeros(len(levels), k) for k in widths)
        self.mixed_biases = nn.ParameterList(torch.zeros(len(levels), k) for k in widths[1:])
        self.heads = nn.ParameterList(torch.zeros(len(levels), k) for k in widths)
        self.gaussian = StationaryGaussian(channels)

    @property
    def grid(self) -> int:
        """The network is the same under moves by so many pixels."""
        return 1 << len(self.halving)

    @property
    def halo(self) -> int:
        """Pixels around a cell of the grid that its position sees at most, rounded up to a multiple of the grid."""
        seen = (field_of_view(len(self.halving)) - self.grid) // 2
        return -(-seen // self.grid) * self.grid

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
        unit = self.units[level]
        h, total = (images - self.gaussian.mean_of(self.ladder, level)) / unit, images.new_zeros(len(images))
        for k, halving in enumerate(self.halving):
            h = functional.silu(functional.conv2d(bordered(h, periodic), halving, self.biases[k][level], stride=2))
            if k:
                mixing, bias = self.mixing[k - 1], self.mixed_biases[k - 1][level]
                h = h + functional.silu(functional.conv2d(bordered(h, periodic), mixing, bias))
            total = total + (inner(h, halo >> (k + 1)).sum((2, 3), dtype=images.dtype) * self.heads[k][level]).sum(1)
        return GAIN * unit**2 * total


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


class TextureLadder(DescriptorLadder):
    """For each level t, a descriptor of y_t whose reference has the texture's mean colour and its short correlations:

        f(y, t) = g_t · network_t(y) − (y − m_t)ᵀ C_t⁻¹ (y − m_t)/2

    N(m_t, C_t) is the density of y_t if that of the images is a `StationaryGaussian`. It is what f begins with, nearly
    all of f where the noise is strong, and says how chains should begin and move: the network learns the rest.

    Args:
        network: `StationaryConv`; or `OnTorus`, for images that are tori.
        ladder: and ``precision``, as for `DescriptorLadder`.
    """

    network: "StationaryConv | OnTorus"

    @property
    def gaussian(self) -> StationaryGaussian:
        return (self.network.network if isinstance(self.network, OnTorus) else self.network).gaussian

    @property
    def whole(self) -> bool:
        """Whether the images are tori, and count as whole images: others are patches."""
        return isinstance(self.network, OnTorus)

    def at(self, t: int, labels: Tensor | None = None) -> Descriptor:
        """The descriptor of y_t, whose `log_density` is f(·, t), 0 ≤ t < T; there are no classes."""
        of_level = self.network.at(t), self.gaussian, self.ladder, t, self.scale(t), self.precision
        return StationaryDescriptor(*of_level, whole=self.whole)

    def fit(self, images: Tensor) -> None:
        """Fits the mean colour of the texture and its correlations at short distances, to patches of it."""
        self.gaussian.fit(images)

    def noisiest(self, like: Tensor, rng: Rng, labels: Tensor | None = None) -> Tensor:
        """x_T = y_{T−1} + σ_T ε of the reference, as many as there are images in ``like``, (n, c, H, W)."""
        t = self.ladder.levels - 1
        variances = self.gaussian.variances_of(self.ladder, t, like.shape[2:], whole=self.whole)
        root = (variances + self.ladder.sigma(t + 1) ** 2).sqrt()
        white = super().noisiest(like, rng)
        return self.gaussian.mean_of(self.ladder, t) + filtered(white, self.gaussian.colours, root)

    def corrected(self, t: int, y: Tensor) -> Tensor:
        """Draws of whole images y_t, (n, c, H, W), with the variance of the texture's y_t in each principal colour.

        Short chains miss it by 1 or 2 % at a level, always to the same side. Down the ladder that adds up: images of
        some textures would end with 5 to 15 % too little contrast. All n images are scaled alike, so that each may
        differ from the mean.
        """
        if not self.whole:
            return y
        mean, variances = self.gaussian.mean_of(self.ladder, t), self.gaussian.pixel_variances_of(self.ladder, t)
        z = turned(y - mean, self.gaussian.colours)
        gains = (variances / z.square().mean((0, 2, 3))).sqrt()
        return mean + turned(gains[:, None, None] * z, self.gaussian.colours.T)

    def posterior(self, t: int, x_next: Tensor, labels: Tensor | None = None) -> Posterior:
        """The conditional density of y_t given x_{t+1} under the reference."""
        return Posterior(self.gaussian, self.ladder, t, x_next, whole=self.whole)

    def held(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """A mask of the border of patches, bool (H, W), and ``y``, (n, c, H, W), where chains are held at it.

        What is beyond the border of a patch is unknown. Given the border, the inside depends little on it.
        """
        mask = torch.ones(y.shape[2:], dtype=torch.bool, device=y.device)
        rows, columns = (min(BORDER, side // 4) for side in mask.shape)
        mask[rows : len(mask) - rows, columns : mask.shape[1] - columns] = False
        return mask, y


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
