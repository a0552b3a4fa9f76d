"""Checkpoints with flipped bits, cut, forged or exchanged: named, and the one before is used while there is one."""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from anasyn.cli import main

from ..commands import Command, one_line, refused, tree
from .small import SMALL

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
IMAGES, CHAINS = "images-000-00000.safetensors", "images.chains.positions"
FILES = (TENSORS, IMAGES, STATE, MANIFEST)
WEIGHT = "model.network.2.weight"
NEWEST, BEFORE = "00000002", "00000001"

Damage = Callable[[Path], object]


def flipped(file: str, share: float) -> Damage:
    """One bit, so far into the file."""

    def damage(folder: Path) -> None:
        content = bytearray((folder / file).read_bytes())
        content[int(share * (len(content) - 1))] ^= 16
        (folder / file).write_bytes(content)

    return damage


def cut(file: str, share: float) -> Damage:
    return lambda folder: os.truncate(folder / file, int(share * (folder / file).stat().st_size))


def grown(file: str) -> Damage:
    def damage(folder: Path) -> None:
        with (folder / file).open("ab") as out:
            out.write(b" ")

    return damage


def replaced(file: str, make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return damage


def manifest(content: bytes) -> Damage:
    return lambda folder: (folder / MANIFEST).write_bytes(content)


def sealed(damage: Damage) -> Damage:
    """Damage whose SHA-256 the manifest then has: what no checksum can find."""

    def damage_and_seal(folder: Path) -> None:
        damage(folder)
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (TENSORS, IMAGES, STATE)}
        (folder / MANIFEST).write_text(json.dumps(digests))

    return damage_and_seal


def tensors(change: Callable[[dict[str, Tensor]], object], file: str = TENSORS) -> Damage:
    """Other tensors, in a file that is a good one."""

    def damage(folder: Path) -> None:
        content = load((folder / file).read_bytes())
        change(content)
        (folder / file).write_bytes(save(content))

    return sealed(damage)


def state(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / STATE).read_text())
        change(content)
        (folder / STATE).write_text(json.dumps(content))

    return sealed(damage)


def raw(file: str, content: bytes) -> Damage:
    return sealed(lambda folder: (folder / file).write_bytes(content))


def header(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Another header over the same tensors."""

    def damage(folder: Path) -> None:
        content = (folder / TENSORS).read_bytes()
        size = int.from_bytes(content[:8], "little")
        table = json.loads(content[8 : 8 + size])
        change(table)
        told = json.dumps(table).encode()
        (folder / TENSORS).write_bytes(struct.pack("<Q", len(told)) + told + content[8 + size :])

    return sealed(damage)


def header_size(size: int) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / TENSORS).read_bytes()
        (folder / TENSORS).write_bytes(struct.pack("<Q", size) + content[8:])

    return sealed(damage)


def with_value(value: float) -> Damage:
    def change(content: dict[str, Tensor]) -> None:
        content[WEIGHT].view(-1)[3] = value

    return tensors(change)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": [1.0]}))
    return file.getvalue()


def torch_pickle() -> bytes:
    file = io.BytesIO()
    torch.save({WEIGHT: torch.zeros(2)}, file)
    return file.getvalue()


class Bomb:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os._exit, (86,))


def padded(folder: Path) -> None:
    with (folder / TENSORS).open("ab") as file:
        file.truncate((folder / TENSORS).stat().st_size + 2**20)


# name: the damage, and what must be said of it beside where it is
CASES: dict[str, tuple[Damage, str]] = {
    **{f"a bit flipped at {at} of {file}": (flipped(file, at), NEWEST) for file in FILES for at in (0, 0.3, 0.6, 1)},
    **{f"{file} cut at {at}": (cut(file, at), NEWEST) for file in FILES for at in (0, 0.01, 0.5, 0.99)},
    **{f"{file} gone": (lambda folder, file=file: (folder / file).unlink(), NEWEST) for file in FILES},
    **{f"{file} is a folder": (replaced(file, Path.mkdir), NEWEST) for file in FILES},
    **{f"{file} links to itself": (replaced(file, lambda path: path.symlink_to(path)), NEWEST) for file in FILES},
    "tensors longer by a byte": (grown(TENSORS), "SHA-256"),
    "state longer by a byte": (grown(STATE), "SHA-256"),
    **{
        f"a manifest of {content[:9]!r}": (manifest(content), NEWEST)
        for content in (
            b"[]",
            b"null",
            b"7",
            b'"x"',
            b"{}",
            b'{"state.json": 1}',
            b"\xff{}",
            b"[" * 100_000,
            b"9" * 5000,
            bytes(999),
        )
    },
    "a manifest of 8 MiB": (lambda folder: os.truncate(folder / MANIFEST, 2**23), "8388608 bytes, at most"),
    "the other checkpoint's tensors": (lambda folder: shutil.copy(folder.parent / BEFORE / TENSORS, folder), "SHA-256"),
    "a pickle renamed": (raw(TENSORS, pickle.dumps(Bomb())), TENSORS),
    "a pickle of torch renamed": (raw(TENSORS, torch_pickle()), TENSORS),
    "a zip renamed": (raw(TENSORS, zipped()), TENSORS),
    "no tensors at all": (raw(TENSORS, b""), TENSORS),
    "tensors of zeros": (raw(TENSORS, bytes(4096)), TENSORS),
    "an empty table of tensors": (raw(TENSORS, save({})), "is missing"),
    "a header of no size": (header_size(0), TENSORS),
    "a header longer than the file": (header_size(60_000), TENSORS),
    "a header of 2^40 bytes": (header_size(2**40), "a header of 1099511627776 bytes"),
    "a header of 2^64 - 1 bytes": (header_size(2**64 - 1), "a header of 18446744073709551615 bytes"),
    "a header that is no JSON": (raw(TENSORS, struct.pack("<Q", 8) + b"{{{{{{{{"), TENSORS),
    "a header that is no text": (raw(TENSORS, struct.pack("<Q", 8) + b"\xff" * 8), TENSORS),
    "a header nested too deep": (raw(TENSORS, struct.pack("<Q", 900) + b"[" * 900), TENSORS),
    "a file far larger than its tensors": (sealed(padded), "bytes, where tensors of"),
    "a tensor that is elsewhere": (
        header(lambda table: table[WEIGHT].update(data_offsets=[10**9, 10**9 + 256])),
        TENSORS,
    ),
    "two tensors in one place": (
        header(lambda table: table[WEIGHT].update(data_offsets=table["model.sigma"]["data_offsets"])),
        TENSORS,
    ),
    "a tensor of 2^62 numbers": (header(lambda table: table[WEIGHT].update(shape=[2**31, 2**31])), TENSORS),
    "a tensor of a type that is not known": (header(lambda table: table[WEIGHT].update(dtype="F7")), TENSORS),
    "a tensor missing": (tensors(lambda content: content.pop(WEIGHT)), f"tensor {WEIGHT} is missing"),
    "a tensor too many": (
        tensors(lambda content: content.update(stranger=torch.zeros(1))),
        "tensor stranger does not belong to this run",
    ),
    "a tensor under another name": (
        tensors(lambda content: content.update({"model.weight": content.pop(WEIGHT)})),
        f"tensor {WEIGHT} is missing",
    ),
    "a tensor of another shape": (
        tensors(lambda content: content.update({WEIGHT: content[WEIGHT][:1]})),
        f"tensor {WEIGHT}: expected F32",
    ),
    "the tensors of another version": (
        lambda folder: [
            tensors(lambda content: content.pop(WEIGHT))(folder),
            state(lambda content: content["versions"].update(anasyn="0.13.1"))(folder),
        ],
        f"tensor {WEIGHT} is missing; anasyn 0.13.1 wrote it, and this is ",
    ),
    "a tensor turned": (
        tensors(lambda content: content.update({WEIGHT: content[WEIGHT].mT.contiguous()})),
        f"tensor {WEIGHT}: expected F32",
    ),
    "a tensor of another type": (
        tensors(lambda content: content.update({WEIGHT: content[WEIGHT].double()})),
        f"tensor {WEIGHT}: expected F32",
    ),
    "a weight that is NaN": (with_value(float("nan")), f"tensor {WEIGHT} is not finite"),
    "a weight that is infinite": (with_value(float("-inf")), f"tensor {WEIGHT} is not finite"),
    "a chain that is NaN": (
        tensors(lambda content: content[CHAINS].fill_(float("nan")), IMAGES),
        f"tensor {CHAINS} is not finite",
    ),
    "a chain too few": (
        tensors(lambda content: content.update({name: x[1:].clone() for name, x in content.items()}), IMAGES),
        "expected every image of this process once",
    ),
    "a chain twice": (
        tensors(lambda content: content["images.place"].fill_(0), IMAGES),
        "expected every image of this process once",
    ),
    "a chain of an image that is not there": (
        tensors(lambda content: content["images.place"].add_(2**40), IMAGES),
        "expected every image of this process once",
    ),
    "chains of another length": (
        tensors(lambda content: content.update({CHAINS: content[CHAINS][:, :-1].contiguous()}), IMAGES),
        f"tensor {CHAINS}: expected F32",
    ),
    "a manifest of a file elsewhere": (
        lambda folder: (folder / MANIFEST).write_text(
            json.dumps(json.loads((folder / MANIFEST).read_text()) | {"../../config.json": ""})
        ),
        "is no file of a checkpoint",
    ),
    **{
        f"a state of {content[:9]!r}": (raw(STATE, content), NEWEST)
        for content in (
            b"",
            b"{",
            b"[]",
            b"null",
            b"7",
            b"{}",
            b"\xff",
            b"[" * 100_000,
            b"9" * 5000,
            b'{"iteration": 2}',
        )
    },
    "a state of another iteration": (state(lambda content: content.update(iteration=1)), "of iteration 1, expected 2"),
    "a state whose iteration is a word": (state(lambda content: content.update(iteration="2")), NEWEST),
    "a state whose iteration is no integer": (state(lambda content: content.update(iteration=2.0)), NEWEST),
    "a state whose iteration is null": (state(lambda content: content.update(iteration=None)), NEWEST),
    **{
        f"a state without {name}": (state(lambda content, name=name: content.pop(name)), NEWEST)
        for name in ("iteration", "guard", "data", "versions")
    },
    **{
        f"a state whose {name} is {value!r}": (
            state(lambda content, name=name, value=value: content.update({name: value})),
            NEWEST,
        )
        for name in ("guard", "data")
        for value in (None, 7, [], {}, "x")
    },
    "a state of unknown images": (state(lambda content: content.update(data=None)), NEWEST),
    "a state whose images are a list": (state(lambda content: content.update(data=[1, 2, 3])), NEWEST),
}


@pytest.fixture(scope="module")
def expected(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """What is sampled where there is only the checkpoint before the newest."""
    folder = tmp_path_factory.mktemp("older")
    run = shutil.copytree(generator, folder / "run")
    shutil.rmtree(run / "checkpoints" / NEWEST)
    assert main(["sample", str(run), "--num", "2", "--out", str(folder / "out")]) == 0
    return tree(folder / "out")


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    name: str, command: Command, generator: Path, expected: dict[str, bytes | None], tmp_path: Path
) -> None:
    damage, said = CASES[name]
    run = shutil.copytree(generator, tmp_path / "run")
    damage(run / "checkpoints" / NEWEST)
    before = tree(run)
    done = command("sample", run, "--num", 2, "--out", tmp_path / "out")
    assert done.status == 0, done
    assert done.err.startswith(f"warning: {run / 'checkpoints' / NEWEST}")
    one_line(done.err, said, "going on from iteration 1")
    assert tree(tmp_path / "out") == expected
    assert tree(run) == before


@pytest.mark.parametrize("name", list(CASES)[::3])  # read as above: only what follows from it is another
def test_a_run_without_a_whole_checkpoint_is_refused(
    name: str, command: Command, good: Path, generator: Path, tmp_path: Path
) -> None:
    damage, said = CASES[name]
    run = shutil.copytree(generator, tmp_path / "run")
    damage(run / "checkpoints" / NEWEST)
    shutil.rmtree(run / "checkpoints" / BEFORE)
    before = tree(run)
    done = command("learn", "generator", "--data", good, "--out", run, *SMALL)
    refused(done, run / "checkpoints" / NEWEST, said, "no checkpoint here is intact", "--overwrite")
    assert tree(run) == before


@pytest.mark.parametrize(
    "name", ["a bit flipped at 0.6 of tensors.safetensors", "a weight that is NaN", "a state of b'{'"]
)
@pytest.mark.parametrize("model", ["generator", "descriptor"])
def test_learning_goes_on_from_the_one_before_to_the_same_end(
    model: str,
    name: str,
    command: Command,
    good: Path,
    tmp_path: Path,
    no_figures: None,
    request: pytest.FixtureRequest,
) -> None:
    whole = request.getfixturevalue(model)
    run = shutil.copytree(whole, tmp_path / "run")
    CASES[name][0](run / "checkpoints" / NEWEST)
    done = command("learn", model, "--data", good, "--out", run, *SMALL)
    assert done.status == 0
    one_line(done.err, f"warning: {run / 'checkpoints' / NEWEST}", "going on from iteration 1")
    for file in FILES:
        now, then = (each / "checkpoints" / NEWEST / file for each in (run, whole))
        assert now.read_bytes() == then.read_bytes()


def test_checkpoints_that_are_all_damaged_are_refused_by_the_newest_s_name(
    command: Command, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    for checkpoint in (NEWEST, BEFORE):
        (run / "checkpoints" / checkpoint / MANIFEST).write_text("{}")
    before = tree(run)
    refused(command("sample", run, "--num", 1), run / "checkpoints" / NEWEST, "no checkpoint here is intact")
    assert tree(run) == before


@pytest.mark.parametrize("name", ["2", "0000002x", "00000003.partial", "٣", "-1", "9" * 200])
def test_what_is_beside_the_checkpoints_is_none_or_named(
    name: str, command: Command, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    (run / "checkpoints" / name).mkdir()
    before = tree(run)
    done = command("sample", run, "--num", 1, "--out", tmp_path / "out")
    assert done.status == 0, done
    if done.err:
        one_line(done.err, "warning: ", run / "checkpoints" / name, "going on from iteration 2")
    assert tree(run) == before
