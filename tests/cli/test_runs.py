"""What can be done with a finished run: samples, reconstructions, panels, measures, diagnoses, reports and figures."""

import html
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from anasyn.data import read_folder, to_float
from anasyn.run import Run

from ..commands import Command, refused, tree, warned

pytestmark = pytest.mark.usefixtures("coarse_distances")


def pixels(folder: Path) -> torch.Tensor:
    return to_float(read_folder(folder, 16).pixels)


def test_sampling_writes_images_that_follow_from_the_seed(command: Command, generator: Path, tmp_path: Path) -> None:
    def sampled(name: str, *options: object) -> dict[str, bytes]:
        assert command("sample", generator, "--num", 12, "--out", tmp_path / name, *options) == (
            0,
            f"{tmp_path / name}\n",
            "",
        )
        return tree(tmp_path / name)

    first = sampled("a")
    assert list(first) == [f"{k:05d}.png" for k in range(12)] + ["grid.png"]
    assert sampled("b", "--seed", 0) == first
    other = sampled("c", "--seed", 1)
    assert all(other[name] != first[name] for name in first)
    assert len(set(first.values())) == 13
    assert pixels(tmp_path / "a").shape == (13, 3, 16, 16)


def test_a_descriptor_s_samples_follow_from_the_seed(command: Command, descriptor: Path, tmp_path: Path) -> None:
    contents = []
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        command("sample", descriptor, "--num", 8, "--seed", seed, "--out", tmp_path / name)
        contents.append(tree(tmp_path / name))
    assert contents[0] == contents[1]
    assert all(contents[0][name] != contents[2][name] for name in contents[0])
    assert contents[0]["00000.png"] != contents[0]["00006.png"]  # the same start, another chain


def test_fewer_samples_leave_none_of_the_last_call(command: Command, generator: Path) -> None:
    for num in (3, 2):
        command("sample", generator, "--num", num)
    assert sorted(path.name for path in (generator / "samples").iterdir()) == ["00000.png", "00001.png", "grid.png"]


def test_reconstructing_prints_the_error_of_what_it_writes(
    command: Command, cats: Path, generator: Path, tmp_path: Path
) -> None:
    done = command("reconstruct", generator, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    images = read_folder(cats, 16)
    assert list(result["images"]) == list(images.names)
    assert "<script>.png" in result["images"]
    assert result["num_images"] == 6
    errors = (to_float(images.pixels) - pixels(tmp_path / "out")).square().mean((1, 2, 3))
    assert list(result["images"].values()) == pytest.approx(errors.tolist(), abs=2e-3)  # written in 256 levels
    assert result["mse"] == pytest.approx(errors.mean().item(), abs=2e-3)
    assert command("reconstruct", generator).out == done.out


def test_reconstructing_other_images(command: Command, generator: Path, tmp_path: Path) -> None:
    command("data", "draw", "drawn-cats", tmp_path / "other", "--num", 3, "--size", 24, "--seed", 9)
    (tmp_path / "other" / "bad.png").write_text("no image")
    done = command("reconstruct", generator, "--data", tmp_path / "other")
    assert json.loads(done.out)["num_images"] == 3
    assert done.err.startswith("warning: bad.png: ")
    refused(command("reconstruct", generator, "--data", tmp_path / "none"), tmp_path / "none")


def test_interpolating_draws_what_is_asked_for(command: Command, generator: Path) -> None:
    figure = generator / "figures" / "interpolation.png"
    drawn = {}
    for options in [(), ("--points", 3), ("--low", -1, "--high", 1), ("--axes", 2, 1), ("--axes", 1, 2)]:
        assert command("interpolate", generator, *options) == (0, f"{figure}\n", "")
        drawn[options] = figure.read_bytes()
    assert drawn[()] == drawn["--axes", 1, 2]
    assert len(set(drawn.values())) == 4
    assert command("interpolate", generator, "--points", 1).status == 0


COMPARED = {"swd", "kid", "precision", "recall", "density", "neighbourhood_coverage"}
OF_SAMPLES = COMPARED | {"coverage_mse", "nearest_training_mse", "saturated_share"}
LIKELIHOOD = {"log_likelihood", "bits_per_dimension", "log_likelihood_bracket", "log_likelihood_ess"}
NORMALIZER = {"log_likelihood", "bits_per_dimension", "log_normalizer", "log_normalizer_bracket"}
MEASURES = {
    "generator": OF_SAMPLES | {"training_mse", "training_psnr", "z_max", "z_mean_square"} | LIKELIHOOD,
    "descriptor": OF_SAMPLES | {"acceptance_rate", "pixel_max"} | NORMALIZER,
}
HELD_OUT = {"generator": {"held_out_mse", "held_out_psnr"}, "descriptor": set[str]()}


@pytest.mark.parametrize("model", ["generator", "descriptor"])
def test_evaluating_prints_one_json_object(
    model: str, command: Command, cats: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """And keeps it for the report."""
    run = shutil.copytree(request.getfixturevalue(model), tmp_path / "run")
    done = command("evaluate", run)
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    assert set(result) == MEASURES[model]
    for measure in result.values():
        assert set(measure) - {"standard_error", "warning"} == {"value", "protocol"}
        assert isinstance(measure["value"], float)
    assert result["kid"]["standard_error"] > 0
    assert Run.open(run).evaluation() == {"iteration": 4, "data": None, "measures": result}
    again = command("evaluate", run, "--data", cats)
    warned(again, "memorisation left out")  # since the held-out images are the training images
    more = json.loads(again.out)
    assert set(more) == MEASURES[model] | HELD_OUT[model] | {f"held_out_{name}" for name in COMPARED}
    # The likelihood is that of held-out images if there are any, and depends on the time left.
    kept = result.keys() - LIKELIHOOD - NORMALIZER
    assert {name: more[name] for name in kept} == {name: result[name] for name in kept}
    for name in COMPARED:
        assert more[f"held_out_{name}"]["value"] == result[name]["value"]  # the same images
    assert Run.open(run).evaluation() == {"iteration": 4, "data": str(cats), "measures": more}


def test_evaluating_on_held_out_images(command: Command, run: Path, tmp_path: Path) -> None:
    """Of any size, and grey, but not a single one."""
    folder = tmp_path / "held out"
    command("data", "draw", "drawn-cats", folder, "--num", 6, "--size", 24, "--seed", 9)
    for path in sorted(folder.iterdir())[:3]:
        with Image.open(path) as image:
            image.convert("L").resize((40, 30)).save(path)
    done = command("evaluate", run, "--data", folder)
    assert (done.status, done.err) == (0, "")
    measures = json.loads(done.out)
    assert {"held_out_kid", "held_out_mse", "memorisation"} <= set(measures)
    assert "6 held-out images that are no training images" in measures["memorisation"]["protocol"]
    assert "training images" in measures["memorisation"]["meaning"]
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    refused(command("evaluate", run, "--data", folder), folder, "only 1 usable image", "at least 2 are needed")


def test_evaluating_in_a_feature_space_of_ones_own(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_features.py").write_text("from torch import nn\n\n\ndef flat():\n    return nn.Flatten()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    measures = json.loads(command("evaluate", run, "--features", "own_features:flat").out)
    assert "by 768 features of own_features:flat" in measures["precision"]["protocol"]
    refused(command("evaluate", run, "--features", "own_features:none"), "features: ", "cannot be imported")
    refused(command("evaluate", run, "--features", "inception"), "features: expected random, pixels or package")


def test_the_likelihood_is_of_held_out_images_where_there_are_any(command: Command, cats: Path, run: Path) -> None:
    for options, which in [((), "training images"), (("--data", cats), "held-out images")]:
        result = json.loads(command("evaluate", run, "--fast", *options).out)
        for name in ("log_likelihood", "bits_per_dimension", "log_likelihood_ess"):
            assert f"6 {which}" in result[name]["protocol"]
        assert "simulated" in result["log_likelihood_bracket"]["protocol"]
        told = [name for name in result if "warning" in result[name]]
        trusted = "Trusted" in result["log_likelihood"]["protocol"]
        assert trusted == (not told)  # never a number without its verdict


@pytest.mark.parametrize("model", ["generator", "descriptor"])
def test_a_diagnosis_is_told_kept_and_reported(
    model: str, command: Command, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(request.getfixturevalue(model), tmp_path / "run")
    told = command("diagnose", run)
    assert (told.status, told.err) == (0, "")
    kept = json.loads((run / "diagnosis.json").read_text())
    assert ("inference" in kept, "synthesis" in kept) == (model == "generator", model == "descriptor")
    assert told.out.startswith(kept["verdict"])
    assert all(reason in told.out for reason in kept["reasons"])
    assert all(name in told.out for name in kept.get("inference", {}).get("names", ()))
    assert (run / "figures" / "long_run.png").exists() == (model == "descriptor")
    (run / "diagnosis.json").unlink()
    command("report", run)  # diagnoses a run that has no diagnosis: from the same seed the same
    assert json.loads((run / "diagnosis.json").read_text()) == kept
    assert f"Verdict: {html.escape(kept['verdict'])}" in (run / "report.html").read_text()
    monkeypatch.setattr("anasyn.report.diagnosis.write", lambda run: kept)
    assert json.loads(command("diagnose", run, "--json").out) == kept


def test_the_report_of_several_runs(
    command: Command, generator: Path, descriptor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anasyn.report.diagnosis.write", lambda run: None)  # tested above
    out = tmp_path / "report.html"
    assert command("report", generator, descriptor, "--out", out) == (0, f"{out}\n", "")
    assert "<h1>2 runs compared</h1>" in out.read_text()
    assert out.read_text().count("<article id=") == 2
    assert command("report", descriptor) == (0, f"{descriptor / 'report.html'}\n", "")
    assert (descriptor / "report.html").read_text().count("<h1>") == 1


@pytest.mark.parametrize(("form", "options"), [("pdf", ()), ("png", ("--format", "png"))])
def test_figures_for_paper_are_written(
    form: str, options: tuple[str, ...], command: Command, generator: Path, tmp_path: Path
) -> None:
    figures = ("figures", generator, *options, "--out", tmp_path / "paper")
    done = command(*figures)
    assert done.status == 0
    paths = [Path(line) for line in done.out.splitlines()]
    assert {path.stem for path in paths} >= {"training", "reconstructions", "interpolation", "loss"}
    assert all(path.suffix == f".{form}" and path.stat().st_size > 1000 for path in paths)
    refused(command(*figures), "paper", "empty")
