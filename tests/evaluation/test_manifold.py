"""Precision, recall, density and coverage: their definitions written out, their expected values, and planted faults."""

import math

import pytest
import torch

from anasyn.evaluation import density_coverage, expected_coverage, manifold, precision_recall

FLOAT = torch.float64


def normal(num, dim=3, seed=0):
    return torch.randn(num, dim, dtype=FLOAT, generator=torch.Generator().manual_seed(seed))


def far_and_wide():
    """Samples of another mean and spread, in another number; two images are the same, and one sample is an image."""
    images, samples = normal(23, seed=1), 0.7 * normal(17, seed=2) + 0.5
    images[3] = images[4]
    samples[5] = images[6]
    return samples, images


# ---- planted faults


def swapped(samples, images, *, k):
    return tuple(reversed(precision_recall(samples, images, k=k)))


def exchanged(measure):
    return lambda samples, images, *, k: measure(images, samples, k=k)


def one_more(measure):
    return lambda samples, images, *, k: measure(samples, images, k=k + 1)


def itself_counted(measure):
    """A point is its own nearest neighbour, at distance zero."""

    def faulty(samples, images, *, k):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manifold, "_radii", lambda points, k: torch.cdist(points, points).kthvalue(k, 1).values)
            return measure(samples, images, k=k)

    return faulty


def not_over_k(samples, images, *, k):
    density, coverage = density_coverage(samples, images, k=k)
    return density * k, coverage


PRECISION_FAULTS = [swapped, exchanged(precision_recall), one_more(precision_recall), itself_counted(precision_recall)]
DENSITY_FAULTS = [
    exchanged(density_coverage), one_more(density_coverage), itself_counted(density_coverage), not_over_k,
]  # fmt: skip


# ---- the definitions


def brute_force(samples, images, k):
    """(precision, recall, density, coverage), one pair of points after the other."""
    radius, sample_radius = (
        [sorted(math.dist(a, b) for j, b in enumerate(points) if j != i)[k - 1] for i, a in enumerate(points)]
        for points in (images.tolist(), samples.tolist())
    )
    pairs = [[math.dist(x, y) for y in images.tolist()] for x in samples.tolist()]  # of each sample
    m, n = len(samples), len(images)
    inside = [[pairs[j][i] <= radius[i] + 1e-12 for i in range(n)] for j in range(m)]
    inside_sample = [[pairs[j][i] <= sample_radius[j] + 1e-12 for j in range(m)] for i in range(n)]
    return (
        sum(any(row) for row in inside) / m,
        sum(any(row) for row in inside_sample) / n,
        sum(sum(row) for row in inside) / (k * m),
        sum(any(inside[j][i] for j in range(m)) for i in range(n)) / n,
    )


def check_precision(measure):
    samples, images = far_and_wide()
    for k in (1, 3, 5):
        assert tuple(measure(samples, images, k=k)) == pytest.approx(brute_force(samples, images, k)[:2], abs=1e-12)


def check_density(measure):
    samples, images = far_and_wide()
    for k in (1, 3, 5):
        assert tuple(measure(samples, images, k=k)) == pytest.approx(brute_force(samples, images, k)[2:], abs=1e-12)


@pytest.mark.parametrize("chunk", [1024, 5])
def test_all_agree_with_brute_force_whatever_the_chunks(chunk, monkeypatch):
    monkeypatch.setattr(manifold, "CHUNK", chunk)
    check_precision(precision_recall)
    check_density(density_coverage)


@pytest.mark.parametrize("fault", PRECISION_FAULTS)
def test_planted_faults_in_precision_and_recall_are_caught(fault):
    with pytest.raises(AssertionError):
        check_precision(fault)


@pytest.mark.parametrize("fault", DENSITY_FAULTS)
def test_planted_faults_in_density_and_coverage_are_caught(fault):
    with pytest.raises(AssertionError):
        check_density(fault)


# ---- the expected values


def check_expected(measure, repetitions=500):
    """For samples of the images' own distribution, density 1 and the coverage in closed form, by 4 standard errors."""
    m, n, k = 20, 30, 5
    draws = normal(repetitions * (m + n)).view(repetitions, m + n, 3)
    found = torch.tensor([measure(draw[:m], draw[m:], k=k) for draw in draws], dtype=FLOAT)
    error = found.std(0) / repetitions**0.5
    expected = torch.tensor([1, 1 - math.comb(n - 1, k) / math.comb(m + n - 1, k)], dtype=FLOAT)
    assert ((found.mean(0) - expected).abs() <= 4 * error).all(), (found.mean(0), expected, error)


def test_samples_of_the_same_distribution_have_density_one_and_the_expected_coverage():
    check_expected(density_coverage)
    assert expected_coverage(20, 30, 5) == pytest.approx(1 - math.comb(29, 5) / math.comb(49, 5))
    assert expected_coverage(1000, 1000, 5) == pytest.approx(1 - 2**-5, abs=1e-3)


@pytest.mark.parametrize("fault", DENSITY_FAULTS)
def test_planted_faults_miss_the_expected_values(fault):
    with pytest.raises(AssertionError):
        check_expected(fault)


# ---- behaviour


def test_a_dropped_mode_lowers_recall_and_coverage_and_noise_precision_and_density():
    images = torch.cat([normal(50, seed=1) - 20, normal(50, seed=2) + 20])
    one_mode, noisy = normal(80, seed=3) - 20, torch.cat([normal(40, seed=4) - 20, 10 * normal(40, seed=5)])
    precision, recall = precision_recall(one_mode, images)
    density, coverage = density_coverage(one_mode, images)
    assert precision > 0.9
    assert recall <= 0.5
    assert density > 0.8
    assert coverage <= 0.5
    assert precision_recall(noisy, images).precision <= 0.55
    assert density_coverage(noisy, images).density <= 0.6


def test_a_set_covers_itself():
    images = normal(12).float()
    assert precision_recall(images, images) == (1, 1)
    density, coverage = density_coverage(images, images)
    assert coverage == 1
    assert density == pytest.approx(6 / 5)  # each ball has its centre and five others


def test_says_what_is_wrong():
    images = normal(6)
    with pytest.raises(ValueError, match="k: expected 1 to 5 with 6 images, got 6"):
        density_coverage(images, images, k=6)
    with pytest.raises(ValueError, match="k: expected 1 to 3 with 4 samples, got 4"):
        precision_recall(images[:4], images, k=4)
    with pytest.raises(ValueError, match="k: expected 1 to 5 with 6 images, got 0"):
        density_coverage(images, images, k=0)
    with pytest.raises(ValueError, match=r"the same dimension, got \(6, 2\) and \(6, 3\)"):
        precision_recall(images[:, :2], images)
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        density_coverage(images[:0], images)
