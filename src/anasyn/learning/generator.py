"""Algorithm 1: learning the generator by alternating back-propagation."""

from typing import Literal

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator, Images
from ..rng import Rng
from .latent import LatentLearner
from .noise import LearnedNoise
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["GeneratorLearner"]


class GeneratorLearner(LatentLearner):
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
        optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=0.002, betas=(0.5, 0.999))
        super().__init__(
            model,
            [model.network],
            optimizer,
            kernel=kernel,
            num_steps=num_steps,
            expansion=expansion,
            noise=noise,
            start=start,
        )

    def step(self, index: Tensor, images: Images, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], or what is seen of them, and their indices, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Inference step: for each i, l transitions of z_i under p(z_i | Y_i; W_t), from the current z_i           (7)
        z, step_size, info = self.infer(index, images, rng)

        # Learning step: the gradient of (1/n) Σ_i log p(Y_i, z_i; W), whose only term in W is −‖Y − f(z)‖²/2σ²   (8, 9)
        squares = self.model.squares(z, images)
        loss = squares.mean() / (2 * self.model.sigma**2)
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            **self.measures(z, step_size, info, squares, images),
            gradient_norm=gradient_norm(self.model.parameters()),
        )
        record = watch(record)

        # Both steps are accepted: keep z_i, W_{t+1} = W_t + γ_t × gradient                                       (10)
        self.store(index, z, step_size, info)
        self.optimizer.step()
        self.expand(index)
        self.learn_noise(index, images, squares)
        return record
