"""Algorithm 1: learning the generator by alternating back-propagation."""

from typing import Literal

import torch
from torch import Tensor

from .. import mcmc, ranks
from ..models import DataSet, Generator, Images, observed
from ..rng import Rng, rows_of
from .expansion import expand, expandable_layer, expansion_interval, expansion_strength
from .inference import infer, posterior_stability
from .metric import kept_metric, metric_of
from .noise import LearnedNoise, kept_of_images, validate
from .principal import start_at_principal_scores
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["GeneratorLearner"]


class GeneratorLearner:
    """Alternating back-propagation (Algorithm 1): each iteration infers the images' z by MCMC, then updates W.

        inference step:  z_i ← l transitions under p(z_i | Y_i; W_t), from the current z_i                         (7)
        learning step:   W_{t+1} = W_t + γ_t (1/n) Σ_i ∂/∂W log p(Y_i, z_i; W_t)                              (8–10)

    Two M-steps in closed form, both optional, follow the learning step:

        parameter expansion:  A ← A Σ^{κ/2},   b ← b + κ A μ,   z_i ← Σ^{−κ/2} (z_i − κ μ)    for all i
                              (with thousands of images, in every `expansion_interval`-th iteration)
        noise level:          σ² ← Σ_i ‖Y_i − f(z_i)‖² / Σ_i D_i    over images, held out if there are any

    The weights could scale z themselves, but do so slowly, since the prior pulls at once: without the expansion the
    inferred z fill a part of N(0, I), and draws from the rest of it show what no image looks like.

    Args:
        model: the generator.
        kernel: the transition; if it has a target acceptance, each image's step size is adapted towards it. A
            `SharedMetric` that is its preconditioner is kept up to date.
        num_steps: l, transitions an iteration.
        optimizer: makes the learning step; None for Adam(0.002, β₁ = 0.5).
        expansion: κ of an epoch, see `expansion_strength`; 0 for none.
        noise: learns σ; None if σ stays as it is.
        start: where the chains of z start: ``"prior"``, at draws from N(0, I), or ``"principal"``, at the images'
            scores on their principal components, from which neighbours in z are similar images from the beginning.

    Raises:
        ValueError: the expansion is on and the network does not begin with a linear layer with bias.

    Source: Han, Lu, Zhu, Wu, *Alternating Back-Propagation for Generator Network*, AAAI 2017; for the expansion, Liu,
        Rubin and Wu, *Parameter expansion to accelerate EM*, Biometrika 1998.
    """

    def __init__(
        self,
        model: Generator,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 3,
        optimizer: torch.optim.Optimizer | None = None,
        expansion: float = 0.0,
        noise: LearnedNoise | None = None,
        start: Literal["prior", "principal"] = "prior",
    ):
        self.model = model
        self.kernel = kernel or mcmc.MALA()
        self.metric = metric_of(self.kernel)
        self.num_steps = num_steps
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=0.002, betas=(0.5, 0.999))
        self.expansion = expansion
        self.noise = noise
        self.start = start
        self.layer = expandable_layer(model.network, model.latent_dim) if expansion else None
        if expansion and self.layer is None:
            raise ValueError("expansion: expected a network that begins with a linear layer of z with bias")
        self.chains = mcmc.WarmChains(model.latent_dim)
        self.held_out = mcmc.WarmChains(model.latent_dim)
        self.holds_out = False
        self.interval = 1
        self.run = mcmc.Replayed(model)
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Draws every image's z ~ N(0, I_d); ``images`` is any batch of them, for its dtype and device."""
        of_images, of_held_out = rows_of(rng, slice(num_images)), rows_of(rng, slice(num_images, None))
        self.chains.allocate(num_images, self.kernel.step_size, like=images, rng=of_images)
        self.held_out.allocate(num_held_out, self.kernel.step_size, like=images, rng=of_held_out)
        if self.metric:
            self.metric.begin(self.model, images, rng)
        self.interval = expansion_interval(num_images)
        self.holds_out = ranks.total_of(num_held_out) > 0
        if self.noise:
            self.noise.allocate(num_held_out if self.holds_out else num_images, self.model, like=images)

    def prepare(self, images: DataSet, held_out: DataSet, *, whole: DataSet) -> None:
        """Moves the chains to the principal scores of their images, if they start there."""
        if self.start == "principal":
            start_at_principal_scores(self.chains, images, self.held_out, held_out, whole)

    def step(self, index: Tensor, images: Images, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], or what is seen of them, and their indices, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t), from the current z_i           (7)
        if self.metric:
            self.metric.update(self.model, self.chains.positions[index], images, self.iteration, rng)
        z, step_size, info = infer(self.run, self.model, self.kernel, self.chains, index, images, self.num_steps, rng)

        # Learning step: the gradient of (1/n) Σ_i log p(Y_i, z_i; W), whose only term in W is −‖Y − f(z)‖²/2σ²   (8, 9)
        squares = self.model.squares(z, images)
        loss = squares.mean() / (2 * self.model.sigma**2)
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            acceptance_rate=info.acceptance_rate.mean(),
            step_size=step_size.log().mean().exp(),
            divergent=info.divergent.double().mean(),
            mse=squares.sum() / observed(images).num_seen.sum(),
            z_mean_square=(z**2).mean(),
            z_max=z.abs().max(),
            gradient_norm=gradient_norm(self.model.parameters()),
            **({"sigma": self.model.sigma} if self.noise else {}),
        )
        record = watch(record)

        # Both steps are accepted: keep z_i, W_{t+1} = W_t + γ_t × gradient                                       (10)
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        self.optimizer.step()
        if self.layer and (self.iteration + 1) % self.interval == 0:
            strength = expansion_strength(self.expansion, self.interval * len(images), len(self.chains.positions))
            expand([self.layer], self.optimizer, self.chains, [self.held_out], self.metric, strength=strength)
        if self.noise and not self.holds_out:
            self.noise.keep(index, images, squares)
            self.noise.update(self.model)
        return record

    def validate(self, index: Tensor, images: Images, *, rng: Rng) -> None:
        """After an iteration: infers z of a batch of held-out images, which W does not learn from, and updates σ."""
        if self.noise:
            validate(self.noise, self.run, self.model, self.kernel, self.held_out, index, images, self.num_steps, rng)

    def kept(self) -> dict[str, Tensor]:
        """The metric, which is the same in every process."""
        return kept_metric(self.metric)

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The residuals from which σ is learned, of the held-out images if there are any, and the chains of these."""
        return kept_of_images(self.held_out, self.noise, self.holds_out)

    def limits(self, images: Images) -> dict[str, float]:
        """z² has mean 1 under its prior; at 25, five standard deviations, z has left it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Images, *, rng: Rng) -> mcmc.Stability:
        """λ_max of each image's posterior at its current z, and the limit of stable step sizes."""
        return posterior_stability(self.model, self.kernel, self.chains, index, images, rng)
