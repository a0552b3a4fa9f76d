"""Algorithm 1: learning the generator by alternating back-propagation."""

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator
from ..processor import frozen
from .guard import Watch, gradient_norm, require_finite
from .record import Record

__all__ = ["GeneratorLearner"]


class GeneratorLearner:
    """Alternating back-propagation (Algorithm 1): each iteration infers the images' z by MCMC, then moves the weights.

        inference step:  z_i ← l transitions under p(z_i | Y_i; W_t), from where z_i stood last                    (7)
        learning step:   W_{t+1} = W_t + γ_t (1/n) Σ_i ∂/∂W log p(Y_i, z_i; W_t)                              (8–10)

    Args:
        model: the generator.
        kernel: the transition. One with a target acceptance has its step size adapted, image by image.
        num_steps: l, transitions an iteration.
        optimizer: makes the learning step; Adam(0.002, β₁ = 0.5) where none is given.

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
        """One iteration on a batch.

        Args:
            index: the images' places in the data set, (b,).
            images: Y, (b, *event) in [−1, 1].
            rng: the random generator, on the images' device.
            watch: looks at the record before weights and chains are touched.

        Raises:
            Divergence: what it saw must not be.
        """
        # Inference step: l transitions of every z_i under its own posterior, warm start                    (7)
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

        # Learning step: ascend Σ_i log p(Y_i, z_i; W), whose only term in W is −‖Y − f(z)‖² / 2σ²     (8–10)
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
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        self.optimizer.step()
        return record

    def limits(self, images: Tensor) -> dict[str, float]:
        """Beyond what a measure is trouble: z² has mean 1 under its prior, and 5 standard deviations are none of it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> mcmc.Stability:
        """λ_max of each image's posterior where its z stands, and the step size that it allows."""
        with frozen(self.model):
            return mcmc.stability(lambda z: self.model.log_joint(z, images), self.chains.positions[index], rng=rng)
