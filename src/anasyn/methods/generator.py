"""The generator, learned by alternating back-propagation: its settings, its learner and its abilities."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .method import Latents, Method
from .settings import ChainSettings, Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..data import ImageSet
    from ..learning import GeneratorLearner

__all__ = ["GENERATOR", "GeneratorSettings"]


@dataclass(frozen=True)
class GeneratorSettings(ChainSettings):
    """The settings of `anasyn learn generator`."""

    latent_dim: int | None = setting(None, "d, the dimension of z", "model", least=1, most=4096)
    sigma: float = setting(0.3, "σ, standard deviation of a pixel's noise", "model", least=1e-6, most=1e3)

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        batch = min(self.batch_size or (n if n <= 128 else 100), n)
        return self.filled(
            scale,
            batch_size=batch,
            latent_dim=2 if n <= 25 else 8 if n <= 100 else 32 if n <= 2000 else 64 if n <= 20_000 else 100,
            # A chain that moves once an epoch has further to go than one that moves in every iteration.
            num_steps=3 if batch == n else 5,
            width=256 if n <= 20_000 else 384,
            iterations=700 if batch == n else min(max(20 * math.ceil(n / batch), 700), 20_000),
        )


def build(settings: GeneratorSettings, device: "torch.device") -> "GeneratorLearner":
    """The learner that these settings describe."""
    from ..learning import GeneratorLearner
    from ..models import Generator, networks
    from .build import kernel, load_network, optimizer

    assert settings.latent_dim is not None
    assert settings.width is not None
    assert settings.num_steps is not None
    channels, height, width = settings.shape
    if settings.network == "built-in":
        doublings = 4 if min(height, width) >= 32 else 3
        widths = [max(settings.width >> depth, 4) for depth in range(doublings)]
        network: nn.Module = networks.deconv(settings.latent_dim, (height, width), widths, channels)
    else:
        network = load_network(settings, takes=(settings.latent_dim,), gives=settings.shape)
    model = Generator(network, settings.latent_dim, settings.sigma, settings.precision).to(device)
    return GeneratorLearner(
        model, kernel=kernel(settings), num_steps=settings.num_steps, optimizer=optimizer(settings, model)
    )


def infer(learner: "GeneratorLearner") -> Latents:
    """The generator and the inferred z of the training images."""
    return Latents(learner.model, learner.chains.positions)


def sample(learner: "GeneratorLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator") -> "Tensor":
    """f(z) at random z ~ N(0, I)."""
    import torch

    parts = [min(256, num - done) for done in range(0, num, 256)]
    return torch.cat([learner.model.sample(part, rng=rng) for part in parts])


GENERATOR = Method(
    name="generator",
    about="any folder: a network makes images from a latent vector z, which MCMC infers for each image",
    settings=GeneratorSettings,
    build=build,
    sample=sample,
    sampled="f(z) at random z ~ N(0, I)",
    infer=infer,
    likelihood=lambda learner: learner.model,
)
