"""A generator and a descriptor that learn cooperatively: their settings, their learner and its abilities."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .density import DensitySettings, build_descriptor
from .latent import LatentSettings, build_generator, generator_width_for, latent_dim_for
from .method import Latents, Method
from .settings import Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .. import mcmc
    from ..data import ImageSet
    from ..learning import CooperativeLearner
    from ..models import Descriptor

__all__ = ["COOPERATIVE", "CooperativeSettings"]

AT_ONCE = 256  # images that are revised at once


@dataclass(frozen=True)
class CooperativeSettings(DensitySettings):
    """The settings of `anasyn learn cooperative`; those that also a descriptor has are the descriptor's."""

    latent_dim: int | None = setting(None, "d, the dimension of z", "model", least=1, most=4096)
    sigma: float = setting(0.3, "σ of the generator's pixel noise, for recalling z", "model", least=1e-6, most=1e3)
    generator_network: str = setting(
        "built-in", "the generator's network: built-in, or package.module:function, as network", "model"
    )
    generator_width: int | None = setting(
        None, "channels of the generator's widest layer, if it is built-in", "model", least=8, most=4096
    )
    recall_steps: int = setting(3, "MCMC transitions by which the generator recalls z, or 0", "chains", least=0)
    recall_step_size: float = setting(
        0.03, "step size δ of recalls, by MALA; the initial value, which is adapted", "chains", least=1e-6, most=1e3
    )
    learning_rate: float | None = setting(
        0.0005, "learning rate γ of the descriptor at the first iteration", "learning", above=0
    )
    generator_rate: float = setting(
        0.0005, "learning rate of the generator at the first iteration", "learning", above=0
    )

    def resolve(self, scale: Scale) -> Self:
        assert self.step_size is not None
        n = scale.num_images
        # Every image of a batch costs a revision: small batches, for more updates in the same time.
        batch = min(self.batch_size or (n if n <= 32 else 16 if n <= 20_000 else 32), n)
        return self.filled(
            scale,
            batch_size=batch,
            kernel="langevin",
            num_steps=30,
            width=128 if n <= 1000 else 256,
            generator_width=generator_width_for(n),
            latent_dim=latent_dim_for(n),
            scale=2 / self.step_size**2,
            iterations=1000 if batch == n else min(max(10 * math.ceil(n / batch), 2000), 20_000),
        )


def build(settings: CooperativeSettings, device: "torch.device") -> "CooperativeLearner":
    """The learner that these settings describe."""
    from .. import mcmc
    from ..learning import CooperativeLearner
    from ..models import Cooperative
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    assert settings.data_noise is not None
    of_generator = LatentSettings(
        size=settings.size,
        channels=settings.channels,
        precision=settings.precision,
        network=settings.generator_network,
        width=settings.generator_width,
        latent_dim=settings.latent_dim,
        sigma=settings.sigma,
    )
    generator = build_generator(of_generator, device, option="generator_network")
    descriptor = build_descriptor(settings, device)
    updates = optimizer(settings, descriptor)
    updates.add_param_group({"params": generator.parameters(), "lr": settings.generator_rate})
    return CooperativeLearner(
        Cooperative(generator, descriptor),
        kernel=kernel(settings),
        num_steps=settings.num_steps,
        recall_kernel=mcmc.MALA(settings.recall_step_size),
        recall_steps=settings.recall_steps,
        data_noise=settings.data_noise,
        optimizer=updates,
    )


@dataclass(frozen=True)
class Revision:
    """The descriptor, with chains that start at the generator's proposals."""

    learner: "CooperativeLearner"
    proposed = True

    @property
    def model(self) -> "Descriptor":
        return self.learner.model.descriptor

    @property
    def num_steps(self) -> int:
        return self.learner.num_steps

    @property
    def data_noise(self) -> float:
        return self.learner.data_noise

    def first_chains(self, index: "Tensor", images: "Tensor", rng: "torch.Generator") -> "tuple[mcmc.Kernel, Tensor]":
        return self.learner.first_chains(index, images, rng)


def infer(learner: "CooperativeLearner") -> Latents:
    """The generator and the z of the training images, from which nothing was learned."""
    return Latents(learner.model.generator, learner.chains.latents.positions)


def revise(
    learner: "CooperativeLearner", num: int, num_steps: int | None, rng: "torch.Generator"
) -> "tuple[Tensor, Tensor]":
    """New proposals f_g(z) at z ~ N(0, I), and their revisions by the descriptor's chains.

    The proposals do not depend on the number of transitions.
    """
    import torch

    from .. import mcmc
    from ..processor import frozen

    generator, descriptor = learner.model.generator, learner.model.descriptor
    parts = [min(AT_ONCE, num - done) for done in range(0, num, AT_ONCE)]
    proposed = [generator.sample(part, rng=rng) for part in parts]
    steps = learner.num_steps if num_steps is None else num_steps
    # Revisions belong to no image: they have the step sizes of the images' places in turn.
    step_sizes = learner.chains.step_sizes
    places = (torch.arange(num, device=step_sizes.device) % len(step_sizes)).split(AT_ONCE)
    revised = []
    with frozen(descriptor):
        for start, place in zip(proposed, places, strict=True):
            kernel = learner.kernel.with_step_size(step_sizes[place])
            state, _ = mcmc.run(kernel, descriptor.log_density, start, num_steps=steps, rng=rng)
            revised.append(state.position)
    return torch.cat(proposed), torch.cat(revised)


def sample(
    learner: "CooperativeLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator"
) -> "Tensor":
    """Revisions of new proposals."""
    return revise(learner, num, None, rng)[1]


COOPERATIVE = Method(
    name="cooperative",
    about="any folder: a generator that proposes images and a descriptor that revises them learn from each other",
    settings=CooperativeSettings,
    build=build,
    sample=sample,
    sampled="proposals f(z) of the generator at z ~ N(0, I), revised by the descriptor's chains",
    infer=infer,
    synthesise=Revision,
    revise=revise,
    likelihood=lambda learner: learner.model.generator,
)
