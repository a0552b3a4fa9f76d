"""The generator, learned by alternating back-propagation: its settings, its learner and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import InputError
from .latent import LatentSettings, build_generator, learned_noise
from .method import Latents, Method
from .settings import setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import GeneratorLearner

__all__ = ["GENERATOR", "GeneratorSettings"]

EXPANSION = 0.05  # κ of an epoch


@dataclass(frozen=True)
class GeneratorSettings(LatentSettings):
    """The settings of `anasyn learn generator`."""

    expand: Literal["auto", "on", "off"] = setting(
        "auto", "parameter expansion, by which the z fill their prior; auto: if the network permits it", "learning"
    )


def build(settings: GeneratorSettings, device: "torch.device") -> "GeneratorLearner":
    """The learner that these settings describe."""
    from ..learning import GeneratorLearner, expandable_layer
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    model = build_generator(settings, device)
    able = expandable_layer(model.network, model.latent_dim) is not None
    if settings.expand == "on" and not able:
        raise InputError(
            f"expand: {settings.network} does not begin with a linear layer of z with bias, which would absorb the "
            "expansion; expected auto or off"
        )
    return GeneratorLearner(
        model,
        kernel=kernel(settings),
        num_steps=settings.num_steps,
        optimizer=optimizer(settings, model),
        expansion=EXPANSION if able and settings.expand != "off" else 0.0,
        noise=learned_noise(settings),
        start=settings.start,
    )


def infer(learner: "GeneratorLearner") -> Latents:
    """The generator and the inferred z of the training images."""
    return Latents(learner.model, learner.chains.positions)


def remarks(learner: "GeneratorLearner") -> tuple[str, ...]:
    """That the expansion is off since the network does not permit it."""
    from ..learning import expandable_layer

    if expandable_layer(learner.model.network, learner.model.latent_dim) is None:
        return ("no parameter expansion: the network does not begin with a linear layer of z with bias",)
    return ()


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
