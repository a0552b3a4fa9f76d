"""The figures of a run show what was learned: the numbers that reach the drawing functions."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from anasyn.data import ImageSet, to_uint8
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.data.sources import load
from anasyn.errors import InputError
from anasyn.methods import METHODS, DescriptorSettings, GeneratorSettings, Scale, Settings
from anasyn.report import figures, gallery
from anasyn.report.film import frame_steps
from anasyn.report.plane import latent_plane
from anasyn.run import Run, advance

METHOD_OF = {method.settings: method.name for method in METHODS}


COMMON: dict[str, Any] = {
    "data": "drawn-cats", "size": 16, "width": 8, "batch_size": 16, "iterations": 2, "precision": "float32",
}  # fmt: skip


def learned(path: Path, recipe: Settings, images: ImageSet | None = None) -> tuple[Run, Any, ImageSet]:
    images = images or load("drawn-cats", 16)
    run = Run.create(path / "run", METHOD_OF[type(recipe)], recipe.resolve(Scale(len(images), 16, False)), images)
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images):
        pass
    return run, learner, images


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """What every figure was made of; the figures themselves are drawn none the less."""
    calls: dict[str, tuple[Any, ...]] = {}

    def record(name: str) -> None:
        make = getattr(figures, name)

        def made(*arguments: Any) -> Any:
            calls[name] = arguments
            return make(*arguments)

        monkeypatch.setattr(figures, name, made)

    for name in ("grid", "reconstructions", "interpolation", "latents", "synthesis", "strip", "loss"):
        record(f"{name}_figure")
    return calls


def test_the_figures_of_a_generator(tmp_path: Path, seen: dict[str, tuple[Any, ...]]) -> None:
    run, learner, images = learned(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, num_steps=2, latent_dim=2))
    paths = gallery.write(run, learner, images)
    names = ["training", "loss", "reconstructions", "samples", "interpolation", "latents"]
    assert paths == [run.path / "figures" / f"{name}.png" for name in names]
    assert all(path.stat().st_size > 1000 for path in paths)

    z = learner.chains.positions
    with torch.no_grad():
        reconstructions = to_uint8(learner.model(z))
        corner = to_uint8(learner.model(torch.tensor([[-2.0, 2.0]])))[0]
    observed, shown = seen["reconstructions_figure"]
    assert torch.equal(observed, images.pixels)
    assert torch.equal(shown, reconstructions)
    panel, low, high, points, axis_names = seen["interpolation_figure"]
    assert (len(panel), low, high, points, axis_names) == (64, -2, 2, 8, ("z₁", "z₂"))
    assert (panel[0].int() - corner.int()).abs().max() <= 1
    assert torch.allclose(seen["latents_figure"][0], z)
    assert len(seen["grid_figure"][0]) == 64  # the last grid is that of the samples
    assert [line["iteration"] for line in seen["loss_figure"][0]] == [1, 2]
    assert torch.equal(run.latents(), z)


def test_of_many_dimensions_the_principal_directions_are_shown(
    tmp_path: Path, seen: dict[str, tuple[Any, ...]]
) -> None:
    run, learner, images = learned(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, num_steps=2, latent_dim=6))
    gallery.write(run, learner, images)
    plane = latent_plane(learner.chains.positions)
    assert seen["interpolation_figure"][4] == ("1st principal direction", "2nd principal direction")
    assert seen["latents_figure"][2] == ("1st principal direction", "2nd principal direction")
    assert torch.allclose(seen["latents_figure"][0], plane.coordinates(learner.chains.positions))
    with torch.no_grad():
        corner = to_uint8(learner.model(plane.at(torch.tensor([[-2.0, 2.0]]))))[0]
    assert (seen["interpolation_figure"][0][0].int() - corner.int()).abs().max() <= 1

    gallery.interpolate(run, 3, -1, 1, (6, 2))
    panel, *square = seen["interpolation_figure"]
    assert (len(panel), *square) == (9, -1, 1, 3, ("z₆", "z₂"))
    z = torch.tensor([[0, 1.0, 0, 0, 0, -1.0]])
    with torch.no_grad():
        assert (panel[0].int() - to_uint8(learner.model(z))[0].int()).abs().max() <= 1


def test_one_dimension_has_no_panel(tmp_path: Path, seen: dict[str, tuple[Any, ...]]) -> None:
    run, learner, images = learned(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, num_steps=2, latent_dim=1))
    assert [path.stem for path in gallery.write(run, learner, images)] == [
        "training", "loss", "reconstructions", "samples",
    ]  # fmt: skip
    assert not {"interpolation_figure", "latents_figure"} & seen.keys()
    with pytest.raises(InputError, match="latent_dim: expected at least 2"):
        gallery.interpolate(run, 8, -2, 2)


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_many_images(latent_dim: int, tmp_path: Path, seen: dict[str, tuple[Any, ...]]) -> None:
    pixels = draw_cats(drawn_factors(20), 16).repeat(30, 1, 1, 1)
    images = ImageSet(tuple(f"{k}.png" for k in range(600)), pixels)
    run, learner, _ = learned(
        tmp_path, GeneratorSettings(**COMMON, step_size=0.03, num_steps=1, latent_dim=latent_dim), images
    )
    gallery.write(run, learner, images)
    assert seen["latents_figure"][0].shape == (600, 2)
    assert run.latents().shape == (600, latent_dim)
    assert len(run.data().names) == 600


@pytest.mark.parametrize(
    ("num_steps", "steps"),
    [(1, [0, 1]), (7, [0, 1, 2, 3, 4, 5, 6, 7]), (30, list(range(0, 31, 3))), (11, [0, 11])],
)
def test_the_figures_of_a_descriptor(
    num_steps: int, steps: list[int], tmp_path: Path, seen: dict[str, tuple[Any, ...]]
) -> None:
    recipe = DescriptorSettings(start="mean", **COMMON, num_steps=num_steps, scale=100.0)
    run, learner, images = learned(tmp_path, recipe)
    paths = gallery.write(run, learner, images)
    assert [path.stem for path in paths] == ["training", "loss", "synthesis", "chains"]
    starts, synthesized, observed = seen["synthesis_figure"]
    assert torch.equal(observed, images.pixels)
    assert starts.shape == synthesized.shape == observed.shape
    assert (starts.float().std((2, 3)) < 1e-3).all()  # mean colours
    assert (starts.float().mean((2, 3)) - observed.float().mean((2, 3))).abs().max() < 0.6
    assert not torch.equal(starts, synthesized)
    frames, shown = seen["strip_figure"]
    assert shown == steps
    assert frames.shape == (len(steps), 8, 3, 16, 16)
    assert torch.equal(frames[0], starts[:8])


def test_of_a_large_set_the_same_images_stand_in_each_row(tmp_path: Path, seen: dict[str, tuple[Any, ...]]) -> None:
    pixels = draw_cats(drawn_factors(90), 16)
    images = ImageSet(tuple(f"{k}.png" for k in range(90)), pixels)
    run, learner, _ = learned(tmp_path, DescriptorSettings(start="mean", **COMMON, num_steps=1, scale=1.0), images)
    gallery.write(run, learner, images)
    starts, _, observed = seen["synthesis_figure"]
    assert len(observed) == gallery.SHOWN
    assert torch.equal(observed[0], pixels[0])
    assert torch.equal(observed[-1], pixels[-1])
    assert (starts.float().mean((2, 3)) - observed.float().mean((2, 3))).abs().max() < 0.6


def test_the_same_run_gives_the_same_figures(tmp_path: Path) -> None:
    def drawn(recipe: Settings) -> list[bytes]:
        run, learner, images = learned(tmp_path / type(recipe).__name__, recipe)
        first = [path.read_bytes() for path in gallery.write(run, learner, images)]
        assert [path.read_bytes() for path in gallery.write(run, run.learned(), images)] == first
        return first

    for recipe in (
        GeneratorSettings(**COMMON, step_size=0.03, num_steps=1, latent_dim=3),
        DescriptorSettings(start="mean", **COMMON, num_steps=2, scale=1.0),
    ):
        (tmp_path / type(recipe).__name__).mkdir()
        assert len(drawn(recipe)) >= 4


def test_frames_are_equally_spaced_and_as_many_as_fit() -> None:
    for num_steps in range(1, 60):
        steps = frame_steps(num_steps, 10)
        assert (steps[0], steps[-1]) == (0, num_steps)
        assert len({b - a for a, b in pairwise(steps)}) == 1
        assert len(steps) - 1 == max(k for k in range(1, 11) if num_steps % k == 0)
    assert frame_steps(0, 10) == [0]
