"""Recovery likelihood of two Gaussian classes: each has the closed form of its own data (`test_recovery`)."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.learning import RecoveryLearner, learn, recovery
from anasyn.methods.recovery import classes as of_learner
from anasyn.models import DescriptorLadder, Ladder, Mask, Observed
from anasyn.models.ladder import GAIN
from anasyn.rng import standard_normal

from ..planting import plant
from .test_recovery import EYE, FLOAT, LEVELS, NOISE, FixedMALA, assert_gaussian, given, marginal, rng

LEARNING = "anasyn.learning.recovery"
MUS = torch.tensor([[0.4, -0.2], [-0.6, 0.3]], dtype=FLOAT)
CS = torch.tensor([[[0.5, 0.3], [0.3, 0.4]], [[0.3, -0.1], [-0.1, 0.2]]], dtype=FLOAT)
CLASSES = range(2)


class Quadratics(nn.Module):
    """For each level and class a network yᵀAy/2 + bᵀy."""

    def __init__(self, a: Tensor, b: Tensor):
        super().__init__()
        self.A, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())  # (T, K, d, d), (T, K, d)

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        assert labels is not None
        return OfRows(self, level, labels)


class OfRows(nn.Module):
    """The network of each row's class."""

    def __init__(self, all_of: Quadratics, level: int, labels: Tensor):
        super().__init__()
        self.all_of, self.level, self.labels = all_of, level, labels

    def forward(self, y: Tensor) -> Tensor:
        a, b = self.all_of.A[self.level][self.labels], self.all_of.b[self.level][self.labels]
        return torch.einsum("ni,nij,nj->n", y, a, y) / 2 + (y * b).sum(1)


def optimal(labels: list[str]) -> RecoveryLearner:
    """A learner whose descriptors are the densities of y_t in each class."""
    ladder = Ladder(NOISE)
    a, b = torch.zeros(3, 2, 2, 2, dtype=FLOAT), torch.zeros(3, 2, 2, dtype=FLOAT)
    for t in LEVELS:
        unit = GAIN / ladder.spread(t) ** 2
        for k in CLASSES:
            mean, covariance = marginal(t, MUS[k], CS[k])
            precision = torch.linalg.inv(covariance)
            a[t, k], b[t, k] = (EYE / ladder.spread(t) ** 2 - precision) / unit, precision @ mean / unit
    model = DescriptorLadder(Quadratics(a, b), ladder)
    learner = RecoveryLearner(model, kernel=mcmc.MALA(1.0), num_steps=30, labels=labels)
    learner.begin(MUS[:1], len(labels), rng=rng())
    return learner


def check_recovery() -> None:
    """Chains of both classes, side by side, sample the conditional density of their own."""
    model, x_next = optimal(["a", "b"]).model, torch.tensor([0.7, -0.3], dtype=FLOAT)
    labels = torch.arange(20_000) % 2
    for t in LEVELS:
        found, _ = recovery.recover(model, t, mcmc.MALA(1.0), x_next.expand(20_000, 2), 60, rng(t), labels)
        for k in CLASSES:
            assert_gaussian(found[labels == k], *given(t, x_next, MUS[k], CS[k]))


def shrunk(k: int) -> Tensor:
    """The covariance of E[x | x_0] in a class."""
    return CS[k] @ torch.linalg.inv(CS[k] + NOISE[0] ** 2 * EYE) @ CS[k]


def check_sampling() -> None:
    labels = torch.arange(20_000) % 2
    samples = optimal(["a", "b"]).draw(20_000, labels=labels, rng=rng(3))
    for k in CLASSES:
        assert_gaussian(samples[labels == k], MUS[k], shrunk(k))


def check_restoration() -> None:
    """The second value given the first: what is drawn is E[x | x_0], where the first of x_0 is seen with its noise."""
    num, seen = 8000, 0.7
    labels = torch.arange(num) % 2
    images = Observed(torch.tensor([seen, 0.0], dtype=FLOAT).expand(num, 2), Mask(torch.tensor([[True, False]])))
    classes = of_learner(optimal(["a", "b"]))
    assert classes is not None
    drawn = classes.restore(images, labels, 1, rng(6)).draws[0, :, 1:]
    share = Ladder(NOISE).alpha_bar(0)
    for k in CLASSES:
        total = share * CS[k] + (1 - share) * EYE  # the covariance of x_0
        gain = (share**0.5 * CS[k] @ torch.linalg.inv(total))[1]
        slope = total[1, 0] / total[0, 0]
        of_seen, left = gain[0] + gain[1] * slope, total[1, 1] - total[1, 0] * slope
        mean = MUS[k][1:] + of_seen * share**0.5 * (seen - MUS[k][0])
        assert_gaussian(drawn[labels == k], mean, (of_seen**2 * (1 - share) + gain[1] ** 2 * left).view(1, 1))


def check_proportions() -> None:
    """Samples of no class in particular have those of the data: here one image of four is of the first class."""
    samples = optimal(["b", "b", "a", "b"]).draw(10_000, rng=rng(5))
    mean = (MUS[0] + 3 * MUS[1]) / 4
    between = torch.outer(MUS[0] - MUS[1], MUS[0] - MUS[1]) * 3 / 16
    assert_gaussian(samples, mean, (shrunk(0) + 3 * shrunk(1)) / 4 + between)


def check_learning() -> None:
    """From f = 0 beside the reference, f becomes the log-density of each class, at the one level of this ladder."""
    n, names = 4000, ["b", "a"]  # in the order of the data set; the model's is the alphabetical one
    place = {"a": 0, "b": 1}
    labels = [names[i % 2] for i in range(n)]
    data = standard_normal(torch.empty(n, 2, dtype=FLOAT), rng(4))
    for i, name in enumerate(names):
        z = data[i::2] - data[i::2].mean(0)
        white = z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov(correction=0))).T
        k = place[name]
        data[i::2] = MUS[k] + white @ torch.linalg.cholesky(CS[k]).T  # of exactly this mean and covariance
    zero = Quadratics(torch.zeros(1, 2, 2, 2, dtype=FLOAT), torch.zeros(1, 2, 2, dtype=FLOAT))
    model = DescriptorLadder(zero, Ladder(NOISE[:2]))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.5, 0.999))
    learner = RecoveryLearner(model, kernel=FixedMALA(1.0), num_steps=25, optimizer=optimizer, labels=labels)
    for _ in learn(learner, data, num_iterations=250, batch_size=500):
        pass
    assert learner.classes == ("a", "b")
    unit, s = model.scale(0), model.ladder.spread(0)
    for k in CLASSES:
        mean, covariance = marginal(0, MUS[k], CS[k])
        a, b = zero.A[0, k], zero.b[0, k]
        learned = torch.linalg.inv(EYE / s**2 - unit * (a + a.T) / 2)
        torch.testing.assert_close(learned, covariance, atol=0.08 * covariance.max().item(), rtol=0)
        error = 0.08 * covariance.diagonal().max().sqrt().item()
        torch.testing.assert_close(learned @ b * unit, mean, atol=error, rtol=0)


CHECKS = {"recovery": check_recovery, "sampling": check_sampling, "restoration": check_restoration,
          "proportions": check_proportions, "learning": check_learning}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_each_class_agrees_with_its_closed_form(check) -> None:
    check()


@pytest.mark.parametrize(
    ("check", "where", "edits"),
    [
        ("recovery", f"{LEARNING}:chains_given", {"model.at(t, labels)": "model.at(t, 1 - labels)"}),
        ("sampling", f"{LEARNING}:descend", {"rng, labels, held)": "rng, 0 * labels, held)"}),
        ("sampling", f"{LEARNING}:descend", {"rng, labels, held)": "rng, labels.roll(1), held)"}),
        ("sampling", f"{LEARNING}:descend", {"at(0, labels)": "at(0, 0 * labels)"}),
        ("restoration", "anasyn.methods.recovery:restore", {"labels=labels": "labels=1 - labels"}),
        ("proportions", f"{LEARNING}:RecoveryLearner.draw", {"randint(len(self.labels)": "randint(2"}),
        ("learning", f"{LEARNING}:RecoveryLearner.step", {"labels.repeat(2)": "labels.repeat_interleave(2)"}),
        ("learning", f"{LEARNING}:RecoveryLearner.labels_of", {"self.labels[index]": "self.labels[index - 1]"}),
    ],
)  # fmt: skip
def test_a_planted_fault_is_caught(check: str, where: str, edits, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, where, edits)
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check]()


def test_the_curvature_is_that_of_each_image_s_class() -> None:
    learner = optimal(["b", "a", "b"])
    index = torch.tensor([1, 0, 2])
    found = learner.stability(index, MUS[[0, 1, 1]], rng=rng())
    for k, measured in zip((0, 1, 1), found.lambda_max, strict=True):
        _, posterior = given(0, MUS[k], MUS[k], CS[k])
        expected = Ladder(NOISE).narrowest(0) ** 2 / torch.linalg.eigvalsh(posterior).min()
        assert math.isclose(measured, expected, rel_tol=1e-3)  # power iteration comes from below
