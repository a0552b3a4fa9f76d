"""Recipes: named settings of methods. Imports no torch."""

from dataclasses import dataclass
from typing import Any

from .methods import METHODS, DescriptorSettings, GeneratorSettings, Method, Settings
from .methods.descriptor import DESCRIPTOR
from .methods.generator import GENERATOR

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A method with settings."""

    method: Method
    about: str  # a description in one line, for the help
    settings: Settings


# The settings common to the course's own examples, whose σ, δ and s are converted to the units of [−1, 1].
COURSE: dict[str, Any] = {
    "fit": "stretch",
    "size": 64,
    "hold_out": 0.0,
    "num_steps": 30,
    "learning_rate": 0.001,
    "schedule": "constant",
    "precision": "float32",
}

# Every recipe by its name, first the methods' general recipes for a folder of one's own.
RECIPES: dict[str, Recipe] = {method.name: Recipe(method, method.about, method.settings()) for method in METHODS} | {
    "lion-tiger": Recipe(
        GENERATOR,
        "eleven photographs of faces, a plane from tigers to lions",
        # Every chain moves in every iteration: one transition is enough, and the weights are updated more often. After
        # 700 iterations one or two of ten seeds have an image that is not learned yet.
        GeneratorSettings(
            data="lion-tiger",
            fit="stretch",
            size=64,
            latent_dim=2,
            num_steps=1,
            iterations=850,
            learning_rate=0.005,
        ),
    ),
    "egret": Recipe(
        DESCRIPTOR,
        "seven photographs of egrets, synthesised from the mean colour of each",
        # With the default rate, chains reach the colours and the shapes; with this one, the details as well.
        DescriptorSettings(data="egret", fit="stretch", size=64, iterations=450, learning_rate=0.002, data_noise=0.02),
    ),
    "descriptor-convergent": Recipe(
        DESCRIPTOR,
        "a descriptor that is a density, for any number of images: its long chains stay among them",
        DescriptorSettings(reference="fitted"),
    ),
    "egret-convergent": Recipe(
        DESCRIPTOR,
        "egret, learned as a density",
        DescriptorSettings(data="egret", fit="stretch", size=64, reference="fitted"),
    ),
    # The demonstration should not take longer than somebody waits who has just cloned the repository.
    "drawn-cats": Recipe(
        GENERATOR,
        "the demonstration: sixteen drawn big cats, a plane of faces from lions to tigers",
        GeneratorSettings(data="drawn-cats", size=64, latent_dim=2, iterations=450),
    ),
    "drawn-egrets": Recipe(
        DESCRIPTOR,
        "the demonstration: sixteen drawn egrets, and new ones synthesised by its chains",
        DescriptorSettings(
            data="drawn-egrets", size=64, batch_size=8, iterations=480, learning_rate=0.002, data_noise=0.02
        ),
    ),
    "lion-tiger-course": Recipe(
        GENERATOR,
        "lion-tiger at the course's own settings, to study their effects",
        GeneratorSettings(
            **COURSE,
            data="lion-tiger",
            latent_dim=2,
            sigma=0.3,
            kernel="langevin",
            step_size=0.3,
            iterations=600,
            beta2=0.999,
            start="prior",
            expand="off",
        ),
    ),
    "egret-course": Recipe(
        DESCRIPTOR,
        "egret at the course's own settings, to study their effects",
        DescriptorSettings(
            **COURSE,
            data="egret",
            step_size=0.3 / 127.5,
            reference_std=50 / 127.5,
            scale=1.0,
            iterations=1000,
            start="mean",
            data_noise=0.0,
        ),
    ),
}
