"""What a run was asked for: the settings that are not its recipe's, and the command that asks for them again."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..recipes import RECIPES, Recipe, Scale
from ..run import Run

__all__ = ["Change", "Origin", "changes", "command", "differing", "origin"]

NOT_ASKED = ("data", "device", "seed")
"""Settings that say which images, which machine and which random numbers, not what is learned."""


@dataclass(frozen=True)
class Change:
    """A setting that is not the recipe's."""

    name: str
    recipe: Any  # what it would be, had nobody asked
    value: Any


@dataclass(frozen=True)
class Origin:
    """Where a run comes from, as its config.json has it."""

    fingerprint: str  # of the data
    num_images: int
    versions: dict[str, str]


def changes(run: Run) -> list[Change]:
    """The settings that differ from the recipe's, those left out that merely follow from the data.

    What a setting would be, had nobody asked, is what the recipe makes of it when every other one is as it is.
    """
    recipe, found = RECIPES.get(run.name, type(run.recipe)()), []
    scale = Scale(num_images=len(run.data()["names"]), smaller_side=run.recipe.size or 64, has_bfloat16=False)
    for field in dataclasses.fields(run.recipe):
        value, stated = getattr(run.recipe, field.name), getattr(recipe, field.name)
        if field.name in NOT_ASKED or (field.name == "precision" and stated == "auto"):
            continue
        unasked = getattr(_resolved(run.recipe, field.name, stated, scale), field.name)
        if unasked != value:
            found.append(Change(field.name, unasked, value))
    return found


def command(run: Run) -> str:
    """The command line that learns the same again; it is to be read by a shell."""
    recipe = run.recipe
    options = {change.name: change.value for change in changes(run)}
    if RECIPES.get(run.name, type(recipe)()).data is None:
        options["data"] = recipe.data
    options |= {"precision": recipe.precision, "seed": recipe.seed}
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items()]
    return " ".join(["anasyn", "learn", run.name, *words])


def differing(runs: Sequence[Run]) -> list[str]:
    """The names of the settings in which runs differ, of those that all of them have."""
    names = [field.name for field in dataclasses.fields(runs[0].recipe)]
    shared = [name for name in names if all(hasattr(run.recipe, name) for run in runs)]
    return [name for name in shared if len({getattr(run.recipe, name) for run in runs}) > 1]


def origin(run: Run) -> Origin:
    """The data's fingerprint and the versions that the run was begun with."""
    config = run.config()
    return Origin(config["data"]["fingerprint"], config["data"]["num_images"], config["versions"])


def _resolved(recipe: Recipe, name: str, stated: Any, scale: Scale) -> Recipe:
    try:
        return dataclasses.replace(recipe, **{name: stated}).resolve(scale)
    except InputError:  # two settings that only go together: a temperature, and the kernel that has one
        return dataclasses.replace(type(recipe)(), **{name: stated})
