"""The kernel distance: its definition written out, closed forms, its standard error, and planted faults."""

import pytest
import torch

from anasyn.evaluation import KernelDistance, kernel_distance
from anasyn.evaluation.kernel_distance import _kernel

FLOAT = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(num, dim=4, seed=0):
    return torch.randn(num, dim, dtype=FLOAT, generator=rng(seed))


# ---- planted faults


def biased(x, y):
    """The points' kernels with themselves are not left out."""
    value = _kernel(x, x).mean() + _kernel(y, y).mean() - 2 * _kernel(x, y).mean()
    return KernelDistance(value.item(), kernel_distance(x, y).standard_error)


def dimension_forgotten(x, y):
    return kernel_distance(x * x.shape[1] ** 0.5, y * y.shape[1] ** 0.5)


def quadratic(x, y):
    m, n = len(x), len(y)
    xx, yy, xy = (((a @ b.T) / a.shape[1] + 1) ** 2 for a, b in ((x, x), (y, y), (x, y)))
    of_x, of_y = (k.sum() - k.trace() for k in (xx, yy))
    value = of_x / (m * (m - 1)) + of_y / (n * (n - 1)) - 2 * xy.mean()
    return KernelDistance(value.item(), kernel_distance(x, y).standard_error)


def numbers_confused(x, y):
    """The sums of one set over the number of the other."""
    value, error = kernel_distance(x, y)
    of_x = _kernel(x, x).sum() - _kernel(x, x).trace()
    m, n = len(x), len(y)
    return KernelDistance(value + (of_x / (n * (n - 1)) - of_x / (m * (m - 1))).item(), error)


def deviation_over_subsets(x, y):
    """What is usually reported: the standard deviation over random subsets, here of a quarter of the points."""
    g, values = rng(), []
    for _ in range(8):
        a, b = (points[torch.randperm(len(points), generator=g)[: len(points) // 4]] for points in (x, y))
        values.append(kernel_distance(a, b).value)
    return KernelDistance(kernel_distance(x, y).value, torch.tensor(values).std().item())


def of_samples_alone(x, y):
    """The images taken for known."""
    value, error = kernel_distance(x, y)
    return KernelDistance(value, (error**2 / 2) ** 0.5)


# ---- the definition


def plain(x, y):
    """The estimate as it is defined, one pair after the other."""

    def mean(pairs):
        terms = [((a @ b).item() / len(a) + 1) ** 3 for a, b in pairs]
        return sum(terms) / len(terms)

    within = (mean([(a, b) for i, a in enumerate(p) for j, b in enumerate(p) if i != j]) for p in (x, y))
    return sum(within) - 2 * mean([(a, b) for a in x for b in y])


def check_definition(measure):
    x, y = normal(7, seed=1), 0.8 * normal(5, seed=2) + 0.3
    value, error = measure(x, y)
    assert value == pytest.approx(plain(x, y), abs=1e-10)
    variance = 0.0
    for kept in (
        [plain(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(7)],
        [plain(x, torch.cat([y[:j], y[j + 1 :]])) for j in range(5)],
    ):
        center = sum(kept) / len(kept)
        variance += (len(kept) - 1) / len(kept) * sum((each - center) ** 2 for each in kept)
    assert error == pytest.approx(variance**0.5, abs=1e-10)


def test_it_is_the_definition_with_the_jackknife_written_out():
    check_definition(kernel_distance)


@pytest.mark.parametrize("fault", [biased, dimension_forgotten, quadratic, numbers_confused, of_samples_alone])
def test_planted_faults_are_not_the_definition(fault):
    with pytest.raises(AssertionError):
        check_definition(fault)


# ---- closed forms


def check_mean(measure, shift, expected, repetitions=600):
    """In one dimension the squared discrepancy is 3(Δ E x)² + 3(Δ E x²)² + (Δ E x³)²; its mean, by 4 errors."""
    x, y = normal(12 * repetitions, 1, seed=1), normal(8 * repetitions, 1, seed=2) + shift
    values = [measure(a, b).value for a, b in zip(x.split(12), y.split(8), strict=True)]
    values = torch.tensor(values, dtype=FLOAT)
    error = values.std().item() / repetitions**0.5
    assert abs(values.mean().item() - expected) <= 4 * error, (values.mean(), expected, error)


SHIFTED = 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2  # N(½, 1): moments ½, 1.25 and 1.625, in place of 0, 1 and 0


def test_it_is_unbiased_whatever_the_numbers_of_points():
    check_mean(kernel_distance, 0.0, 0.0)
    check_mean(kernel_distance, 0.5, SHIFTED)


@pytest.mark.parametrize("fault", [biased, numbers_confused])
def test_planted_faults_are_biased(fault):
    with pytest.raises(AssertionError):
        check_mean(fault, 0.0, 0.0)


# ---- the standard error


def check_standard_error(measure, shift, least, most, repetitions=300):
    """The root mean square of the standard errors, over the standard deviation of the values."""
    g = rng(3)
    x, y = (torch.rand(repetitions, num, 4, dtype=FLOAT, generator=g) * 2 - 1 for num in (40, 60))
    found = torch.tensor([measure(a, b + shift) for a, b in zip(x, y, strict=True)], dtype=FLOAT)
    ratio = (found[:, 1].square().mean().sqrt() / found[:, 0].std()).item()
    assert least < ratio < most, ratio


def test_the_standard_error_is_the_deviation_between_repetitions():
    """300 repetitions know a standard deviation to 4 %."""
    check_standard_error(kernel_distance, 0.5, 0.88, 1.12)
    check_standard_error(kernel_distance, 0.0, 1.0, 1.6)  # where it is known to be about √2 times too large


@pytest.mark.parametrize("fault", [deviation_over_subsets, of_samples_alone])
def test_planted_faults_give_no_standard_error(fault):
    with pytest.raises(AssertionError):
        check_standard_error(fault, 0.5, 0.88, 1.12)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="at least 3 points in each set, got 2 and 5"):
        kernel_distance(normal(2), normal(5))
    with pytest.raises(ValueError, match=r"the same dimension, got \(5, 4\) and \(5, 3\)"):
        kernel_distance(normal(5), normal(5, 3))
