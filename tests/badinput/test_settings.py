"""Settings: every field of every recipe at its edges and beyond them, unknown, and of the wrong type."""

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from anasyn.methods.settings import choices_of, kinds_of
from anasyn.recipes import RECIPES

from ..commands import Command, refused, tree

FIELDS = [(name, field.name) for name, recipe in RECIPES.items() for field in dataclasses.fields(recipe.settings)]
MODELS = [(name, field) for name, field in FIELDS if name in ("generator", "descriptor")]


def field_of(recipe: str, name: str) -> dataclasses.Field[object]:
    return next(field for field in dataclasses.fields(RECIPES[recipe].settings) if field.name == name)


def beyond(field: dataclasses.Field[object]) -> Iterator[float]:
    """The numbers next to a field's range, on either side, and no numbers at all."""
    least, above, most = (field.metadata[bound] for bound in ("least", "above", "most"))
    if float in kinds_of(field):
        yield from (math.nan, math.inf, -math.inf)
        yield above if least is None else math.nextafter(least, -math.inf)
        yield -1.0
        if most is not None:
            yield math.nextafter(most, math.inf)
    else:
        yield from (least - 1, -(10**300))
        if most is not None:
            yield from (most + 1, 10**300)


def wrong_words(field: dataclasses.Field[object]) -> Iterator[str]:
    """What may not stand behind the field's option."""
    choices = choices_of(field)
    if choices:
        yield from ("", choices[0].upper(), choices[0] + " ", ", ".join(choices), "None", "0")
    elif field.name == "size":
        yield from (
            "",
            " ",
            "x",
            "None",
            "15",
            "513",
            "0",
            "-64",
            "64.0",
            "64x",
            "x64",
            "64x15",
            "513x64",
            "64X64",
            "64 x 64",
        )
        yield from ("1x1", "9" * 5000, "64x" + "9" * 5000)
    elif field.name.endswith("network"):
        yield from ("", "module", ":", "module:", ":function", "no.such.module:function", "n" * 300, "\udcff:f\n")
    elif str in kinds_of(field):
        yield from ("no/such/folder", "no-such-set", "drawn-cats/", "n" * 300, "\udcff\n")
    else:
        yield from ("", " ", "x", "None", "True", "0x10", "1,5", "1e", "--", "٣x", "1 2", "9" * 5000 + "x")
        yield from (repr(number) for number in beyond(field))
        if int in kinds_of(field):
            yield from ("1.5", "1e3", "64.0")


def wrong_values(field: dataclasses.Field[object]) -> Iterator[object]:
    """What may not stand in config.json."""
    yield from (None, True, [], {}, [1], {"value": 1})
    if choices_of(field):
        yield from ("", "Adam", 0, 1.5)
    elif field.name == "size":
        yield from ("16", "16x16", "1x1", "16x", "", 15, 513, 16.0, 10**300, math.nan)
    elif field.name == "sigma":
        yield from ("", "0.3", "Learned", 0, -1, 1e4, math.nan)
    elif str in kinds_of(field):
        yield from (0, 1.5)
    else:
        yield from ("1", "", "x")
        yield from beyond(field)
        if float not in kinds_of(field):
            yield from (16.0, 1e300)


@pytest.mark.parametrize(("recipe", "name"), FIELDS)
def test_a_wrong_word_is_refused_and_its_setting_named(
    recipe: str, name: str, command: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", good) if name.endswith("network") else ()  # whose function is looked for when the rest is known
    option = "--" + name.replace("_", "-")
    words = list(wrong_words(field_of(recipe, name)))
    for word in words if (recipe, name) in MODELS else words[:1]:  # the other recipes' fields are these models'
        done = command("learn", recipe, *data, "--out", "run", f"{option}={word}")
        refused(done)
        if name not in ("data", "masks"):  # a folder is named as itself
            assert option in done.err or f"{name}: " in done.err, done
        assert list(tmp_path.iterdir()) == [], word


@pytest.mark.parametrize(("recipe", "name"), MODELS)
def test_a_wrong_value_in_a_run_is_refused_and_its_setting_named(
    recipe: str, name: str, command: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = shutil.copytree(request.getfixturevalue(recipe), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    for value in wrong_values(field_of(recipe, name)):
        changed = config | {"settings": config["settings"] | {name: value}}
        (run / "config.json").write_text(json.dumps(changed))
        before = tree(run)
        refused(command("sample", run, "--num", 1), run / "config.json", f"{name}: expected")
        assert tree(run) == before


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_unknown_setting_is_refused_by_name(recipe: str, command: Command, tmp_path: Path) -> None:
    other = "descriptor" if RECIPES[recipe].method.infer else "generator"
    known = {field.name for field in dataclasses.fields(RECIPES[recipe].settings)}
    foreign = {field.name for field in dataclasses.fields(RECIPES[other].settings)} - known
    assert foreign
    for name in ("wings", "sig", "learning_rates", "__class__", *sorted(foreign)):
        option = "--" + name.replace("_", "-")
        refused(command("learn", recipe, "--out", tmp_path / "run", option, 1), option, "--help")
    for word in ("wings", "-x", "\udcff", "two\nlines", ""):
        refused(command("learn", recipe, "--out", tmp_path / "run", word), "--help")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("learn", "generator", "--sigma"),
        ("learn", "generator", "--sigma", "--quiet"),
        ("learn", "\udcff"),
        ("learn", "generator\n"),
        ("sample", "\udcff", "--num", 1),
        ("sample", "two\nlines", "--num", 1),
        ("sample", "r" * 300, "--num", 1),
        ("sample", "", "--num", 1),
        ("report", "r" * 5000),
        ("evaluate", "/dev/null"),
        ("diagnose", "/dev/null/run"),
        ("data", "draw", "drawn-cats", "d", "--num", "1e3"),
        ("data", "draw", "drawn-\udcff", "d"),
    ],
    ids=lambda words: repr(words)[:40],
)
def test_no_word_of_a_command_ends_in_a_traceback(
    arguments: tuple[object, ...], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(command(*arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["\x1b[31mred", "\x07", "\x9b2J", "\u202egnp"], ids=repr)
def test_what_a_terminal_would_obey_is_not_printed(
    word: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in ((word,), ("learn", "generator", "--data", word), ("evaluate", word), ("data", "fetch", word)):
        refused(command(*arguments))
    assert list(tmp_path.iterdir()) == []
