"""Learning a generator together with the prior of its latent vector."""

from typing import Literal

import torch
from torch import Tensor, nn

from .. import mcmc
from ..models import Generator, Images, observed
from ..processor import frozen
from ..rng import standard_normal
from .expansion import expand, expandable_layer
from .inference import infer, posterior_stability
from .noise import LearnedNoise, validate
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
        kernel: the transition of the z_i; if it has a target acceptance, each step size is adapted towards it.
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
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: torch.Generator) -> None:
        """Draws every image's z ~ N(0, I_d); ``images`` is any batch of them, for its dtype and device."""
        self.chains.allocate(num_images, self.kernel.step_size, like=images, rng=rng)
        self.held_out.allocate(num_held_out, self.kernel.step_size, like=images, rng=rng)
        like = images.new_empty(1, self.model.latent_dim)
        self.prior_chains.allocate(self.num_prior_chains, self.prior_kernel.step_size, like=like, rng=rng)
        if self.noise:
            self.noise.allocate(num_held_out or num_images, self.model, like=images)

    def prepare(self, images: Images, held_out: Images) -> None:
        """Moves the chains to the principal scores of their images, if they start there."""
        if self.start == "principal":
            start_at_principal_scores(self.chains, images, self.held_out, held_out)

    def step(self, index: Tensor, images: Images, *, rng: torch.Generator, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], or what is seen of them, and their indices, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t, α_t), from the current z_i
        z, step_size, info = infer(self.model, self.kernel, self.chains, index, images, self.num_steps, rng)

        # Sampling step: for each j, l̃ transitions of z̃_j under p(z; α_t), from the chain's start
        chain = torch.arange(self.num_prior_chains, device=index.device)
        prior_step_size = self.prior_chains.step_sizes[chain]
        with frozen(self.prior):
            state, prior_info = mcmc.run(
                self.prior_kernel.with_step_size(prior_step_size),
                self.prior.log_density,
                self.prior_chains.start(chain, z.new_empty(len(chain), self.model.latent_dim), rng),
                num_steps=self.prior_steps,
                rng=rng,
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
        watch(record)

        # All steps are accepted: keep z_i and z̃_j, and update W and α
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        adapted = mcmc.adapt(self.prior_kernel, prior_step_size, prior_info.acceptance_rate, gain=0.3)
        self.prior_chains.store(chain, drawn, adapted)
        self.optimizer.step()
        if self.layers:
            strength = 1 - (1 - self.expansion) ** (len(images) / len(self.chains.positions))
            expand(self.layers, self.optimizer, self.chains, [self.held_out], strength=strength)
        if self.noise and not len(self.held_out.positions):
            self.noise.update(self.model, index, images, squares)
        return record

    def validate(self, index: Tensor, images: Images, *, rng: torch.Generator) -> None:
        """After an iteration: infers z of a batch of held-out images, which no weight learns from, and updates σ."""
        if self.noise:
            validate(self.noise, self.model, self.kernel, self.held_out, index, images, self.num_steps, rng)

    def kept(self) -> dict[str, Tensor]:
        """The chains of the prior and of the held-out images, and the residuals from which σ is learned."""
        groups = {"prior": self.prior_chains, "held_out": self.held_out}
        kept = {f"{group}.{name}": x for group, chains in groups.items() for name, x in chains.state_dict().items()}
        noise = self.noise.state_dict() if self.noise else {}
        return kept | {f"noise.{name}": tensor for name, tensor in noise.items()}

    def limits(self, images: Images) -> dict[str, float]:
        """z² has mean 1 under N(0, I), which f_α reshapes; at 25, five standard deviations, z has left it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Images, *, rng: torch.Generator) -> mcmc.Stability:
        """λ_max of each image's posterior at its current z, and the limit of stable step sizes."""
        return posterior_stability(self.model, self.chains, index, images, rng)


def draw_prior(model: Generator, num: int, *, num_steps: int = 100, rng: torch.Generator) -> Tensor:
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
