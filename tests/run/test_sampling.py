"""What a learned model synthesises, and the plane of z that is shown."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anasyn.data import ImageSet, read_folder, to_float
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.errors import InputError
from anasyn.learning import DescriptorLearner, GeneratorLearner
from anasyn.mcmc.chains import mean_image
from anasyn.methods import METHODS, DescriptorSettings, GeneratorSettings, Scale, Settings
from anasyn.methods.synthesis import synthesize, trajectory
from anasyn.models import Generator
from anasyn.report.plane import latent_plane, panel
from anasyn.rng import derive
from anasyn.run import Run, advance

METHOD_OF = {method.settings: method.name for method in METHODS}


COMMON = {"data": "drawn-cats", "size": 16, "num_steps": 6, "width": 8, "batch_size": 16, "iterations": 2}


def learned(path: Path, recipe: Settings) -> Run:
    from anasyn.data.sources import load

    run = Run.create(
        path / "run", METHOD_OF[type(recipe)], recipe.resolve(Scale(16, 16, False)), load("drawn-cats", 16)
    )
    for _ in advance(run, *run.resume(), run.images()):
        pass
    return run


@pytest.fixture
def generator(tmp_path: Path) -> Run:
    return learned(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, precision="float32", latent_dim=3))


@pytest.fixture
def descriptor(tmp_path: Path) -> Run:
    settings = {**COMMON, "batch_size": 8}
    return learned(
        tmp_path, DescriptorSettings(start="mean", **settings, precision="float32", scale=100.0, chains_per_image=2)
    )


def test_a_generator_s_samples_are_f_of_normal_z(generator: Run) -> None:
    learner = generator.learned()
    assert isinstance(learner, GeneratorLearner)
    z = torch.randn(5, 3, generator=derive(4, "sample"))
    with torch.no_grad():
        assert torch.equal(generator.sample(5, seed=4), learner.model(z))
    assert generator.sample(300, seed=4).shape == (300, 3, 16, 16)
    assert len({float(image.sum()) for image in generator.sample(300, seed=4)}) == 300


def test_a_descriptor_s_samples_are_chains_from_the_images_in_turn(descriptor: Run) -> None:
    learner = descriptor.learned()
    assert isinstance(learner, DescriptorLearner)
    images = to_float(descriptor.images().pixels)
    samples = descriptor.sample(18, seed=4)
    _, synthesized = synthesize(learner, torch.arange(18) % 16, images[torch.arange(18) % 16], rng=derive(4, "sample"))
    assert torch.equal(samples, synthesized)
    assert not torch.equal(samples[0], samples[16])
    # Few steps from the mean colour: each sample is nearest to the start of its own chain.
    assert torch.equal(
        torch.cdist(samples[:16].flatten(1), mean_image(images, torch.Generator()).flatten(1)).argmin(1),
        torch.arange(16),
    )


def test_a_trajectory_goes_from_the_start_to_where_synthesis_ends(descriptor: Run) -> None:
    learner = descriptor.learned()
    assert isinstance(learner, DescriptorLearner)
    before = {name: tensor.clone() for name, tensor in learner.chains.state_dict().items()}
    images = to_float(descriptor.images().pixels[:4])
    index = torch.arange(4)
    start, end = synthesize(learner, index, images, rng=torch.Generator().manual_seed(0))
    frames = trajectory(learner, index, images, num_frames=3, rng=torch.Generator().manual_seed(0))
    assert frames.shape == (4, 4, 3, 16, 16)
    assert torch.equal(frames[0], mean_image(images, torch.Generator()))
    assert torch.equal(frames[0], start)
    assert torch.equal(frames[-1], end)
    moved = (frames[1:] - frames[:1]).square().mean((1, 2, 3, 4))
    assert (moved > 0).all()
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.chains.state_dict().items())
    with pytest.raises(ValueError, match="num_frames: expected a divisor of 6, got 4"):
        trajectory(learner, index, images, num_frames=4, rng=torch.Generator())


def test_the_chains_of_an_image_have_its_own_step_size(descriptor: Run) -> None:
    learner = descriptor.learned()
    assert isinstance(learner, DescriptorLearner)
    images = to_float(descriptor.images().pixels[:4])
    learner.chains.step_sizes = torch.full((32,), 1e-9)
    learner.chains.step_sizes[4] = 0.1  # chain 0 of image 2
    start, end = synthesize(learner, torch.arange(4), images, rng=torch.Generator().manual_seed(0))
    assert ((end - start).abs().amax((1, 2, 3)) > 1e-3).tolist() == [False, False, True, False]


def test_images_that_changed_are_refused(descriptor: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    others = ImageSet(tuple(f"{k}.png" for k in range(16)), draw_cats(drawn_factors(16, seed=1), 16))
    monkeypatch.setattr("anasyn.data.sources.load", lambda *_, **__: others)
    with pytest.raises(InputError, match=r"added 0\.png, 1\.png.* and 8 more, gone .* and 8 more.*--accept-new-data"):
        descriptor.sample(1, seed=0)
    same_names = ImageSet(tuple(descriptor.data().names), others.pixels)
    monkeypatch.setattr("anasyn.data.sources.load", lambda *_, **__: same_names)
    with pytest.raises(InputError, match=rf"changed {same_names.names[0]}, .* and 8 more\)"):
        descriptor.sample(1, seed=0)


# ------------------------------------------------------------------------------------------- the plane


def cloud(n: int, *stds: float) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(n, len(stds), generator=rng, dtype=torch.float64) * torch.tensor(stds, dtype=torch.float64)


def test_two_dimensions_are_shown_as_they_are() -> None:
    z = cloud(9, 1, 1)
    plane = latent_plane(z)
    assert plane.names == ("z₁", "z₂")
    assert torch.equal(plane.coordinates(z), z)
    assert torch.equal(plane.at(z), z)
    assert torch.allclose(latent_plane(z, (2, 1)).coordinates(z), z.flip(1))


def test_more_dimensions_are_shown_along_their_principal_directions() -> None:
    rotation = torch.linalg.qr(cloud(4, 1, 1, 1, 1)).Q
    z = cloud(4000, 0.1, 3, 0.2, 1) @ rotation + 5
    plane = latent_plane(z)
    assert "principal" in plane.names[0]
    assert plane.directions.norm(dim=1).tolist() == pytest.approx([3, 1], rel=0.05)
    along = (plane.directions / plane.directions.norm(dim=1, keepdim=True)) @ rotation.T
    assert along.abs()[0].tolist() == pytest.approx([0, 1, 0, 0], abs=0.05)
    assert along.abs()[1].tolist() == pytest.approx([0, 0, 0, 1], abs=0.05)
    coordinates = plane.coordinates(z)
    assert coordinates.mean(0).abs().max() < 1e-9
    assert coordinates.std(0).tolist() == pytest.approx([1, 1])
    assert torch.allclose(plane.at(torch.zeros(1, 2, dtype=z.dtype))[0], z.mean(0))
    assert torch.allclose(plane.coordinates(plane.at(coordinates)), coordinates)


def test_two_coordinates_of_more_are_shown_where_they_are_asked_for() -> None:
    z = cloud(9, 1, 1, 1)
    plane = latent_plane(z, (3, 1))
    assert plane.names == ("z₃", "z₁")
    assert torch.allclose(plane.coordinates(z), z[:, [2, 0]])
    assert latent_plane(cloud(9, *[1.0] * 12), (10, 12)).names == ("z₁₀", "z₁₂")


@pytest.mark.parametrize("n", [2, 3])
def test_fewer_images_than_dimensions(n: int) -> None:
    z = cloud(n, 1, 1, 1, 1, 1).float()
    plane = latent_plane(z)
    assert plane.at(torch.ones(4, 2)).isfinite().all()
    coordinates = plane.coordinates(z)
    assert coordinates.isfinite().all()
    assert torch.allclose(plane.at(coordinates), z, atol=1e-5)


@pytest.mark.parametrize(("dim", "axes"), [(1, None), (1, (1, 1)), (2, (1, 3)), (2, (2, 2)), (3, (0, 1))])
def test_there_are_no_such_coordinates(dim: int, axes: tuple[int, int] | None) -> None:
    with pytest.raises(InputError, match=r"latent_dim: expected at least 2|--axes: expected two of the coordinates"):
        latent_plane(cloud(5, *[1.0] * dim), axes)


def test_the_panel_is_a_map() -> None:
    class Identity(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z[:, :, None, None]

    model = Generator(Identity(), 2, 0.3)
    shown = panel(model, latent_plane(cloud(3, 1, 1).float()), 3, -2, 2).flatten(1)
    rows = [[(a, b) for a in (-2, 0, 2)] for b in (2, 0, -2)]
    assert shown.tolist() == [list(point) for row in rows for point in row]
    assert panel(model, latent_plane(cloud(3, 1, 1).float()), 20, -2, 2).shape == (400, 2, 1, 1)


def test_a_folder_s_images_are_those_the_run_began_with(tmp_path: Path) -> None:
    from anasyn.data import save_image

    (tmp_path / "data").mkdir()
    for number, image in enumerate(draw_cats(drawn_factors(3), 16)):
        save_image(tmp_path / "data" / f"{number}.png", image)
    settings = {**COMMON, "data": str(tmp_path / "data"), "batch_size": 3}
    recipe = GeneratorSettings(**settings, step_size=0.03, channels="3", precision="float32", latent_dim=2)
    run = Run.create(tmp_path / "run", "generator", recipe, read_folder(tmp_path / "data", 16))
    assert torch.equal(run.images().pixels, draw_cats(drawn_factors(3), 16))
    (tmp_path / "data" / "0.png").rename(tmp_path / "data" / "9.png")  # another order is another data set
    with pytest.raises(InputError, match=r"not those that .* \(added 9\.png, gone 0\.png\); .*--accept-new-data"):
        run.images()
