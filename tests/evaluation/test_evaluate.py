"""All measures of a model: which there are, their protocols, and that they distinguish good models from bad."""

import json
import math

import pytest
import torch
from torch import nn

from anasyn import mcmc
from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, draw_egrets, drawn_factors
from anasyn.evaluation import evaluate, feature_space, kernel_distance, precision_recall, saturated_share
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
        assert set(measure) - {"standard_error", "meaning"} == {"value", "protocol"}
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
        "coverage_mse", "nearest_training_mse", "saturated_share", "swd", "held_out_swd",
        "kid", "precision", "recall", "held_out_kid",  # too few images for the others
    }  # fmt: skip
    assert value["training_mse"] == pytest.approx(0.02**2, rel=1e-3)
    assert value["training_psnr"] == pytest.approx(40, abs=0.01)
    assert value["held_out_mse"] > 0.05
    assert value["coverage_mse"] < 0.001
    assert value["nearest_training_mse"] < 0.001
    assert 2 * value["swd"] < value["held_out_swd"]
    assert value["kid"] < 0.1 * value["held_out_kid"]
    assert value["precision"] > 0.9
    assert 0 < measures["kid"]["standard_error"] < value["held_out_kid"]
    assert "528 features of a fixed random convolutional network" in measures["kid"]["protocol"]
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
        "acceptance_rate", "pixel_max", "coverage_mse", "nearest_training_mse", "saturated_share", "swd", "kid",
        "held_out_swd", "held_out_kid",
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


def against(samples, images, held_out=None, space=None):
    return evaluate.against(samples, "the samples", images, held_out, 0, space)


@pytest.fixture(scope="module")
def faces():
    """Thirty faces each to learn from, to hold out, and to take for samples."""
    return draw_cats(torch.rand(90, 2, generator=torch.Generator().manual_seed(0)), 16).split(30)


def test_samples_that_copy_training_images_are_told_from_new_ones(faces):
    images, held_out, new = faces
    copied, fresh = (against(samples, images, held_out)["memorisation"] for samples in (images.flip(0), new))
    assert copied["value"] < -5
    assert copied["meaning"].startswith("The samples copy training images: in 100% of pairs")
    assert abs(fresh["value"]) < 3
    assert fresh["meaning"].startswith("No sign that the samples copy")
    other = against(draw_egrets(drawn_factors(30), 16), images, held_out)["memorisation"]
    assert other["value"] > 5
    assert "farther from the training images than real images do: in 0% of pairs" in other["meaning"]
    assert "30 training images of the samples and of the 30 held-out images that are no" in other["protocol"]


def test_training_images_among_the_held_out_ones_do_not_hide_copies(faces, caplog):
    images, held_out, _ = faces
    mixed = torch.cat([images, held_out])
    assert against(images, images, mixed)["memorisation"] == against(images, images, held_out)["memorisation"]
    assert "memorisation" not in against(images, images, images)
    assert "memorisation left out: 30 samples and 0 new images are too few" in caplog.text


def test_every_measure_has_its_protocol_and_its_expected_value(faces):
    images, held_out, new = faces
    measures = against(new, images, held_out[:20])
    check(measures)
    compared = {"kid", "precision", "recall", "density", "neighbourhood_coverage"}
    assert {name for name in measures if name.startswith("held_out_")} == {
        "held_out_swd", *(f"held_out_{name}" for name in compared)
    }  # fmt: skip
    assert compared <= set(measures)
    for name in compared:
        assert "the samples and the 30 training images" in measures[name]["protocol"]
        assert "the samples and the 20 held-out images" in measures[f"held_out_{name}"]["protocol"]
    assert "its 3rd nearest" in measures["recall"]["protocol"]
    assert "its 5th nearest" in measures["density"]["protocol"]
    assert "0.976 expected" in measures["neighbourhood_coverage"]["protocol"]
    assert abs(measures["kid"]["value"]) < 3 * measures["kid"]["standard_error"]


@pytest.mark.parametrize(
    ("num", "left_out"),
    [
        (2, {"kid", "precision", "recall", "density", "neighbourhood_coverage"}),
        (3, {"precision", "recall", "density", "neighbourhood_coverage"}),
        (5, {"density", "neighbourhood_coverage"}),
        (7, set()),
        (11, set()),
    ],
)
def test_measures_of_few_images_are_left_out_and_it_says_which(num, left_out, faces, caplog):
    images = faces[0]
    whole = against(faces[2], images)
    assert set(whole) - set(against(faces[2], images[:num])) == left_out
    for name in left_out:
        assert name in caplog.text
    assert ("at least" in caplog.text) == bool(left_out)


def test_the_feature_space_is_the_one_that_is_asked_for(faces):
    space = feature_space("pixels", (3, 16, 16))
    measures = against(faces[2], faces[0], space=space)
    assert "the 768 pixels of images resized to 16 × 16" in measures["kid"]["protocol"]
    x, y = (to_float(each).flatten(1) for each in (faces[2], faces[0]))
    assert measures["kid"]["value"] == pytest.approx(kernel_distance(x, y).value)
    assert measures["recall"]["value"] == precision_recall(x, y).recall


def test_the_share_of_saturated_values_stands_beside_that_of_the_training_images():
    images = torch.full((4, 3, 16, 16), 127).byte()
    images[0, :, 0] = 255
    images[1, :, 0] = 3  # −0.976
    samples = images.clone()
    samples[2:, 0] = 252  # 0.976
    samples[2:, 1] = 4  # −0.969
    measure = against(samples, images)["saturated_share"]
    assert measure["value"] == pytest.approx((6 * 16 + 2 * 256) / (4 * 3 * 256))
    assert "0.031 of the 4 training images" in measure["protocol"]
    assert saturated_share(to_float(samples)) == measure["value"]
