"""Learning a generator together with the prior of its latent vector."""

from typing import Literal

import torch
from torch import Tensor

from .. import mcmc, ranks
from ..models import Generator, Images
from ..processor import frozen
from ..rng import Rng, standard_normal, unrelated
from .latent import LatentLearner
from .noise import LearnedNoise
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["LatentPriorLearner", "draw_prior"]

SCALE_RATE = 0.01  # η of the prior's scale


class LatentPriorLearner(LatentLearner):
    """A latent-space energy-based prior (Algorithm 1 of Pang et al.): p_α(z) ∝ exp[f_α(z)] N(z; 0, I), Y = f(z; W) + ε.

        inference step:  z_i ← l transitions under p(z_i | Y_i; W_t, α_t), from the current z_i
        sampling step:   z̃_j ← l̃ transitions under p(z; α_t), from the chain's start
        learning step:   W_{t+1} = W_t + γ_t (1/n) Σ_i ∂/∂W log p(Y_i | z_i; W_t)
                         α_{t+1} = α_t + γ'_t [ (1/n) Σ_i ∂f_α(z_i)/∂α − (1/m) Σ_j ∂f_α(z̃_j)/∂α ]

    and, if the noise is learned, the M-step σ² ← Σ_i ‖Y_i − f(z_i)‖² / Σ_i D_i over images, held out if there are any.
    The scale s of f_α is then learned from the held-out images, too (`scale_prior`): where their z have nothing in
    common with those of the training images but N(0, I), f_α can only learn the latter by heart, and s falls to 0.

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
        optimizer: makes the learning step; None for Adam(0.002, β₁ = 0.5), on α with the rate 0.0005, which stays
            (``"decays"`` of `learn`): the z change most as the rate of W falls, and α has to follow them.
        noise: learns σ; None if σ, and the scale of f_α, stay as they are.
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
        if optimizer is None:
            optimizer = torch.optim.Adam(model.network.parameters(), lr=0.002, betas=(0.5, 0.999))
            optimizer.add_param_group({"params": model.prior.parameters(), "lr": 0.0005, "decays": False})
        super().__init__(
            model,
            [model.network, model.prior.network],
            optimizer,
            kernel=kernel,
            num_steps=num_steps,
            expansion=expansion,
            noise=noise,
            start=start,
        )
        self.prior = model.prior
        self.prior_kernel = prior_kernel or mcmc.MALA(0.4)
        self.prior_steps = prior_steps
        self.prior_chains = prior_chains or mcmc.PersistentChains(mcmc.reference_noise(1.0))
        self.num_prior_chains = num_prior_chains

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Draws every image's z, and the starts of the z̃_j; ``images`` is any batch, for its dtype and device."""
        super().begin(images, num_images, num_held_out, rng=rng)
        of_prior, like = unrelated(rng, self.num_prior_chains), images.new_empty(1, self.model.latent_dim)
        self.prior_chains.allocate(self.num_prior_chains, self.prior_kernel.step_size, like=like, rng=of_prior)

    def step(self, index: Tensor, images: Images, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], or what is seen of them, and their indices, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t, α_t), from the current z_i
        z, step_size, info = self.infer(index, images, rng)

        # Sampling step: for each j, l̃ transitions of z̃_j under p(z; α_t), from the chain's start
        chain, of_prior = (
            torch.arange(self.num_prior_chains, device=index.device),
            unrelated(rng, self.num_prior_chains),
        )
        prior_step_size = self.prior_chains.step_sizes[chain]
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
            **self.measures(z, step_size, info, squares, images),
            prior_gap=prior_gap,
            prior_scale=self.prior.scale,
            prior_mean_square=(drawn**2).mean(),
            prior_acceptance_rate=prior_info.acceptance_rate.mean(),
            gradient_norm=gradient_norm(self.model.parameters()),
        )
        record = watch(record)

        # All steps are accepted: keep z_i and z̃_j, and update W and α
        self.store(index, z, step_size, info)
        adapted = mcmc.adapt(self.prior_kernel, prior_step_size, prior_info.acceptance_rate, gain=0.3)
        self.prior_chains.store(chain, drawn, adapted)
        self.optimizer.step()
        if self.noise and self.holds_out and (self.iteration + 1) % self.interval == 0:
            self.scale_prior(drawn)
        self.expand(index)
        self.learn_noise(index, images, squares)
        return record

    @torch.no_grad()
    def scale_prior(self, drawn: Tensor) -> None:
        """A step of the scale s towards the maximum of the likelihood of the held-out z_i, h of them:

            log s ← min(0, log s + η min(max(Δ, −1), 1)),   Δ = (1/h) Σ_i f_α(z_i) − (1/m) Σ_j f_α(z̃_j)

        Δ is the derivative of (1/h) Σ_i log p_α(z_i) by log s.

        Args:
            drawn: the z̃_j, (m, d).
        """
        f = self.prior(self.held_out.positions).double()
        f_held_out, num = ranks.total(f.sum(), f.new_tensor(len(f)))
        gap = f_held_out / num - self.prior(drawn).double().mean()
        self.prior.scale.mul_((SCALE_RATE * gap.clamp(-1, 1)).exp()).clamp_(max=1)

    def draw(self, num: int, rng: torch.Generator) -> Tensor:
        """Draws from the prior, (num, d), by chains that go on from the z̃_j where these persist.

        New chains do not find all parts of the prior in their shares, in which learning keeps the z̃_j.
        """
        chains = self.prior_chains
        starts = chains.positions if isinstance(chains, mcmc.PersistentChains) else None
        return draw_prior(self.model, num, starts=starts, rng=rng)

    def kept(self) -> dict[str, Tensor]:
        """The metric, and the chains of the prior, which are the same in every process."""
        of_prior = {f"prior.{name}": tensor for name, tensor in self.prior_chains.state_dict().items()}
        return super().kept() | of_prior


def draw_prior(
    model: Generator, num: int, *, starts: Tensor | None = None, num_steps: int = 500, rng: torch.Generator
) -> Tensor:
    """Draws from a generator's learned prior by MALA, (num, d): the ends of as many chains.

    The step sizes are adapted for ``num_steps`` transitions and are fixed for as many more.

    Args:
        model: the generator.
        num: number of draws.
        starts: where chains start, (m, d), each as often as the others, in random order; None for N(0, I).
        num_steps: transitions before and after the step sizes are fixed.
        rng: on the model's device.

    Raises:
        ValueError: the model's prior is not learned.
    """
    if model.prior is None:
        raise ValueError("model: expected a generator with a LatentPrior, got one with N(0, I)")
    if starts is None:
        z = standard_normal(next(model.parameters()).new_empty(num, model.latent_dim), rng)
    else:
        order = torch.randperm(len(starts), generator=rng, device=starts.device)
        z = starts[order[torch.arange(num, device=starts.device) % len(starts)]]
    with frozen(model.prior):
        kernel, state = mcmc.warm_up(mcmc.MALA(0.4), model.prior.log_density, z, num_steps=num_steps, rng=rng)
        state, _ = mcmc.run(kernel, model.prior.log_density, state.position, num_steps=num_steps, rng=rng)
    return state.position
