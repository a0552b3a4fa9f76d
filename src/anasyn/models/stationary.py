"""A stationary Gaussian density of images of any size: the reference of a texture, and the metric of its chains."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data import as_float
from ..rng import standard_normal

__all__ = ["StationaryGaussian"]

FLOOR = 0.01  # least standard deviation at any frequency


class StationaryGaussian(nn.Module):
    """N(m, C) on a torus of any height and width, C = L Lᵀ with the spectrum of a photograph:

        L = Uᵀ F⁻¹ √S F U

    U are the photograph's principal colours, F is the Fourier transform of the torus, and S the power of each
    principal colour at each frequency. L is a convolution, and draws are textures of random phases. S is the transform
    of the photograph's autocovariance, which is zero beyond the patches' side and so does not depend on the torus.

    Args:
        channels: c of an image.
        side: pixels of the longer side of the patches to which it is fitted.

    Source: Galerne, Gousseau, Morel, *Random Phase Textures: Theory and Synthesis*, IEEE TIP 2011.
    """

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.side = side
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("colours", torch.eye(channels))  # Uᵀ
        self.register_buffer("covariance", torch.zeros(channels, 2 * side, 2 * side))  # at lags −side, …, side − 1

    mean: Tensor
    colours: Tensor
    covariance: Tensor

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fits m, U and S to patches of a photograph, (n, c, h, w), uint8 or float in [−1, 1].

        S is the mean of the patches' power under a Hann window (Welch 1967), which hides that they are not periodic.
        """
        x = as_float(images).to(self.mean)
        self.mean.copy_(x.mean((0, 2, 3)).view_as(self.mean))
        x = x - self.mean
        pixels = x.movedim(1, -1).flatten(0, -2)
        self.colours.copy_(torch.linalg.eigh(pixels.T @ pixels)[1])
        rows, columns = (torch.hann_window(n, periodic=False, dtype=x.dtype, device=x.device) for n in x.shape[2:])
        window = torch.outer(rows, columns)
        x = self._principal(x) * window / window.square().sum().sqrt()
        around = (2 * self.side, 2 * self.side)  # twice the patches' sides: no lag is counted as another
        power = sum(torch.fft.rfft2(part, around).abs().square().sum(0) for part in x.split(16)) / len(x)
        self.covariance.copy_(torch.fft.fftshift(torch.fft.irfft2(power, around), (1, 2)))

    def spectrum(self, size: Sequence[int]) -> Tensor:
        """S at the frequencies of a torus of that height and width, (c, H, W/2 + 1) as `torch.fft.rfft2` has them."""
        lags = torch.arange(-self.side, self.side, device=self.covariance.device)
        height, width = size
        rows = self.covariance.new_zeros(len(self.covariance), height, 2 * self.side)
        rows.index_add_(1, lags % height, self.covariance)
        folded = self.covariance.new_zeros(len(self.covariance), height, width)
        folded.index_add_(2, lags % width, rows)
        return torch.fft.rfft2(folded).real.clamp_min(0) + FLOOR**2

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, c, H, W): of x ~ N(0, I) a draw from N(0, C)."""
        return self._images(self._filtered(x, self.spectrum(x.shape[2:]).sqrt()))

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, c, H, W): of a gradient with respect to an image, that with respect to x."""
        return self._filtered(self._principal(gradient), self.spectrum(gradient.shape[2:]).sqrt())

    def whiten(self, images: Tensor) -> Tensor:
        """L⁻¹ (Y − m), (n, c, H, W): N(0, I) under this density."""
        return self._filtered(self._principal(images - self.mean), self.spectrum(images.shape[2:]).rsqrt())

    def energy(self, images: Tensor) -> Tensor:
        """(Y − m)ᵀ C⁻¹ (Y − m)/2, (n,)."""
        squared: Tensor = self.whiten(images).square().sum((1, 2, 3))
        return squared / 2

    def draw(self, like: Tensor, rng: torch.Generator) -> Tensor:
        """Exact draws, as many as there are images in ``like``, (n, c, H, W)."""
        drawn = self.mean + self.color(standard_normal(like, rng))
        return drawn.contiguous(memory_format=torch.channels_last)

    def observe(self, images: Tensor, noise: float, rng: torch.Generator) -> Tensor:
        """Y + ``noise`` · L u, u ~ N(0, I): images with noise of their own spectrum, (n, c, H, W)."""
        return images + noise * self.color(standard_normal(images, rng))

    def denoise(self, images: Tensor, gradient: Tensor, noise: float) -> Tensor:
        """E[Y | Y + noise] = y + Cov(noise) ∂ log p(y)/∂y, (n, c, H, W): Tweedie's formula for the noise of `observe`.

        Args:
            images: y, of the density p of noisy images.
            gradient: ∂ log p(y)/∂y, (n, c, H, W).
            noise: as for `observe`.
        """
        return images + noise**2 * self.color(self.color_transposed(gradient))

    def _filtered(self, x: Tensor, amplitude: Tensor) -> Tensor:
        """F⁻¹ (amplitude) F x, (n, c, H, W)."""
        return torch.fft.irfft2(amplitude * torch.fft.rfft2(x.contiguous()), x.shape[2:])

    def _principal(self, images: Tensor) -> Tensor:
        """U Y."""
        return torch.einsum("nchw,ck->nkhw", images, self.colours)

    def _images(self, x: Tensor) -> Tensor:
        """Uᵀ x."""
        return torch.einsum("nkhw,ck->nchw", x, self.colours).contiguous(memory_format=torch.channels_last)
