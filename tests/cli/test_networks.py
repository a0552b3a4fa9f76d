"""`anasyn learn --network package.module:function`: a network of the user's own, for both models."""

import sys
from pathlib import Path

import pytest

from ..commands import Command, assert_same_run, refused
from .small import SMALL

NETWORKS = '''
import torch
from torch import nn


def generator(settings):
    """Linear in z."""
    return nn.Sequential(
        nn.Linear(settings.latent_dim, 3 * 16 * 16, bias=False), nn.Tanh(), nn.Unflatten(1, settings.shape)
    )


class Brightness(nn.Module):
    """No layer of `torch.nn` in it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 0.1))

    def forward(self, images):
        return (images.mean((2, 3)) * self.weight).sum(1)


def descriptor(settings):
    return Brightness()


def column(settings):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1))


def wide(settings):
    return nn.Linear(settings.latent_dim, 5)


def of_batches(settings):
    return nn.Sequential(
        nn.Linear(settings.latent_dim, 3 * 16 * 16), nn.Unflatten(1, settings.shape), nn.BatchNorm2d(3)
    )


def of_chance(settings):
    return nn.Sequential(nn.Dropout(), generator(settings))


def nothing(settings):
    return None


number = 7
'''


@pytest.fixture(autouse=True)
def _networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is in the working directory, which only the program adds to where modules are looked for."""
    (tmp_path / "my_networks.py").write_text(NETWORKS)
    (tmp_path / "broken.py").write_text("def generator(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)


@pytest.mark.parametrize("recipe", ["generator", "descriptor"])
def test_it_is_learned_resumed_and_sampled_from(
    recipe: str, command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    own = ("--network", f"my_networks:{recipe}", "--schedule", "constant", "--quiet")
    learn = ("learn", recipe, "--data", cats, *SMALL, *own, "--out")
    assert command(*learn, tmp_path / "whole").status == 0
    for iterations in (2, 4):
        assert command(*learn, tmp_path / "parts", "--iterations", iterations).status == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert command("sample", tmp_path / "parts", "--num", 2).status == 0


@pytest.mark.parametrize(
    ("recipe", "network", "words"),
    [
        ("generator", "my_networks", ["expected built-in or package.module:function", "'my_networks'"]),
        ("generator", ":generator", ["expected built-in or package.module:function"]),
        ("generator", "my_networks:", ["expected built-in or package.module:function"]),
        ("generator", "no_such_module:generator", ["cannot be imported", "No module named 'no_such_module'"]),
        ("generator", "my_networks:no_such", ["cannot be imported", "no_such"]),
        ("generator", "my_networks:number", ["cannot be called with the settings", "'int' object is not callable"]),
        ("generator", "my_networks:nothing", ["made a NoneType, expected a torch.nn.Module"]),
        ("generator", "my_networks:wide", ["expected outputs of shape (8, 3, 16, 16)", "gives (8, 5)"]),
        ("generator", "my_networks:descriptor", ["my_networks:descriptor cannot take inputs ('n', 2)"]),
        ("generator", "my_networks:of_batches", ["depend on each other", "batch normalisation"]),
        ("generator", "my_networks:of_chance", ["depend on each other, or on chance", "dropout"]),
        ("descriptor", "my_networks:column", ["expected outputs of shape (8,)", "gives (8, 1)"]),
        ("descriptor", "my_networks:generator", ["my_networks:generator cannot be called", "latent_dim"]),
        ("generator", "broken:generator", ["broken:generator cannot be imported", "invalid syntax"]),
    ],
)
def test_what_is_no_network_is_refused(
    recipe: str, network: str, words: list[str], command: Command, cats: Path, tmp_path: Path
) -> None:
    refused(
        command("learn", recipe, "--data", cats, "--out", tmp_path / "run", *SMALL, "--network", network),
        "network: ",
        *words,
    )
    assert not (tmp_path / "run").exists()
