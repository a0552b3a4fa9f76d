"""Paths through latent space: through the frames' z, and closed ones whose every point is a draw from the prior."""

import pytest
import torch
from torch import Tensor, nn

from anasyn.methods import Latents
from anasyn.methods.paths import NUM_STEPS, STEP_SIZE, closed, film, through, tour
from anasyn.models import Generator, LatentPrior
from anasyn.rng import derive

from ..planting import plant

MANY = 10_000  # coordinates of z, which are independent


def rng(seed: int = 0) -> torch.Generator:
    return derive(seed, "test")


# ---- through the frames


def test_the_curve_passes_through_the_points_at_their_time() -> None:
    z = torch.randn(7, 3, generator=rng())
    assert torch.allclose(through(z, 7), z, atol=1e-6)
    finer = through(z, 6 * 10 + 1)
    assert torch.allclose(finer[::10], z, atol=1e-6)
    assert torch.allclose(through(z, 2), z[[0, -1]], atol=1e-6)
    assert torch.allclose(through(z[:2], 5), torch.lerp(z[0], z[1], torch.linspace(0, 1, 5)[:, None]), atol=1e-6)


def test_the_curve_of_a_parabola_is_the_parabola_and_its_velocity_is_continuous() -> None:
    time = torch.arange(8, dtype=torch.float64)
    parabola = torch.stack([time, time**2], 1)
    fine = torch.linspace(0, 7, 71, dtype=torch.float64)
    expected = torch.stack([fine, fine**2], 1)
    inner = slice(10, 61)  # at its ends the curve goes on straight instead
    assert torch.allclose(through(parabola, 71)[inner], expected[inner])
    z = torch.randn(9, 2, dtype=torch.float64, generator=rng())
    h = 1e-4
    curve = through(z, round(8 / h) + 1)
    knots = torch.arange(1, 8) * round(1 / h)
    before, after = (curve[knots] - curve[knots - 1]) / h, (curve[knots + 1] - curve[knots]) / h
    assert (before - after).abs().max() < 100 * h
    assert torch.allclose(after, (z[2:] - z[:-2]) / 2, atol=1e-2)


# ---- closed and at random


def assert_standard_normal(path: Tensor) -> None:
    """Every point of a path, (num, d), by its mean, its mean square and its fourth moment, to five standard errors."""
    d = path.shape[1]
    assert path.mean(1).abs().max() < 5 / d**0.5
    assert (path.square().mean(1) - 1).abs().max() < 5 * (2 / d) ** 0.5
    assert (path.pow(4).mean(1) - 3).abs().max() < 5 * (96 / d) ** 0.5


@pytest.mark.parametrize("num", [2, 25, 240])
def test_every_point_of_a_closed_path_is_a_draw_from_the_normal(num: int) -> None:
    assert_standard_normal(closed(num, torch.empty(MANY), rng()))


def test_a_closed_path_is_smooth_closed_and_equally_fast_everywhere() -> None:
    speeds = []
    for num in (60, 240, 600):
        path = closed(num, torch.empty(MANY), rng())
        steps = (path.roll(-1, 0) - path).square().mean(1).sqrt()  # the last is from the last point to the first
        assert (steps / steps.mean() - 1).abs().max() < 0.03
        turns = (path.roll(-1, 0) - 2 * path + path.roll(1, 0)).square().mean(1).sqrt()
        assert (turns < 0.11 * steps.mean()).all()
        speeds.append(float(steps.mean()))
    assert max(speeds) / min(speeds) < 1.8  # between one frequency and many, √3


def straight(num: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """Straight lines between four draws and back to the first."""
    draws = torch.randn(4, len(like), generator=rng)
    time = torch.arange(num) * 4 / num
    here = time.long()
    return torch.lerp(draws[here], draws[(here + 1) % 4], (time - here)[:, None])


def test_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    like = torch.empty(MANY)
    with pytest.raises(AssertionError):
        assert_standard_normal(straight(24, like, rng()))  # too short halfway
    for fault in ({"/ len(frequencies) ** 0.5": "/ len(frequencies)"}, {"angle.sin() @ eta": "angle.sin() @ xi"}):
        with monkeypatch.context() as patch:
            plant(patch, "anasyn.methods.paths:closed", fault)
            path = closed(240, like, rng())
        with pytest.raises(AssertionError):
            assert_standard_normal(path)


class Tilted(nn.Module):
    """f_α(z) = Σ_j (a z_j − b z_j²/2): p_α is N(a/(1 + b), 1/(1 + b))."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, z: Tensor) -> Tensor:
        return (self.a * z - self.b * z**2 / 2).sum(1)


def toured(num: int = 20) -> Tensor:
    model = Generator(nn.Identity(), MANY // 4, 0.3, prior=LatentPrior(Tilted(1.5, 2.0)))
    return tour(model, num, rng=rng())


def assert_of_the_tilted_prior(path: Tensor) -> None:
    # Unadjusted Langevin with curvature λ has the variance 1/[λ (1 − δ²λ/4)].
    variance = 1 / (3 * (1 - STEP_SIZE**2 * 3 / 4))
    assert_standard_normal((path - 0.5) / variance**0.5)


def test_every_point_of_a_tour_is_a_draw_from_the_learned_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    path = toured()
    assert_of_the_tilted_prior(path)
    steps = (path.roll(-1, 0) - path).square().mean(1).sqrt()
    assert (steps / steps.mean() - 1).abs().max() < 0.05
    assert (1 - STEP_SIZE**2 / 2) ** NUM_STEPS < 0.02  # chains forget N(0, I) where the prior is as wide as that
    with monkeypatch.context() as patch:
        plant(patch, "anasyn.methods.paths:tour", {"STEP_SIZE**2 / 2 * gradient": "STEP_SIZE**2 * gradient"})
        with pytest.raises(AssertionError):
            assert_of_the_tilted_prior(toured())


def test_without_a_learned_prior_the_tour_is_a_closed_path_and_the_film_is_f_of_it() -> None:
    network = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2)))
    model = Generator(network, 2, 0.3)
    z = torch.randn(5, 2, generator=rng())
    path = closed(30, torch.empty(2), rng(1))
    assert torch.equal(tour(model, 30, rng=rng(1)), path)
    with torch.no_grad():
        expected, ordered = network(path), network(through(z, 30))
    assert torch.equal(film(Latents(model, z), 30, in_order=False, rng=rng(1)), expected)
    shown = film(Latents(model, z), 30, in_order=True, rng=rng(1))
    assert torch.equal(shown, ordered)
    assert not shown.requires_grad
