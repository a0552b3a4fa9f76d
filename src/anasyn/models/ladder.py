"""A ladder of noise levels, and the descriptors of images with so much noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from ..rng import Rng, standard_normal
from .descriptor import Descriptor

__all__ = ["Conditional", "DescriptorLadder", "Ladder", "LevelledNetwork"]

Variance = TypeVar("Variance", float, Tensor)

Noise = Callable[[Tensor, Rng], Tensor]
"""Draws of ε, as many as there are images in the tensor, (n, *event)."""

GAIN = 100.0  # g_t s_t²: the gradients of an untrained network are about 1/100 of an image


@dataclass(frozen=True)
class Ladder:
    """Levels of noise x_0, …, x_T of an image x, from almost none to almost nothing else:

        x_t = √ᾱ_t x + √(1 − ᾱ_t) ε,   ᾱ_t = 1/(1 + c_t²)
        y_t = √(1 − σ²_{t+1}) x_t,   x_{t+1} = y_t + σ_{t+1} ε,   1 − σ²_{t+1} = ᾱ_{t+1}/ᾱ_t

    Args:
        noise: c_0 < … < c_T, T ≥ 1, the standard deviations of the noise beside the image; as c_T → ∞, x_T → N(0, I).

    Raises:
        ValueError: they are fewer than two, not positive, or not increasing.

    Source: Gao et al. 2021; Ho et al. 2020 for ᾱ.
    """

    noise: tuple[float, ...]

    def __post_init__(self) -> None:
        rises = all(low < high for low, high in zip((0.0, *self.noise), self.noise, strict=False))
        if len(self.noise) < 2 or not rises or not math.isfinite(self.noise[-1]):
            raise ValueError(f"noise: expected two or more increasing numbers above 0, got {self.noise}")

    @classmethod
    def geometric(cls, levels: int, smallest: float, largest: float) -> Self:
        """T = ``levels``, with equal ratios of noise from c_0 = ``smallest`` to c_T = ``largest``."""
        ratio = largest / smallest
        return cls(tuple(smallest * ratio ** (t / levels) for t in range(levels + 1)))

    @property
    def levels(self) -> int:
        """T."""
        return len(self.noise) - 1

    def alpha_bar(self, t: int) -> float:
        """ᾱ_t, the share of the image in the variance of x_t, 0 ≤ t ≤ T."""
        return 1 / (1 + self.noise[t] ** 2)

    def shrinkage(self, t: int) -> float:
        """√(1 − σ²_{t+1}) = y_t / x_t, 0 ≤ t < T."""
        return math.sqrt(self.alpha_bar(t + 1) / self.alpha_bar(t))

    def sigma(self, t: int) -> float:
        """σ_t, of the noise that leads from y_{t−1} to x_t, 1 ≤ t ≤ T."""
        return math.sqrt(1 - self.alpha_bar(t) / self.alpha_bar(t - 1))

    def spread(self, t: int) -> float:
        """s_t = √(1 − σ²_{t+1}) √(1 − ᾱ_t), the standard deviation of the noise in y_t."""
        return self.shrinkage(t) * math.sqrt(1 - self.alpha_bar(t))

    def narrowest(self, t: int) -> float:
        """The least standard deviation of y_t given x_{t+1} in any direction: that if all images were the same one.

        1 / narrowest² = 1/σ²_{t+1} + 1/s_t², of the noises above y_t and in it.
        """
        return (1 / self.sigma(t + 1) ** 2 + 1 / self.spread(t) ** 2) ** -0.5

    def variance(self, t: int, of_images: Variance) -> Variance:
        """(1 − σ²_{t+1}) (ᾱ_t v + 1 − ᾱ_t), the variance of y_t where that of the images is v = ``of_images``."""
        alpha_bar = self.alpha_bar(t)
        return self.shrinkage(t) ** 2 * (alpha_bar * of_images + 1 - alpha_bar)

    def diffuse(self, images: Tensor, t: int, rng: Rng, noise: Noise = standard_normal) -> tuple[Tensor, Tensor]:
        """A draw of (y_t, x_{t+1}) for each of these images, (n, *event); ``noise`` gives the ε."""
        alpha_bar = self.alpha_bar(t)
        x = math.sqrt(alpha_bar) * images + math.sqrt(1 - alpha_bar) * noise(images, rng)
        y = self.shrinkage(t) * x
        return y, y + self.sigma(t + 1) * noise(images, rng)

    def path(self, images: Tensor, rng: Rng, noise: Noise = standard_normal) -> list[Tensor]:
        """A draw of x_0, …, x_T for each of these images, (n, *event) each; ``noise`` gives the ε."""
        alpha_bar = self.alpha_bar(0)
        x = [math.sqrt(alpha_bar) * images + math.sqrt(1 - alpha_bar) * noise(images, rng)]
        for t in range(self.levels):
            x.append(self.shrinkage(t) * x[t] + self.sigma(t + 1) * noise(images, rng))
        return x


class LevelledNetwork(Protocol):
    """A network for each level, and for each class if there are classes; they may share weights."""

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        """The network of one level: images (n, *event) → one number per image, (n,).

        With classes, that of the images' classes, ``labels``, (n,): each image has the network of its own class.
        """


class Conditional(Protocol):
    """A Gaussian N(μ, L Lᵀ) near the conditional density of y_t given x_{t+1}."""

    mean: Tensor  # μ, (n, *event)

    def color(self, x: Tensor) -> Tensor:
        """L x, (n, *event)."""

    def color_transposed(self, gradient: Tensor) -> Tensor:
        """Lᵀ g, (n, *event)."""

    def draw(self, like: Tensor, rng: Rng) -> Tensor:
        """Draws, as many as there are images in ``like``, (n, *event), for the x_{t+1} of each."""


class DescriptorLadder(nn.Module):
    """For each level t < T of a ladder, a descriptor of y_t:   p(y_t) ∝ exp[f(y_t, t)].

        f(y, t) = g_t · network_t(y) − ‖y‖²/2s_t²,   s_t² = (1 − σ²_{t+1})(1 − ᾱ_t)

    With classes, for each class k a descriptor of the y_t of its images: p(y_t | k) ∝ exp[f(y_t, t, k)].

    The reference N(0, s_t² I) is the noise in y_t = m + s_t ε, m the image without it, whose density is exactly

        p(y_t) ∝ N(y_t; 0, s_t² I) E_m[exp(y_t · m/s_t² − ‖m‖²/2s_t²)]

    So what the network has to learn, the logarithm of the mean, is convex, and has the gradient E[m | y_t]/s_t²: the
    denoised image, in the range of the images. The reference keeps chains there, and by the convexity no curvature of
    the conditional is above 1/narrowest². The scale g_t = 100/s_t² gives an untrained network such gradients.

    Args:
        network: the network of each level, an `nn.Module` with the method ``at`` (`LevelledNetwork`).
        ladder: of the noise levels.
        precision: arithmetic of the networks, ``"float32"`` or ``"bfloat16"``.

    Source: Gao, Song, Poole, Wu, Kingma, *Learning energy-based models by diffusion recovery likelihood*, ICLR 2021.
    """

    whitened: ClassVar[bool] = False
    """Whether p(y_t | x_{t+1}) is exp[g_t network_t(y_t)] times `posterior` exactly: chains may move in its units."""

    def __init__(self, network: LevelledNetwork, ladder: Ladder, precision: str = "float32"):
        super().__init__()
        self.network = network
        self.ladder = ladder
        self.precision = precision

    def at(self, t: int, labels: Tensor | None = None) -> Descriptor:
        """The descriptor of y_t, whose `log_density` is f(·, t), 0 ≤ t < T; with classes, of the y_t of n images.

        Args:
            t: the level.
            labels: the class of each of the n images, (n,); None for a model without classes.
        """
        return Descriptor(self.network.at(t, labels), self.ladder.spread(t), self.scale(t), self.precision)

    def noisiest(self, like: Tensor, rng: Rng, labels: Tensor | None = None) -> Tensor:
        """x_T ~ N(0, I), as many as there are images in ``like``, (n, *event), of these classes, (n,)."""
        if like.dim() == 4:
            like = like.contiguous(memory_format=torch.channels_last)
        return standard_normal(like, rng)

    def fit(self, images: Tensor) -> None:
        """Fits a reference to images, (n, *event), uint8 or float in [−1, 1]; N(0, s_t² I) depends on none."""

    def noise(self, like: Tensor, rng: Rng) -> Tensor:
        """Draws of the ladder's ε, as many as there are images in ``like``, (n, *event): here from N(0, I)."""
        return standard_normal(like, rng)

    def noise_energy(self, noise: Tensor) -> Tensor:
        """−log of the density of ε, (n, *event) → (n,), up to a constant: ‖ε‖²/2."""
        squared: Tensor = (noise * noise).sum(tuple(range(1, noise.dim())))
        return squared / 2

    def noise_covariance(self, gradient: Tensor) -> Tensor:
        """The covariance of ε times a gradient, (n, *event): here the gradient itself."""
        return gradient

    def posterior(self, t: int, x_next: Tensor, labels: Tensor | None = None) -> Conditional | None:
        """A Gaussian near the conditional density of y_t given x_{t+1}, (n, *event); None where none is known."""
        return None

    def held(self, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """A mask of pixels of y_t, (n, *event), where chains that recover it stay, and their values; None for none."""
        return None

    def corrected(self, t: int, y: Tensor) -> Tensor:
        """Draws of y_t, (n, *event), without an error of the short chains that is known; here none is."""
        return y

    def scale(self, t: int) -> float:
        """g_t, 0 ≤ t < T."""
        return GAIN / self.ladder.spread(t) ** 2
