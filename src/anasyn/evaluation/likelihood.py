"""The log-likelihood of a generator by annealed importance sampling, bounded from below and from above."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator, Images, Observed, Rows, floats, observed
from ..processor import frozen
from ..rng import standard_normal, uniform
from .distance import chunks
from .laplace import Coordinates, Mixture, laplace

__all__ = [
    "Bracket",
    "LowerBound",
    "bits_per_dimension",
    "bracket",
    "dequantise",
    "log_likelihood",
]

CHAINS_AT_ONCE = 128
PILOT_CHAINS = 4  # of each image

DrawPrior = Callable[[int, torch.Generator], Tensor]
"""Number, rng → that many exact draws from the prior, (num, d)."""


class LowerBound(NamedTuple):
    """Stochastic lower bounds, one for each image or density."""

    value: Tensor  # (n,), nats
    error: Tensor  # (n,), standard error of the value by the jackknife over chains
    effective_sample_size: Tensor  # (n,), of the chains' weights, 1 to the number of chains

    @classmethod
    def of(cls, log_weights: Tensor) -> "LowerBound":
        """The bound by the mean of k weights, (..., k) → fields of shape (...)."""
        value, error = mcmc.log_mean_exp(log_weights), mcmc.log_mean_exp_error(log_weights)
        return cls(value, error, mcmc.effective_sample_size(log_weights))


class Bracket(NamedTuple):
    """Stochastic bounds of log p(Y) of m images simulated by the model."""

    lower: Tensor  # (m,), nats
    upper: Tensor  # (m,), nats
    effective_sample_size: Tensor  # (m,), of the weights of the lower bound


def dequantise(pixels: Rows, rng: torch.Generator) -> Rows:
    """Y + u, u ~ U(−1/255, 1/255), one grey level wide in [−1, 1]: uint8 (n, c, H, W) → float32, channels-last.

    Of images of which not all is seen, values that are hidden become 0.

    Raises:
        ValueError: the pixels are not uint8.
    """
    if isinstance(pixels, Observed):
        return floats(Observed(dequantise(pixels.values, rng), pixels.observation))
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels: expected uint8, got {pixels.dtype}")
    levels = pixels.to(torch.float32, memory_format=torch.channels_last)
    return (levels + uniform(levels, rng) - 0.5) / 127.5 - 1


def bits_per_dimension(log_likelihood: Tensor, dimension: int | Tensor) -> Tensor:
    """−log p(Y + u)/(D ln 2) + log₂ 127.5, of the density p of images in [−1, 1] with uniform noise u (`dequantise`).

    The second term changes the unit from [−1, 1] to grey levels, 127.5 of them for 1. By Jensen's inequality the mean
    over u is an upper bound of −log₂ P(levels)/D, P the probability of the levels under p.

    Args:
        log_likelihood: log p(Y + u), nats, of any shape.
        dimension: D, the number of pixels times channels; of each image, if not all is seen.

    Source: Theis, van den Oord and Bethge 2016, *A note on the evaluation of generative models*.
    """
    return -log_likelihood / (dimension * math.log(2)) + math.log2(127.5)


def log_likelihood(
    model: Generator,
    images: Images,
    *,
    num_chains: int,
    num_temperatures: int,
    num_peaks: int,
    log_prior_normalizer: float = 0.0,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> LowerBound:
    """log p(Y) of each image: in expectation a lower bound, from chains that start near peaks of p(z|Y).

    They start from a mixture q(z) = Σ_k w_k q_k(z) of Laplace approximations of the image's own posterior (`laplace`),
    and the path is p_β(z) ∝ q_k(z) (p(Y, z)/q(z))^β for a chain that starts from q_k: with a single peak, from q to
    p(Y, z). Any reference with exact draws gives a lower bound; a peak that q misses is missing in it.

    Args:
        model: a generator; its ``log_prior`` may be any log-density of z, up to a constant.
        images: Y, (n, *event) in [−1, 1], float, or what is seen of them.
        num_chains: weighted chains of each image, ≥ 2.
        num_temperatures: T; β_t = t/T.
        num_peaks: K, of `laplace`.
        log_prior_normalizer: log ∫ exp(log_prior(z)) dz, 0 for N(0, I); `log_normalizer` estimates it.
        rng: on the images' device.
        progress: called after every transition, of which there are 2 (T − 1) for each `CHAINS_AT_ONCE` chains.

    Source: Wu, Burda, Salakhutdinov and Grosse 2017, *On the quantitative analysis of decoder-based generative models*.
    """
    bounds = []
    with frozen(model):
        for batch in chunks(images, max(CHAINS_AT_ONCE // num_chains, 1)):
            reference = laplace(model, batch, num_peaks=num_peaks, rng=rng)
            chains = _Chains(model, batch, reference, num_chains, num_temperatures, rng, progress)
            bounds.append(chains.lower())
    value, error, size = (torch.cat(part) for part in zip(*bounds, strict=True))
    return LowerBound(value - log_prior_normalizer, error, size)


def bracket(
    model: Generator,
    like: Images,
    *,
    num_images: int,
    num_chains: int,
    num_temperatures: int,
    num_peaks: int,
    log_prior_normalizer: float = 0.0,
    draw_prior: DrawPrior | None = None,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> Bracket:
    """Lower and upper bounds of log p(Y) of images that the model simulates, z ~ prior, Y = f(z) + σ ε.

    This z is an exact draw from p(z|Y), from which the reverse chains start; the reference is found without it, as for
    any other image. On images that were not simulated there is no upper bound, but the width of this bracket says how
    far a lower bound by as many peaks, chains and temperatures is off: where the reference misses the peak of z, the
    upper bound is high.

    Args:
        like: images, (n, *event), whose dtype and device are used. If not all of them is seen, the same is seen of the
            simulated ones, in turn.
        num_images: m.
        draw_prior: number, rng → exact draws from a learned prior; not given for N(0, I).
        progress: called after every transition, of which there are 3 (T − 1) for each `CHAINS_AT_ONCE` chains.

    The other arguments are those of `log_likelihood`.

    Raises:
        ValueError: the prior is learned, and draws from it are not given.

    Source: Grosse, Ghahramani and Adams 2015, *Sandwiching the marginal likelihood using bidirectional Monte Carlo*.
    """
    if model.prior is not None and draw_prior is None:
        raise ValueError("draw_prior: expected for a learned prior")
    lower, upper, sizes = [], [], []
    seen = observed(like)
    with frozen(model):
        if draw_prior:
            z = draw_prior(num_images, rng)
        else:
            z = standard_normal(seen.values.new_empty(num_images, model.latent_dim), rng)
        observation = seen.observation[torch.arange(num_images, device=z.device) % len(like)]
        with torch.no_grad():
            images = observation(model(z))
        images = images + model.sigma * standard_normal(images, rng)
        simulated = images if isinstance(like, Tensor) else floats(Observed(images, observation))
        at_once = max(CHAINS_AT_ONCE // num_chains, 1)
        for batch, exact in zip(chunks(simulated, at_once), chunks(z, at_once), strict=True):
            reference = laplace(model, batch, num_peaks=num_peaks, rng=rng)
            chains = _Chains(model, batch, reference, num_chains, num_temperatures, rng, progress)
            bound = chains.lower()
            lower.append(bound.value)
            sizes.append(bound.effective_sample_size)
            upper.append(chains.upper(exact))
    return Bracket(torch.cat(lower) - log_prior_normalizer, torch.cat(upper) - log_prior_normalizer, torch.cat(sizes))


class _Chains:
    """Pilot and weighted chains of b images, in whitened coordinates of components of a mixture q = Σ_k w_k q_k.

    A chain's component k is a variable that is drawn with its z and then stays: the path

        p_β(k, z) ∝ w_k q_k(z) (p(Y, z)/q(z))^β

    leads from the mixture, k ~ w and z ~ q_k, to p(z|Y) with k ~ w_k q_k(z)/q(z). Each chain thus has one peak to
    itself, and the coordinates u in which it begins as N(0, I), however many peaks the posterior has.
    """

    def __init__(
        self,
        model: Generator,
        images: Images,
        reference: Mixture,
        num_chains: int,
        num_temperatures: int,
        rng: torch.Generator,
        progress: Callable[[], None] | None,
    ):
        self.model, self.images, self.reference, self.num_chains = model, images, reference, num_chains
        self.rng, self.progress = rng, progress
        self.schedule = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)
        self.kernel = mcmc.MALA(model.latent_dim ** (-1 / 6))  # near the best for N(0, I); it is adapted from there
        components = self._choose(reference.log_weights[:, None], PILOT_CHAINS)
        steps = mcmc.pilot(
            self.kernel,
            self._path(components, reference.coordinates(components)),
            self._draws(PILOT_CHAINS),
            group_size=PILOT_CHAINS,
            rng=rng,
            progress=progress,
        )
        self.step_sizes = steps.repeat_interleave(num_chains, 1)

    def _choose(self, log_probabilities: Tensor, count: int) -> Tensor:
        """``count`` components of each image, (b, 1, K) → (b, count)."""
        probabilities = log_probabilities[:, 0].double().softmax(1)
        return probabilities.multinomial(count, replacement=True, generator=self.rng)

    def _draws(self, count: int) -> Tensor:
        return standard_normal(
            self.reference.means.new_empty(len(self.images) * count, self.model.latent_dim), self.rng
        )

    def _path(self, components: Tensor, coordinates: Coordinates) -> mcmc.Path:
        """From log w_k N(u; 0, I) to log p(Y, z) + log (w_k q_k(z)/q(z)) + log |det ∂z/∂u|."""
        rows = torch.arange(len(self.images), device=components.device)
        images = self.images[rows.repeat_interleave(components.shape[1])]

        def target(u: Tensor) -> Tensor:
            z = coordinates.position(u)
            shares = self.reference.log_components(z.view(*components.shape, -1)).log_softmax(2)
            share = shares.gather(2, components[..., None]).flatten()
            return self.model.log_joint(z, images) + share + coordinates.log_dets

        return mcmc.Path(lambda u: coordinates.log_weights + standard_gaussian(u), target, self.schedule)

    def lower(self) -> LowerBound:
        components = self._choose(self.reference.log_weights[:, None], self.num_chains)
        log_weights = mcmc.anneal_forward(
            self.kernel,
            self._path(components, self.reference.coordinates(components)),
            self._draws(self.num_chains),
            step_sizes=self.step_sizes,
            rng=self.rng,
            progress=self.progress,
        )
        return LowerBound.of(log_weights.view(components.shape))

    def upper(self, exact: Tensor) -> Tensor:
        components = self._choose(self.reference.log_components(exact[:, None]), self.num_chains)
        coordinates = self.reference.coordinates(components)
        log_weights = mcmc.anneal_reverse(
            self.kernel,
            self._path(components, coordinates),
            coordinates.whitened(exact.repeat_interleave(self.num_chains, 0)),
            step_sizes=self.step_sizes,
            rng=self.rng,
            progress=self.progress,
        )
        return -mcmc.log_mean_exp(log_weights.view(components.shape))


def standard_gaussian(z: Tensor) -> Tensor:
    """log N(z; 0, I), (n, d) → (n,)."""
    return -0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
