"""Run directories with parts missing, of another version, of another model, or with anything else in their files."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anasyn.errors import InputError
from anasyn.run import Run

from ..commands import Command, refused, tree
from .small import SMALL

DEEP = "[" * 100_000  # beyond what Python's parser nests
LONG = "9" * 5000  # beyond the digits that Python makes an integer of


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Something else in config.json."""

    def damage(run: Path) -> None:
        content = json.loads((run / "config.json").read_text())
        change(content)
        (run / "config.json").write_text(json.dumps(content))

    return damage


def text(file: str, content: str | bytes) -> Callable[[Path], None]:
    """Another content altogether."""

    def damage(run: Path) -> None:
        (run / file).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def replaced(file: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something there that is no file."""

    def damage(run: Path) -> None:
        (run / file).unlink()
        make(run / file)

    return damage


def gone(file: str) -> Callable[[Path], None]:
    return lambda run: (run / file).unlink()


def line(content: str | bytes) -> Callable[[Path], None]:
    """One line more in metrics.jsonl, and a whole one behind it."""

    def damage(run: Path) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        with (run / "metrics.jsonl").open("ab") as file:
            file.write(raw + b"\n" + (run / "metrics.jsonl").read_bytes().splitlines()[0] + b"\n")

    return damage


CONFIG: dict[str, Callable[[Path], None]] = {
    "gone": gone("config.json"),
    "empty": text("config.json", ""),
    "cut": lambda run: os.truncate(run / "config.json", 200),
    "zeros": text("config.json", bytes(500)),
    "no text": text("config.json", b"\xff\xfe{}"),
    "nested too deep": text("config.json", DEEP),
    "a number too long": text("config.json", f'{{"recipe": "generator", "settings": {{"seed": {LONG}}}}}'),
    "a list": text("config.json", "[]"),
    "null": text("config.json", "null"),
    "a number": text("config.json", "7"),
    "a word": text("config.json", '"generator"'),
    "another program's": text("config.json", '{"model_type": "bert", "hidden_size": 768}'),
    "a folder": replaced("config.json", Path.mkdir),
    "a pipe": replaced("config.json", os.mkfifo),
    "a link to itself": replaced("config.json", lambda path: path.symlink_to(path)),
    "no recipe": config(lambda content: content.pop("recipe")),
    "a recipe that is not known": config(lambda content: content.update(recipe="dragon")),
    "a recipe that is null": config(lambda content: content.update(recipe=None)),
    "a recipe that is a list": config(lambda content: content.update(recipe=["generator"])),
    "no settings": config(lambda content: content.pop("settings")),
    "settings that are a list": config(lambda content: content.update(settings=[])),
    "settings that are null": config(lambda content: content.update(settings=None)),
    "a setting of a later version": config(lambda content: content["settings"].update(wings=2)),
    "a setting fewer, as in an earlier version": config(lambda content: content["settings"].pop("learning_rate")),
    "an open setting": config(lambda content: content["settings"].update(size=None)),
    "a setting that is not a number": config(lambda content: content["settings"].update(step_size=float("nan"))),
}

DATA: dict[str, Callable[[Path], None]] = {
    "gone": gone("data.json"),
    "empty": text("data.json", ""),
    "cut": lambda run: os.truncate(run / "data.json", 40),
    "no text": text("data.json", b'{"names": ["\xff"], "digests": ["a"]}'),
    "nested too deep": text("data.json", DEEP),
    "a list": text("data.json", "[]"),
    "null": text("data.json", "null"),
    "nothing in it": text("data.json", "{}"),
    "names that are a number": text("data.json", '{"names": 7, "digests": []}'),
    "names that are numbers": text("data.json", '{"names": [7], "digests": ["a"]}'),
    "more names than digests": text("data.json", '{"names": ["a", "b"], "digests": ["a"]}'),
    "no names": text("data.json", '{"names": [], "digests": []}'),
    "a folder": replaced("data.json", Path.mkdir),
}

METRICS: dict[str, Callable[[Path], None]] = {
    "no JSON": line("iteration 3: fine}"),
    "no text": line(b'{"iteration": 3, "loss": "\xff"}'),
    "nested too deep": line('{"a":' * 100_000 + "1" + "}" * 100_000),
    "a number too long": line(f'{{"iteration": {LONG}}}'),
    "no iteration": line('{"loss": 1.0}'),
    "an iteration that is a word": line('{"iteration": "three", "loss": 1.0}'),
    "an iteration that is null": line('{"iteration": null, "loss": 1.0}'),
}


def commands(run: Path, data: Path, model: str) -> dict[str, tuple[object, ...]]:
    """Whatever reads a run."""
    return {
        "learn": ("learn", model, "--data", data, "--out", run, *SMALL),
        "sample": ("sample", run, "--num", 1),
        "evaluate": ("evaluate", run),
        "diagnose": ("diagnose", run),
        "report": ("report", run, "--out", run.parent / "report.html"),
        **({"reconstruct": ("reconstruct", run), "interpolate": ("interpolate", run)} if model == "generator" else {}),
    }


def assert_each_refuses(command: Command, run: Path, told: dict[str, tuple[object, ...]], *words: object) -> None:
    """Every command, and nothing in the run is another byte than before."""
    before = tree(run)
    for arguments in told.values():
        refused(command(*arguments), *words)
        assert tree(run) == before, arguments[0]


@pytest.mark.parametrize("name", CONFIG)
def test_a_run_without_its_settings_is_refused(
    name: str, command: Command, good: Path, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    CONFIG[name](run)
    said = "not the settings of a run" if (run / "config.json").is_file() else "no run here (no config.json)"
    told = commands(run, good, "generator")
    assert_each_refuses(command, run, {"learn": told.pop("learn")}, run)
    assert_each_refuses(command, run, told, run, said)


@pytest.mark.parametrize("name", DATA)
def test_a_run_without_the_list_of_its_images_is_refused(
    name: str, command: Command, good: Path, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    DATA[name](run)
    assert_each_refuses(command, run, commands(run, good, "generator"), run / "data.json")


@pytest.mark.parametrize("name", METRICS)
def test_metrics_that_are_none_are_refused(
    name: str, command: Command, good: Path, generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anasyn.report.diagnosis.write", lambda run: None)  # it takes long
    run = shutil.copytree(generator, tmp_path / "run")
    METRICS[name](run)
    (run / "report.html").unlink()  # without it a run is not finished, and is gone on with
    told = commands(run, good, "generator")
    assert_each_refuses(command, run, {name: told[name] for name in ("learn", "report")}, run / "metrics.jsonl")


@pytest.mark.parametrize(
    "content", ["", "{}}", "null", "[]", "7", DEEP, b"\xff", LONG], ids=lambda text: repr(text[:3])
)
def test_a_diagnosis_that_is_none_is_named(content: str | bytes, generator: Path, tmp_path: Path) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    text("diagnosis.json", content)(run)
    with pytest.raises(InputError) as error:
        Run.open(run).diagnosis()
    assert str(run / "diagnosis.json") in str(error.value)


NO_MEASURES = ("{}", '{"iteration": 4}', '{"iteration": 4, "measures": []}', '{"measures": {}}',
               '{"iteration": 4, "data": 7, "measures": {}}')  # fmt: skip
MEASURE = '{"iteration": 4, "measures": {"swd": %s}}'
NO_MEASURE = ("7", "{}", '{"value": 1.0}', '{"protocol": ""}', '{"value": "1", "protocol": ""}',
              '{"value": 1.0, "protocol": 7}')  # fmt: skip


@pytest.mark.parametrize(
    "content", ["", "null", "[]", DEEP, b"\xff", *NO_MEASURES, *(MEASURE % each for each in NO_MEASURE)],
    ids=lambda text: repr(text[:60]),
)  # fmt: skip
def test_an_evaluation_that_is_none_is_named(content: str | bytes, generator: Path, tmp_path: Path) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    text("evaluation.json", content)(run)
    with pytest.raises(InputError, match="run the command again") as error:
        Run.open(run).evaluation()
    assert str(run / "evaluation.json") in str(error.value)


def test_a_last_line_of_metrics_that_was_cut_off_is_no_fault(
    command: Command, good: Path, generator: Path, tmp_path: Path, no_figures: None
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 3, "lo')
    done = command("learn", "generator", "--data", good, "--out", run, *SMALL, "--iterations", 4)
    assert (done.status, done.err) == (0, "")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(each)["iteration"] for each in lines] == [1, 2, 3, 4]


def test_a_run_of_the_other_model_is_refused(command: Command, good: Path, generator: Path, descriptor: Path) -> None:
    for run, other in ((generator, "descriptor"), (descriptor, "generator")):
        told = commands(run, good, other)
        assert_each_refuses(command, run, {"learn": told["learn"]}, run, run.name, other, "another --out")
    told = commands(descriptor, good, "generator")
    words = ("holds a descriptor", "expected a run of generator")
    assert_each_refuses(command, descriptor, {name: told[name] for name in ("reconstruct", "interpolate")}, *words)


def test_settings_of_one_model_over_the_other_s_checkpoints_are_refused(
    command: Command, good: Path, generator: Path, descriptor: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    (run / "config.json").write_bytes((descriptor / "config.json").read_bytes())
    told = commands(run, good, "descriptor")
    assert_each_refuses(
        command, run, {name: told[name] for name in ("sample", "evaluate", "learn")}, run / "checkpoints"
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 16), ("latent_dim", 3), ("size", 32), ("optimizer", "sgd"), ("guard", "off")],
)
def test_a_checkpoint_of_other_settings_is_refused(
    setting: str, value: object, command: Command, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    config(lambda content: content["settings"].update({setting: value}))(run)
    assert_each_refuses(command, run, {"sample": ("sample", run, "--num", 1)}, run / "checkpoints" / "00000002")


@pytest.mark.parametrize("part", [None, "checkpoints", "checkpoints/00000001"])
def test_a_run_in_which_nothing_is_learned_yet_says_so(
    part: str | None, command: Command, good: Path, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").unlink()  # with metrics there would be something to report
    told = commands(run, good, "generator")
    del told["learn"]
    if part:
        (run / part).parent.mkdir(exist_ok=True)
        (run / part).write_text("a file")
        told = {"sample": told["sample"]}
    assert_each_refuses(command, run, told, run, "nothing learned yet")


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800", "", "no-such-set", "../elsewhere"], ids=repr)
def test_data_that_cannot_be_anywhere_are_refused(
    value: str, command: Command, generator: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(generator, tmp_path / "run")
    config(lambda content: content["settings"].update(data=value))(run)
    assert_each_refuses(command, run, {"evaluate": ("evaluate", run), "reconstruct": ("reconstruct", run)})


def test_paths_that_are_no_text_work_or_are_refused(
    command: Command, folder: Path, tmp_path: Path, no_figures: None
) -> None:
    data = folder.rename(os.fsdecode(os.fsencode(tmp_path) + b"/data\xff"))
    for out in (tmp_path / "run", Path(os.fsdecode(os.fsencode(tmp_path) + b"/run\xff"))):
        done = command("learn", "generator", "--data", data, "--out", out, *SMALL)
        if done.status == 0:
            assert command("sample", out, "--num", 1).status == 0
        else:
            refused(done)
            assert not out.exists()
