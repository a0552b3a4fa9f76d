"""Textures by the ordinary commands: one image file, samples of any size, periodic ones without a seam."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import save_image, to_uint8
from anasyn.errors import InputError
from anasyn.methods import Scale, TextureSettings
from anasyn.methods.texture import view
from anasyn.models.stationary import field_of_view
from anasyn.run import Run

from ..commands import Command, assert_same_run, refused, tree
from ..planting import plant

SMALL = ("--size", 32, "--width", 8, "--num-steps", 2, "--levels", 3, "--iterations", 3, "--quiet")


def drawn(path: Path, height: int = 64, width: int = 80) -> Path:
    """Dark discs, at random places on a bright ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    discs = [(y - a) ** 2 + (x - b) ** 2 < 9 for a, b in rng.uniform(0, (height, width), (height * width // 80, 2))]
    image = np.where(np.any(discs, 0), 60, 200) + rng.normal(0, 8, (height, width))
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("photograph") / "discs.png")


@pytest.fixture
def run(command: Command, photograph: Path, tmp_path: Path, no_figures: None) -> Path:
    done = command("learn", "texture", "--data", photograph, "--out", tmp_path / "run", *SMALL)
    assert done.status == 0, done.err
    return tmp_path / "run"


def shapes(folder: Path) -> list[tuple[int, ...]]:
    return [np.asarray(Image.open(file)).shape for file in sorted(folder.glob("0*.png"))]


def test_samples_have_any_size(command: Command, run: Path) -> None:
    assert command("sample", run, "--num", 3).status == 0
    assert shapes(run / "samples") == [(32, 32)] * 3
    assert command("sample", run, "--num", 2, "--size", "50x75").status == 0
    assert shapes(run / "samples") == [(50, 75)] * 2
    assert command("sample", run, "--num", 1, "--size", "48x64", "--periodic").status == 0
    assert shapes(run / "samples") == [(48, 64)]
    assert command("sample", run, "--num", 1, "--periodic").status == 0
    assert shapes(run / "samples") == [(32, 32)]


def test_the_same_seed_gives_the_same_texture(run: Path) -> None:
    one, other = (Run.open(run).sample(1, seed=5, size=(40, 48)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, Run.open(run).sample(1, seed=6, size=(40, 48)))


def has_seam(run: Path, *, periodic: bool) -> bool:
    """Whether the mean square step across a border, in either direction, is another than across the lines of the grid.

    Between these lines, steps are others: the network is the same under moves by the grid only.
    """
    grid = 1 << Run.open(run).settings.scales
    images = Run.open(run).sample(32, seed=0, size=(32, 48), periodic=periodic)[:, 0]
    steps = [(images.roll(-1, axis) - images).square().mean((0, 3 - axis)) for axis in (1, 2)]
    return any(abs((each[-1] / each[grid - 1 : -1 : grid].mean()).log()) > 0.3 for each in steps)


def test_periodic_textures_have_no_seam(
    command: Command, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As learned as it takes for neighbours to be alike; images that are cut out of a torus have seams."""
    clouds = torch.randn(1, 1, 76, 92, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        clouds = torch.nn.functional.avg_pool2d(clouds, 5, 1)
    save_image(tmp_path / "clouds.png", to_uint8(0.4 * clouds[0] / clouds.std()))
    more = ("--levels", 6, "--num-steps", 4, "--iterations", 60, "--learning-rate", 0.01, "--batch-size", 4)
    learn = ("learn", "texture", "--data", tmp_path / "clouds.png", "--out", tmp_path / "run")
    assert command(*learn, *SMALL, *more).status == 0
    assert not has_seam(tmp_path / "run", periodic=True)
    assert has_seam(tmp_path / "run", periodic=False)
    fault = {"(-(-(side + margin) // grid) * grid for side in size)": "(size[0], size[1] + 4 * grid)"}
    plant(monkeypatch, "anasyn.learning.texture:TextureLearner.weave", fault)  # periodic in one direction only
    assert has_seam(tmp_path / "run", periodic=True)


def test_a_hole_is_filled_at_the_photographs_own_scale(
    command: Command, run: Path, photograph: Path, tmp_path: Path
) -> None:
    """All of it, although 50 × 83 pixels are no multiples of the network's grid; and what is seen is kept."""
    image = Image.open(photograph).convert("RGBA").resize((83, 50))
    image.paste((0, 0, 0, 0), (20, 10, 40, 30))
    image.paste((0, 0, 0, 0), (70, 40, 83, 50))
    image.save(tmp_path / "hole.png")
    done = command("restore", run, "--data", tmp_path / "hole.png", "--draws", 2, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    before, after = np.asarray(image.convert("L")), np.asarray(Image.open(tmp_path / "out/restored/00000.png"))
    assert after.shape == (50, 83)
    missing = np.zeros((50, 83), bool)
    missing[10:30, 20:40] = True
    missing[40:, 70:] = True  # to the corner
    assert (after == before)[~missing].all()
    assert after[missing].std() > 1
    draws = [np.asarray(Image.open(tmp_path / f"out/draws/00000-{k}.png")) for k in range(2)]
    assert (draws[0] != draws[1])[missing].mean() > 0.3
    spread = np.asarray(Image.open(tmp_path / "out/spread/00000.png"))
    assert spread.shape == (50, 83)
    kept = Run.open(run).restoration()
    assert kept is not None
    assert {tuple(each.shape[-2:]) for each in kept.values()} == {(50, 83)}
    for options in (("--masks", tmp_path), ("--data", photograph), ("--data", tmp_path), ("--data", "nothing.png")):
        refused(command("restore", run, *options, "--out", tmp_path / "other"))


def test_a_photograph_of_one_patch_is_enough(command: Command, tmp_path: Path, no_figures: None) -> None:
    photograph = drawn(tmp_path / "small.png", 32, 32)
    assert command("learn", "texture", "--data", photograph, "--out", tmp_path / "run", *SMALL).status == 0
    assert len(Run.open(tmp_path / "run").images()) == 1


def test_it_goes_on_from_where_it_stopped(command: Command, run: Path, photograph: Path, tmp_path: Path) -> None:
    learn = ("learn", "texture", "--data", photograph, *SMALL, "--schedule", "constant", "--out")
    assert command(*learn, tmp_path / "a", "--iterations", 6).status == 0
    assert command(*learn, tmp_path / "b").status == 0
    assert command(*learn, tmp_path / "b", "--iterations", 6).status == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--size", 33), ["size", "33"]),
        (("--size", 24, "--scales", 3), ["size", "see 46 pixels"]),
        (("--size", 96), ["do not fit", "80 × 64"]),
        (("--longest", 30), ["do not fit", "--longest 30"]),
        (("--kernel", "mala"), ["kernel", "langevin"]),
        (("--network", "a:b"), ["network", "built-in"]),
        (("--data", "."), ["folder", "one photograph"]),
        (("--data", "nothing.png"), ["nothing.png"]),
    ],
)
def test_what_cannot_be_learned_is_refused(
    options: tuple[object, ...], expected: list[str], command: Command, photograph: Path, tmp_path: Path
) -> None:
    learn = ("learn", "texture", "--data", photograph, *SMALL, "--out", tmp_path / "run")
    refused(command(*learn, *options), *expected)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--size", 5000), ["size", "16 to 4096"]),
        (("--size", "32x"), ["size", "16 to 4096"]),
        (("--size", 8), ["size", "16 to 4096"]),
        (("--size", "50x32", "--periodic"), ["multiples of 4", "50x32"]),
    ],
)
def test_sizes_that_cannot_be_sampled_are_refused(
    options: tuple[object, ...], expected: list[str], command: Command, run: Path
) -> None:
    before = tree(run)
    refused(command("sample", run, "--num", 1, *options), *expected)
    assert tree(run) == before


def test_other_methods_have_one_size(command: Command, tmp_path: Path, no_figures: None) -> None:
    small = ("--size", 16, "--width", 8, "--num-steps", 1, "--iterations", 1, "--quiet")
    assert command("learn", "generator", "--data", "drawn-cats", *small, "--out", tmp_path / "run").status == 0
    for options in (("--size", 32), ("--periodic",)):
        refused(command("sample", tmp_path / "run", "--num", 1, *options), "size", "generator", "a run of texture")


@pytest.mark.parametrize(("size", "scales"), [(16, 1), (20, 2), (22, 1), (48, 3), (112, 4), ("48x64", 3), (240, 4)])
def test_scales_follow_from_the_size(size: int | str, scales: int) -> None:
    settings = TextureSettings(data="x.png", size=size).resolve(Scale(9, 100, has_bfloat16=False))
    assert settings.scales == scales


def test_patches_that_do_not_fit_the_grid_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        TextureSettings(data="x.png", size=52, scales=3).resolve(Scale(9, 100, has_bfloat16=False))


def test_the_view_is_that_of_the_network() -> None:
    assert [view(scales) for scales in range(1, 7)] == [field_of_view(scales) for scales in range(1, 7)]


def test_the_tutorial_runs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None) -> None:
    """Its commands as written, with fewer iterations of a smaller network, on a drawn texture."""
    page = Path(__file__).resolve().parents[2] / "docs" / "textures.md"
    lines = [line.strip() for line in page.read_text("utf-8").splitlines() if line.startswith("    anasyn ")]
    monkeypatch.chdir(tmp_path)
    image = Image.open(drawn(tmp_path / "photo.png"))
    image.save("photo.jpg")
    image = image.convert("RGBA")
    image.paste((0, 0, 0, 0), (20, 10, 40, 30))
    image.save("hole.png")
    for line in lines:
        words = shlex.split(line)[1:]
        done = command(*words, *(SMALL if words[0] == "learn" else ()))
        assert done.status == 0, done.err
    assert shapes(Path("runs/gravel/samples")) == [(512, 768)]
    assert shapes(Path("tiles")) == [(256, 256)]
    assert shapes(Path("mended/draws")) == [(64, 80)] * 4
