"""What is missing of images is drawn from the model given what is seen, where that is known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, RecoveryLearner, mcmc
from anasyn.data import to_uint8
from anasyn.evaluation import restoration
from anasyn.evaluation.restoration import Restoration, restore_latent, restored
from anasyn.methods import descriptor, recovery
from anasyn.models import (
    BlockAverage,
    Descriptor,
    DescriptorLadder,
    Generator,
    Ladder,
    Mask,
    Observed,
    floats,
)
from anasyn.rng import derive

from ..planting import plant

N, SIDE = 1500, 2
SEEN = torch.tensor([[True, False], [False, True]]).view(1, 1, SIDE, SIDE).expand(N, -1, -1, -1)
IMAGE = torch.tensor([0.5, 7.0, -7.0, -0.3])  # 7 where it is hidden: what is drawn must not depend on it
MEAN = torch.tensor([0.1, -0.2, 0.0, 0.3])
WEIGHT = torch.tensor([[0.6, 0.1], [0.5, -0.4], [-0.3, 0.5], [0.2, 0.6]])
SIGMA = 0.3
COVARIANCE = WEIGHT @ WEIGHT.T + SIGMA**2 * torch.eye(4)
KNOWN, MISSING = torch.tensor([0, 3]), torch.tensor([1, 2])


def images() -> Observed:
    return floats(Observed(IMAGE.view(1, 1, SIDE, SIDE).expand(N, -1, -1, -1), Mask(SEEN)))


def conditional(covariance: Tensor = COVARIANCE) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the missing values given the seen ones."""
    cross, within = covariance[MISSING][:, KNOWN], covariance[KNOWN][:, KNOWN]
    gain = cross @ torch.linalg.inv(within)
    return MEAN[MISSING] + gain @ (IMAGE - MEAN)[KNOWN], covariance[MISSING][:, MISSING] - gain @ cross.T


def assert_gaussian(draws: Tensor, mean: Tensor, covariance: Tensor, slack: float = 0.0) -> None:
    n = len(draws)
    scale = covariance.diagonal()
    assert ((draws.mean(0) - mean).abs() <= 4.5 * (scale / n).sqrt() + slack).all()
    error = ((covariance**2 + scale.outer(scale)) / n).sqrt()
    assert ((draws.T.cov() - covariance).abs() <= 4.5 * error + slack).all()


def missing(draws: Tensor) -> Tensor:
    return draws.flatten(0, 1).flatten(1)[:, MISSING]


# ---- a generator


def generator() -> Generator:
    network = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, SIDE, SIDE)))
    with torch.no_grad():
        network[0].weight.copy_(WEIGHT)
        network[0].bias.copy_(MEAN)
    return Generator(network, 2, SIGMA)


def check_generator() -> None:
    """f(z) at draws of the posterior: the conditional Gaussian, less the pixels' own noise."""
    found = restore_latent(generator(), images(), torch.full((N, 2), torch.nan), 2, derive(0, "test"))
    mean, covariance = conditional()
    assert found.noise == pytest.approx(SIGMA)
    assert_gaussian(missing(found.draws[:1]), mean, covariance - SIGMA**2 * torch.eye(2))


def test_a_generator_draws_from_the_posterior_given_what_is_seen():
    check_generator()


def test_a_generator_restores_detail_of_small_copies():
    """Given the mean of the four pixels alone, z is drawn from its posterior given that mean."""
    row = torch.full((1, 4), 0.25)
    seen = Observed(torch.full((N, 1, 1, 1), 0.4), BlockAverage(2))
    found = restore_latent(generator(), seen, torch.full((N, 2), torch.nan), 1, derive(0, "test"))
    signal = WEIGHT @ WEIGHT.T
    gain = signal @ row.T / (row @ signal @ row.T + SIGMA**2)
    mean = MEAN + gain[:, 0] * (0.4 - MEAN.mean())
    draws = found.draws[0].flatten(1)
    assert_gaussian(draws, mean, signal - gain @ row @ signal)


def test_the_chain_of_a_known_image_starts_at_its_z(monkeypatch: pytest.MonkeyPatch):
    """Only z that are not known are inferred first."""
    inferred: list[int] = []
    original = restoration.infer

    def infer(model, images, **rest):
        inferred.append(len(images))
        return original(model, images, **rest)

    monkeypatch.setattr(restoration, "infer", infer)
    start = torch.zeros(N, 2)
    start[::3] = torch.nan
    found = restore_latent(generator(), images(), start, 1, derive(0, "test"))
    mean, covariance = conditional()
    assert inferred == [N // 3]
    assert_gaussian(missing(found.draws), mean, covariance - SIGMA**2 * torch.eye(2))


# ---- a descriptor


class Coupled(nn.Module):
    """f with which p(Y) = exp(f(Y)) N(Y; 0, I)/Z is N(m, C)."""

    def __init__(self, covariance: Tensor = COVARIANCE):
        super().__init__()
        self.precision = nn.Parameter(torch.linalg.inv(covariance))

    def forward(self, y: Tensor) -> Tensor:
        x = y.flatten(1)
        gap = x - MEAN
        return (x * x).sum(1) / 2 - (gap @ self.precision * gap).sum(1) / 2


def check_descriptor() -> None:
    learner = DescriptorLearner(Descriptor(Coupled(), 1.0), kernel=mcmc.MALA(0.35), num_steps=80)
    learner.begin(torch.zeros(1, 1, SIDE, SIDE), N, rng=derive(0, "test"))
    found = descriptor.restore(learner, images(), 1, derive(1, "test"))
    assert found.noise == 0
    assert_gaussian(missing(found.draws), *conditional())


def test_a_descriptor_draws_the_missing_pixels_given_the_seen_ones():
    check_descriptor()


# ---- a ladder of descriptors


class Levels(nn.Module):
    """The exact descriptors of y_t for images of N(m, C)."""

    def __init__(self, ladder: Ladder):
        super().__init__()
        self.ladder = ladder
        self.unused = nn.Parameter(torch.zeros(()))

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        return Level(self.ladder, level)


class Level(nn.Module):
    def __init__(self, ladder: Ladder, t: int):
        super().__init__()
        share, shrinkage = ladder.alpha_bar(t), ladder.shrinkage(t)
        self.mean = shrinkage * share**0.5 * MEAN
        covariance = shrinkage**2 * (share * COVARIANCE + (1 - share) * torch.eye(4))
        self.precision = torch.linalg.inv(covariance)
        self.spread = ladder.spread(t)

    def forward(self, y: Tensor) -> Tensor:
        x = y.flatten(1)
        gap = x - self.mean
        f = (x * x).sum(1) / (2 * self.spread**2) - (gap @ self.precision * gap).sum(1) / 2
        return f * self.spread**2 / 100  # the ladder multiplies by 100/s_t²


def check_ladder() -> None:
    ladder = Ladder.geometric(5, 0.1, 5.0)
    model = DescriptorLadder(Levels(ladder), ladder)
    learner = RecoveryLearner(model, kernel=mcmc.MALA(0.9), num_steps=40)
    learner.begin(torch.zeros(1, 1, SIDE, SIDE), N, rng=derive(0, "test"))
    found = recovery.restore(learner, images(), 1, derive(1, "test"))
    mean, covariance = conditional()
    assert_gaussian(missing(found.draws), mean, covariance, slack=0.02)  # the noise of x_0, 0.1, is removed


def test_a_ladder_draws_the_missing_pixels_given_the_seen_ones():
    check_ladder()


@pytest.mark.parametrize(
    ("check", "where", "edits"),
    [
        (check_generator, "anasyn.models.observation:Mask.__call__", {"self.mask.to": "(~self.mask).to"}),
        (check_descriptor, "anasyn.mcmc.kernel:hold", {"torch.where(mask, values, position)": "position"}),
        (
            check_ladder,
            "anasyn.learning.recovery:descend",
            {"mcmc.hold(bottom.log_density, *held)": "bottom.log_density"},
        ),
    ],
    ids=["mask inverted", "seen pixels move", "they move at the lowest level"],
)
def test_planted_faults_are_caught(check, where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch, where, edits)
    with pytest.raises(AssertionError):
        check()


# ---- what is written


def check_seen() -> Restoration:
    rng = derive(0, "test")
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=rng)
    mask = torch.rand(5, 1, 8, 8, generator=rng) > 0.5
    found = restored(Observed(pixels, Mask(mask)), 0.1 * torch.randn(4, 5, 3, 8, 8, generator=rng), 0.2)
    for each in (found.mean, *found.draws):
        assert torch.equal(torch.where(mask, each, 0), torch.where(mask, pixels, 0))
    assert (found.spread[mask.expand_as(pixels)] == 0).all()
    return found


def test_seen_pixels_are_kept_exactly():
    check_seen()


def test_restored_pixels_that_replace_seen_ones_are_caught(monkeypatch: pytest.MonkeyPatch):
    edit = {"torch.where(mask, damaged, each)": "torch.where(mask, each, damaged)"}
    plant(monkeypatch, "anasyn.evaluation.restoration:restored", edit)
    with pytest.raises(AssertionError):
        check_seen()


def test_errors_are_those_of_the_missing_values_and_the_interval_holds_its_share():
    rng = derive(0, "test")
    mask = (torch.rand(40, 1, 8, 8, generator=rng) > 0.5).expand(-1, 1, -1, -1)
    centre = 0.2 * torch.randn(40, 3, 8, 8, generator=rng)
    draws = centre + 0.05 * torch.randn(200, 40, 3, 8, 8, generator=rng)
    truth = centre + (0.05**2 + 0.12**2) ** 0.5 * torch.randn(40, 3, 8, 8, generator=rng)
    pixels = torch.where(mask, to_uint8(truth), 0)
    errors = restored(Observed(pixels, Mask(mask)), draws, 0.12).errors(to_uint8(truth))
    assert errors["mse"] == pytest.approx(0.05**2 + 0.12**2, rel=0.05)
    assert errors["draw_mse"] == pytest.approx(2 * 0.05**2 + 0.12**2, rel=0.05)
    assert errors["within_80"] == pytest.approx(0.8, abs=0.015)
