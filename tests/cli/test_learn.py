"""`anasyn learn`: begin, go on, begin again, and refuse what would spoil a run."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from anasyn import progress
from anasyn.data import reading
from anasyn.recipes import RECIPES

from ..commands import Command, refused, tree
from .small import SMALL


def test_quiet_is_silent(command: Command, cats: Path, tmp_path: Path, no_figures: None) -> None:
    done = command("learn", "descriptor", "--data", cats, "--out", tmp_path / "run", *SMALL, "--quiet")
    assert done == (0, f"{tmp_path / 'run' / 'figures'}\n", "")


def test_quiet_is_silent_about_caching(
    command: Command, cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    for name, options in (("loud", ()), ("quiet", ("--quiet",))):
        monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / name / "cache"))
        done = command("learn", "descriptor", "--data", cats, "--out", tmp_path / name / "run", *SMALL, *options)
        assert done.status == 0
        assert ("caching 6 images" in done.err) == (name == "loud")
    assert done.err == ""


@pytest.mark.parametrize("size", [(), ("--size", 16)], ids=["default size", "size"])
@pytest.mark.parametrize("least", [0, 2**30], ids=["cached", "in memory"])
def test_a_folder_is_listed_once(
    size: tuple[object, ...],
    least: int,
    command: Command,
    cats: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_figures: None,
) -> None:
    """Its entries are read as many times as there are entries, but for the one that shows that it has images."""
    entries: list[str] = []
    scandir = os.scandir

    class Counted:
        def __init__(self, path: object):
            self.found, self.path = scandir(path), os.fspath(path)

        def __enter__(self) -> "Counted":
            return self

        def __exit__(self, *error: object) -> None:
            self.found.close()

        def __iter__(self) -> "Counted":
            return self

        def __next__(self) -> os.DirEntry[str]:
            entry = next(self.found)
            if self.path == str(cats):
                entries.append(entry.name)
            return entry

    monkeypatch.setattr(reading, "LEAST_CACHED", least)
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "scandir", Counted)
    options = ("--width", 8, "--num-steps", 1, "--iterations", 1, *size)
    assert command("learn", "generator", "--data", cats, "--out", tmp_path / "run", *options).status == 0
    assert {*entries} == {path.name for path in cats.iterdir()}
    assert len(entries) == len({*entries}) + 1


def test_the_help_lists_what_each_recipe_is(command: Command) -> None:
    text = " ".join(command("learn", "--help").out.split())
    for name, recipe in RECIPES.items():
        assert f" {name} {recipe.about}" in text


def test_the_help_of_a_recipe_explains_every_setting_in_its_group(command: Command) -> None:
    for name, recipe in RECIPES.items():
        out = command("learn", name, "--help").out
        titles = [line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
        assert titles == ["options", "run", "data", "model", "chains", "learning", "machine"]
        texts = dict(zip(titles, (" ".join(part.split()) for part in split(out, titles)), strict=True))
        for field in dataclasses.fields(recipe.settings):
            text = texts[field.metadata["group"]]
            assert f"--{field.name.replace('_', '-')} " in text
            assert " ".join(field.metadata["meaning"].split()[:3]) in text


def split(text: str, titles: list[str]) -> list[str]:
    """The parts of a text behind each of these titles, which stand in lines of their own."""
    parts = []
    for title in titles:
        text = text.split(f"\n{title}:\n", 1)[1]
        parts.append(text.split("\n\n", 1)[0])
    return parts


def test_the_same_command_does_nothing_to_a_finished_run(command: Command, cats: Path, run: Path) -> None:
    learn = ("learn", "generator", "--data", cats, "--out", run, *SMALL, "--batch-size", 100)
    before = tree(run)
    again = command(*learn)
    assert again.status == 0
    assert "finished at iteration 4; for more, add --iterations N" in again.err
    assert tree(run) == before
    # A course recipe has its own number of iterations: fewer than done do not falsify the record either.
    assert command(*learn, "--iterations", 2).status == 0
    assert tree(run) == before


def test_more_iterations_go_on(command: Command, cats: Path, run: Path) -> None:
    """With new metrics, figures, z and report; the diagnosis and the evaluation are no longer the run's."""
    results = ("diagnosis.json", "evaluation.json")
    for name in results:
        (run / name).write_text("{}")
    before = tree(run)
    done = command("learn", "generator", "--data", cats, "--out", run, *SMALL, "--iterations", 6)
    assert done.status == 0
    assert "going on with" in done.err
    lines = (run / "metrics.jsonl").read_bytes()
    assert lines.startswith(before["metrics.jsonl"])
    assert [json.loads(line)["iteration"] for line in lines.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert json.loads((run / "config.json").read_text())["settings"]["iterations"] == 6
    for changed in ("figures/loss.png", "figures/reconstructions.png", "latents.safetensors", "report.html"):
        assert tree(run)[changed] != before[changed]
    assert not any((run / name).exists() for name in results)


@pytest.mark.parametrize(
    ("option", "value", "then"),
    [
        ("--sigma", 0.2, 0.3),
        ("--seed", 1, 0),
        ("--kernel", "hmc", "mala"),
        ("--size", 32, 16),
        ("--size", "16x32", 16),
        ("--channels", 1, 3),
        ("--network", "my:network", "built-in"),
        ("--batch-size", 3, 6),
        ("--width", 16, 8),
        ("--data", "elsewhere", "cats"),
        ("--fit", "stretch", "crop"),
    ],
)
def test_a_changed_setting_is_refused(
    option: str, value: object, then: object, command: Command, cats: Path, generator: Path
) -> None:
    before = tree(generator)
    done = command("learn", "generator", "--data", cats, "--out", generator, *SMALL, option, value)
    refused(done, option[2:].replace("-", "_") + ": ", value, then, "--overwrite")
    assert tree(generator) == before


def test_another_recipe_in_the_directory_is_refused(command: Command, cats: Path, generator: Path) -> None:
    before = tree(generator)
    refused(command("learn", "descriptor", "--data", cats, "--out", generator), generator, "generator", "descriptor")
    assert tree(generator) == before


def test_a_run_of_another_version_is_refused(command: Command, cats: Path, run: Path) -> None:
    """By the name of the version that wrote it: 0.1.0 knew neither networks of the user's own nor channels."""
    config = json.loads((run / "config.json").read_text())
    config["versions"]["anasyn"] = "0.1.0"
    for new in ("network", "channels"):
        del config["settings"][new]
    (run / "config.json").write_text(json.dumps(config))
    before = tree(run)
    for arguments in (("learn", "generator", "--data", cats, "--out", run), ("evaluate", run), ("report", run)):
        refused(command(*arguments), run / "config.json", "channels: missing", "anasyn 0.1.0 wrote it, and this is ")
        assert tree(run) == before


def test_overwriting_begins_anew_and_spares_what_is_not_the_run_s(
    command: Command, cats: Path, run: Path, no_figures: None
) -> None:
    command("sample", run, "--num", 2)
    for foreign in ("notes.txt", "figures/mine.png", "checkpoints/mine.bin"):
        (run / foreign).write_text("mine")
    samples = tree(run / "samples")
    assert set(samples) == {"00000.png", "00001.png", "grid.png"}
    learn = ("learn", "generator", "--data", cats, "--out", run, *SMALL)
    done = command(*learn, "--overwrite", "--seed", 5, "--iterations", 3)
    assert done.status == 0, done.err
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["00000003", "mine.bin"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((run / "config.json").read_text())["settings"]["seed"] == 5
    for foreign in ("notes.txt", "figures/mine.png", "checkpoints/mine.bin"):
        assert (run / foreign).read_text() == "mine"
    assert tree(run / "samples") == samples


def test_overwriting_with_a_wrong_setting_keeps_the_run(command: Command, tmp_path: Path, generator: Path) -> None:
    before = tree(generator)
    refused(command("learn", "generator", "--data", tmp_path / "no", "--out", generator, "--overwrite"), "is not there")
    assert tree(generator) == before


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("file", ["notes.txt", "config.json"])
def test_a_directory_with_other_files_is_left_alone(
    file: str, overwrite: tuple[str, ...], command: Command, cats: Path, tmp_path: Path
) -> None:
    (tmp_path / file).write_text('{"model": "another program\'s"}')
    refused(command("learn", "generator", "--data", cats, "--out", tmp_path, *SMALL, *overwrite), tmp_path)
    assert tree(tmp_path) == {file: b'{"model": "another program\'s"}'}


def test_a_drawn_set_is_meant_even_where_a_folder_has_its_name(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("data", "draw", "drawn-cats", "drawn-cats", "--num", 3, "--size", 16) == (0, "drawn-cats\n", "")
    for _ in range(2):
        done = command("learn", "drawn-cats", *SMALL)
        assert done.status == 0, done.err
        assert "16 images from drawn-cats" in done.err
    relative = command("learn", "generator", "--data", "./drawn-cats", "--out", "own", *SMALL)
    assert f"3 images from {tmp_path / 'drawn-cats'}" in relative.err
    monkeypatch.chdir(tmp_path / "own")
    assert command("reconstruct", ".").status == 0


def test_a_bad_file_among_good_ones_is_named(command: Command, cats: Path, tmp_path: Path, no_figures: None) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    for name, content in tree(cats).items():
        (data / name).write_bytes(content)
    (data / "bad\n.png").write_text("no image")
    learn = ("learn", "generator", "--data", data, "--out", run, *SMALL, "--quiet")
    refused(command(*learn, "--strict"), r"bad\n.png", "not an image")
    assert not run.exists()
    done = command(*learn)
    assert done.status == 0
    assert done.err.startswith(r"warning: bad\n.png: not an image of a known format")
    assert done.err.count("\n") == 1
    assert json.loads((run / "config.json").read_text())["data"]["num_images"] == 6


def test_more_images_an_iteration_than_there_are(
    command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    learn = ("learn", "descriptor", "--data", cats, "--out", tmp_path / "run", *SMALL, "--batch-size", 1000)
    assert command(*learn).status == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["batch_size"] == 6
    assert command(*learn).status == 0  # the same command again is no changed setting


def test_one_latent_dimension_has_no_panel(command: Command, cats: Path, tmp_path: Path) -> None:
    learn = ("learn", "generator", "--data", cats, "--out", tmp_path, *SMALL, "--latent-dim", 1)
    assert command(*learn).status == 0
    drawn = {"training.png", "loss.png", "reconstructions.png", "samples.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == drawn
    refused(command("interpolate", tmp_path), "latent_dim", "at least 2")
    refused(command("interpolate", tmp_path, "--axes", 1, 1), "latent_dim", "at least 2")


def test_a_run_is_logged_to_a_service(command: Command, cats: Path, tmp_path: Path, no_figures: None) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'anasyn[tensorboard]' to have this tested")
    learn = ("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL, "--quiet")
    assert command(*learn, "--log", "tensorboard").status == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.*"))
