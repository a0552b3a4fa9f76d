"""The descriptor, learned by analysis by synthesis: its settings, its learner and its abilities."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from .density import DensitySettings, build_descriptor
from .method import Method, Synthesis
from .settings import Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .. import mcmc
    from ..data import ImageSet
    from ..learning import DescriptorLearner

__all__ = ["DESCRIPTOR", "DescriptorSettings"]

Start = Literal["auto", "mean", "reference", "uniform", "data", "persistent"]


@dataclass(frozen=True)
class DescriptorSettings(DensitySettings):
    """The settings of `anasyn learn descriptor`."""

    start: Start = setting(
        "auto",
        "where chains start: the image's mean colour, N(0, s²I), U(−1, 1), the image, or their last positions; "
        "auto: mean with kernel langevin, else the image",
        "chains",
    )
    chains_per_image: int = setting(1, "synthesised images for each observed one, ñ/n", "chains", least=1)

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        batch = min(self.batch_size or (n if n <= 32 else 32), n)
        # From the mean colour, chains have far to go. Unadjusted ones reach the images, and f learns from where they
        # overshoot. Adjusted ones reject overshooting proposals, and f would grow steeper without bound: they start at
        # the images instead (contrastive divergence, Hinton 2002), and f stays bounded.
        start: Start = "mean" if self.kernel == "langevin" else "data"
        filled = self.filled(
            scale,
            batch_size=batch,
            num_steps=30,
            width=128 if n <= 1000 else 256,
            scale=2 / self.step_size**2,
            iterations=1000 if batch == n else min(max(10 * math.ceil(n / batch), 2000), 20_000),
        )
        return replace(filled, start=start if self.start == "auto" else self.start)


def build(settings: DescriptorSettings, device: "torch.device") -> "DescriptorLearner":
    """The learner that these settings describe."""
    from ..learning import DescriptorLearner
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    model = build_descriptor(settings, device)
    return DescriptorLearner(
        model,
        kernel=kernel(settings),
        num_steps=settings.num_steps,
        chains=chains(settings),
        chains_per_image=settings.chains_per_image,
        data_noise=settings.data_noise,
        optimizer=optimizer(settings, model),
    )


def chains(settings: DescriptorSettings) -> "mcmc.Chains":
    """The chains of these settings, which determine where transitions start."""
    from .. import mcmc
    from ..mcmc import chains

    match settings.start:
        case "auto":
            raise ValueError("start: expected resolved settings, got auto")
        case "mean":
            return mcmc.ColdChains(chains.mean_image)
        case "reference":
            return mcmc.ColdChains(chains.reference_noise(settings.reference_std))
        case "uniform":
            return mcmc.ColdChains(chains.uniform_noise)
        case "data":
            return mcmc.ColdChains(chains.data)
        case "persistent":
            return mcmc.PersistentChains(chains.mean_image)


def synthesise(learner: "DescriptorLearner") -> Synthesis:
    """The learner itself, which has the density and its chains."""
    return learner


def sample(
    learner: "DescriptorLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator"
) -> "Tensor":
    """The ends of new chains, as long as in learning, that start where those of the training images do, in turn."""
    import torch

    from ..data import to_float
    from .synthesis import synthesize

    device = next(learner.model.parameters()).device
    pixels = images().pixels.to(device)
    index = torch.arange(num, device=device) % len(pixels)
    return torch.cat([synthesize(learner, i, to_float(pixels[i]), rng=rng)[-1] for i in index.split(256)])


DESCRIPTOR = Method(
    name="descriptor",
    about="any folder: an energy-based model of images, learned by synthesising images with MCMC",
    settings=DescriptorSettings,
    build=build,
    sample=sample,
    sampled="the ends of its chains",
    synthesise=synthesise,
)
