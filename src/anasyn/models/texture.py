"""The texture: a descriptor that is stationary, of images of any size."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .stationary import StationaryGaussian

__all__ = ["StationaryNetwork", "Texture"]

TILE = 256  # pixels of the side of a tile


class StationaryNetwork(Protocol):
    """A function of an image that is a mean over positions, each of which sees its surroundings only."""

    @property
    def grid(self) -> int:
        """It is stationary under moves by so many pixels; the sides of a torus are multiples of it."""

    @property
    def halo(self) -> int:
        """Pixels on each side of a position that it sees at most, a multiple of ``grid``."""

    def fit(self, images: Tensor) -> None:
        """Fits the scales of what it sees to patches of a photograph, (n, c, h, w), uint8 or float in [−1, 1]."""

    def __call__(self, images: Tensor, *, periodic: bool = False, halo: int = 0) -> Tensor:
        """The mean over positions, (n, c, H, W) → (n,).

        Args:
            images: (n, c, H, W).
            periodic: on a torus all positions count; otherwise those that see nothing outside the image.
            halo: of these, leave out those that are not so many pixels away from the border.
        """


class Texture(nn.Module):
    """p_θ(Y) = exp[f_θ(Y)] p₀(Y) / Z(θ) on a torus of any height H and width W, where f_θ is a sum over its pixels:

        f(Y) = scale · H W · mean over positions of the network                                        (11, 12)

    f and log p₀ grow with the area, and so does log p: step sizes do not depend on the size. A photograph is no torus.
    What (17) needs of it, the mean of ∂f/∂θ for each pixel, is that over the positions that see it alone (`forward`).

    Args:
        network: over whose positions f is the mean.
        reference: p₀.
        scale: of f.
        precision: arithmetic of the network, ``"float32"`` or ``"bfloat16"``.
        tile: side in pixels of the parts in which f and its gradient are computed, which bounds the memory; a multiple
            of ``network.grid``.
    """

    def __init__(
        self,
        network: StationaryNetwork,
        reference: StationaryGaussian,
        scale: float = 1.0,
        precision: str = "float32",
        tile: int = TILE,
    ):
        super().__init__()
        self.network = network
        self.reference = reference
        self.scale = scale
        self.precision = precision
        self.tile = tile

    def forward(self, images: Tensor) -> Tensor:
        """f_θ of a torus of which the images, (n, c, H, W), are views: what lies beyond their borders is not known."""
        return self.f(images, images.shape[2:])

    def log_density(self, images: Tensor) -> Tensor:
        """log p_θ(Y) of tori, up to a constant, (n, c, H, W) → (n,); H and W are multiples of ``network.grid``.

        Raises:
            ValueError: H or W is none.
        """
        size = images.shape[2:]
        if any(side % self.network.grid for side in size):
            raise ValueError(f"images: expected sides in multiples of {self.network.grid}, got {size[0]} × {size[1]}")
        if max(size) > self.tile:
            f: Tensor = Tiled.apply(images, self)
        else:
            f = self.f(images, size, periodic=True)
        return f - self.reference.energy(images)

    def f(self, images: Tensor, size: Sequence[int], *, periodic: bool = False, halo: int = 0) -> Tensor:
        """f_θ of an area of that height and width, by the mean over the network's positions in images, (n,)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            mean = self.network(images, periodic=periodic, halo=halo)
        return self.scale * size[0] * size[1] * mean

    def fit(self, images: Tensor, noise: float) -> None:
        """Fits the reference, and the scales of what the network sees, to patches of a photograph, (n, c, h, w)."""
        self.reference.fit(images)
        self.network.fit(images)

    def draw_reference(self, like: Tensor, rng: torch.Generator) -> Tensor:
        """Exact draws from p₀, as many as there are images in ``like``, (n, c, H, W)."""
        return self.reference.draw(like, rng)

    def observe(self, images: Tensor, noise: float, rng: torch.Generator) -> Tensor:
        """Images with the noise with which they are learned, (n, c, H, W), as `StationaryGaussian.observe` adds it."""
        return self.reference.observe(images, noise, rng)


class Tiled(torch.autograd.Function):
    """f of large tori, and its gradient with respect to the images alone, computed a tile of positions at a time."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, texture: Texture) -> Tensor:
        (height, width), halo, tile = images.shape[2:], texture.network.halo, texture.tile
        rows, columns = (torch.arange(-halo, side + halo, device=images.device) % side for side in (height, width))
        around = images[:, :, rows][..., columns]
        gradient = torch.zeros_like(around)
        value = images.new_zeros(len(images))
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                seen = (..., slice(top, bottom + 2 * halo), slice(left, right + 2 * halo))
                with torch.enable_grad():
                    part = around[seen].contiguous(memory_format=torch.channels_last).requires_grad_()
                    f = texture.f(part, (bottom - top, right - left), halo=halo)
                    gradient[seen] += torch.autograd.grad(f.sum(), part)[0]
                value += f.detach()
        folded = gradient.new_zeros((*images.shape[:3], len(columns))).index_add_(2, rows, gradient)
        ctx.save_for_backward(torch.zeros_like(images).index_add_(3, columns, folded))
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[:, None, None, None] * ctx.saved_tensors[0], None
