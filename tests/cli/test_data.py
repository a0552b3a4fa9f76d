"""`anasyn data`: list, draw, and what is refused."""

import json
from pathlib import Path

import torch

from anasyn.data import read_folder

from ..commands import Command, refused, tree


def test_data_list(command: Command) -> None:
    table, sets = command("data", "list"), command("data", "list", "--json")
    named = json.loads(sets.out)
    assert set(named) == {"drawn-cats", "drawn-egrets", "lion-tiger", "egret"}
    assert [line.split(maxsplit=1) for line in table.out.splitlines()] == [list(item) for item in named.items()]
    assert table.err == sets.err == ""


def test_data_draw(command: Command, tmp_path: Path) -> None:
    def drawn(name: str, num: int, *options: object) -> torch.Tensor:
        done = command("data", "draw", "drawn-egrets", tmp_path / name, "--num", num, "--size", 20, *options)
        assert done == (0, f"{tmp_path / name}\n", "")
        return read_folder(tmp_path / name, 20).pixels

    first = drawn("a/b", 5)
    assert first.shape == (5, 3, 20, 20)
    assert torch.equal(drawn("c", 3), first[:3])
    assert not torch.equal(drawn("d", 5, "--seed", 1), first)
    before = tree(tmp_path)
    refused(command("data", "draw", "drawn-egrets", tmp_path / "c"), tmp_path / "c", "new or empty")
    refused(command("data", "draw", "drawn-dogs", tmp_path / "e"), "drawn-dogs", "drawn-cats")
    refused(command("data", "draw", "drawn-cats", tmp_path / "e", "--size", 8), "--size", 16, 8)
    refused(command("data", "draw", "drawn-cats", tmp_path / "e", "--num", 0), "--num", 0)
    refused(command("data", "draw", "drawn-cats", tmp_path / "e", "--seed", 2**64), "--seed", 2**64)
    refused(command("data", "fetch", "drawn-cats"), "drawn-cats", "lion-tiger, egret")
    assert tree(tmp_path) == before
