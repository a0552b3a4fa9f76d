"""A ladder of descriptors, learned by diffusion recovery likelihood: its settings, its learner and its abilities."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from ..errors import InputError
from .method import Classes, Method, Recovery, Restored
from .settings import ChainSettings, Kernel, Scale, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import RecoveryLearner
    from ..mcmc import Langevin
    from ..models import Observed
    from ..models.ladder import LevelledNetwork

__all__ = ["RECOVERY", "RecoverySettings"]

AT_ONCE = 256  # samples whose chains run together


@dataclass(frozen=True)
class RecoverySettings(ChainSettings):
    """The settings of `anasyn learn recovery`."""

    kernel: Kernel = setting("langevin", "MCMC transition; auto: the one that suits the other settings", "chains")
    step_size: float | None = setting(
        0.7,
        "step size b, in units of the standard deviation of an image given the noisier one, in each direction",
        "chains",
        least=1e-6,
        most=1.9,
    )
    learning_rate: float | None = setting(0.002, "learning rate γ at the first iteration", "learning", above=0)
    beta1: float = setting(0.9, "Adam's β₁, or SGD's momentum", "learning", least=0, most=0.9999)
    levels: int = setting(3, "T, levels of noise, each with its own descriptor", "model", least=1, most=100)
    smallest_noise: float = setting(
        0.3,
        "c_0, standard deviation of the noise that images keep at level 0, in units of their spread at each frequency",
        "model",
        least=1e-3,
        most=1,
    )
    largest_noise: float = setting(
        4.0,
        "c_T, beside which only the mean and covariance of images count; levels have equal ratios",
        "model",
        least=2,
        most=1e4,
    )
    components: int | None = setting(
        None, "principal components of the images in the references", "model", least=0, most=2000
    )
    conditional: Literal["off", "on"] = setting(
        "off", "on: a model of images given their class, the folder in which an image lies", "model"
    )

    @property
    def uses_labels(self) -> bool:
        return self.conditional == "on"

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        batch = min(self.batch_size or 32, n)
        return self.filled(
            scale,
            batch_size=batch,
            kernel="langevin",
            num_steps=8,
            width=64 if n <= 1000 else 128,
            components=min(n // 2, 128),
            iterations=min(max(20 * math.ceil(n / batch), 3000), 20_000) if batch < n else 3000,
        )


def build(settings: RecoverySettings, device: "torch.device", labels: Sequence[str] | None = None) -> "RecoveryLearner":
    """The learner that these settings describe; ``labels`` are the class names of the training images.

    Raises:
        InputError: a model of classes is asked for, and there are fewer than two.
    """
    import torch

    from ..learning import RecoveryLearner
    from ..mcmc import Langevin
    from ..models import ClassGaussians, FittedGaussian, FittedLadder, Ladder
    from ..models.levelled import LevelledConv, WithLevel
    from .build import kernel, load_network, optimizer

    assert settings.width is not None
    assert settings.num_steps is not None
    assert settings.components is not None
    channels, height, width = settings.shape
    given = labels if settings.conditional == "on" else None
    classes = len(set(given or ())) or 1
    if settings.conditional == "on" and classes < 2:
        found = f"{settings.data} has {'none' if labels is None else 'one'}"
        raise InputError(f"conditional: expected two or more class folders, with every image in one; {found}")
    if settings.network == "built-in":
        widths = (max(settings.width // 2, 4), settings.width, settings.width)
        network: LevelledNetwork = LevelledConv((height, width), settings.levels, widths, channels, classes)
    else:
        constant = 1 if given is None else 1 + classes  # the level's channel, and those of the classes
        one = load_network(settings, takes=(channels + constant, height, width), gives=())
        network = WithLevel(one, settings.levels, classes)
    ladder = Ladder.geometric(settings.levels, settings.smallest_noise, settings.largest_noise)
    reference = FittedGaussian(settings.shape, settings.components)
    if given:
        place = {name: k for k, name in enumerate(sorted(set(given)))}
        of_images = torch.tensor([place[name] for name in given])
        reference = ClassGaussians(settings.shape, settings.components, of_images, classes)
    model = FittedLadder(network, ladder, reference, settings.precision).to(device)
    transition = kernel(settings)
    return RecoveryLearner(
        model,
        kernel=tempered(transition) if isinstance(transition, Langevin) else transition,
        num_steps=settings.num_steps,
        optimizer=optimizer(settings, model),
        labels=given and own_labels(given, settings.batch_size),
        classes=given or (),
    )


def tempered(kernel: "Langevin") -> "Langevin":
    """The kernel with the temperature T (1 − b²/4), at which it leaves a Gaussian in whose units it moves as it is."""
    return replace(kernel, temperature=kernel.temperature * (1 - float(kernel.step_size) ** 2 / 4))


def own_labels(labels: Sequence[str], batch_size: int | None) -> list[str]:
    """The labels of this process's images."""
    from ..learning import Shard

    return [labels[place] for place in Shard.own(len(labels), batch_size or len(labels)).places.tolist()]


def sample(learner: "RecoveryLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator") -> "Tensor":
    """Ancestral samples, from N(0, I) down the ladder; with classes, each of the class of a random training image."""
    import torch

    return torch.cat([learner.draw(min(AT_ONCE, num - done), rng=rng) for done in range(0, num, AT_ONCE)])


def classes(learner: "RecoveryLearner") -> Classes | None:
    """The classes of a conditional model."""
    import torch

    def sample(labels: "Tensor", rng: "torch.Generator") -> "Tensor":
        return torch.cat([learner.draw(len(part), labels=part, rng=rng) for part in labels.split(AT_ONCE)])

    def restored(images: "Observed", labels: "Tensor", num_draws: int, rng: "torch.Generator") -> Restored:
        return restore(learner, images, num_draws, rng, labels)

    return Classes(learner.classes, sample, restored) if learner.classes else None


def recover(learner: "RecoveryLearner") -> Recovery:
    """The learner itself, which has the descriptors and their chains."""
    return learner


def restore(
    learner: "RecoveryLearner",
    images: "Observed",
    num_draws: int,
    rng: "torch.Generator",
    labels: "Tensor | None" = None,
) -> Restored:
    """Ancestral samples down the ladder whose seen pixels are held, at every level, at the seen ones with its noise.

    Of a model of classes, each image is of the class in ``labels``, (n,); without, each draw of it is of the class of a
    random training image.
    """
    import torch

    draws = [learner.draw(len(images), rng=rng, labels=labels, seen=images) for _ in range(num_draws)]
    return Restored(torch.stack(draws), 0.0)


RECOVERY = Method(
    name="recovery",
    about="any folder: a ladder of energy-based models, each of which recovers images from a little more noise",
    settings=RecoverySettings,
    build=build,
    sample=sample,
    sampled="ancestral samples down the ladder of noise",
    recover=recover,
    restore=restore,
    classes=classes,
)
