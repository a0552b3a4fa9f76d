"""The test of memorisation agrees with scipy's, is standard normal without copies, and sees copies; planted faults."""

import pytest
import torch
from scipy import stats

from anasyn.evaluation import Memorisation, memorisation

FLOAT = torch.float64


def normal(num, dim=3, seed=0):
    return torch.randn(num, dim, dtype=FLOAT, generator=torch.Generator().manual_seed(seed))


# ---- planted faults


def sign_changed(samples, held_out, training):
    z, nearer = memorisation(samples, held_out, training)
    return Memorisation(-z, nearer)


def sets_exchanged(samples, held_out, training):
    return memorisation(held_out, samples, training)


def by_the_held_out(samples, held_out, training):
    """Distances to the held-out images instead of the training images."""
    return memorisation(samples, training, held_out)


def ties_ignored(samples, held_out, training):
    nearer = memorisation(samples, held_out, training).nearer
    pairs, total = len(samples) * len(held_out), len(samples) + len(held_out)
    return Memorisation((0.5 - nearer) * pairs / (pairs * (total + 1) / 12) ** 0.5, nearer)


def ties_as_copies(samples, held_out, training):
    return memorisation(samples - 1e-9 * torch.sign(samples - training.mean(0)), held_out, training)


# ---- the definition


def check_against_scipy(test):
    """With ties: samples, and held-out images, of which many lie at the same distance, some at zero."""
    training = torch.cat([normal(40, seed=1).round(), torch.zeros(1, 3, dtype=FLOAT)])
    samples, held_out = (1.3 * normal(30, seed=2)).round(), (1.6 * normal(25, seed=3)).round()
    of_samples, of_held_out = ((torch.cdist(x, training).amin(1) ** 2).round() for x in (samples, held_out))
    assert len(of_samples.unique()) < 10
    u, p = stats.mannwhitneyu(of_samples, of_held_out, alternative="less", method="asymptotic", use_continuity=False)
    found = test(samples, held_out, training)
    assert stats.norm.cdf(found.z) == pytest.approx(p, abs=1e-9)
    assert found.nearer == pytest.approx(1 - u / (30 * 25), abs=1e-12)


def test_it_is_scipys_with_ties():
    check_against_scipy(memorisation)


FAULTS = [sign_changed, sets_exchanged, by_the_held_out]


@pytest.mark.parametrize("fault", [*FAULTS, ties_ignored, ties_as_copies])
def test_planted_faults_are_not_scipys(fault):
    with pytest.raises(AssertionError):
        check_against_scipy(fault)


# ---- what it says


def check_copies(test):
    training, held_out = normal(60, seed=1), normal(40, seed=2)
    copies = training[torch.arange(50)] + 0.05 * normal(50, seed=3)
    assert test(copies, held_out, training).z < -5
    assert test(2 * normal(50, seed=3), held_out, training).z > 2.5
    assert test(training, held_out, training).nearer == 1


def test_copies_are_negative_and_samples_far_away_positive():
    check_copies(memorisation)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_do_not_see_copies(fault):
    with pytest.raises(AssertionError):
        check_copies(fault)


def test_it_is_standard_normal_without_copies():
    sizes = (30, 20, 50)
    sets = normal(500 * sum(sizes)).view(500, sum(sizes), 3)
    z = torch.tensor([memorisation(*each.split(sizes)).z for each in sets], dtype=FLOAT)
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    assert abs(z.mean().item()) < 4 / 500**0.5
    assert abs(z.var().item() - 1) < 4 * (2 / 500) ** 0.5


def test_all_at_the_same_distance_is_no_sign_of_anything():
    same = torch.zeros(4, 3)
    assert memorisation(same, same, same) == (0, 0.5)
    with pytest.raises(ValueError, match="points in each set, got 4 and 0"):
        memorisation(same, same[:0], same)
    with pytest.raises(ValueError, match="at least one"):
        memorisation(same, same, same[:0])
