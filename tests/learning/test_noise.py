"""The learned noise level: its maximum in closed form, its floor, and the images that it is learned from."""

import pytest
import torch
from torch import Tensor, nn

from anasyn import GeneratorLearner, learn, mcmc
from anasyn.learning import LearnedNoise
from anasyn.models import Generator

from ..planting import plant

FLOAT = torch.float64


def data_set(*variances: float, copies: int = 100) -> Tensor:
    """Images of mean 0 and covariance exactly diag(variances)."""
    rows = torch.diag(torch.tensor(variances, dtype=FLOAT) * len(variances)).sqrt()
    return torch.cat([rows, -rows]).repeat(copies, 1)


def learner_of(sigma: float, floor: float = 0.01, rate: float = 0.05) -> GeneratorLearner:
    torch.manual_seed(0)
    model = Generator(nn.Linear(1, 3, dtype=FLOAT), 1, sigma)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return GeneratorLearner(model, num_steps=5, optimizer=optimizer, expansion=0.3, noise=LearnedNoise(floor))


def learned(held_out: Tensor | None = None) -> tuple[float, float]:
    """σ² and ‖W‖², averaged over the second half of learning from a set of covariance diag(4, 0.6, 0.4)."""
    learner = learner_of(1.0)
    found = [
        (float(learner.model.sigma) ** 2, float((learner.model.network.weight.detach() ** 2).sum()))
        for _ in learn(learner, data_set(4, 0.6, 0.4), num_iterations=240, held_out=held_out)
    ]
    half = torch.tensor(found[120:])
    return tuple(half.mean(0).tolist())


def check_maximum() -> None:
    """Probabilistic PCA: σ² is the mean of the eigenvalues that W leaves over, 0.5, and ‖W‖² = 4 − σ².

    Source: Tipping and Bishop 1999, equations 7 and 8.
    """
    variance, weight = learned()
    assert variance == pytest.approx(0.5, rel=0.03)
    assert weight == pytest.approx(3.5, rel=0.05)


def check_held_out() -> None:
    """Held-out images of covariance diag(4, 1.2, 0.8) have the noise 1, whatever the training images have."""
    variance, _ = learned(data_set(4, 1.2, 0.8))
    assert variance == pytest.approx(1.0, rel=0.05)


def test_the_maximum_of_the_linear_generator_is_reached():
    check_maximum()


def test_held_out_images_determine_the_noise():
    check_held_out()


@pytest.mark.parametrize(
    ("where", "edits", "check"),
    [
        ("noise:LearnedNoise.update", {".sqrt()": ""}, check_maximum),
        ("noise:LearnedNoise.keep", {"squares / self.num_seen[index]": "squares"}, check_maximum),
        ("latent:LatentLearner.learn_noise", {"and not self.holds_out": ""}, check_held_out),
    ],
    ids=["σ² for σ", "sum for mean", "training images for held-out ones"],
)
def test_planted_faults_are_caught(where, edits, check, monkeypatch):
    plant(monkeypatch, f"anasyn.learning.{where}", edits)
    with pytest.raises(AssertionError):
        check()


def test_sigma_does_not_fall_below_its_floor():
    """One dimension of W and images on a line: the residual could vanish."""
    learner = learner_of(0.5, floor=0.2)
    *_, record = learn(learner, data_set(4, 0, 0), num_iterations=60)
    assert record.measures["sigma"] == float(learner.model.sigma) == 0.2


def test_held_out_images_teach_no_weight():
    """The weights' gradient comes from the training images; held-out ones move their own chains alone."""
    learner = learner_of(0.5)
    learner.begin(data_set(4, 1, 1), 6, 4, rng=torch.Generator().manual_seed(0))
    before = [weight.clone() for weight in learner.model.parameters()], learner.chains.positions.clone()
    held = learner.held_out.positions.clone()
    learner.validate(torch.arange(4), data_set(4, 1, 1)[:4], rng=torch.Generator().manual_seed(1))
    assert (learner.held_out.positions != held).any()
    assert (learner.chains.positions == before[1]).all()
    for weight, old in zip(learner.model.parameters(), before[0], strict=True):
        assert (weight == old).all()


def test_a_fixed_sigma_stays():
    model = Generator(nn.Linear(1, 3, dtype=FLOAT), 1, 0.7)
    learner = GeneratorLearner(model, kernel=mcmc.MALA(0.3))
    *_, record = learn(learner, data_set(4, 1, 1, copies=2), num_iterations=3, held_out=data_set(4, 1, 1, copies=1))
    assert "sigma" not in record.measures
    assert float(model.sigma) == 0.7
