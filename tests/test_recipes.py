"""Recipes: every open setting is chosen, what is asked for stays, and the course's numbers are the course's."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from anasyn.errors import InputError
from anasyn.methods import (
    CooperativeSettings,
    DescriptorSettings,
    GeneratorSettings,
    LatentPriorSettings,
    RecoverySettings,
    Scale,
    Settings,
    TextureSettings,
)
from anasyn.methods.settings import choices_of, height_and_width, kinds_of, parse_size
from anasyn.recipes import RECIPES

SIZES = [2, 7, 11, 26, 101, 1000, 5000, 100_000]
MODELS = [GeneratorSettings, DescriptorSettings, LatentPriorSettings, CooperativeSettings, RecoverySettings]


def scale(n: int, side: int = 64, has_bfloat16: bool = False) -> Scale:
    return Scale(num_images=n, smaller_side=side, has_bfloat16=has_bfloat16)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", RECIPES)
def test_resolving_leaves_nothing_open(name: str, n: int) -> None:
    asked = dataclasses.replace(RECIPES[name].settings, data=RECIPES[name].settings.data or "images")
    recipe = asked.resolve(scale(n))
    settings = dataclasses.asdict(recipe)
    assert None not in settings.values()
    assert settings["precision"] == "float32"
    assert 1 <= settings["batch_size"] <= n
    assert recipe.resolve(scale(n)) == recipe
    for setting, value in dataclasses.asdict(asked).items():
        if value not in (None, "auto"):
            assert settings[setting] == (min(value, n) if setting == "batch_size" else value)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n", SIZES)
def test_every_image_is_seen_often_enough(model: type[Settings], n: int) -> None:
    recipe = model(data="images").resolve(scale(n))
    assert recipe.iterations is not None
    assert recipe.batch_size is not None
    assert recipe.iterations * recipe.batch_size >= 5 * n
    assert recipe.iterations <= 60_000


EXPLICIT: dict[str, Any] = {
    "size": "24x32", "channels": "1", "num_steps": 4, "width": 9,
    "batch_size": 2, "iterations": 3, "precision": "bfloat16", "hold_out": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        GeneratorSettings(**EXPLICIT, latent_dim=5, sigma=0.2, precondition="off", step_size=0.1),
        DescriptorSettings(
            **EXPLICIT,
            reference="fitted",
            components=3,
            kernel="hmc",
            step_size=0.2,
            scale=7.0,
            start="uniform",
            chains_per_image=2,
            learning_rate=0.1,
            data_noise=0.2,
            component_noise=0.1,
        ),
        LatentPriorSettings(**EXPLICIT, latent_dim=5, sigma=0.2, prior_steps=7, precondition="on", step_size=0.1),
        CooperativeSettings(**EXPLICIT, scale=7.0, latent_dim=5, generator_width=10, recall_steps=0),
        RecoverySettings(**EXPLICIT, levels=4, smallest_noise=0.1, components=3),
        TextureSettings(**EXPLICIT, scales=2, contrast=0.2, longest=100),
    ],
    ids=["g", "d", "p", "c", "r", "t"],
)
@pytest.mark.parametrize("n", SIZES)
def test_what_is_asked_for_stays(recipe: Settings, n: int) -> None:
    assert recipe.resolve(scale(n)) == recipe


def test_what_follows_from_the_images_and_the_processor() -> None:
    for model in MODELS:
        assert [model().resolve(scale(9, side)).size for side in (30, 47, 48, 900)] == [32, 32, 64, 64]
        assert model().resolve(scale(9, has_bfloat16=True)).precision == "bfloat16"
        assert model(batch_size=50).resolve(scale(9)).batch_size == 9
    dims = [GeneratorSettings().resolve(scale(n)).latent_dim for n in SIZES]
    assert dims[:3] == [2, 2, 2]
    assert dims == sorted(dims, key=int)
    assert DescriptorSettings(step_size=0.1).resolve(scale(9)).scale == pytest.approx(200)
    assert [DescriptorSettings(kernel=k).resolve(scale(9)).start for k in ("langevin", "mala")] == ["mean", "data"]


@pytest.mark.parametrize("settings", [GeneratorSettings, LatentPriorSettings])
def test_adapted_chains_of_z_are_preconditioned_and_others_are_if_asked_for(settings: Any) -> None:
    def resolved(**asked: Any) -> tuple[str, float | None]:
        found = settings(**asked).resolve(scale(9))
        return found.precondition, found.step_size

    assert [resolved(kernel=kernel) for kernel in ("auto", "mala", "hmc")] == [("on", 1.0)] * 3
    assert resolved(kernel="langevin") == ("off", 0.03)
    assert resolved(kernel="langevin", precondition="on") == ("on", 1.0)
    assert resolved(precondition="off") == ("off", 0.03)
    assert resolved(step_size=0.2) == ("on", 0.2)


def test_the_reference_of_a_descriptor_follows_from_the_number_of_images_unless_its_chains_are_chosen() -> None:
    def resolved(n: int, **asked: Any) -> tuple[str, str, str]:
        settings = DescriptorSettings(**asked).resolve(scale(n))
        return settings.reference, settings.kernel, settings.start

    short_run, convergent = ("isotropic", "langevin", "mean"), ("fitted", "mala", "persistent")
    assert [resolved(n) for n in (2, 7, 32)] == [short_run] * 3
    assert [resolved(n) for n in (33, 900, 10_000)] == [convergent] * 3
    assert resolved(2, reference="fitted") == convergent
    assert resolved(900, reference="isotropic") == resolved(900, start="mean") == short_run
    assert resolved(900, kernel="langevin") == resolved(900, temperature=0.5) == short_run
    assert resolved(900, kernel="hmc") == ("fitted", "hmc", "persistent")
    settings = RECIPES["descriptor-convergent"].settings
    assert isinstance(settings, DescriptorSettings)
    assert [settings.resolve(scale(n)).components for n in (2, 7, 900)] == [1, 6, 256]
    assert [settings.resolve(scale(n)).component_noise for n in (2, 7, 900)] == [0.17, 0.17, 0.0]


def test_the_course_s_numbers() -> None:
    lion_tiger = RECIPES["lion-tiger-course"].settings.resolve(scale(11))
    egret = RECIPES["egret-course"].settings.resolve(scale(7))
    assert isinstance(lion_tiger, GeneratorSettings)
    assert isinstance(egret, DescriptorSettings)
    for recipe in (lion_tiger, egret):
        assert (recipe.kernel, recipe.temperature, recipe.num_steps, recipe.size) == ("langevin", 1, 30, 64)
        assert (recipe.optimizer, recipe.learning_rate, recipe.beta1) == ("adam", 0.001, 0.5)
        assert (recipe.schedule, recipe.precision, recipe.fit) == ("constant", "float32", "stretch")
    assert (lion_tiger.data, lion_tiger.batch_size, lion_tiger.latent_dim) == ("lion-tiger", 11, 2)
    assert (lion_tiger.sigma, lion_tiger.step_size, lion_tiger.iterations) == (0.3, 0.3, 600)
    assert (egret.data, egret.batch_size, egret.iterations, egret.scale) == ("egret", 7, 1000, 1.0)
    assert egret.reference_std * 127.5 == pytest.approx(50)
    assert egret.step_size * 127.5 == pytest.approx(0.3)
    assert (egret.data_noise, egret.start, egret.chains_per_image) == (0, "mean", 1)


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_has_a_meaning_and_a_default_within_its_range(model: type[Settings]) -> None:
    for field in dataclasses.fields(model):
        assert field.metadata["meaning"]
        assert choices_of(field) or kinds_of(field)[0] in (str, int, float)
        if kinds_of(field)[0] in (int, float) and not field.metadata["parse"]:
            assert field.metadata["least"] is not None or field.metadata["above"] is not None


@pytest.mark.parametrize("model", MODELS)
def test_the_ends_of_a_range_belong_to_it_and_nothing_beyond_does(model: type[Settings]) -> None:
    for field in dataclasses.fields(model):
        for end, beyond in (("least", -1), ("most", 1)):
            if (bound := field.metadata[end]) is not None:
                bound = kinds_of(field)[0](bound)
                assert getattr(model(kernel="langevin", **{field.name: bound}), field.name) == bound
                with pytest.raises(InputError, match=rf"^{field.name}: expected .*at {end} "):
                    model(kernel="langevin", **{field.name: bound + beyond})
        if field.metadata["above"] is not None:
            assert getattr(model(kernel="langevin", **{field.name: 1e-12}), field.name) == 1e-12
            with pytest.raises(InputError, match=rf"^{field.name}: expected .*above 0, got 0"):
                model(kernel="langevin", **{field.name: 0.0})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"size": "64"}, "size: expected 64, got '64'"),
        ({"size": "64x64"}, "size: expected 64, got '64x64'"),
        ({"size": 64.0}, r"size: expected int or str, got 64\.0"),
        ({"size": True}, "size: expected int or str, got True"),
        ({"size": 15}, "size: expected 16 to 512 pixels, as 64 or as 96x64 .*, got 15"),
        ({"size": "96x513"}, "size: expected 16 to 512 pixels, .*, got '96x513'"),
        ({"size": "64×64"}, "size: expected 16 to 512 pixels, .*, got '64×64'"),
        ({"channels": "2"}, "channels: expected one of auto, 1, 3, got '2'"),
        ({"seed": True}, "seed: expected int, got True"),
        ({"sigma": "x"}, "sigma: expected learned, or a finite number at least 1e-06 and at most 1000, got 'x'"),
        ({"sigma": float("nan")}, "sigma: expected learned, or a finite number .*, got nan"),
        ({"data": 3}, "data: expected str, got 3"),
        ({"kernel": None}, "kernel: expected one of auto, langevin, mala, hmc, got None"),
        ({"kernel": "mala", "temperature": 0.5}, "temperature: only kernel langevin .* mala, got 0.5"),
        ({"kernel": "hmc", "temperature": 2}, "temperature: only kernel langevin"),
    ],
)
def test_a_wrong_setting_is_named(setting: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match="^" + expected):
        GeneratorSettings(**setting)


def test_langevin_has_a_temperature_and_an_integer_is_a_number() -> None:
    assert GeneratorSettings(kernel="langevin", temperature=0.1, sigma=1).sigma == 1


def test_a_size_is_a_side_or_height_by_width() -> None:
    assert [parse_size(size) for size in (64, "64", "64x64", "96x64", "064x96")] == [64, 64, 64, "96x64", "64x96"]
    assert [height_and_width(size) for size in (64, "96x64")] == [(64, 64), (96, 64)]
    assert GeneratorSettings(size="96x64", channels="1").shape == (1, 96, 64)


def test_every_recipe_says_what_it_is() -> None:
    about = [recipe.about for recipe in RECIPES.values()]
    assert len(set(about)) == len(about)
    assert all(recipe.settings.__class__ is recipe.method.settings for recipe in RECIPES.values())


def test_recipes_import_no_torch() -> None:
    script = "import sys, anasyn, anasyn.recipes, anasyn.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
