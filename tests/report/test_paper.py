"""Figures for paper: every figure, at a column's or the page's width, with its axes named."""

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from anasyn.data.sources import load
from anasyn.methods import METHODS, DescriptorSettings, GeneratorSettings, Scale, Settings
from anasyn.report import figures, paper
from anasyn.run import Run, advance

METHOD_OF = {method.settings: method.name for method in METHODS}


COMMON: dict[str, Any] = {
    "data": "drawn-cats", "size": 16, "width": 8, "iterations": 3, "num_steps": 4, "precision": "float32",
}  # fmt: skip
CURVES = {"loss", "acceptance_rate", "step_size", "training"}
EXPECTED: list[tuple[Settings, set[str]]] = [
    (
        GeneratorSettings(**COMMON, step_size=0.03, latent_dim=2),
        CURVES | {"mse", "reconstructions", "samples", "interpolation", "latents"},
    ),
    (GeneratorSettings(**COMMON, step_size=0.03, latent_dim=1), CURVES | {"mse", "reconstructions", "samples"}),
    (DescriptorSettings(**COMMON), CURVES | {"energy_gap", "synthesis", "chains", "energy"}),
]


def learned(path: Path, recipe: Settings) -> Run:
    images = load("drawn-cats", 16)
    run = Run.create(path, METHOD_OF[type(recipe)], recipe.resolve(Scale(16, 16, False)), images)
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images):
        pass
    return run


@pytest.fixture(scope="module", params=EXPECTED, ids=["two dimensions", "one dimension", "descriptor"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, set[str]]:
    recipe, expected = request.param
    return learned(tmp_path_factory.mktemp("runs") / "run", recipe), expected


def test_every_figure_is_written_with_its_axes_named(
    case: tuple[Run, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, expected = case
    named: dict[str, tuple[str, str]] = {}
    save = figures.save

    def remember(figure: Figure, path: Path, **options: Any) -> None:
        named[path.stem] = (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel())
        save(figure, path, **options)

    monkeypatch.setattr(figures, "save", remember)
    paths = paper.write(run, "png", tmp_path / "out")
    assert {path.stem for path in paths} == expected
    assert {path.parent for path in paths} == {tmp_path / "out"}
    for path in paths:
        with Image.open(path) as image:
            inches = image.width / image.info["dpi"][0]
            assert image.info["dpi"][0] == pytest.approx(300, rel=1e-3)
        assert inches <= paper.PAGE + 0.01
        assert inches > 0.8 * paper.COLUMN
    assert named["loss"] == ("iteration", "loss")
    assert named["step_size"] == ("iteration", "step size δ")
    if "energy" in expected:
        assert named["energy"] == ("transitions", "energy E(Y)")
        assert named["chains"] == ("transitions", "chains")
    if "latents" in expected:
        assert named["latents"] == named["interpolation"] == ("z₁", "z₂")


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_letters_stay_letters_and_files_have_no_date(form: paper.Format, tmp_path: Path) -> None:
    run = learned(tmp_path / "run", EXPECTED[0][0])
    first = {path.name: path.read_bytes() for path in paper.write(run, form)}
    assert first.keys() == {path.name for path in (run.path / "paper").iterdir()}
    again = {path.name: path.read_bytes() for path in paper.write(run, form, tmp_path / "again")}
    assert first == again
    if form == "svg":
        assert re.search(r"<text[^>]*>iteration</text>", first["loss.svg"].decode())
        assert re.search(r"<text[^>]*>z₁</text>", first["latents.svg"].decode())
    else:
        assert all(content.startswith(b"%PDF") for content in first.values())
        assert b"/FontFile2" in first["loss.pdf"]  # TrueType, not outlines
