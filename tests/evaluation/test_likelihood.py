"""The measures of a generator's likelihood: units, the plan for a budget, and the warning. Answers: tests/exact."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn.evaluation import (
    NormalizerBracket,
    bits_per_dimension,
    bounding,
    dequantise,
    descriptor_likelihood,
    likelihood,
)
from anasyn.evaluation.laplace import num_gradients
from anasyn.models import Generator


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(sigma: float, dim: int = 8) -> Generator:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3 * dim * dim), nn.Unflatten(1, (3, dim, dim)))
    with torch.no_grad():
        network[0].weight.mul_(0.1)
        network[0].bias.zero_()
    return Generator(network, 2, sigma)


def pixels(num: int, dim: int = 8) -> Tensor:
    return torch.randint(100, 156, (num, 3, dim, dim), generator=rng(), dtype=torch.uint8)


def check_bits(noise=dequantise, bits=bits_per_dimension) -> None:
    """A density whose grey levels are uniform over all 256 has 8 bits, and one of half the range 7."""
    grey = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    images = noise(grey, rng())
    assert images.dtype == torch.float32
    assert ((images - (grey.float() / 127.5 - 1)).abs() <= 1 / 255 + 1e-6).all()
    assert images.flatten().diff().std() > 1e-4  # the noise is there
    uniform = torch.full((256,), -math.log(256 / 127.5))  # over [−1 − 1/255, 1 + 1/255], which holds every image
    assert bits(uniform, 1).mean().item() == pytest.approx(8, abs=1e-5)
    assert bits(3 * (uniform + math.log(2)), 3).mean().item() == pytest.approx(7, abs=1e-5)


def test_bits_of_a_uniform_density():
    check_bits()


@pytest.mark.parametrize(
    "fault",
    [
        {"bits": lambda log, d: -log / (d * math.log(2))},
        {"bits": lambda log, d: -log / (d * math.log(2)) - math.log2(127.5)},
        {"bits": lambda log, d: -log / d + math.log2(127.5)},
        {"bits": lambda log, d: -log / math.log(2) + math.log2(127.5)},
        {"bits": lambda log, d: -log / (d * math.log(2)) + math.log2(255)},
        {"noise": lambda grey, rng: grey.float() / 127.5 - 1},
        {"noise": lambda grey, rng: dequantise(grey, rng) + 1 / 255},
        {"noise": lambda grey, rng: (grey + torch.rand(grey.shape, generator=rng)) / 127.5 - 1},
    ],
    ids=["scale left out", "its sign", "nats", "of the image", "255", "no noise", "shifted", "one-sided"],
)
def test_planted_faults_in_the_units_are_caught(fault):
    with pytest.raises(AssertionError):
        check_bits(**fault)


def test_only_grey_levels_are_dequantised():
    with pytest.raises(ValueError, match="uint8"):
        dequantise(torch.zeros(1, 3, 2, 2), rng())


def test_a_plan_grows_with_its_budget_and_stays_within_it(monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(bounding.time, "perf_counter", lambda: float(next(now)))  # a batch of 64 gradients takes 1 s
    images = torch.zeros(100, 3, 8, 8)
    found = [bounding.plan(linear(0.3), images, seconds) for seconds in (1, 100, 400, 10_000, 1e9)]
    assert [each.num_peaks for each in found] == [1, 2, 8, 8, 8]
    assert [each.num_temperatures for each in found] == [16, 16, 64, 512, 512]
    assert [each.num_images for each in found] == [8, 8, 8, 32, 64]
    for each, seconds in zip(found[1:4], (100, 400, 10_000), strict=True):
        chains = (each.num_images * 12 + each.num_simulated * 20) * each.num_temperatures
        climbs = (each.num_images + each.num_simulated) * each.num_peaks * num_gradients(2)
        assert chains + climbs <= 64 * seconds
    assert bounding.plan(linear(0.3), images[:3], 1e9).num_images == 3


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
def test_the_measures_of_a_linear_generator(tensor, monkeypatch):
    monkeypatch.setattr(bounding, "MAX_TEMPERATURES", 64)
    monkeypatch.setattr(bounding, "MAX_IMAGES", 8)
    model, calls = linear(0.2), []
    if tensor:
        model.sigma = torch.tensor(0.2, dtype=torch.float64)
    measures = bounding.evaluate_likelihood(
        model, pixels(20), "held-out images", seed=1, progress=lambda *step: calls.append(step)
    )
    assert set(measures) == {"log_likelihood", "bits_per_dimension", "log_likelihood_bracket", "log_likelihood_ess"}
    assert calls == [(k + 1, len(calls)) for k in range(len(calls))]
    for measure in measures.values():
        assert set(measure) == {"value", "protocol"}
        assert "64 temperatures" in measure["protocol"]
    value = {name: measure["value"] for name, measure in measures.items()}
    # log N(Y; 0, WWᵀ + σ²I) of images near 0, within what the dequantisation noise adds
    weight = model.network[0].weight.double()
    y = (pixels(20)[[0, 3, 5, 8, 11, 14, 16, 19]].double() / 127.5 - 1).flatten(1)
    marginal = torch.distributions.LowRankMultivariateNormal(
        torch.zeros(192, dtype=torch.float64), weight, torch.full((192,), 0.04, dtype=torch.float64)
    )
    truth = marginal.log_prob(y).mean().item()
    assert value["log_likelihood"] == pytest.approx(truth, abs=2)
    expected = -value["log_likelihood"] / (192 * math.log(2)) + math.log2(127.5)
    assert value["bits_per_dimension"] == pytest.approx(expected)
    assert abs(value["log_likelihood_bracket"]) < 2
    assert "8 of the 20 held-out images" in measures["log_likelihood"]["protocol"]
    assert "Trusted" in measures["log_likelihood"]["protocol"]


def bound(errors: list[float]) -> likelihood.LowerBound:
    return likelihood.LowerBound(torch.zeros(len(errors)), torch.tensor(errors), torch.ones(len(errors)))


def bracket_of(width: float) -> likelihood.Bracket:
    return likelihood.Bracket(torch.zeros(4), torch.full((4,), width), torch.ones(4))


def test_a_wide_bracket_and_chains_that_disagree_are_warned_of():
    assert bounding.warning(bound([4.0] * 10), bracket_of(1.0)) is None
    assert "6.0 nats wide" in bounding.warning(bound([4.0] * 10), bracket_of(6.0))
    assert "nan nats wide" in bounding.warning(bound([4.0] * 10), bracket_of(math.nan))
    assert bounding.warning(bound([20.0] + [1.0] * 9), bracket_of(1.0)) is None
    assert "standard error is 6.5 nats" in bounding.warning(bound([4.0, 9.0]), bracket_of(1.0))
    assert "standard error is nan nats" in bounding.warning(bound([4.0, math.nan]), bracket_of(1.0))


@pytest.mark.parametrize(
    ("upper", "error", "said"),
    [
        (14.0, 4.0, None),
        (6.0, 4.0, None),
        (17.0, 4.0, "are 7.0 nats apart, above 5."),
        (3.0, 4.0, "are 7.0 nats apart in the wrong order."),
        (math.nan, 4.0, "are nan nats apart, above 5."),
        (14.0, 6.0, "the standard error is 6.0 nats, above 5."),
    ],
)
def test_the_bounds_of_log_z_are_trusted_if_they_are_near(upper: float, error: float, said: str | None) -> None:
    found = NormalizerBracket(*map(torch.tensor, (10.0, error, upper, 1.0, 8.0)))
    told = descriptor_likelihood.warning(found)
    assert (told is None) == (said is None)
    assert (told or "").endswith(said or "")


def test_numbers_that_are_not_trusted_never_come_without_their_warning(monkeypatch):
    monkeypatch.setattr(bounding, "MAX_TEMPERATURES", 16)
    monkeypatch.setattr(bounding, "WIDEST", -10.0)
    measures = bounding.evaluate_likelihood(linear(0.2), pixels(3), "training images", seed=1)
    for measure in measures.values():
        assert measure["warning"].startswith("Not to be trusted: ")
        assert "Trusted" not in measure["protocol"]
