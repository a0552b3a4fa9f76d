"""Settings at the edges of their ranges: learning works, or fails with its cause, and never ends in a traceback."""

import dataclasses
from pathlib import Path

import pytest

from anasyn.methods import METHODS
from anasyn.methods.settings import kinds_of

from ..commands import Command, learned
from .small import SMALL

ENDS = [
    (method.name, field.name, field.metadata[end])
    for method in METHODS
    for field in dataclasses.fields(method.settings)
    for end in ("least", "most")
    if kinds_of(field)[0] in (int, float) and field.metadata[end] is not None
    if not (end == "most" and field.name in ("width", "latent_dim", "scales"))
]


@pytest.mark.parametrize("recipe", ["generator", "descriptor"])
@pytest.mark.parametrize(
    "options",
    [
        ("--size", 17),
        ("--size", 23),
        ("--size", 31),
        ("--size", 33),
        ("--width", 8),
        ("--step-size", 1e-6),
        ("--num-steps", 1),
        ("--batch-size", 1),
        ("--kernel", "hmc", "--leapfrog-steps", 1, "--step-size", 1e-4),
        ("--seed", 2**63 - 1),
        ("--beta1", 0),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_settings_at_the_edge_work(
    recipe: str, options: tuple[object, ...], command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    done = command("learn", recipe, "--data", cats, "--out", tmp_path, *SMALL, "--iterations", 2, *options)
    assert done.status == 0, done.err
    tensors, metrics = learned(tmp_path)
    assert len(metrics) == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize(("recipe", "name", "value"), ENDS)
def test_the_ends_of_a_range_never_end_in_a_traceback(
    recipe: str, name: str, value: float, command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    option = f"--{name.replace('_', '-')}"
    data = cats / "drawn-cats-00000.png" if recipe == "texture" else cats
    done = command("learn", recipe, "--data", data, "--out", tmp_path, *SMALL, "--iterations", 1, option, value)
    assert done.status in (0, 1), done.err
    assert "diverged" in done.err or done.status == 0
    assert all(tensor.isfinite().all() for tensor in learned(tmp_path)[0].values())
