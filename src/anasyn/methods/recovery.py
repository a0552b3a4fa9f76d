"""A ladder of descriptors, learned by diffusion recovery likelihood: its settings, its learner and its abilities."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .method import Method, Recovery
from .settings import ChainSettings, Kernel, Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import RecoveryLearner
    from ..models.ladder import LevelledNetwork

__all__ = ["RECOVERY", "RecoverySettings"]


@dataclass(frozen=True)
class RecoverySettings(ChainSettings):
    """The settings of `anasyn learn recovery`."""

    kernel: Kernel = setting("langevin", "MCMC transition; auto: the one that suits the other settings", "chains")
    step_size: float | None = setting(
        1.0, "step size b, in units of each level's narrowest standard deviation", "chains", least=1e-6, most=1e3
    )
    learning_rate: float | None = setting(0.002, "learning rate γ at the first iteration", "learning", above=0)
    levels: int = setting(6, "T, levels of noise, each with its own descriptor", "model", least=1, most=100)
    smallest_noise: float = setting(
        0.05, "c_0, standard deviation of the noise that images keep at level 0", "model", least=1e-3, most=1
    )
    largest_noise: float = setting(
        20.0, "c_T, beside which images are nothing; the levels between have equal ratios", "model", least=2, most=1e4
    )

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        batch = min(self.batch_size or 32, n)
        return self.filled(
            scale,
            batch_size=batch,
            kernel="langevin",
            num_steps=15,
            width=64 if n <= 1000 else 128,
            iterations=min(max(20 * math.ceil(n / batch), 3000), 20_000) if batch < n else 3000,
        )


def build(settings: RecoverySettings, device: "torch.device") -> "RecoveryLearner":
    """The learner that these settings describe."""
    from ..learning import RecoveryLearner
    from ..models import DescriptorLadder, Ladder
    from ..models.levelled import LevelledConv, WithLevel
    from .build import kernel, load_network, optimizer

    assert settings.width is not None
    assert settings.num_steps is not None
    channels, height, width = settings.shape
    if settings.network == "built-in":
        widths = (max(settings.width // 2, 4), settings.width, settings.width)
        network: LevelledNetwork = LevelledConv((height, width), settings.levels, widths, channels)
    else:
        one = load_network(settings, takes=(channels + 1, height, width), gives=())
        network = WithLevel(one, settings.levels)
    ladder = Ladder.geometric(settings.levels, settings.smallest_noise, settings.largest_noise)
    model = DescriptorLadder(network, ladder, settings.precision).to(device)
    return RecoveryLearner(
        model, kernel=kernel(settings), num_steps=settings.num_steps, optimizer=optimizer(settings, model)
    )


def sample(learner: "RecoveryLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator") -> "Tensor":
    """Ancestral samples, from N(0, I) down the ladder."""
    import torch

    return torch.cat([learner.draw(min(256, num - done), rng=rng) for done in range(0, num, 256)])


def recover(learner: "RecoveryLearner") -> Recovery:
    """The learner itself, which has the descriptors and their chains."""
    return learner


RECOVERY = Method(
    name="recovery",
    about="any folder: a ladder of energy-based models, each of which recovers images from a little more noise",
    settings=RecoverySettings,
    build=build,
    sample=sample,
    sampled="ancestral samples down the ladder of noise",
    recover=recover,
)
