"""A Gaussian density fitted to images: the reference of a descriptor, and at first the metric of its chains."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data import as_float
from ..rng import Rng, standard_normal

__all__ = ["ClassGaussians", "FittedGaussian"]

MOST_IMAGES = 2000  # from which the components are found
MOST_VALUES = 5e7  # in all of these images
SMOOTHING = 0.1  # width of the average over frequencies, in log(1 + frequency)
FLOOR = 0.03  # least standard deviation at any frequency


class FittedGaussian(nn.Module):
    """N(m, C) fitted to images, C = L Lᵀ of full rank for any number of them:

        L = Tᵀ s (√α I + Uᵀ (√(α + λ) − √α) U),   that is,   C = Tᵀ s (α I + Uᵀ λ U) s T

    T is the cosine transform of the images' principal colours, and s² their mean power at each frequency: C = Tᵀ s² T
    would be a stationary density, of clouds with the colours and the smoothness of the images. The rows of U, r × D,
    are the principal components of the images s⁻¹ T (Y − m), and λ their variances: what the images have in common
    besides. α is the variance of the rest, in all other directions.

    `observe` adds noise with the covariance τ² Tᵀ s² T, and τ_c² times the images' variances V along the components:

        Tᵀ s (τ² I + τ_c² Uᵀ V U) s T

    A few images are far apart along their components. With noise of s alone, f would have to be steeper there than the
    chains can follow while it is learned.

    Every product with L, Lᵀ or L⁻¹ costs O(D (r + H + W)).

    Args:
        shape: (c, H, W) of an image.
        components: r; fewer are used if the images vary in fewer directions.
        component_noise: τ_c.
    """

    def __init__(self, shape: tuple[int, int, int], components: int, component_noise: float = 0.0):
        super().__init__()
        channels, height, width = shape
        self.shape = shape
        self.component_noise = component_noise
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("colours", torch.eye(channels))
        self.register_buffer("std", torch.ones(shape))  # s, at each frequency of each principal colour
        self.register_buffer("components", torch.zeros(components, math.prod(shape)))  # U
        self.register_buffer("scales", torch.ones(components))  # √(α + λ)
        self.register_buffer("rest", torch.ones(()))  # √α
        self.register_buffer("variances", torch.zeros(components))  # V
        self.register_buffer("rows", cosines(height), persistent=False)
        self.register_buffer("columns", cosines(width), persistent=False)

    mean: Tensor
    colours: Tensor
    std: Tensor
    components: Tensor
    scales: Tensor
    rest: Tensor
    variances: Tensor
    rows: Tensor
    columns: Tensor

    @torch.no_grad()
    def fit(self, images: Tensor, noise: float) -> None:
        """Fits m and C to images, (n, c, H, W), uint8 or float in [−1, 1], to which `observe` adds ``noise``."""
        x = as_float(images[chosen(images, len(images))]).to(self.mean)
        self.mean.copy_(x.mean(0))
        x = x - self.mean
        pixels = x.movedim(1, -1).flatten(0, -2)
        self.colours.copy_(torch.linalg.eigh(pixels.T @ pixels)[1])
        x = self._transform(x)
        power = smoother(self.rows) @ x.square().mean(0) @ smoother(self.columns).T
        self.std.copy_((power + FLOOR**2).sqrt())

        k = min(len(self.scales), len(x) - 1)
        self.components.zero_()[:k], self.variances.zero_()[:k], rest = principal((x / self.std).flatten(1), k)
        alpha = rest + noise**2
        self.rest.copy_(alpha.sqrt())
        self.scales.copy_((self.variances + self._noise_along(noise)).clamp_min(alpha).sqrt())

    def of(self, labels: Tensor | None) -> "FittedGaussian":
        """The density of images of these classes, (n,): this one, which knows of none."""
        return self

    def color(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        """L x, (n, c, H, W): of x ~ N(0, I) a draw from N(0, C). ``scales``, (r,), are in place of √(α + λ)."""
        return self._transform_back(self.std * self._along(x, self.rest, self.scales if scales is None else scales))

    def color_transposed(self, gradient: Tensor, scales: Tensor | None = None) -> Tensor:
        """Lᵀ g, (n, c, H, W): of a gradient with respect to an image, that with respect to x; ``scales`` likewise."""
        gradient = self.std * self._transform(gradient)
        return self._along(gradient, self.rest, self.scales if scales is None else scales)

    def along_components(self, gradient: Tensor) -> Tensor:
        """U s T g, (n, r): of a gradient with respect to an image, that with respect to its component scores."""
        return (self.std * self._transform(gradient)).flatten(1) @ self.components.T

    def whiten(self, images: Tensor) -> Tensor:
        """L⁻¹ (Y − m), (n, c, H, W): N(0, I) under this density."""
        return self._along(self._transform(images - self.mean) / self.std, 1 / self.rest, 1 / self.scales)

    def energy(self, images: Tensor) -> Tensor:
        """(Y − m)ᵀ C⁻¹ (Y − m)/2, (n,)."""
        squared: Tensor = self.whiten(images).square().sum((1, 2, 3))
        return squared / 2

    def log_determinant(self) -> Tensor:
        """log det L, ()."""
        found = int(self.components.any(1).sum())
        remaining = math.prod(self.shape) - found
        return self.std.log().sum() + self.scales[:found].log().sum() + remaining * self.rest.log()

    def draw(self, like: Tensor, rng: Rng) -> Tensor:
        """Exact draws, as many as there are images in ``like``, (n, c, H, W)."""
        drawn = self.mean + self.color(standard_normal(like, rng))
        return drawn.contiguous(memory_format=torch.channels_last)

    def rescaled(self, variance: Callable[[Tensor], Tensor], mean: Tensor) -> "FittedGaussian":
        """N(``mean``, ·) with the same T, s and U, and other variances: ``variance`` of α, and of α + λ along U."""
        other = self._blank()
        for name in ("colours", "std", "components", "variances", "rows", "columns"):
            setattr(other, name, getattr(self, name))
        other.mean = mean
        other.rest, other.scales = variance(self.rest**2).sqrt(), variance(self.scales**2).sqrt()
        return other

    def _blank(self) -> "FittedGaussian":
        """One that is not fitted."""
        return FittedGaussian(self.shape, 0)

    def noise(self, like: Tensor, rng: Rng) -> Tensor:
        """Draws from N(0, Tᵀ s² T), noise with the spectrum of the images, as many as in ``like``, (n, c, H, W)."""
        return self._transform_back(self.std * standard_normal(like, rng))

    def noise_energy(self, noise: Tensor) -> Tensor:
        """εᵀ (Tᵀ s² T)⁻¹ ε/2 of such noise, (n, c, H, W) → (n,)."""
        squared: Tensor = (self._transform(noise) / self.std).square().sum((1, 2, 3))
        return squared / 2

    def shrunk(self, images: Tensor) -> Tensor:
        """C (Tᵀ s² T)⁻¹ Y = Tᵀ s (α I + Uᵀ λ U) s⁻¹ T Y, (n, c, H, W)."""
        return self._transform_back(
            self.std * self._along(self._transform(images) / self.std, self.rest**2, self.scales**2)
        )

    def noise_covariance(self, gradient: Tensor) -> Tensor:
        """Tᵀ s² T g, (n, c, H, W)."""
        return self._transform_back(self.std**2 * self._transform(gradient))

    def observe(self, images: Tensor, noise: float, rng: Rng) -> Tensor:
        """Y + noise with the covariance Tᵀ s (τ² I + τ_c² Uᵀ V U) s T, τ = ``noise``, (n, c, H, W)."""
        if not self.component_noise:
            return images + noise * self.noise(images, rng)
        u = self._along(standard_normal(images, rng), noise, self._noise_along(noise).sqrt())
        return images + self._transform_back(self.std * u)

    def denoise(self, images: Tensor, gradient: Tensor, noise: float) -> Tensor:
        """E[Y | Y + noise] = y + Cov(noise) ∂ log p(y)/∂y, (n, c, H, W): Tweedie's formula for the noise of `observe`.

        Args:
            images: y, of the density p of noisy images.
            gradient: ∂ log p(y)/∂y, (n, c, H, W).
            noise: as for `observe`.
        """
        along = self._along(self.std * self._transform(gradient), noise**2, self._noise_along(noise))
        return images + self._transform_back(self.std * along)

    def _noise_along(self, noise: float) -> Tensor:
        """τ² + τ_c² V, the variance of the noise along each component, in units of s², (r,)."""
        return noise**2 + self.component_noise**2 * self.variances

    def _along(self, x: Tensor, rest: Tensor | float, scales: Tensor) -> Tensor:
        """(``rest`` I + Uᵀ (``scales`` − ``rest``) U) x."""
        flat = x.flatten(1)
        return (rest * flat + (flat @ self.components.T * (scales - rest)) @ self.components).view(-1, *self.shape)

    def _transform(self, images: Tensor) -> Tensor:
        """T Y."""
        turned = torch.einsum("nchw,ck->nkhw", images, self.colours)
        return (self.rows @ turned @ self.columns.T).contiguous()

    def _transform_back(self, coefficients: Tensor) -> Tensor:
        """Tᵀ x."""
        turned = self.rows.T @ coefficients @ self.columns
        images = torch.einsum("nkhw,ck->nchw", turned, self.colours)
        return images.contiguous(memory_format=torch.channels_last)


class ClassGaussians(FittedGaussian):
    """For each of K classes a density N(m_k, C_k) of the form of `FittedGaussian`, with T and s in common.

    `of` gives the densities of n images, each of its class: then every product is with L of the image's class.

    Args:
        shape: (c, H, W) of an image.
        components: r; fewer are used of a class with fewer than 2 r images.
        labels: the classes of the images to which it is fitted, in their order, (n,), from 0 to K − 1.
        num_classes: K.
    """

    def __init__(self, shape: tuple[int, int, int], components: int, labels: Tensor, num_classes: int):
        super().__init__(shape, 0)
        self.labels = labels
        self.order = torch.empty(0, dtype=torch.long)  # the n images' places, by class
        self.place = self.order  # of each image in this order
        self.counts: list[int] = []  # images of each class
        self.register_buffer("means", torch.zeros(num_classes, *shape))
        self.register_buffer("components", torch.zeros(num_classes, components, math.prod(shape)))
        self.register_buffer("scales", torch.ones(num_classes, components))
        self.register_buffer("rest", torch.ones(num_classes))
        self.register_buffer("variances", torch.zeros(num_classes, components))

    means: Tensor

    @torch.no_grad()
    def fit(self, images: Tensor, noise: float) -> None:
        """Fits T and s to all images, (n, c, H, W), and m_k, U_k, λ_k and α_k to those of the class k."""
        common = FittedGaussian(self.shape, 0).to(self.means)
        common.fit(images, 0.0)
        self.mean.copy_(common.mean)
        self.colours.copy_(common.colours)
        self.std.copy_(common.std)
        self.components.zero_()
        self.variances.zero_()
        for k in range(len(self.means)):
            own = torch.nonzero(self.labels == k).flatten()
            x = as_float(images[own[chosen(images, len(own))]]).to(self.means)
            self.means[k] = x.mean(0)
            r = min(self.components.shape[1], len(x) // 2)
            whitened = (self._transform(x - self.means[k]) / self.std).flatten(1)
            self.components[k, :r], self.variances[k, :r], rest = principal(whitened, r)
            alpha = rest + noise**2
            self.rest[k] = alpha.sqrt()
            self.scales[k] = (self.variances[k] + noise**2).clamp_min(alpha).sqrt()

    def of(self, labels: Tensor | None) -> FittedGaussian:
        """The density of n images of these classes, (n,)."""
        assert labels is not None
        other = self.rescaled(lambda v: v, self.means[labels])
        assert isinstance(other, ClassGaussians)
        other.order, other.counts = labels.argsort(), labels.bincount(minlength=len(self.means)).tolist()
        other.place = other.order.argsort()
        return other

    def _blank(self) -> FittedGaussian:
        blank = ClassGaussians(self.shape, 0, self.labels, 1)
        blank.order, blank.place, blank.counts = self.order, self.place, self.counts
        return blank

    def _along(self, x: Tensor, rest: Tensor | float, scales: Tensor) -> Tensor:
        """(``rest`` I + Uᵀ (``scales`` − ``rest``) U) x of each image's class; ``rest`` (K,), ``scales`` (K, r)."""
        assert isinstance(rest, Tensor)
        parts = zip(x.flatten(1)[self.order].split(self.counts), self.components, rest, scales, strict=True)
        by_class = torch.cat([r * part + (part @ u.T * (s - r)) @ u for part, u, r, s in parts])
        return by_class[self.place].view(-1, *self.shape)


def principal(x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first k principal components of n ≪ D centred rows, (n, D): (k, D), their variances, (k,), and α, ().

    α is the variance in any of the D − k other directions. Components of hardly any variance are 0.
    """
    # The right singular vectors from the eigenvectors of the rows' inner products
    values, vectors = torch.linalg.eigh(x @ x.T)
    values, vectors = values.flip(0).clamp_min(0) / len(x), vectors.flip(1)[:, :k]
    components = vectors.T @ x
    norms = components.norm(dim=1, keepdim=True)
    directions = torch.where(norms > 1e-3 * norms[:1], components / norms.clamp_min(1e-30), 0.0)
    return directions, values[:k], values[k:].sum() / max(x.shape[1] - k, 1)


def chosen(images: Tensor, num: int) -> Tensor:
    """Places of at most `most_images` among ``num`` of these images, evenly spaced."""
    return torch.linspace(0, num - 1, min(num, most_images(images[:1].numel()))).long()


def most_images(dimension: int) -> int:
    """The largest number of images of so many values from which components are found."""
    return max(2, min(MOST_IMAGES, int(MOST_VALUES / dimension)))


def cosines(side: int) -> Tensor:
    """The orthogonal discrete cosine transform, DCT-II: (side, side), a frequency a row."""
    k = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi * k[:, None] * (k + 0.5) / side) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def smoother(like: Tensor) -> Tensor:
    """Averages over neighbouring frequencies, at low ones over the frequency alone: (side, side), each row of sum 1."""
    u = torch.arange(len(like), device=like.device).to(like).log1p()
    weights = torch.exp(-((u[:, None] - u) ** 2) / (2 * SMOOTHING**2))
    return weights / weights.sum(1, keepdim=True)
