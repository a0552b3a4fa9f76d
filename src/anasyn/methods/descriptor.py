"""The descriptor, learned by analysis by synthesis: its settings, its learner and its abilities."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from .density import DensitySettings, build_descriptor
from .method import Method, Restored, Synthesis
from .settings import Kernel, Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .. import mcmc
    from ..data import ImageSet
    from ..learning import DescriptorLearner
    from ..models import Descriptor, Observed

__all__ = ["DESCRIPTOR", "DescriptorSettings"]

Start = Literal["auto", "mean", "reference", "uniform", "data", "persistent"]

FEW = 32  # images for which the reference is N(0, s² I) by default
RESTART = 0.002  # share of the persistent chains that start anew in an iteration, with a fitted reference
FEWEST_CHAINS, MOST_CHAINS = 64, 2048  # of them, at least if there are so many images
MOST_VALUES = 100_000_000  # in all of them: 400 MB
AT_ONCE = 256  # chains that run at once
NUM_LENGTHS = 20  # training lengths of chains that restore images, with a fitted reference


@dataclass(frozen=True)
class DescriptorSettings(DensitySettings):
    """The settings of `anasyn learn descriptor`.

    Two ways of learning are chosen between by ``reference``. With N(0, s² I), chains start cold and end early: f
    learns what brings them from a uniform colour to an image, and they are a sampler only as long as in learning.
    With a Gaussian fitted to the images, chains are persistent, corrected and preconditioned by it: at first f = 0,
    and they are in equilibrium from the beginning. f learns slowly enough for them to follow, and becomes a density.
    """

    reference: Literal["auto", "isotropic", "fitted"] = setting(
        "auto",
        f"p₀: N(0, s²I), or a Gaussian fitted to the images; auto: fitted above {FEW} images, unless start or kernel "
        "langevin is given",
        "model",
    )
    components: int | None = setting(
        None, "principal components of the images in a fitted reference", "model", least=0, most=2000
    )
    kernel: Kernel = setting("auto", "MCMC transition; auto: langevin, or mala with a fitted reference", "chains")
    step_size: float | None = setting(
        None,
        "δ of the Langevin kernels, ε of HMC, in units of the reference's spread if it is fitted; the initial value "
        "if it is adapted",
        "chains",
        least=1e-6,
        most=1e3,
    )
    start: Start = setting(
        "auto",
        "where chains start: the image's mean colour, the reference, U(−1, 1), the image, or their last positions; "
        "auto: persistent with a fitted reference, else mean with kernel langevin, else the image",
        "chains",
    )
    chains_per_image: int | None = setting(None, "synthesised images for each observed one, ñ/n", "chains", least=1)
    learning_rate: float | None = setting(None, "learning rate γ at the first iteration", "learning", above=0)
    data_noise: float | None = setting(
        None,
        "standard deviation of the noise on observed images; with a fitted reference, in units of the images' own "
        "spread at each frequency",
        "learning",
        least=0,
    )
    component_noise: float | None = setting(
        None,
        "with a fitted reference, more noise along the principal components, in units of the images' spread there",
        "learning",
        least=0,
        most=1,
    )

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        batch = min(self.batch_size or (n if n <= FEW else 32), n)
        free = self.reference == "auto" and self.start == "auto" and self.kernel != "langevin" and self.temperature == 1
        fitted = self.reference == "fitted" or (free and n > FEW)
        if fitted:
            return self._fitted(scale, batch)
        # From the mean colour, chains have far to go. Unadjusted ones reach the images, and f learns from where they
        # overshoot. Adjusted ones reject overshooting proposals, and f would grow steeper without bound: they start at
        # the images instead (contrastive divergence, Hinton 2002), and f stays bounded.
        start: Start = "mean" if self.kernel in ("auto", "langevin") else "data"
        step_size = self.step_size or 0.005
        filled = self.filled(
            scale,
            batch_size=batch,
            kernel="langevin",
            step_size=step_size,
            num_steps=30,
            chains_per_image=1,
            # At a higher rate, or with less noise, f becomes too steep for the chains on some images.
            learning_rate=0.001 if batch == n else 0.0003,
            data_noise=0.03,
            component_noise=0.0,
            width=128 if n <= 1000 else 256,
            scale=2 / step_size**2,
            components=0,
            iterations=500 if batch == n else min(max(10 * math.ceil(n / batch), 2000), 20_000),
        )
        return replace(filled, reference="isotropic", start=start if self.start == "auto" else self.start)

    def _fitted(self, scale: Scale, batch: int) -> Self:
        """The settings with open ones chosen for a fitted reference."""
        n = scale.num_images - self.num_held_out(scale.num_images)
        filled = self.filled(
            scale,
            batch_size=batch,
            kernel="mala",
            step_size=0.3,
            num_steps=10,
            chains_per_image=max(1, round(24 / n)),
            learning_rate=0.0006 if n <= FEW else 0.0003,
            data_noise=0.17,
            component_noise=0.17 if n <= FEW else 0.0,  # of many, fewer kinds would be found
            width=64,
            scale=10.0,
            components=min(n - 1, 256),
            iterations=700 if batch == n else min(max(10 * math.ceil(n / batch), 1500), 20_000),
        )
        return replace(filled, reference="fitted", start="persistent" if self.start == "auto" else self.start)

    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        if self.reference == "fitted":
            yield "learned as a density, with a Gaussian fitted to the images as reference; isotropic is the text's way"


def build(settings: DescriptorSettings, device: "torch.device") -> "DescriptorLearner":
    """The learner that these settings describe."""
    from ..learning import ComponentMetric, DescriptorLearner
    from ..models import FittedGaussian
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    assert settings.chains_per_image is not None
    assert settings.data_noise is not None
    reference: FittedGaussian | None = None
    preconditioner: FittedGaussian | ComponentMetric | None = None
    if settings.reference == "fitted":
        assert settings.components is not None
        assert settings.component_noise is not None
        reference = FittedGaussian(settings.shape, settings.components, settings.component_noise).to(device)
        # Noise along the components makes f smoother there. On seven egrets, the metric then left d_t and the share of
        # saturated pixels larger.
        preconditioner = reference if settings.component_noise else ComponentMetric(reference)
    model = build_descriptor(settings, device, reference)
    return DescriptorLearner(
        model,
        kernel=kernel(settings, preconditioner),
        num_steps=settings.num_steps,
        chains=chains(settings, model),
        chains_per_image=settings.chains_per_image,
        most_chains=max(FEWEST_CHAINS, min(MOST_CHAINS, MOST_VALUES // math.prod(settings.shape)))
        if reference
        else None,
        data_noise=settings.data_noise,
        optimizer=optimizer(settings, model),
    )


def chains(settings: DescriptorSettings, model: "Descriptor") -> "mcmc.Chains":
    """The chains of these settings, which determine where transitions start."""
    from .. import mcmc
    from ..mcmc import chains

    match settings.start:
        case "auto":
            raise ValueError("start: expected resolved settings, got auto")
        case "mean":
            return mcmc.ColdChains(chains.mean_image)
        case "reference":
            return mcmc.ColdChains(model.draw_reference)
        case "uniform":
            return mcmc.ColdChains(chains.uniform_noise)
        case "data":
            return mcmc.ColdChains(chains.data)
        case "persistent" if model.reference:
            return mcmc.PersistentChains(model.draw_reference, restart=RESTART, share=True)
        case "persistent":
            return mcmc.PersistentChains(chains.mean_image)


def synthesise(learner: "DescriptorLearner") -> Synthesis:
    """The learner itself, which has the density and its chains."""
    return learner


def sample(
    learner: "DescriptorLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator"
) -> "Tensor":
    """The ends of chains, as long as in learning, that start where those of the training images do, in turn.

    When all chains have had their turn, cold chains start anew, and persistent ones go on from where they are. With a
    fitted reference the density is that of images with noise: samples are the means of the images without it.
    """
    import torch

    from .. import mcmc
    from ..data import to_float
    from ..processor import frozen
    from .synthesis import synthesize

    device, reference = next(learner.model.parameters()).device, learner.model.reference
    data = images()
    index = torch.arange(num, device=device) % min(len(data), len(learner.chains.step_sizes))

    def observed(part: "Tensor") -> "Tensor":
        return to_float(data.take(part.cpu()).to(device))

    if not isinstance(learner.chains, mcmc.PersistentChains):
        parts = index.split(AT_ONCE)
        return torch.cat([synthesize(learner, i, observed(i), rng=rng)[-1] for i in parts])
    chains = [learner.first_chains(i, observed(i), rng) for i in index.unique().split(AT_ONCE)]
    ends: list[Tensor] = []
    while sum(map(len, ends)) < num:
        for k, (kernel, position) in enumerate(chains):
            with frozen(learner.model):
                state, _ = mcmc.run(kernel, learner.model.log_density, position, num_steps=learner.num_steps, rng=rng)
            chains[k] = kernel, state.position
            end = state.position
            ends.append(reference.denoise(end, state.gradient, learner.data_noise) if reference else end)
    return torch.cat(ends)[:num]


def restore(learner: "DescriptorLearner", images: "Observed", num_draws: int, rng: "torch.Generator") -> Restored:
    """Chains of the missing pixels given the seen ones, p(Y_missing | Y_seen), from the mean colour of what is seen.

    They are as long as in learning. With a fitted reference they start from it and are `NUM_LENGTHS` times as long, the
    seen pixels have the noise of the density, and draws are the means of the images without it.
    """
    import torch

    from .. import mcmc
    from ..processor import frozen

    model, reference = learner.model, learner.model.reference
    mask = images.observation.seen
    assert mask is not None
    share = mask.float().mean((1, 2, 3), keepdim=True).clamp_min(1e-6)
    colour = images.values.mean((2, 3), keepdim=True) / share  # of what is seen
    kernel = learner.kernel.with_step_size(learner.chains.step_sizes.log().mean().exp())
    draws = []
    for _ in range(num_draws):
        whole = torch.where(mask, images.values, colour)
        seen = model.observe(whole, learner.data_noise, rng) if reference else images.values
        start = model.draw_reference(whole, rng) if reference else whole
        num_steps = learner.num_steps * (NUM_LENGTHS if reference else 1)
        with frozen(model):
            density = mcmc.hold(model.log_density, mask, seen)
            state, _ = mcmc.run(kernel, density, start, num_steps=num_steps, rng=rng)
            end = torch.where(mask, seen, state.position)
            if reference:
                gradient = mcmc.init(model.log_density, end, 1.0).gradient
                end = reference.denoise(end, gradient, learner.data_noise)
        draws.append(end)
    return Restored(torch.stack(draws), 0.0)


DESCRIPTOR = Method(
    name="descriptor",
    about="any folder: an energy-based model of images, learned by synthesising images with MCMC",
    settings=DescriptorSettings,
    build=build,
    sample=sample,
    sampled="the ends of its chains",
    synthesise=synthesise,
    restore=restore,
)
