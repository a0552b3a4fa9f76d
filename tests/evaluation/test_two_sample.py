"""The two-sample test agrees with scipy's, keeps its level, and tells distributions apart; planted faults."""

import pytest
import torch
from scipy import stats

from anasyn.evaluation import same_distribution

from ..planting import plant

FLOAT = torch.float64
WHERE = "anasyn.evaluation.two_sample:same_distribution"


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(num: int, dim: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, dim, dtype=FLOAT, generator=rng(seed))


def check_statistic() -> None:
    """All 35 divisions of seven points, by scipy, against 999 random ones."""
    from anasyn.evaluation import same_distribution

    for seed in range(6):
        x, y = normal(3, 1, seed=seed), 0.7 + 2 * normal(4, 1, seed=100 + seed)

        sets = (x[:, 0].numpy(), y[:, 0].numpy())
        exact = stats.permutation_test(sets, stats.energy_distance, vectorized=False, alternative="greater")
        found = same_distribution(x, y, rng=rng())
        assert found == pytest.approx(exact.pvalue, abs=5 * (0.25 / 999) ** 0.5)


def check_level() -> None:
    from anasyn.evaluation import same_distribution

    p = torch.tensor([same_distribution(normal(5, seed=k), normal(7, seed=1000 + k), rng=rng(k)) for k in range(300)])
    assert stats.kstest(p.numpy(), "uniform").pvalue > 1e-3


def test_it_is_scipys() -> None:
    check_statistic()


def test_its_p_values_are_uniform_for_equal_distributions() -> None:
    check_level()


@pytest.mark.parametrize(
    ("edits", "check"),
    [
        ({"energies >= energies[0]": "energies <= energies[0]"}, check_statistic),
        ({"torch.full((n,), -1 / n)": "torch.full((n,), 1 / n)"}, check_statistic),
        ({"torch.full((m,), 1 / m)": "torch.full((m,), 1 / n)"}, check_statistic),
        ({"torch.randperm(m + n, generator=rng)": "torch.arange(m + n)"}, check_level),
    ],
)
def test_planted_faults(edits, check, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, WHERE, edits)
    with pytest.raises(AssertionError):
        check()


def test_it_tells_distributions_apart() -> None:
    assert same_distribution(normal(16, 50), normal(16, 50, seed=1) + 0.5, rng=rng()) == 0.001
    assert same_distribution(normal(16, 50), 1.5 * normal(16, 50, seed=1), rng=rng()) < 0.01
    same = normal(4)
    assert same_distribution(same, same, rng=rng()) == 1


def test_what_is_no_pair_of_sets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(4, 2\) and \(0, 2\)"):
        same_distribution(normal(4), normal(0), rng=rng())
    with pytest.raises(ValueError, match=r"got \(4, 2\) and \(4, 3\)"):
        same_distribution(normal(4), normal(4, 3), rng=rng())
