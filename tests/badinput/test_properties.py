"""Whatever the numbers: settings are accepted within their ranges or refused by name, and shapes come out right."""

import dataclasses
import math
import re
import sys
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anasyn import mcmc
from anasyn.errors import InputError
from anasyn.evaluation import sliced_wasserstein
from anasyn.evaluation.distance import nearest
from anasyn.evaluation.swd import swd_levels
from anasyn.learning import DescriptorLearner, GeneratorLearner
from anasyn.methods import METHODS, DescriptorSettings, Method, RecoverySettings, Scale, Settings, TextureSettings
from anasyn.methods.build import build_learner
from anasyn.methods.latent import LatentSettings
from anasyn.methods.settings import choices_of, kinds_of
from anasyn.models import Descriptor, Generator, networks
from anasyn.rng import derive

# Derandomised: the same examples everywhere, so that a failure is everybody's.
few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
many = settings(max_examples=40, deadline=None, derandomize=True, database=None)

FIELDS = [(method.settings, field) for method in METHODS for field in dataclasses.fields(method.settings)]

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(
        [
            "auto",
            "16x512",
            "64x96",
            "64x64",
            "064x96",
            "15x64",
            "64x513",
            "64",
            64,
            512,
            "adam",
            "mala",
            "langevin",
            "float32",
            "crop",
            1e-6,
            1e3,
            2**63,
            2**63 - 1,
            4096,
            10**400,
        ]
    ),
)


def within(field: dataclasses.Field[Any], value: object) -> bool:
    """Whether the field says of itself that it may be this."""
    choices = choices_of(field)
    if choices:
        return isinstance(value, str) and value in choices
    if value is None:
        return type(None) in get_args(field.type)
    kinds = kinds_of(field)
    if isinstance(value, bool) or not isinstance(value, (*kinds, int) if float in kinds else kinds):
        return False
    if field.name == "sigma":
        return value == "learned" if isinstance(value, str) else 1e-6 <= value <= 1e3
    if field.name == "occlude":
        kind, _, number = str(value).partition(":")
        if kind == "salt":
            return re.fullmatch(r"\d+\.\d+(e-\d+)?", number) is not None and 0 < float(number) < 1
        return value in ("", "half") or (kind == "square" and re.fullmatch(r"[1-9]\d{0,8}", number) is not None)
    if field.name == "size":
        sides = value.split("x") if isinstance(value, str) else [str(value)]
        whole = all(side.isascii() and side.isdigit() and 16 <= int(side) <= 512 for side in sides)
        return whole and (len(sides) == 1) == isinstance(value, int) and len(set(sides)) == len(sides) <= 2
    if isinstance(value, str):
        return True
    bounds = field.metadata
    return (
        (float not in kinds or abs(value) <= sys.float_info.max)
        and (bounds["least"] is None or value >= bounds["least"])
        and (bounds["above"] is None or value > bounds["above"])
        and (bounds["most"] is None or value <= bounds["most"])
    )


@pytest.mark.parametrize(
    ("model", "field"), FIELDS, ids=lambda each: getattr(each, "__name__", getattr(each, "name", ""))
)
@given(value=anything)
@many
def test_any_value_of_a_setting_is_accepted_in_its_range_or_refused_by_name(
    model: type[Settings], field: dataclasses.Field[Any], value: object
) -> None:
    try:
        recipe = model(**{"kernel": "langevin", field.name: value})
    except InputError as error:
        said = str(error)
        # Only Langevin dynamics has a temperature: another kernel with it is another fault.
        assert said.startswith(f"{field.name}: expected")
        assert "\n" not in said
        assert not within(field, value)
    else:
        assert within(field, value)
        assert getattr(recipe, field.name) == value


@st.composite
def recipes(draw: st.DrawFn, model: type[Settings]) -> Settings:
    """Recipes of every kind that may be had, at the smallest sizes."""
    chosen: dict[str, Any] = {
        field.name: draw(st.sampled_from(choices_of(field)))
        for field in dataclasses.fields(model)
        if choices_of(field) and field.name != "device"
    }
    chosen["device"] = "cpu"
    chosen["size"] = draw(st.integers(16, 40) | st.sampled_from(["16x17", "40x16", "16x64"]))
    chosen["width"] = draw(st.integers(8, 20))
    chosen["num_steps"] = draw(st.integers(1, 2))
    chosen["batch_size"] = draw(st.none() | st.integers(1, 9))
    chosen["iterations"] = draw(st.none() | st.integers(1, 9))
    chosen["beta1"] = draw(st.floats(0, 0.9999))
    chosen["seed"] = draw(st.integers(0, 2**63 - 1))
    chosen["step_size"] = draw(st.floats(1e-6, 1e3))
    chosen["learning_rate"] = draw(st.floats(1e-12, 1e6))
    chosen["leapfrog_steps"] = draw(st.integers(1, 2))
    if chosen["kernel"] == "langevin":
        chosen["temperature"] = draw(st.floats(1e-6, 1e6))
    if issubclass(model, LatentSettings):
        chosen["latent_dim"] = draw(st.none() | st.integers(1, 9))
        chosen["sigma"] = draw(st.floats(1e-6, 1e3))
    elif issubclass(model, RecoverySettings | TextureSettings):
        if issubclass(model, TextureSettings):
            chosen["size"] = draw(st.sampled_from([16, 20, 40, "40x20"]))  # multiples of the network's grid
        else:
            chosen["components"] = draw(st.none() | st.integers(0, 2000))
        chosen["step_size"] = draw(st.floats(1e-6, 1.9))
        chosen["levels"] = draw(st.integers(1, 9))
        chosen["smallest_noise"] = draw(st.floats(1e-3, 1))
        chosen["largest_noise"] = draw(st.floats(2, 1e4))
    else:
        chosen["reference_std"] = draw(st.floats(1e-6, 1e3))
        chosen["scale"] = draw(st.none() | st.floats(1e-6, 1e12))
        chosen["data_noise"] = draw(st.floats(0, 10))
        if issubclass(model, DescriptorSettings):
            chosen["chains_per_image"] = draw(st.integers(1, 3))
        else:
            chosen["latent_dim"] = draw(st.none() | st.integers(1, 9))
            chosen["generator_width"] = draw(st.integers(8, 20))
            chosen["recall_steps"] = draw(st.integers(0, 2))
    return model(data="drawn-cats", **chosen)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@given(data=st.data())
@few
def test_an_accepted_recipe_resolves_and_builds_a_learner(method: Method, data: st.DataObject) -> None:
    asked = data.draw(recipes(method.settings))
    scale = Scale(
        num_images=data.draw(st.integers(2, 10**6)),
        smaller_side=data.draw(st.integers(1, 10**5)),
        has_bfloat16=data.draw(st.booleans()),
        channels=data.draw(st.sampled_from([1, 3])),
    )
    recipe = asked.resolve(scale)
    assert None not in dataclasses.asdict(recipe).values()
    assert recipe.resolve(scale) == recipe
    assert type(recipe)(**dataclasses.asdict(recipe)) == recipe
    learner = build_learner(method, recipe, torch.device("cpu"), ("cat", "dog"))
    like = torch.zeros(2, *recipe.shape)
    learner.begin(like, 2, rng=derive(0, "chains"))
    learned = [weight for group in learner.optimizer.param_groups for weight in group["params"]]
    assert set(learned) == set(learner.model.parameters())
    with torch.no_grad():
        if method.infer:
            model, z = method.infer(learner)
            assert model(z).shape == like.shape
        if method.synthesise:
            assert method.synthesise(learner).model(like).shape == (2,)
        if method.recover:
            labels = method.recover(learner).labels_of(torch.arange(2))
            bottom, top = learner.model.at(0, labels), learner.model.at(recipe.levels - 1, labels)
            assert bottom(like).shape == top(like).shape == (2,)
    assert learner.chains.step_sizes.shape == (2 * getattr(recipe, "chains_per_image", 1),)


# --------------------------------------------------------------------------------------------- networks

widths = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(st.integers(-2, 40), widths, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
@few
def test_a_generator_s_network_gives_images_of_its_size_or_names_the_size(
    size: int, widths: list[int], latent_dim: int, num: int, channels: int
) -> None:
    try:
        network = networks.deconv(latent_dim, size, widths, channels)
    except ValueError as error:
        said = str(error)
        assert said.startswith("size: expected at least")
        assert size < max(8, 2 ** (len(widths) + 1))
        return
    model = Generator(network, latent_dim, 0.3)
    images = model(torch.randn(num, latent_dim))
    assert images.shape == (num, channels, size, size)
    assert images.abs().max() <= 1
    assert model.log_joint(torch.zeros(num, latent_dim), images).shape == (num,)


@given(st.integers(-2, 40), widths, st.integers(0, 4), st.integers(1, 3), st.integers(1, 4))
@few
def test_a_descriptor_s_network_gives_a_number_an_image_or_names_the_size(
    size: int, widths: list[int], strides: int, num: int, channels: int
) -> None:
    try:
        network = networks.conv(size, widths, strides, channels)
    except ValueError as error:
        said = str(error)
        assert said.startswith("size: expected at least")
        assert size < max(8, 2 ** (strides + 1))
        return
    model = Descriptor(network, 0.4, 10.0)
    assert model.log_density(torch.randn(num, channels, size, size)).shape == (num,)


# ---------------------------------------------------------------------------------------------- kernels

events = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
kernels = st.sampled_from([mcmc.Langevin, mcmc.MALA, mcmc.HMC])


def normal(x: Tensor) -> Tensor:
    return -0.5 * (x**2).flatten(1).sum(1)


@given(kernels, st.integers(0, 5), events, st.booleans(), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2))
@few
def test_chains_of_any_number_and_shape_keep_them(
    kind: type[mcmc.MALA], n: int, event: tuple[int, ...], each: bool, num_steps: int, num_draws: int, thin: int
) -> None:
    kernel = kind(torch.full((n,), 0.1) if each else 0.1)
    start, rng = torch.zeros(n, *event), derive(0, "chains")
    state, info = mcmc.run(kernel, normal, start, num_steps=num_steps, rng=rng)
    assert state.position.shape == state.gradient.shape == start.shape
    assert state.log_density.shape == state.step_size.shape == (n,)
    assert info.acceptance_rate.shape == info.divergent.shape == (n,)
    assert info.divergent.dtype == torch.bool
    drawn = mcmc.draws(kernel, normal, start, num_draws=num_draws, rng=rng, thin=thin)
    assert drawn.shape == (num_draws, *start.shape)
    assert mcmc.stability(normal, start, rng=rng, num_iterations=2).limit.shape == (n,)
    warm, state = mcmc.warm_up(kernel, normal, start, num_steps=num_steps + 1, rng=rng)
    assert torch.as_tensor(warm.step_size).shape == state.step_size.shape == (n,)


@given(kernels, st.integers(2, 5), events)
@few
def test_a_log_density_of_another_shape_is_refused_by_name(
    kind: type[mcmc.MALA], n: int, event: tuple[int, ...]
) -> None:
    for wrong in (lambda x: normal(x).sum(), lambda x: normal(x)[:, None]):
        with pytest.raises(ValueError, match="log_density: expected one number per chain"):
            mcmc.run(kind(0.1), wrong, torch.zeros(n, *event), num_steps=1, rng=derive(0, "chains"))


@given(st.floats(max_value=0) | st.just(math.nan), st.integers(max_value=0))
@few
def test_what_a_kernel_cannot_be_is_refused_by_name(temperature: float, leapfrog_steps: int) -> None:
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        mcmc.Langevin(0.1, temperature)
    with pytest.raises(ValueError, match="num_leapfrog_steps: expected at least 1"):
        mcmc.HMC(0.1, leapfrog_steps)
    for name in ("reference_std", "scale"):
        with pytest.raises(ValueError, match=f"{name}: expected a number above 0"):
            Descriptor(torch.nn.Identity(), **{"reference_std": 1.0, name: temperature})
    with pytest.raises(ValueError, match="sigma: expected a number above 0"):
        Generator(torch.nn.Identity(), 2, temperature)
    with pytest.raises(ValueError, match="latent_dim: expected at least 1"):
        Generator(torch.nn.Identity(), leapfrog_steps, 0.3)


# --------------------------------------------------------------------------------------------- learners


@given(st.integers(1, 5), st.integers(1, 5), st.integers(8, 19), st.integers(1, 3), st.integers(1, 3))
@few
def test_a_learner_steps_on_any_part_of_any_number_of_images(
    num_images: int, batch: int, size: int, latent_dim: int, chains_per_image: int
) -> None:
    index = torch.arange(num_images)[:batch]
    images = torch.zeros(len(index), 3, size, size)
    generator = GeneratorLearner(Generator(networks.deconv(latent_dim, size, (4, 4)), latent_dim, 0.3), num_steps=1)
    descriptor = DescriptorLearner(
        Descriptor(networks.conv(size, (4, 4), 2), 0.4), num_steps=1, chains_per_image=chains_per_image
    )
    for learner, chains in ((generator, num_images), (descriptor, num_images * chains_per_image)):
        learner.begin(images, num_images, rng=derive(0, "chains"))
        record = learner.step(index, images, rng=derive(0, "noise"))
        assert math.isfinite(record.loss)
        assert learner.chains.step_sizes.shape == (chains,)
    assert generator.chains.positions.shape == (num_images, latent_dim)


# ------------------------------------------------------------------------------------------ evaluation


@given(
    st.integers(0, 3), st.integers(0, 3), st.integers(3, 20), st.integers(3, 20), st.integers(-1, 4), st.integers(1, 9)
)
@few
def test_a_sliced_wasserstein_distance_is_one_a_level_or_names_what_is_wrong(
    n: int, m: int, height: int, width: int, levels: int, num_patches: int
) -> None:
    rng = derive(0, "images")
    a, b = (torch.rand(num, 3, height, width, generator=rng) for num in (n, m))
    try:
        found = sliced_wasserstein(a, b, levels=levels, num_patches=num_patches, num_directions=3)
    except ValueError as error:
        said = str(error)
        wrong = "images" if n == 0 or m == 0 else "levels"
        assert said.startswith(f"{wrong}: expected")
        assert n == 0 or m == 0 or not 1 <= levels <= swd_levels(min(height, width))
        return
    assert len(found.levels) == levels
    assert all(math.isfinite(level) and level >= 0 for level in found.levels)
    assert found.mean == pytest.approx(sum(found.levels) / levels)


@given(st.integers(1, 5), st.integers(0, 5), events, events)
@few
def test_the_nearest_image_is_found_or_what_is_wrong_named(
    n: int, m: int, event: tuple[int, ...], other: tuple[int, ...]
) -> None:
    images, others = torch.rand(n, *event), torch.rand(m, *other)
    if m == 0 or event != other:
        with pytest.raises(ValueError, match="others: expected at least one image of shape"):
            nearest(images, others)
        others = torch.rand(m + 1, *event)
    index, error = nearest(images, others)
    assert index.shape == error.shape == (n,)
    assert (index < len(others)).all()
    assert (error >= 0).all()
