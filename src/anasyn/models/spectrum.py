"""A stationary Gaussian density fitted to a texture: of images of any size, and of their levels of noise."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import as_float
from ..rng import Rng, standard_normal
from .descriptor import Descriptor
from .ladder import Ladder

__all__ = ["Posterior", "StationaryDescriptor", "StationaryGaussian"]

WINDOW = 48  # pixels: correlations from there on are left to the networks
MOST_PATCHES = 64  # from which the correlations are found


class StationaryGaussian(nn.Module):
    """Images of any size with the mean colour of a texture, and its correlations at short distances:

        E Y = m,   Cov(Y_a, Y_{a+τ}) = Qᵀ diag[c(τ)] Q,   c_k(τ) = mean over windows of Σ_a (w z_k)_a (w z_k)_{a+τ}

    for pixels a and a + τ, with z = Q (Y − m) in the principal colours Q and a Hann window w, Σ_a w_a² = 1. c is 0
    beyond a window, and its Fourier transform S, the mean of |F(w z)|², is nowhere negative: on a torus of any size,
    it gives the variance of each frequency.

    Args:
        channels: of the images, 1 or 3.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))  # m
        self.register_buffer("colours", torch.eye(channels))  # Q
        self.register_buffer("covariances", torch.zeros(channels, 2 * WINDOW, 2 * WINDOW))  # c, on a torus of lags

    mean: Tensor
    colours: Tensor
    covariances: Tensor

    @torch.no_grad()
    def fit(self, patches: Tensor) -> None:
        """Fits m, Q and c to patches of the photograph, (n, c, h, w), uint8 or float in [−1, 1]."""
        chosen = torch.linspace(0, len(patches) - 1, min(len(patches), MOST_PATCHES)).long()
        x = as_float(patches[chosen]).to(self.mean)
        self.mean.copy_(x.mean((0, 2, 3))[:, None, None])
        pixels = (x - self.mean).movedim(1, -1).flatten(0, -2)
        self.colours.copy_(torch.linalg.eigh(pixels.T @ pixels)[1].T)
        side = min(WINDOW, *x.shape[2:])
        hann = torch.hann_window(side + 1, dtype=x.dtype, device=x.device)[1:]
        window = hann[:, None] * hann
        z = turned(x - self.mean, self.colours).unfold(2, side, side // 2 or 1).unfold(3, side, side // 2 or 1)
        lags = 2 * WINDOW, 2 * WINDOW
        power = torch.fft.rfft2(z * window / window.norm(), s=lags).abs().square().mean((0, 2, 3))
        self.covariances.copy_(torch.fft.irfft2(power, s=lags))

    def spectrum(self, height: int, width: int, *, whole: bool) -> Tensor:
        """S at the frequencies of a torus, as `torch.fft.rfft2` orders them, (c, height, width // 2 + 1).

        The mean colours of patches vary. A ``whole`` image has the photograph's: at frequency 0 its S is 0.
        """
        lags = torch.arange(2 * WINDOW, device=self.mean.device)
        lags = torch.where(lags < WINDOW, lags, lags - 2 * WINDOW)
        rows = self.covariances.new_zeros(len(self.covariances), height, 2 * WINDOW)
        rows.index_add_(1, lags % height, self.covariances)
        torus = rows.new_zeros(*rows.shape[:2], width).index_add_(2, lags % width, rows)
        spectrum = torch.fft.rfft2(torus).real.clamp_min(0)  # rounding may make it negative
        if whole:
            spectrum[:, 0, 0] = 0
        return spectrum

    def mean_of(self, ladder: Ladder, t: int) -> Tensor:
        """m_t = √((1 − σ²_{t+1}) ᾱ_t) m, the mean colour of y_t, (c, 1, 1)."""
        return ladder.shrinkage(t) * math.sqrt(ladder.alpha_bar(t)) * self.mean

    def variances_of(self, ladder: Ladder, t: int, size: Sequence[int], *, whole: bool) -> Tensor:
        """(1 − σ²_{t+1}) (ᾱ_t S + 1 − ᾱ_t), the variance of each frequency of y_t on tori, (c, H, W // 2 + 1)."""
        height, width = size
        return ladder.variance(t, self.spectrum(height, width, whole=whole))

    def pixel_variances_of(self, ladder: Ladder, t: int) -> Tensor:
        """(1 − σ²_{t+1}) (ᾱ_t c(0) + 1 − ᾱ_t), the variance of the pixels of y_t in each principal colour, (c,)."""
        return ladder.variance(t, self.covariances[:, 0, 0])


class Posterior:
    """N(μ, L Lᵀ), the conditional density of y_t given x_{t+1} = y_t + σ_{t+1} ε if y_t is of a `StationaryGaussian`.

        L Lᵀ = M = (C_t⁻¹ + I/σ²_{t+1})⁻¹,   μ = m_t + M (x_{t+1} − m_t)/σ²_{t+1}

    As the preconditioner of chains it makes their whitened density nearly that of N(0, I).

    Args:
        gaussian: of the images without noise.
        ladder: of the noise levels.
        t: the level.
        x_next: x_{t+1}, tori (n, c, H, W).
        whole: whether these are whole images, or patches.
    """

    def __init__(self, gaussian: StationaryGaussian, ladder: Ladder, t: int, x_next: Tensor, *, whole: bool):
        mean = gaussian.mean_of(ladder, t)
        variances = gaussian.variances_of(ladder, t, x_next.shape[2:], whole=whole)
        precision = ladder.sigma(t + 1) ** -2
        posterior = 1 / (1 / variances + precision)
        self.colours = gaussian.colours
        self.root = posterior.sqrt()
        self.mean = mean + filtered(x_next - mean, self.colours, posterior * precision)

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, c, H, W)."""
        return filtered(x, self.colours, self.root)

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, c, H, W); L is symmetric."""
        return self.color(gradient)

    def draw(self, like: Tensor, rng: Rng) -> Tensor:
        """A draw for each x_{t+1}, as many as there are images in ``like``, (n, c, H, W)."""
        return self.mean + self.color(standard_normal(like, rng))


class StationaryDescriptor(Descriptor):
    """A descriptor of y_t, images of any size, whose reference is the density N(m_t, C_t) of a `StationaryGaussian`.

    Args:
        network: as for `Descriptor`, and ``scale`` and ``precision`` likewise.
        gaussian: of the images without noise.
        ladder: of the noise levels.
        t: the level.
        whole: whether the images are tori and whole; if not, what is beyond their border counts as of the mean colour.
    """

    def __init__(
        self,
        network: nn.Module,
        gaussian: StationaryGaussian,
        ladder: Ladder,
        t: int,
        scale: float,
        precision: str,
        *,
        whole: bool,
    ):
        super().__init__(network, ladder.spread(t), scale, precision)
        self.gaussian = gaussian
        self.ladder = ladder
        self.level = t
        self.whole = whole
        self.margin = 0 if whole else WINDOW
        self.roots: dict[tuple[int, int], Tensor] = {}  # C_t^(−1/2) of tori of each size

    def reference_energy(self, images: Tensor) -> Tensor:
        """(y − m_t)ᵀ C_t⁻¹ (y − m_t)/2, (n,)."""
        height, width = (side + self.margin for side in images.shape[2:])
        if (height, width) not in self.roots:
            variances = self.gaussian.variances_of(self.ladder, self.level, (height, width), whole=self.whole)
            self.roots[height, width] = variances.rsqrt()
        deviation = images - self.gaussian.mean_of(self.ladder, self.level)
        padded = functional.pad(deviation, (0, self.margin, 0, self.margin))
        energy: Tensor = filtered(padded, self.gaussian.colours, self.roots[height, width]).square().sum((1, 2, 3)) / 2
        return energy


def turned(images: Tensor, colours: Tensor) -> Tensor:
    """Q Y at each pixel, (n, c, H, W)."""
    return torch.einsum("kc,nchw->nkhw", colours, images)


def filtered(images: Tensor, colours: Tensor, gains: Tensor) -> Tensor:
    """Tori whose frequencies in the principal colours are multiplied by real gains, (c, H, W // 2 + 1)."""
    waves = torch.fft.rfft2(turned(images, colours).contiguous()) * gains
    images = turned(torch.fft.irfft2(waves, s=images.shape[2:]), colours.T)
    return images.contiguous(memory_format=torch.channels_last)
