"""Named configurations: every setting of a run, with what it means and what it may be. Imports no torch."""

import dataclasses
import math
import sys
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from .errors import InputError

__all__ = ["RECIPES", "DescriptorRecipe", "GeneratorRecipe", "Recipe", "Scale"]

Precision = Literal["auto", "float32", "bfloat16"]
Start = Literal["auto", "mean", "reference", "uniform", "data", "persistent"]


def setting(
    default: Any,
    meaning: str,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A field of a recipe: its default (None: it follows from the data), its meaning and its range."""
    return field(default=default, metadata={"meaning": meaning, "above": above, "least": least, "most": most})


@dataclass(frozen=True)
class Scale:
    """What the settings that are left open follow from: how many images there are, and how large they are."""

    num_images: int
    smaller_side: int  # pixels, median over the images
    has_bfloat16: bool  # the processor multiplies bfloat16 at more than float32's rate


@dataclass(frozen=True)
class Recipe:
    """The settings that both models have."""

    data: str | None = setting(None, "folder of images, or the name of a set that `anasyn data list` shows")
    fit: Literal["crop", "stretch"] = setting("crop", "how an image becomes square: its centre, or all of it")
    size: int | None = setting(None, "side of the images in pixels", least=16, most=512)
    kernel: Literal["langevin", "mala", "hmc"] = setting("mala", "MCMC transition")
    step_size: float = setting(
        0.03, "δ of the Langevin kernels, ε of HMC; where it is adapted, the first one", least=1e-6, most=1e3
    )
    leapfrog_steps: int = setting(5, "leapfrog steps of an HMC transition", least=1)
    temperature: float = setting(1.0, "of unadjusted Langevin; not 1: another density is sampled", above=0)
    num_steps: int | None = setting(None, "MCMC transitions an iteration", least=1)
    width: int | None = setting(None, "channels of the widest layer", least=8, most=4096)
    batch_size: int | None = setting(None, "images an iteration", least=1)
    iterations: int | None = setting(None, "learning iterations", least=1)
    optimizer: Literal["adam", "sgd"] = setting("adam", "of the weights")
    learning_rate: float = setting(0.003, "the optimiser's rate γ at the first iteration", above=0)
    beta1: float = setting(0.5, "Adam's first moment, SGD's momentum", least=0, most=0.9999)
    schedule: Literal["linear", "constant"] = setting("linear", "the rate falls linearly to 0, or stays")
    precision: Precision = setting(
        "auto", "arithmetic of the network in learning; auto: bfloat16 where the processor has it"
    )
    guard: Literal["on", "off"] = setting(
        "on", "watch each iteration and go back from trouble, or let divergence run its course, to be studied"
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where to compute; auto: a GPU if there is one")
    seed: int = setting(0, "every random number follows from it", least=0, most=2**63 - 1)

    def __post_init__(self) -> None:
        for each in fields(self):
            check(each, getattr(self, each.name))
        if self.temperature != 1 and self.kernel != "langevin":
            raise InputError(
                f"temperature: only kernel langevin has one; expected 1 with {self.kernel}, got {self.temperature:g}"
            )

    def resolve(self, scale: Scale) -> Self:
        """The recipe with every open setting chosen for this data and processor."""
        raise NotImplementedError

    def filled(self, **choices: Any) -> Self:
        """The recipe with these values where a setting is open."""
        return replace(self, **{name: value for name, value in choices.items() if getattr(self, name) is None})


@dataclass(frozen=True)
class GeneratorRecipe(Recipe):
    """A generator, learned by alternating back-propagation (Algorithm 1)."""

    latent_dim: int | None = setting(None, "d, the dimension of z", least=1, most=4096)
    sigma: float = setting(0.3, "σ, the standard deviation of a pixel's noise, images in [−1, 1]", least=1e-6, most=1e3)

    def resolve(self, scale: Scale) -> Self:
        """The recipe with every open setting chosen for this data and processor."""
        n = scale.num_images
        batch = min(self.batch_size or (n if n <= 128 else 100), n)
        return replace(
            self.filled(
                size=default_size(scale),
                latent_dim=2 if n <= 25 else 8 if n <= 100 else 32 if n <= 2000 else 64 if n <= 20_000 else 100,
                # A chain that is visited once an epoch has further to go than one that moves at every iteration.
                num_steps=3 if batch == n else 5,
                width=256 if n <= 20_000 else 384,
                iterations=700 if batch == n else min(max(20 * math.ceil(n / batch), 700), 20_000),
            ),
            batch_size=batch,
            precision=default_precision(self.precision, scale),
        )


@dataclass(frozen=True)
class DescriptorRecipe(Recipe):
    """A descriptor, learned by analysis by synthesis (Algorithm 2)."""

    kernel: Literal["langevin", "mala", "hmc"] = setting("langevin", "MCMC transition")
    step_size: float = setting(
        0.01, "δ of the Langevin kernels, ε of HMC; where it is adapted, the first one", least=1e-6, most=1e3
    )
    learning_rate: float = setting(0.0003, "the optimiser's rate γ at the first iteration", above=0)
    reference_std: float = setting(0.4, "s of the reference N(0, s²I), images in [−1, 1]", least=1e-6, most=1e3)
    scale: float | None = setting(None, "f = scale · network; 2/δ² by default", above=0)
    start: Start = setting(
        "auto",
        "where chains start: the image's mean colour, N(0, s²I), U(−1, 1), the image, or where they stood last; "
        "auto: mean with kernel langevin, else the image",
    )
    chains_per_image: int = setting(1, "synthesised images for each observed one, ñ/n", least=1)
    data_noise: float = setting(0.03, "standard deviation of the noise on observed images", least=0)

    def resolve(self, scale: Scale) -> Self:
        """The recipe with every open setting chosen for this data and processor."""
        n = scale.num_images
        batch = min(self.batch_size or (n if n <= 32 else 32), n)
        # From the mean colour it is far. Unadjusted dynamics gets there, and f learns from where it overshoots;
        # an adjusted kernel refuses to overshoot, and f grows steeper without bound. Started at the images
        # (contrastive divergence, Hinton 2002) it has no way to go, and f stays bounded.
        start: Start = "mean" if self.kernel == "langevin" else "data"
        return replace(
            self.filled(
                size=default_size(scale),
                num_steps=30,
                width=128 if n <= 1000 else 256,
                scale=2 / self.step_size**2,
                iterations=1000 if batch == n else min(max(10 * math.ceil(n / batch), 2000), 20_000),
            ),
            batch_size=batch,
            start=start if self.start == "auto" else self.start,
            precision=default_precision(self.precision, scale),
        )


def default_size(scale: Scale) -> int:
    """64 pixels, and 32 where the images hardly have more."""
    return 64 if scale.smaller_side >= 48 else 32


def default_precision(asked: Precision, scale: Scale) -> Precision:
    """What ``auto`` stands for on this processor."""
    if asked != "auto":
        return asked
    return "bfloat16" if scale.has_bfloat16 else "float32"


def check(each: dataclasses.Field[Any], value: Any) -> None:
    """Raises `InputError` naming the setting, what was expected and what came, if the value is outside its range."""
    choices = choices_of(each)
    if choices:
        if value not in choices:
            raise InputError(f"{each.name}: expected one of {', '.join(choices)}, got {value!r}")
        return
    if value is None and type(None) in get_args(each.type):
        return
    kinds = kinds_of(each)
    if type(value) not in ((int, float) if float in kinds else kinds):
        raise InputError(f"{each.name}: expected {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    if isinstance(value, str):
        return
    above, least, most = (each.metadata[bound] for bound in ("above", "least", "most"))
    wrong = (
        (float in kinds and not abs(value) <= sys.float_info.max)  # not a number, infinite, or an integer beyond floats
        or (above is not None and value <= above)
        or (least is not None and value < least)
        or (most is not None and value > most)
    )
    if wrong:
        bounds = [f"above {above:g}" if above is not None else "", f"at least {least:g}" if least is not None else ""]
        bounds += [f"at most {most:g}" if most is not None else ""]
        raise InputError(f"{each.name}: expected a finite number {' and '.join(filter(None, bounds))}, got {value}")


def kinds_of(each: dataclasses.Field[Any]) -> tuple[type, ...]:
    """The types that a setting may have, None apart, where it is no choice of words."""
    return tuple(kind for kind in get_args(each.type) or (each.type,) if kind is not type(None))


def choices_of(each: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The words that a setting may be; none where it is no choice of words."""
    return get_args(each.type) if str(each.type).startswith("typing.Literal") else ()


RECIPES: dict[str, Recipe] = {
    "generator": GeneratorRecipe(),
    "descriptor": DescriptorRecipe(),
    # One transition an iteration: every image's chain moves at each of them, and the weights wait for it less.
    "lion-tiger": GeneratorRecipe(
        data="lion-tiger", fit="stretch", size=64, latent_dim=2, num_steps=1, learning_rate=0.005
    ),
    "egret": DescriptorRecipe(data="egret", fit="stretch", size=64),
    # The demonstration: as long as someone waits who has just cloned the repository.
    "drawn-cats": GeneratorRecipe(data="drawn-cats", size=64, latent_dim=2, iterations=450),
    "drawn-egrets": DescriptorRecipe(data="drawn-egrets", size=64, batch_size=8, iterations=480),
    # The course's own settings, σ, δ and s in [−1, 1]; they are here to be studied.
    "lion-tiger-course": GeneratorRecipe(
        data="lion-tiger",
        fit="stretch",
        size=64,
        latent_dim=2,
        kernel="langevin",
        step_size=0.3,
        num_steps=30,
        iterations=600,
        learning_rate=0.001,
        schedule="constant",
        precision="float32",
    ),
    "egret-course": DescriptorRecipe(
        data="egret",
        fit="stretch",
        size=64,
        step_size=0.3 / 127.5,
        reference_std=50 / 127.5,
        scale=1.0,
        num_steps=30,
        iterations=1000,
        learning_rate=0.001,
        schedule="constant",
        start="mean",
        data_noise=0.0,
        precision="float32",
    ),
}
