"""Algorithm 1: learning the generator by alternating back-propagation."""

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator
from ..processor import frozen
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["GeneratorLearner"]


class GeneratorLearner:
    """Alternating back-propagation (Algorithm 1): each iteration infers the images' z by MCMC, then updates W.

        inference step:  z_i ← l transitions under p(z_i | Y_i; W_t), from the current z_i                         (7)
        learning step:   W_{t+1} = W_t + γ_t (1/n) Σ_i ∂/∂W log p(Y_i, z_i; W_t)                              (8–10)

    Args:
        model: the generator.
        kernel: the transition; if it has a target acceptance, each image's step size is adapted towards it.
        num_steps: l, transitions an iteration.
        optimizer: makes the learning step; None for Adam(0.002, β₁ = 0.5).

    Source: Han, Lu, Zhu, Wu, *Alternating Back-Propagation for Generator Network*, AAAI 2017.
    """

    def __init__(
        self,
        model: Generator,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 3,
        optimizer: torch.optim.Optimizer | None = None,
    ):
        self.model = model
        self.kernel = kernel or mcmc.MALA()
        self.num_steps = num_steps
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=0.002, betas=(0.5, 0.999))
        self.chains = mcmc.WarmChains(model.latent_dim)
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, *, rng: torch.Generator) -> None:
        """Draws every image's z ~ N(0, I_d); ``images`` is any batch of them, for its dtype and device."""
        self.chains.allocate(num_images, self.kernel.step_size, like=images, rng=rng)

    def step(self, index: Tensor, images: Tensor, *, rng: torch.Generator, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], and their indices in the data set, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t), from the current z_i           (7)
        step_size = self.chains.step_sizes[index]
        with frozen(self.model):
            state, info = mcmc.run(
                self.kernel.with_step_size(step_size),
                lambda z: self.model.log_joint(z, images),
                self.chains.start(index, images, rng),
                num_steps=self.num_steps,
                rng=rng,
            )
        z = state.position

        # Learning step: the gradient of (1/n) Σ_i log p(Y_i, z_i; W), whose only term in W is −‖Y − f(z)‖²/2σ²   (8, 9)
        squares = (self.model(z) - images) ** 2
        loss = squares.sum() / len(images) / (2 * self.model.sigma**2)
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            acceptance_rate=info.acceptance_rate.mean(),
            step_size=step_size.log().mean().exp(),
            divergent=info.divergent.double().mean(),
            mse=squares.mean(),
            z_mean_square=(z**2).mean(),
            z_max=z.abs().max(),
            gradient_norm=gradient_norm(self.model.parameters()),
        )
        watch(record)

        # Both steps are accepted: keep z_i, W_{t+1} = W_t + γ_t × gradient                                       (10)
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        self.optimizer.step()
        return record

    def limits(self, images: Tensor) -> dict[str, float]:
        """z² has mean 1 under its prior; at 25, five standard deviations, z has left it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> mcmc.Stability:
        """λ_max of each image's posterior at its current z, and the limit of stable step sizes."""
        with frozen(self.model):
            return mcmc.stability(lambda z: self.model.log_joint(z, images), self.chains.positions[index], rng=rng)
