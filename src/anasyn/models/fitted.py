"""The ladder of images of one size: its references are those of a Gaussian that is fitted to the images."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from ..rng import Rng
from .descriptor import Descriptor
from .ladder import DescriptorLadder, Ladder, LevelledNetwork
from .reference import FittedGaussian

__all__ = ["FittedLadder"]

GAIN = 5.0  # g


class FittedLadder(DescriptorLadder):
    """For each level t, a descriptor of y_t whose reference is the density of y_t if images are of a `FittedGaussian`:

        f(y, t) = g · network_t(y/r_t) − (y − m_t)ᵀ C_t⁻¹ (y − m_t)/2,   r_t² = v_t(1),   g = 5
        m_t = √((1 − σ²_{t+1}) ᾱ_t) m,   v_t(v) = (1 − σ²_{t+1}) (ᾱ_t v + 1 − ᾱ_t)

    The ladder's noise has the spectrum of the images, ε ~ N(0, Tᵀ s² T), so that C_t is the covariance of the reference
    with the variances v_t(α) and v_t(α + λ) in place of α and α + λ. The density of y_t given x_{t+1} under it has the
    same form: chains begin with draws from it and move in its units. The network learns what the Gaussian lacks.

    Args:
        network: and ``ladder`` and ``precision``, as for `DescriptorLadder`.
        reference: of the images without noise; with classes, `ClassGaussians`.
    """

    whitened: ClassVar[bool] = True

    def __init__(self, network: LevelledNetwork, ladder: Ladder, reference: FittedGaussian, precision: str = "float32"):
        super().__init__(network, ladder, precision)
        self.reference = reference

    def fit(self, images: Tensor) -> None:
        """Fits the reference."""
        self.reference.fit(images, 0.0)

    def at(self, t: int, labels: Tensor | None = None) -> Descriptor:
        """The descriptor of y_t, as for `DescriptorLadder`."""
        network = nn.Sequential(Divided(self.ladder.variance(t, 1.0) ** 0.5), self.network.at(t, labels))
        reference = self._with_variances(t, labels, lambda v: self.ladder.variance(t, v))
        return Descriptor(network, self.ladder.spread(t), self.scale(t), self.precision, reference)

    def noisiest(self, like: Tensor, rng: Rng, labels: Tensor | None = None) -> Tensor:
        """x_T = y_{T−1} + σ_T ε of the reference, as many as there are images in ``like``, (n, c, H, W)."""
        t, ladder = self.ladder.levels - 1, self.ladder
        noisy = self._with_variances(t, labels, lambda v: ladder.variance(t, v) + ladder.sigma(t + 1) ** 2)
        return noisy.draw(like, rng)

    def _with_variances(self, t: int, labels: Tensor | None, variance: Callable[[Tensor], Tensor]) -> FittedGaussian:
        """N(m_t, ·) of images of these classes, with other variances than the reference's α and α + λ."""
        reference = self.reference.of(labels)
        return reference.rescaled(variance, self.ladder.shrinkage(t) * self.ladder.alpha_bar(t) ** 0.5 * reference.mean)

    def noise(self, like: Tensor, rng: Rng) -> Tensor:
        """Draws of ε ~ N(0, Tᵀ s² T), as many as there are images in ``like``, (n, c, H, W)."""
        return self.reference.noise(like, rng)

    def noise_energy(self, noise: Tensor) -> Tensor:
        """εᵀ (Tᵀ s² T)⁻¹ ε/2, (n, c, H, W) → (n,)."""
        return self.reference.noise_energy(noise)

    def noise_covariance(self, gradient: Tensor) -> Tensor:
        """Tᵀ s² T g, (n, c, H, W)."""
        return self.reference.noise_covariance(gradient)

    def posterior(self, t: int, x_next: Tensor, labels: Tensor | None = None) -> FittedGaussian:
        """The conditional density of y_t given x_{t+1}, (n, c, H, W), under the reference:

        N(μ, M),   M = (C_t⁻¹ + (Tᵀ s² T)⁻¹/σ²_{t+1})⁻¹,   μ = m_t + M (Tᵀ s² T)⁻¹ (x_{t+1} − m_t)/σ²_{t+1}
        """
        precision = self.ladder.sigma(t + 1) ** -2
        found = self._with_variances(t, labels, lambda v: 1 / (1 / self.ladder.variance(t, v) + precision))
        found.mean = found.mean + precision * found.shrunk(x_next - found.mean)
        return found

    def scale(self, t: int) -> float:
        """g, at all levels."""
        return GAIN


class Divided(nn.Module):
    """Images in units of a number."""

    def __init__(self, unit: float):
        super().__init__()
        self.unit = unit

    def forward(self, images: Tensor) -> Tensor:
        return images / self.unit
