"""A storm of random settings: none hangs, none saves what is not finite, each learns or stops with its cause named."""

import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anasyn.data import ImageSet, save_film
from anasyn.data.sources import load
from anasyn.learning import Divergence
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
from anasyn.run import Run, advance, session

ITERATIONS = 30
CAUSES = ("nan", "inf", "z has left", "left the data's range", "grown past", "acceptance_rate below", "times its first",
          "weights are not finite")  # fmt: skip
MODELS = ["generator", "descriptor", "descriptor-convergent", "latent-prior", "cooperative", "recovery", "texture"]
QUICK = [("descriptor-convergent", 0), ("descriptor-convergent", 1),
         ("generator", 2), ("generator", 6), ("descriptor", 0), ("descriptor", 3),  # rolled back, well, well, stopped
         ("latent-prior", 0), ("latent-prior", 1), ("cooperative", 0), ("cooperative", 1), ("recovery", 1),
         ("texture", 1)]  # fmt: skip
SET = dict.fromkeys(MODELS, "drawn-cats") | {"descriptor": "drawn-egrets"}


def settings(model: str, number: int) -> Settings:
    """δ from 1e-4 to 10, rate from 1e-5 to 1, σ or s from 0.01 to 3, 1 to 100 steps, the rest drawn too."""
    rng = random.Random(f"{model} {number}")

    def between(low: float, high: float) -> float:
        return math.exp(rng.uniform(math.log(low), math.log(high)))

    common = {
        "data": SET[model],
        "size": 16,
        "width": 8,
        "precision": "float32",
        "iterations": ITERATIONS,
        "batch_size": 4,
        "step_size": between(1e-4, 10),
        "learning_rate": between(1e-5, 1),
        "num_steps": round(between(1, 100)),
        "kernel": rng.choice(["langevin", "mala", "hmc"]),
        "leapfrog_steps": rng.randint(1, 3),
        "optimizer": rng.choice(["adam", "sgd"]),
        "average": 0.9 * (number % 2),
        "seed": number,
    }
    occlusion: str = ("", "salt:0.7", "square:6", "half")[number % 4]
    preconditioned: Any = ("auto", "on", "off")[number % 3]
    if model == "generator":
        recipe: Settings = GeneratorSettings(
            **common,
            sigma=between(0.01, 3),
            latent_dim=rng.choice([1, 2, 8]),
            occlude=occlusion,
            precondition=preconditioned,
            frames=("off", "on")[number // 4 % 2],
        )
    elif model == "latent-prior":
        recipe = LatentPriorSettings(
            **common,
            sigma=between(0.01, 3),
            latent_dim=rng.choice([1, 2, 8]),
            occlude=occlusion,
            precondition=preconditioned,
            prior_width=8,
            prior_steps=rng.choice([1, 10]),
            prior_step_size=between(1e-4, 10),
            prior_rate=between(1e-5, 1),
        )
    elif model == "cooperative":
        recipe = CooperativeSettings(
            **common,
            reference_std=between(0.01, 3),
            sigma=between(0.01, 3),
            latent_dim=rng.choice([1, 2, 8]),
            generator_width=8,
            generator_rate=between(1e-5, 1),
            recall_steps=rng.choice([0, 1, 10]),
            recall_step_size=between(1e-4, 10),
        )
    elif model == "recovery":
        noise = {"smallest_noise": between(1e-3, 1), "largest_noise": between(2, 1e4)}
        common |= noise | {"step_size": min(common["step_size"], 1.9), "components": rng.randint(0, 20)}
        recipe = RecoverySettings(**common, levels=rng.randint(1, 8), conditional=("off", "on")[number % 2])
    elif model == "texture":  # of the drawn cats, as patches: the file is not read
        noise = {"smallest_noise": between(1e-3, 1), "largest_noise": between(2, 1e4)}
        step_size = min(common["step_size"], 1.9)
        common |= noise | {"kernel": "langevin", "contrast": between(0.01, 1), "step_size": step_size}
        recipe = TextureSettings(**common, levels=rng.randint(1, 8))
    elif model == "descriptor-convergent":
        recipe = DescriptorSettings(
            **common,
            reference="fitted",
            components=rng.randint(0, 20),
            scale=between(0.1, 1000),
            data_noise=between(0.01, 1),
            component_noise=between(0.01, 1),
        )
    else:
        starts = ["auto", "mean", "reference", "uniform", "data", "persistent"]
        recipe = DescriptorSettings(**common, reference_std=between(0.01, 3), start=rng.choice(starts))
    return recipe.resolve(Scale(num_images=16, smaller_side=16, has_bfloat16=False))


def weather(model: str, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Learns with settings number ``number`` and checks how it ends; the cause where it stopped."""
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", 0.1)
    monkeypatch.setattr(session, "SHARE", math.inf)
    recipe = settings(model, number)
    if recipe.in_order:
        film = folder / f"{number}.webp"
        save_film(film, load(SET[model], (16, 16)).pixels)
        recipe = replace(recipe, data=str(film))
    drawn = load(SET[model], (16, 16)) if model == "texture" else recipe.read((16, 16), 3)
    images = ImageSet(drawn.names, drawn.pixels, labels=("lion", "tiger") * 8, masks=drawn.masks)
    run = Run.create(folder / f"{number}", model, recipe, images)
    learner, guard = run.resume()
    began, trouble, records = time.monotonic(), None, []
    try:
        records += advance(run, learner, guard, images)
    except Divergence as cause:
        trouble = str(cause)
    assert time.monotonic() - began < 300, recipe
    saved = run.learned()  # reading refuses a checkpoint with a value that is not finite
    if trouble:
        assert any(cause in trouble for cause in CAUSES), trouble
        assert "rollbacks did not help" in trouble
        assert trouble in run.metrics()[-1].get("events", []) or "weights are not finite" in trouble
        return trouble
    record = records[-1]
    assert saved.iteration == ITERATIONS
    assert all(math.isfinite(x) for x in (record.loss, *record.measures.values())), record
    if model in ("generator", "latent-prior"):
        first = run.metrics()[0]["mse"]
        assert record.measures["mse"] < 2 * first or guard.worse, (recipe, first, record)
        assert record.measures["z_mean_square"] <= 25
    else:
        limits = learner.limits(torch.zeros(1, 3, 16, 16))
        assert record.measures["pixel_max"] <= limits["pixel_max"]
        assert abs(record.measures["energy_gap"]) <= 10 * limits["energy_gap"]
    return None


@pytest.mark.parametrize(("model", "number"), QUICK)
def test_a_few_settings_are_weathered(model: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weather(model, number, tmp_path, monkeypatch)


@pytest.mark.storm
@pytest.mark.parametrize("model", MODELS)
def test_two_hundred_random_settings_are_weathered(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = [weather(model, number, tmp_path, monkeypatch) for number in range(200)]
    assert any(stopped), "settings as wild as these are not all harmless"
    assert not all(stopped)
    print(f"{model}: {sum(cause is None for cause in stopped)} learned, {sum(map(bool, stopped))} stopped")
