"""A descriptor's verdict where the truth is known: a density, a short-run sampler, one that has not learned."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from anasyn import mcmc
from anasyn.diagnostics import LEVEL, Distances, diagnose_descriptor, energy_gap, judge, stein
from anasyn.mcmc import mean_image
from anasyn.models import Descriptor, networks

pytestmark = pytest.mark.usefixtures("coarse_distances")


class Quadratic(nn.Module):
    """f(y) = −½ a ‖y‖²: with the reference N(0, 1), p = N(0, 1/(1 + a))."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, images):
        return -0.5 * self.a * (images**2).flatten(1).sum(1)


class Linear(nn.Module):
    """f(y) = θᵀy: a drift that never ends."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, images):
        return (self.theta * images).flatten(1).sum(1)


def noise(n=8, std=0.5, seed=0):
    return std * torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def pattern(n=8):
    """The same image n times, of mean 0 in each channel, with a little noise."""
    x = noise(1, 0.6, seed=5)
    return (x - x.mean((2, 3), keepdim=True)).expand(n, -1, -1, -1) + noise(n, 0.03)


def diagnose(model, kernel, num_steps, images, starts=None, records=(), **kwargs):
    rng = torch.Generator().manual_seed(0)
    starts = mean_image(images, rng) if starts is None else starts
    return diagnose_descriptor(model, kernel, num_steps, starts, images, records, rng=rng, **kwargs)


QUADRATIC = Descriptor(Quadratic(3.0), reference_std=1.0)  # p = N(0, 0.25)
LANGEVIN = mcmc.Langevin(0.05**0.5)  # a tenth of the way to 0 a step


@pytest.fixture(scope="module")
def density():
    records = [{"iteration": t, "energy_gap": math.sin(7 * t)} for t in range(100)]
    return diagnose(QUADRATIC, LANGEVIN, 30, noise(), records=records)


@pytest.fixture(scope="module")
def short_run():
    images = pattern()
    step_size, num_steps = 0.01, 20
    theta = images.mean(0) * 2 / (step_size**2 * num_steps)
    return diagnose(Descriptor(Linear(theta), reference_std=10.0), mcmc.Langevin(step_size), num_steps, images)


def test_a_descriptor_that_matches_gaussian_data_is_a_density(density):
    assert density.verdict == "density"
    assert density.diverged is None
    assert density.distances.noise_long == pytest.approx(density.distances.data_long, rel=0.2)
    agree = density.agreement
    assert min(agree.data_start, agree.data_noise, agree.start_noise) > LEVEL / 3
    assert sum("not told apart by a two-sample test" in reason for reason in density.reasons) == 3
    assert density.temperature == 1
    assert density.stein_data.ratio == pytest.approx(1, rel=0.05)
    # Unadjusted: the stationary variance is 1/(λ(1 − λδ²/4)), λ = 4, so that Stein's ratio is 1/0.95.
    assert all(each.ratio == pytest.approx(1 / 0.95, rel=0.04) for each in density.stein_long)
    # KL in both directions of N(0, v) and N(0, 1) is D (v + 1/v − 2)/2; with the chains' variance v for the first mean.
    v, dimension = 0.25 / 0.95, 3 * 16 * 16
    assert density.reference_divergence == pytest.approx(1.5 * (1 - v) * dimension, abs=80)  # four times √(2D/8) · 1.5
    expected = (0.25 / 0.95) ** 0.5
    assert density.long_run.std[:, -1].mean().item() == pytest.approx(expected, rel=0.03)


def test_a_drift_from_the_starts_to_the_data_and_on_is_a_short_run_sampler(short_run):
    assert short_run.verdict == "short-run sampler"
    share = short_run.distances.share
    assert share(short_run.distances.synthesized) < 0.2
    assert share(short_run.distances.data_long) > 0.6
    assert short_run.long_run.outside[:, 0].max() < 0.2
    assert short_run.long_run.outside[:, -1].min() > 0.6
    assert short_run.agreement.data_noise < LEVEL / 3


def test_fresh_weights_have_not_learned():
    torch.manual_seed(0)
    step_size = 0.01
    model = Descriptor(networks.conv(16, (8, 8, 8, 8)), 0.4, 2 / step_size**2)
    found = diagnose(model, mcmc.Langevin(step_size), 20, pattern())
    assert found.verdict == "not learned"
    # Nor if the chains start at the data and are still near them because their steps are too few or too small.
    for step_size, num_steps in ((0.02, 20), (0.001, 5)):
        model = Descriptor(networks.conv(16, (8, 8, 8, 8)), 0.4, 1e-3)
        found = diagnose(model, mcmc.Langevin(step_size), num_steps, pattern(), starts=pattern())
        assert found.verdict == "not learned"
        assert any("the starts are near the data already" in reason for reason in found.reasons)


def test_a_density_holds_chains_that_start_at_the_data():
    images = noise()
    found = diagnose(QUADRATIC, LANGEVIN, 30, images, starts=images)
    assert found.verdict == "density"
    assert any("f holds the chains there" in reason for reason in found.reasons)


def test_another_temperature_samples_no_density_that_is_stated():
    found = diagnose(QUADRATIC, mcmc.Langevin(0.05**0.5, temperature=3.0), 30, noise())
    assert found.verdict != "density"
    assert found.temperature == 3
    assert any("temperature 3" in reason for reason in found.reasons)


def test_acceptance_is_that_of_the_training_length():
    adjusted = diagnose(QUADRATIC, mcmc.MALA(0.05), 5, noise())
    assert 0.9 < adjusted.acceptance_rate <= 1
    assert any("the Metropolis–Hastings correction accepts" in reason for reason in adjusted.reasons)
    rough = diagnose(QUADRATIC, mcmc.Langevin(0.9), 5, noise())
    assert rough.acceptance_rate < 0.3
    assert any("no Metropolis–Hastings correction; it would accept" in reason for reason in rough.reasons)


def test_chains_that_explode_are_told_and_are_no_density():
    explosive = Descriptor(Quadratic(-3.0), reference_std=1.0)  # e^{+‖y‖²}: no density at all
    found = diagnose(explosive, mcmc.Langevin(5.0), 30, noise())
    assert found.verdict == "not learned"
    assert found.diverged is not None
    assert found.distances.data_long == found.distances.noise_long == math.inf
    assert asdict(found.agreement) == {"data_start": 0, "data_noise": 0, "start_noise": 0}
    assert any("no longer finite" in reason for reason in found.reasons)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["distances"]["data_long"] is None
    with pytest.raises(ValueError, match="not finite at an image or at a start"):
        diagnose(QUADRATIC, LANGEVIN, 5, noise(), starts=noise() * math.inf)


def test_what_is_kept_of_the_long_run(density):
    run = density.long_run
    assert run.frame_steps == (0, 30, 60, 150, 300)
    assert run.frames.shape == (2, 5, 8, 3, 16, 16)
    assert run.frames.dtype == torch.uint8
    assert run.steps == tuple(range(0, 301, 3))
    assert run.energy.shape == run.acceptance_rate.shape == (2, 101, 8)
    # The first frames are the data and the starts.
    images = noise()
    expected = QUADRATIC.energy(images).detach()
    torch.testing.assert_close(run.energy[0, 0], expected)
    torch.testing.assert_close(run.std[0, 0], images.flatten(1).std(1))
    assert run.std[1, 0].max() < 0.1
    assert run.swd[0][0] == pytest.approx(density.distances.noise)
    assert run.swd[1][0] == pytest.approx(density.distances.mean_colour)


def test_the_data_are_as_learning_sees_them():
    found = diagnose(QUADRATIC, LANGEVIN, 2, noise(std=0.3), data_noise=0.4, num_images=99)
    assert found.long_run.std[0, 0].mean().item() == pytest.approx(0.5, rel=0.05)
    assert found.stein_data.ratio == pytest.approx(1, rel=0.05)
    assert "8 evenly spaced of the 99 images" in found.protocol
    assert "noise 0.4" in found.protocol


def test_the_diagnosis_as_json_and_as_inference_data(density):
    plain = json.loads(json.dumps(density.to_dict(), allow_nan=False))
    assert plain["verdict"] == "density"
    assert plain["gap"]["num"] == 50
    assert plain["long_run"]["energy"]["data"] == pytest.approx(density.long_run.energy[0].mean(1).tolist())
    assert "frames" not in plain["long_run"]
    data = density.inference_data
    assert dict(data.posterior.sizes) == {"chain": 2, "draw": 101, "image": 8}
    assert data.posterior["energy"].sel(chain="start", draw=300, image="7").item() == pytest.approx(
        density.long_run.energy[1, -1, 7].item()
    )
    assert "acceptance_rate" in data.sample_stats


def test_refuses_numbers_that_do_not_agree():
    with pytest.raises(ValueError, match="one for each of 8 images, got 7"):
        diagnose(QUADRATIC, LANGEVIN, 2, noise(), starts=noise(7))


# --------------------------------------------------------------------------------------- Stein's identities


def test_stein_s_ratios_are_one_of_a_gaussian_s_draws():
    mean = torch.linspace(-1, 1, 6, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    covariance = 0.3 * torch.eye(6, dtype=torch.float64) + 0.2
    whole = torch.randn(50_000, 6, generator=rng, dtype=torch.float64)
    # Moments made exact, so that the ratio is 1 to rounding.
    whole = (whole - whole.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(whole.T.cov(correction=0))).T
    y = mean + whole @ torch.linalg.cholesky(covariance).T
    gradient = -torch.linalg.solve(covariance, (y - mean).T).T
    assert stein(y, gradient).ratio == pytest.approx(1, abs=1e-9)
    assert stein(y, gradient).gradient == pytest.approx(0, abs=1e-9)
    # Planted faults: a gradient that is doubled, and draws that are too wide or elsewhere.
    assert stein(y, 2 * gradient).ratio == pytest.approx(2)
    wide = mean + 2 * (y - mean)
    assert stein(wide, -torch.linalg.solve(covariance, (wide - mean).T).T).ratio == pytest.approx(4)
    beside = y + 1
    assert stein(beside, -torch.linalg.solve(covariance, (beside - mean).T).T).gradient > 1000


def test_the_gradient_ratio_is_one_of_independent_draws_and_n_of_equal_ones():
    y = torch.randn(20, 5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert stein(y, -y).gradient == pytest.approx(1, abs=0.1)
    assert stein(y, -y[:1].expand(20, -1)).gradient == pytest.approx(20)


# ------------------------------------------------------------------------------------------------ the rule

GOOD = Distances(
    noise=10,
    halves=30,
    mean_colour=110,
    starts=110,
    synthesized=20,
    data_short=20,
    data_long=20,
    starts_long=20,
    noise_long=20,
    diffused_short=60,
    diffused_long=110,
)


@pytest.mark.parametrize(
    ("changes", "ratios", "verdict"),
    [
        ({}, (1.0, 1.0), "density"),
        ({"data_long": 36}, (1.0, 1.0), "short-run sampler"),
        ({"starts_long": 36}, (1.0, 1.0), "short-run sampler"),
        # For few images, one half is far from the other, and chains cannot be expected to be nearer.
        ({"data_long": 36, "halves": 40}, (1.0, 1.0), "density"),
        ({"data_long": 41, "halves": 40}, (1.0, 1.0), "short-run sampler"),
        ({"data_long": 65, "halves": 90}, (1.0, 1.0), "short-run sampler"),
        ({"data_long": math.inf}, (math.nan, math.nan), "short-run sampler"),
        ({}, (1.0, 3.0), "short-run sampler"),
        ({}, (0.4, 1.0), "short-run sampler"),
        ({}, (-100.0, 1.0), "short-run sampler"),
        ({}, (math.nan, 1.0), "short-run sampler"),
        ({"synthesized": 61, "starts_long": 90}, (1.0, 1.0), "not learned"),
        ({"synthesized": math.inf, "starts_long": math.inf}, (1.0, 1.0), "not learned"),
        # The training length is too short, but long chains from far away reach the data and stay.
        ({"synthesized": 61}, (1.0, 1.0), "density"),
        # Starts near the data: noise alone must lead away.
        ({"starts": 20}, (1.0, 1.0), "density"),
        ({"starts": 20, "diffused_long": 25}, (1.0, 1.0), "short-run sampler"),
        ({"starts": 20, "diffused_long": 25, "diffused_short": 20}, (1.0, 1.0), "not learned"),
        ({"starts": 20, "data_long": 100, "diffused_short": 20}, (1.0, 1.0), "not learned"),
    ],
)
def test_the_verdict_s_rule(changes, ratios, verdict):
    found, reasons = judge(replace(GOOD, **changes), ratios, 1000.0, same=True)
    assert found == verdict
    assert len(reasons) >= 2


def test_chains_that_remember_their_starts_are_no_density():
    found, reasons = judge(GOOD, (1.0, 1.0), math.nan, same=False)
    assert found == "short-run sampler"
    assert reasons[-1] == "long chains stay near the data, but have not forgotten where they started"


def test_a_reference_near_the_data_is_not_what_f_has_learned():
    found, reasons = judge(GOOD, (1.0, 1.0), 3.0, same=True, earned=True)
    assert found == "not learned"
    assert reasons[-1].startswith("the density and its reference are 3 nats apart")
    assert judge(GOOD, (1.0, 1.0), 11.0, same=True, earned=True)[0] == "density"
    # A short-run sampler's chains may come to no end.
    assert judge(replace(GOOD, data_long=math.inf), (math.nan, math.nan), math.nan, same=True)[0] == "short-run sampler"


def test_proposals_near_the_data_were_not_given_to_the_chains():
    """Measured on a cooperative run; of starts at the data, the same distances show nothing."""
    distances = Distances(
        noise=35.5,
        halves=235.2,
        mean_colour=783.5,
        starts=197.7,
        synthesized=184.0,
        data_short=166.9,
        data_long=1082.2,
        starts_long=1077.4,
        noise_long=math.inf,
        diffused_short=58.5,
        diffused_long=234.3,
    )
    assert judge(distances, (-15.1, -16.4), math.nan, same=True, earned=True)[0] == "short-run sampler"
    assert judge(distances, (-15.1, -16.4), math.nan, same=True)[0] == "not learned"


# ------------------------------------------------------------------------------------------------ d_t


def series(kind, n=400):
    white = torch.randn(n, generator=torch.Generator().manual_seed(0))
    t = torch.arange(n)
    return {
        "wanders around 0": white,
        "is one-signed": white + 3,
        "is one-signed and grows": 3 + 0.1 * white + 0.02 * t,
        "drifts": white + 0.06 * (t - 300),
        "swings from side to side": (-1.0) ** t * (1 + 0.1 * white),
    }[kind].tolist()


@pytest.mark.parametrize(
    "finding",
    ["wanders around 0", "is one-signed", "is one-signed and grows", "drifts", "swings from side to side"],
)
def test_the_course_of_the_energy_gap(finding):
    gap = energy_gap(series(finding))
    assert gap is not None
    assert gap.num == 200
    assert gap.finding == finding


def test_the_numbers_of_the_energy_gap():
    gap = energy_gap(series("wanders around 0", 4000))
    assert gap.spread == pytest.approx(1, rel=0.1)
    assert abs(gap.autocorrelation) < 0.1
    assert abs(gap.trend) < 0.5
    grows = energy_gap(series("drifts", 400))
    assert grows.trend == pytest.approx(0.06 * 200 / grows.spread, rel=0.1)
    assert grows.autocorrelation == pytest.approx(0, abs=0.2)  # of what the trend leaves
    assert energy_gap([1.0] * 19) is None
    still = energy_gap([2.0] * 40)
    assert (still.spread, still.trend, still.autocorrelation, still.share_of_one_sign) == (0, 0, 0, 1)
