"""`anasyn data`: list, draw, the cache, and what is refused."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from anasyn.data import read_folder, reading

from ..commands import Command, one_line, refused, tree


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


def test_data_cache(command: Command, tmp_path: Path, cats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    assert command("data", "cache") == command("data", "cache", "--delete", "all")._replace(out="") == (0, "", "")
    assert json.loads(command("data", "cache", "--json").out) == []
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)
    for size in (16, (16, 24)):
        read_folder(cats, size)
    later, earlier = json.loads(command("data", "cache", "--json").out)
    assert [each["size"] for each in (later, earlier)] == ["16x24", "16x16"]
    assert {each["source"] for each in (later, earlier)} == {str(cats.resolve())}
    assert all(each["images"] == 6 and each["complete"] and each["mebibytes"] > 0 for each in (later, earlier))
    lines = command("data", "cache").out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        [each["key"], each["size"], "6", "images"] for each in (later, earlier)
    ]
    assert all(line.endswith(f"  {cats.resolve()}") for line in lines)

    before = tree(tmp_path / "cache")
    for wrong in ("0123456789abcdef", "..", "."):
        refused(command("data", "cache", "--delete", wrong), "--delete", tmp_path / "cache")
    assert tree(tmp_path / "cache") == before
    deleted = command("data", "cache", "--delete", earlier["key"])
    assert (deleted.status, deleted.out.startswith("1 deleted, "), deleted.err) == (0, True, "")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [later["key"]]
    assert command("data", "cache", "--delete", "all").out.startswith("1 deleted, ")
    assert command("data", "cache").out == ""


def test_a_damaged_cache_is_one_line_and_status_2(
    command: Command, tmp_path: Path, cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)
    read_folder(cats, 16, channels=None, transparent="hidden")
    (entry,) = (tmp_path / "cache").iterdir()
    (entry / "index.safetensors").write_bytes(b"")
    outcome = command("learn", "generator", "--data", cats, "--size", 16, "--out", tmp_path / "run")
    refused(outcome, entry, f"`anasyn data cache --delete {entry.name}`")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_while_caching_is_one_line_and_status_1(
    command: Command, tmp_path: Path, cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    outcome = command("learn", "generator", "--data", cats, "--size", 16, "--out", tmp_path / "run")
    assert (outcome.status, outcome.out) == (1, "")
    one_line(outcome.err, tmp_path / "cache", "No space left on device", "ANASYN_CACHE")
