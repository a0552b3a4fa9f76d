"""The generator, learned by alternating back-propagation: its settings, its learner and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .latent import LatentSettings, build_generator, expansion, learned_noise, metric, remarks
from .method import Latents, Method

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import GeneratorLearner

__all__ = ["GENERATOR", "GeneratorSettings"]


@dataclass(frozen=True)
class GeneratorSettings(LatentSettings):
    """The settings of `anasyn learn generator`."""


def build(settings: GeneratorSettings, device: "torch.device") -> "GeneratorLearner":
    """The learner that these settings describe."""
    from ..learning import GeneratorLearner
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    model = build_generator(settings, device)
    return GeneratorLearner(
        model,
        kernel=kernel(settings, metric(settings)),
        num_steps=settings.num_steps,
        optimizer=optimizer(settings, model),
        expansion=expansion(settings, model),
        noise=learned_noise(settings),
        start=settings.start,
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
    remarks=remarks,
    likelihood=lambda learner: learner.model,
)
