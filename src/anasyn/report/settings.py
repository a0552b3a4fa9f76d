"""The settings of a run: those that differ from its recipe, and the command that starts the same run again."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..data import spread
from ..errors import InputError
from ..methods import Scale, Settings
from ..recipes import RECIPES
from ..run import Run

__all__ = ["Change", "changes", "command", "differing"]

NOT_COMPARED = ("data", "channels", "device", "seed")
"""Settings of the data, the machine and the random numbers: to change them is not to change the recipe."""


class Change(NamedTuple):
    """A setting that differs from the recipe."""

    name: str
    recipe: Any  # the default value
    value: Any


def changes(run: Run) -> list[Change]:
    """The settings that differ from the recipe, except for values that follow from the data.

    The default of a setting is the value that the recipe gives it if all other settings are those of the run. One that
    follows from the pixels is compared as long as the images can be read.
    """
    settings, recipe, found = run.settings, RECIPES[run.name].settings, []
    num_images = len(run.data().names) + len(run.data().held_out)
    scale = Scale(num_images, smaller_side=min(settings.shape[1:]), has_bfloat16=False)
    for field in dataclasses.fields(settings):
        value, stated = getattr(settings, field.name), getattr(recipe, field.name)
        if field.name in NOT_COMPARED or (field.name == "precision" and stated == "auto"):
            continue
        default = _default(settings, field.name, stated, scale)
        if default != value and default != _default(settings, field.name, stated, replace(scale, spread=1.0)):
            try:
                scale = replace(scale, spread=spread(run.load()))
            except InputError:
                continue
            default = _default(settings, field.name, stated, scale)
        if default != value:
            found.append(Change(field.name, default, value))
    return found


def command(run: Run) -> str:
    """The command that starts the same run again, quoted for a shell."""
    settings = run.settings
    options = {change.name: change.value for change in changes(run)}
    if RECIPES[run.name].settings.data is None:
        options["data"] = settings.data
    options |= {name: getattr(settings, name) for name in ("channels", "precision", "seed")}
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items()]
    return " ".join(["anasyn", "learn", run.name, *words])


def differing(runs: Sequence[Run]) -> list[str]:
    """The names of the settings that all runs have and that differ between them."""
    names = [field.name for field in dataclasses.fields(runs[0].settings)]
    shared = [name for name in names if all(name in vars(run.settings) for run in runs)]
    return [name for name in shared if len({getattr(run.settings, name) for run in runs}) > 1]


def _default(settings: Settings, name: str, stated: Any, scale: Scale) -> Any:
    """The value of a setting for which the recipe has what is ``stated``."""
    try:
        return getattr(replace(settings, **{name: stated}).resolve(scale), name)
    except InputError:  # for example, a temperature without the kernel that has one
        return stated
