"""The generator with a learned prior: its settings, its learner and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .latent import LatentSettings, build_generator, expansion, learned_noise, metric, remarks
from .method import Latents, Method
from .settings import setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import LatentPriorLearner

__all__ = ["LATENT_PRIOR", "LatentPriorSettings"]


@dataclass(frozen=True)
class LatentPriorSettings(LatentSettings):
    """The settings of `anasyn learn latent-prior`."""

    prior_width: int = setting(200, "width of the prior's network of z", "model", least=1, most=1024)
    prior_steps: int = setting(10, "MCMC transitions of the prior's chains in an iteration", "chains", least=1)
    prior_step_size: float = setting(
        0.4, "step size of the prior's chains; the initial value if it is adapted", "chains", least=1e-6, most=1e3
    )
    prior_rate: float = setting(0.0005, "learning rate of the prior, in all iterations", "learning", above=0)


def build(settings: LatentPriorSettings, device: "torch.device") -> "LatentPriorLearner":
    """The learner that these settings describe."""
    from ..learning import LatentPriorLearner
    from ..models import LatentPrior, networks
    from .build import kernel, optimizer

    assert settings.latent_dim is not None
    assert settings.num_steps is not None
    prior = LatentPrior(networks.mlp(settings.latent_dim, settings.prior_width))
    model = build_generator(settings, device, prior=prior)
    updates = optimizer(settings, model.network)
    updates.add_param_group({"params": prior.parameters(), "lr": settings.prior_rate, "decays": False})
    return LatentPriorLearner(
        model,
        kernel=kernel(settings, metric(settings)),
        num_steps=settings.num_steps,
        prior_kernel=kernel(replace(settings, step_size=settings.prior_step_size)),
        prior_steps=settings.prior_steps,
        optimizer=updates,
        noise=learned_noise(settings),
        start=settings.start,
        expansion=expansion(settings, model),
    )


def infer(learner: "LatentPriorLearner") -> Latents:
    """The generator and the inferred z of the training images."""
    return Latents(learner.model, learner.chains.positions)


def sample(
    learner: "LatentPriorLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator"
) -> "Tensor":
    """f(z) at z drawn from the learned prior."""
    import torch

    with torch.no_grad():
        return torch.cat([learner.model(z) for z in learner.draw(num, rng).split(256)])


LATENT_PRIOR = Method(
    name="latent-prior",
    about="any folder: a generator whose latent vector z has a learned prior, an energy-based model of z",
    settings=LatentPriorSettings,
    build=build,
    sample=sample,
    sampled="f(z) at z drawn from the learned prior by MALA",
    infer=infer,
    remarks=remarks,
    draw_prior=lambda learner, num, rng: learner.draw(num, rng),
    likelihood=lambda learner: learner.model,
)
