"""What the learners that infer a latent vector of each image have in common."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .. import mcmc, ranks
from ..models import DataSet, Generator, Images, observed
from ..processor import frozen
from ..rng import Rng, rows_of
from .expansion import expand, expandable_layer, expansion_interval, expansion_strength
from .inference import infer
from .metric import SharedMetric, metric_of
from .noise import LearnedNoise
from .principal import start_at_principal_scores

__all__ = ["LatentLearner"]


class LatentLearner:
    """The chains of all images' z, and all that a learner does with them beside its learning step: a base class.

    Args:
        model: the generator.
        networks: those that read z, which absorb its expansion.
        optimizer: makes the learning step.
        kernel, num_steps, expansion, noise, start: as for `GeneratorLearner`.

    Raises:
        ValueError: the expansion is on and a network does not begin with a linear layer with bias.
    """

    def __init__(
        self,
        model: Generator,
        networks: Sequence[nn.Module],
        optimizer: torch.optim.Optimizer,
        *,
        kernel: mcmc.Kernel | None,
        num_steps: int,
        expansion: float,
        noise: LearnedNoise | None,
        start: Literal["prior", "principal"],
    ):
        self.model = model
        self.optimizer = optimizer
        self.kernel = kernel or mcmc.MALA()
        self.metric = metric_of(self.kernel, SharedMetric)
        self.num_steps = num_steps
        self.expansion = expansion
        self.noise = noise
        self.start = start
        self.layers: list[nn.Linear] = []
        for network in networks if expansion else ():
            layer = expandable_layer(network, model.latent_dim)
            if layer is None:
                raise ValueError("expansion: expected networks of which each begins with a linear layer of z with bias")
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

    def infer(self, index: Tensor, images: Images, rng: Rng) -> tuple[Tensor, Tensor, mcmc.Info]:
        """The inference step on a batch, after the metric is brought up to date; what `inference.infer` returns."""
        if self.metric:
            self.metric.update(self.model, self.chains.positions[index], images, self.iteration, rng)
        return infer(self.run, self.model, self.kernel, self.chains, index, images, self.num_steps, rng)

    def measures(
        self, z: Tensor, step_size: Tensor, info: mcmc.Info, squares: Tensor, images: Images
    ) -> dict[str, Tensor]:
        """What a record says of a batch's chains and of their residuals ‖Y − f(z)‖², (b,)."""
        measures = {
            "acceptance_rate": info.acceptance_rate.mean(),
            "step_size": step_size.log().mean().exp(),
            "divergent": info.divergent.double().mean(),
            "mse": squares.sum() / observed(images).num_seen.sum(),
            "z_mean_square": (z**2).mean(),
            "z_max": z.abs().max(),
        }
        return measures | ({"sigma": self.model.sigma} if self.noise else {})

    def store(self, index: Tensor, z: Tensor, step_size: Tensor, info: mcmc.Info) -> None:
        """Keeps the z of a batch, and adapts its step sizes."""
        self.chains.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))

    def expand(self, index: Tensor) -> None:
        """Expands after the learning step on a batch, if the expansion is on; thousands of z not in every iteration."""
        if self.layers and (self.iteration + 1) % self.interval == 0:
            strength = expansion_strength(self.expansion, self.interval * len(index), len(self.chains.positions))
            expand(self.layers, self.optimizer, self.chains, [self.held_out], self.metric, strength=strength)

    def learn_noise(self, index: Tensor, images: Images, squares: Tensor) -> None:
        """The noise level by a batch's residuals, (b,), if it is learned and no image is held out."""
        if self.noise and not self.holds_out:
            self.noise.keep(index, images, squares)
            self.noise.update(self.model)

    def validate(self, index: Tensor, images: Images, *, rng: Rng) -> None:
        """After an iteration: infers z of a batch of held-out images, which no weight learns from, and updates σ."""
        if not self.noise:
            return
        if len(index):  # a process may have none of a batch
            z, step_size, info = infer(
                self.run, self.model, self.kernel, self.held_out, index, images, self.num_steps, rng
            )
            self.held_out.store(index, z, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
            with torch.no_grad():
                self.noise.keep(index, images, self.model.squares(z, images))
        self.noise.update(self.model)

    def kept(self) -> dict[str, Tensor]:
        """The metric, which is the same in every process."""
        return self.metric.kept() if self.metric else {}

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The residuals from which σ is learned, of the held-out images if there are any, and the chains of these."""
        residuals = self.noise.state_dict() if self.noise else {}
        residuals = {f"noise.{name}": tensor for name, tensor in residuals.items()}
        chains = {f"held_out.{name}": tensor for name, tensor in self.held_out.state_dict().items()}
        return ({}, chains | residuals) if self.holds_out else (residuals, chains)

    def limits(self, images: Images) -> dict[str, float]:
        """z² has mean 1 under N(0, I); at 25, five standard deviations, z has left it."""
        return {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Images, *, rng: Rng) -> mcmc.Stability:
        """λ_max of each image's posterior at its current z, and the limit of stable step sizes."""
        if self.metric:
            self.metric.set_factor(self.model)
        z, preconditioner = self.chains.positions[index], self.kernel.preconditioner
        with frozen(self.model):
            return mcmc.stability(lambda z: self.model.log_joint(z, images), z, preconditioner, rng=rng)
