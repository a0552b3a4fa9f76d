"""Learning a generator together with the prior of its latent vector."""

from typing import Literal

import torch
from torch import Tensor, nn

from .. import mcmc, ranks
from ..models import DataSet, Generator, Images, observed
from ..processor import frozen
from ..rng import Rng, rows_of, standard_normal, unrelated
from .expansion import expand, expandable_layer, expansion_interval, expansion_strength
from .inference import infer, posterior_stability
from .metric import kept_metric, metric_of
from .noise import LearnedNoise, kept_of_images, validate
from .principal import start_at_principal_scores
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["LatentPriorLearner", "draw_prior"]


class LatentPriorLearner:
    """A latent-space energy-based prior (Algorithm 1 of Pang et al.): p_α(z) ∝ exp[f_α(z)] N(z; 0, I), Y = f(z; W) + ε.

        inference step:  z_i ← l transitions under p(z_i | Y_i; W_t, α_t), from the current z_i
        sampling step:   z̃_j ← l̃ transitions under p(z; α_t), from the chain's start
        learning step:   W_{t+1} = W_t + γ_t (1/n) Σ_i ∂/∂W log p(Y_i | z_i; W_t)
                         α_{t+1} = α_t + γ'_t [ (1/n) Σ_i ∂f_α(z_i)/∂α − (1/m) Σ_j ∂f_α(z̃_j)/∂α ]

    and, if the noise is learned, the M-step σ² ← Σ_i ‖Y_i − f(z_i)‖² / Σ_i D_i over images, held out if there are any.

    The published algorithm starts all chains from N(0, I) in every iteration. Here each image's chain continues from
    where it ended last, as in alternating back-propagation, and so do those of the prior, by default: from chains that
    start afresh and are too short to cross between modes, f learns what holds for such chains alone.

    Parameter expansion (`expand`), which is optional, keeps the mean and the covariance of all z_i at those of N(0, I),
    so that f_α has to learn only the rest of their shape. The first layers of both networks that read z absorb it:
    f(z_i; W) and f_α(z_i) stay the same.

    Args:
        model: the generator, with a `LatentPrior`.
        kernel: the transition of the z_i; if it has a target acceptance, each step size is adapted towards it. A
            `SharedMetric` that is its preconditioner is kept up to date.
        num_steps: l, transitions an iteration.
        prior_kernel: the transition of the z̃_j, likewise.
        prior_steps: l̃.
        prior_chains: where the z̃_j start; None for N(0, I) in the first iteration, and where they ended last in others.
        num_prior_chains: m, all of which move in every iteration.
        optimizer: makes the learning step; None for Adam(0.002, β₁ = 0.5) on W and a tenth of that rate on α.
        noise: learns σ; None if σ stays as it is.
        start: where the chains of the z_i start, as for `GeneratorLearner`.
        expansion: κ of an epoch, as for `GeneratorLearner`.

    Raises:
        ValueError: the model's prior is not learned, or the expansion is on and a network does not begin with a linear
            layer with bias.

    Source: Pang, Han, Nijkamp, Zhu, Wu, *Learning latent space energy-based prior model*, NeurIPS 2020.
    """

    def __init__(
        self,
        model: Generator,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 3,
        prior_kernel: mcmc.Kernel | None = None,
        prior_steps: int = 10,
        prior_chains: mcmc.Chains | None = None,
        num_prior_chains: int = 100,
        optimizer: torch.optim.Optimizer | None = None,
        noise: LearnedNoise | None = None,
        start: Literal["prior", "principal"] = "prior",
        expansion: float = 0.0,
    ):
        if model.prior is None:
            raise ValueError("model: expected a generator with a LatentPrior, got one with N(0, I)")
        self.model = model
        self.prior = model.prior
        self.kernel = kernel or mcmc.MALA()
        self.metric = metric_of(self.kernel)
        self.num_steps = num_steps
        self.prior_kernel = prior_kernel or mcmc.MALA(0.4)
        self.prior_steps = prior_steps
        self.prior_chains = prior_chains or mcmc.PersistentChains(mcmc.reference_noise(1.0))
        self.num_prior_chains = num_prior_chains
        self.optimizer = optimizer or torch.optim.Adam(model.network.parameters(), lr=0.002, betas=(0.5, 0.999))
        if optimizer is None:
            self.optimizer.add_param_group({"params": model.prior.parameters(), "lr": 0.0002})
        self.noise = noise
        self.start = start
        self.expansion = expansion
        self.layers: list[nn.Linear] = []
        for network in (model.network, model.prior.network) if expansion else ():
            layer = expandable_layer(network, model.latent_dim)
            if layer is None:
                raise ValueError("expansion: expected networks that begin with a linear layer of z with bias")
            self.layers.append(layer)
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
        of_prior, like = unrelated(rng, self.num_prior_chains), images.new_empty(1, self.model.latent_dim)
        self.prior_chains.allocate(self.num_prior_chains, self.prior_kernel.step_size, like=like, rng=of_prior)
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
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t, α_t), from the current z_i
        if self.metric:
            self.metric.update(self.model, self.chains.positions[index], images, self.iteration, rng)
        z, step_size, info = infer(self.run, self.model, self.kernel, self.chains, index, images, self.num_steps, rng)

        # Sampling step: for each j, l̃ transitions of z̃_j under p(z; α_t), from the chain's start
        chain, of_prior = (
            torch.arange(self.num_prior_chains, device=index.device),
            unrelated(rng, self.num_prior_chains),
        )
        prior_step_size = self.prior_chains.step_sizes[chain]
        with frozen(self.prior):
            state, prior_info = self.run(
                self.prior_kernel.with_step_size(prior_step_size),
                self.prior.log_density,
                self.prior_chains.start(chain, z.new_empty(len(chain), self.model.latent_dim), of_prior),
                num_steps=self.prior_steps,
                rng=of_prior,
            )
        drawn = state.position

        # Learning step: W by (1/n) Σ_i log p(Y_i | z_i; W), α by (1/n) Σ_i f_α(z_i) − (1/m) Σ_j f_α(z̃_j)
        squares = self.model.squares(z, images)
        prior_gap = self.prior(z).mean() - self.prior(drawn).mean()
        loss = squares.mean() / (2 * self.model.sigma**2) - prior_gap
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
            prior_gap=prior_gap,
            prior_mean_square=(drawn**2).mean(),
            prior_acceptance_rate=prior_info.acceptance_rate.mean(),
            gradient_norm=gradient_norm(self.model.parameters()),
            **({"sigma": self.model.sigma} if self.noise else {}),
        )
        record = watch(record)

        # All steps are accepted: keep z_i and z̃_j, and update W and α
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        adapted = mcmc.adapt(self.prior_kernel, prior_step_size, prior_info.acceptance_rate, gain=0.3)
        self.prior_chains.store(chain, drawn, adapted)
        self.optimizer.step()
        if self.layers and (self.iteration + 1) % self.interval == 0:
            strength = expansion_strength(self.expansion, self.interval * len(images), len(self.chains.positions))
            expand(self.layers, self.optimizer, self.chains, [self.held_out], self.metric, strength=strength)
        if self.noise and not self.holds_out:
            self.noise.keep(index, images, squares)
            self.noise.update(self.model)
        return record

    def validate(self, index: Tensor, images: Images, *, rng: Rng) -> None:
        """After an iteration: infers z of a batch of held-out images, which no weight learns from, and updates σ."""
        if self.noise:
            validate(self.noise, self.run, self.model, self.kernel, self.held_out, index, images, self.num_steps, rng)

    def kept(self) -> dict[str, Tensor]:
        """The chains of the prior and the metric, which are the same in every process."""
        of_prior = {f"prior.{name}": tensor for name, tensor in self.prior_chains.state_dict().items()}
        return of_prior | kept_metric(self.metric)

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As for `GeneratorLearner`."""
        return kept_of_images(self.held_out, self.noise, self.holds_out)

    def limits(self, images: Images) -> dict[str, float]:
        """z² has mean 1 under N(0, I), which f_α reshapes; at 25, five standard deviations, z has left it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Images, *, rng: Rng) -> mcmc.Stability:
        """λ_max of each image's posterior at its current z, and the limit of stable step sizes."""
        return posterior_stability(self.model, self.kernel, self.chains, index, images, rng)


def draw_prior(model: Generator, num: int, *, num_steps: int = 100, rng: Rng) -> Tensor:
    """Draws from a generator's learned prior by MALA, (num, d): new chains from N(0, I), one for each draw.

    The step sizes are adapted for ``num_steps`` transitions and are fixed for as many more.

    Args:
        model: the generator.
        num: number of draws.
        num_steps: transitions before and after the step sizes are fixed.
        rng: on the model's device.

    Raises:
        ValueError: the model's prior is not learned.
    """
    if model.prior is None:
        raise ValueError("model: expected a generator with a LatentPrior, got one with N(0, I)")
    starts = standard_normal(next(model.parameters()).new_empty(num, model.latent_dim), rng)
    with frozen(model.prior):
        kernel, state = mcmc.warm_up(mcmc.MALA(0.4), model.prior.log_density, starts, num_steps=num_steps, rng=rng)
        state, _ = mcmc.run(kernel, model.prior.log_density, state.position, num_steps=num_steps, rng=rng)
    return state.position
