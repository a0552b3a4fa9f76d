"""Every method and every command on a GPU, where there is one."""

from pathlib import Path

import pytest
import torch

from anasyn.cli import main

from .small import SMALL

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

GPU = ("--precision", "bfloat16", "--device", "cuda", "--quiet")
COMMANDS = [("sample", "--num", "4"), ("diagnose",), ("restore", "--occlude", "square:4"), ("report",)]
METHODS = {
    "generator": ("generator", *COMMANDS, ("evaluate", "--fast")),
    "generator, HMC": ("generator --kernel hmc", *COMMANDS[:1]),
    "generator, half of each image": ("generator --occlude half", *COMMANDS[2:]),
    "descriptor": ("descriptor", *COMMANDS, ("evaluate", "--fast")),
    "descriptor, MALA": ("descriptor --kernel mala", *COMMANDS[:1]),
    "descriptor-convergent": ("descriptor-convergent", *COMMANDS),
    "latent-prior": ("latent-prior", *COMMANDS, ("evaluate", "--fast")),
    "cooperative": ("cooperative", *COMMANDS, ("evaluate", "--fast")),
    "recovery": ("recovery", *COMMANDS),
}


@pytest.mark.parametrize("name", METHODS)
def test_commands(name: str, cats: Path, tmp_path: Path) -> None:
    recipe, *commands = METHODS[name]
    run = str(tmp_path / "run")
    assert main(["learn", *recipe.split(), "--data", str(cats), "--out", run, *map(str, SMALL), *GPU]) == 0
    for command, *options in commands:
        into = ["--out", str(tmp_path / command)] if command in ("sample", "restore") else []
        assert main([command, run, *options, *into]) == 0
