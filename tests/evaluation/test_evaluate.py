"""All measures of a model: which there are, their protocols, and that they distinguish good models from bad."""

import json
import math

import pytest
import torch
from torch import nn

from anasyn import mcmc
from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, draw_egrets, drawn_factors
from anasyn.evaluation import evaluate
from anasyn.models import Descriptor, Generator
from anasyn.rng import derive

pytestmark = pytest.mark.usefixtures("coarse_distances")


class Remembers(nn.Module):
    """f(z) is the image whose place z₁ falls to: a generator that knows its images by heart."""

    def __init__(self, images):
        super().__init__()
        self.images = nn.Parameter(images)

    def forward(self, z):
        place = (len(self.images) * torch.special.ndtr(z[:, 0])).long().clamp(0, len(self.images) - 1)
        return self.images[place] + 0 * z.sum(1).view(-1, 1, 1, 1)


class Springs(nn.Module):
    """f(Y) that draws every pixel to a target."""

    def __init__(self, target, strength):
        super().__init__()
        self.target = nn.Parameter(target)
        self.strength = strength

    def forward(self, images):
        return -0.5 * self.strength * ((images - self.target) ** 2).flatten(1).sum(1)


CATS = draw_cats(drawn_factors(5), 16)
EGRETS = draw_egrets(drawn_factors(3), 16)


def evaluate_generator(model, images, held_out=None, *, seed):
    measures = evaluate.evaluate_inference(model, images, held_out, seed=seed)
    rng = derive(seed, "evaluate samples")
    samples, what = evaluate.evaluate_samples(lambda num: model.sample(num, rng=rng), "f(z)", seed)
    return measures | evaluate.against(samples, what, images, held_out, seed)


def evaluate_descriptor(model, kernel, num_steps, starts, images, held_out=None, *, seed):
    measures, samples, what = evaluate.evaluate_chains(model, kernel, num_steps, starts, seed=seed)
    return measures | evaluate.against(samples, what, images, held_out, seed)


def check(measures):
    assert json.loads(json.dumps(measures, allow_nan=False)) == measures
    for measure in measures.values():
        assert set(measure) == {"value", "protocol"}
        assert math.isfinite(measure["value"])
        assert measure["protocol"].endswith(".")
        assert "images" in measure["protocol"]


def test_a_generator_that_knows_its_images_by_heart():
    model = Generator(Remembers(to_float(CATS) + 0.02), 2, 0.3)
    measures = evaluate_generator(model, CATS, EGRETS, seed=0)
    check(measures)
    value = {name: measure["value"] for name, measure in measures.items()}
    assert set(value) == {
        "training_mse", "training_psnr", "held_out_mse", "held_out_psnr", "z_max", "z_mean_square",
        "coverage_mse", "nearest_training_mse", "swd", "held_out_swd",
    }  # fmt: skip
    assert value["training_mse"] == pytest.approx(0.02**2, rel=1e-3)
    assert value["training_psnr"] == pytest.approx(40, abs=0.01)
    assert value["held_out_mse"] > 0.05
    assert value["coverage_mse"] < 0.001
    assert value["nearest_training_mse"] < 0.001
    assert 2 * value["swd"] < value["held_out_swd"]
    assert 0 < value["z_max"] < 5
    assert "5 training images" in measures["training_mse"]["protocol"]
    assert "3 held-out images" in measures["held_out_mse"]["protocol"]
    assert "512 samples" in measures["coverage_mse"]["protocol"]
    assert "2 levels" in measures["swd"]["protocol"]  # 16 pixels allow no third
    assert evaluate_generator(model, CATS, EGRETS, seed=0) == measures


def test_a_large_set_is_measured_in_part_and_says_so(monkeypatch):
    monkeypatch.setattr(evaluate, "MAX_INFERRED", 2)
    monkeypatch.setattr(evaluate, "MAX_COMPARED", 4)
    model = Generator(Remembers(to_float(CATS)), 2, 0.3)
    measures = evaluate_generator(model, CATS, seed=0)
    assert "2 evenly spaced of the 5 training images" in measures["training_mse"]["protocol"]
    assert "4 evenly spaced of the 5 training images" in measures["coverage_mse"]["protocol"]
    assert not any("held_out" in name for name in measures)


def test_a_descriptor_that_draws_its_chains_to_one_image(monkeypatch):
    target = to_float(CATS[:1])
    model = Descriptor(Springs(target, strength=400.0), reference_std=1.0)
    starts = to_float(EGRETS)
    steps = torch.full((3,), 0.05)
    measures = evaluate_descriptor(model, mcmc.Langevin(steps), 20, starts, CATS, EGRETS, seed=0)
    check(measures)
    value = {name: measure["value"] for name, measure in measures.items()}
    assert set(value) == {
        "acceptance_rate", "pixel_max", "coverage_mse", "nearest_training_mse", "swd", "held_out_swd",
    }  # fmt: skip
    assert value["nearest_training_mse"] < 0.01  # N(target, 1/401) but for the clamp and δ's bias
    assert value["coverage_mse"] > 2 * value["nearest_training_mse"]  # four of five images are not covered
    assert "3 images synthesised by a new chain of 20 transitions" in measures["swd"]["protocol"]
    still = evaluate_descriptor(model, mcmc.Langevin(steps), 0, starts, EGRETS, seed=0)
    assert still["nearest_training_mse"]["value"] == 0  # the starts themselves
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 2)
    # A start's own step size goes with it into its batch: at 0 the third stays where it is.
    moved = evaluate_descriptor(model, mcmc.MALA(torch.tensor([0.05, 0.05, 0.0])), 20, starts, EGRETS[2:], seed=0)
    assert moved["coverage_mse"]["value"] == 0
