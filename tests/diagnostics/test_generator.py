"""A generator's diagnosis where the answers are known: linear generators, and one whose posterior has four modes."""

import json

import pytest
import torch
from torch import nn

from anasyn.diagnostics import aggregate, diagnose_generator, generator, modes
from anasyn.models import Generator

NAMES = tuple(f"{k}.png" for k in range(6))


def linear_generator(sigma=0.1):
    """f(z) = Wz + b in float64, singular values 3 and 1; the posterior's precision is I + WᵀW/σ²."""
    network = nn.Linear(2, 5).double()
    rng = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(5, 2, generator=rng, dtype=torch.float64), full_matrices=False)
    with torch.no_grad():
        network.weight.copy_(u @ torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)) @ v)
        network.bias.zero_()
    w = network.weight.detach()
    precision = torch.eye(2, dtype=torch.float64) + w.T @ w / sigma**2
    return Generator(network, 2, sigma), precision, w


class Square(nn.Module):
    """f(z) = z²: at y = (1, 1) the posterior has four equal modes at (±1, ±1)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.scale * z**2


def drawn(model, w, n=6, seed=0):
    """Images of the model and a draw from each one's posterior, around its mean."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    images = model(z).detach() + model.sigma * torch.randn(n, 5, generator=rng, dtype=torch.float64)
    precision = torch.eye(2, dtype=torch.float64) + w.T @ w / model.sigma**2
    return images, torch.linalg.solve(precision, w.T @ images.T / model.sigma**2).T


@pytest.fixture(scope="module")
def linear():
    model, precision, w = linear_generator()
    images, z = drawn(model, w)
    found = diagnose_generator(
        model, images, z, NAMES, num_warm_up=200, num_draws=1000, rng=torch.Generator().manual_seed(0)
    )
    return found, precision, z


def test_a_linear_generator_has_one_mode_in_which_chains_mix(linear):
    found, precision, mean = linear
    assert found.other_modes == ()
    assert found.multimodal == ()
    assert max(found.r_hat) < 1.03
    assert max(found.fresh_r_hat) < 1.2  # of shorter chains
    assert "chains mix within modes; no other mode was found" in found.verdict
    assert "z agrees with its prior, as far as 6 images can show" in found.verdict
    # The chains are draws from the posterior.
    draws = found.chains.positions
    standard = (draws.mean((0, 1)) - mean) / precision.inverse().diagonal().sqrt()
    assert standard.abs().max() < 0.3
    covariances = torch.stack([draws[:, :, i].flatten(0, 1).T.cov() @ precision for i in range(6)])
    torch.testing.assert_close(covariances.mean(0), torch.eye(2, dtype=torch.float64), atol=0.15, rtol=0)


def test_lambda_max_of_a_linear_generator(linear):
    found, precision, _ = linear
    largest = torch.linalg.eigvalsh(precision)[-1].item()
    assert largest == pytest.approx(901)
    assert found.lambda_max == pytest.approx([largest] * 6, rel=1e-4)
    assert found.stability_limit == pytest.approx([2 / largest**0.5] * 6, rel=1e-4)
    assert all(0.3 < rate < 0.8 for rate in found.acceptance_rate)
    assert all(0 < value < 1000 for value in found.ess_per_1000_gradients)


def test_the_diagnosis_as_json_and_as_inference_data(linear):
    found, _, _ = linear
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["names"] == list(NAMES)
    assert plain["r_hat"] == list(found.r_hat)
    assert plain["prior"]["finding"] == "agrees with"
    assert plain["multimodal"] == []
    assert not {"chains", "fresh_chains"} & set(plain)
    assert dict(found.inference_data.posterior.sizes) == {"chain": 4, "draw": 1000, "image": 6, "coordinate": 2}
    assert dict(found.fresh_inference_data.posterior.sizes) == {"chain": 4, "draw": 250, "image": 6, "coordinate": 2}


def test_other_modes_are_found_and_weighed():
    model = Generator(Square(), 2, 0.1)
    images = torch.ones(6, 2)
    z = torch.tensor([[1.0, 1.0]]).repeat(6, 1) * 0.999
    found = diagnose_generator(model, images, z, NAMES, num_draws=100, rng=torch.Generator().manual_seed(0))
    assert found.multimodal == NAMES
    assert max(found.r_hat) < 1.1  # within their mode the chains mix all the same
    assert min(found.fresh_r_hat) > 1.5
    assert {mode.start for mode in found.other_modes} == {"fresh"}
    assert all(abs(mode.difference) < 0.5 for mode in found.other_modes)
    # At z = 0 between them the squared error is 1 in a coordinate, or in both: 50 or 100 nats, less the prior's.
    assert all(46 < mode.barrier < 101 for mode in found.other_modes)
    assert all(1.7 < mode.distance < 3.2 for mode in found.other_modes)
    assert "other modes at 6 of 6 images, with mass at 6" in found.verdict


def test_a_mode_that_is_better_than_the_inferred_z_s_is_told():
    class Tilted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, z):
            return self.scale * (z**2 - 0.2 * z)

    model = Generator(Tilted(), 1, 0.05)
    # f = 0.8 at z = 1 and at −0.8; an image between what the two branches give best is better at neither: shift one.
    images = torch.tensor([[0.8]])
    kinked = torch.tensor([[1.0]])  # the farther from 0, so the prior prefers the other
    found = diagnose_generator(model, images, kinked, ("a",), num_draws=100, rng=torch.Generator().manual_seed(0))
    assert found.multimodal == ("a",)
    assert max(mode.difference for mode in found.other_modes) == pytest.approx(0.5 * (1 - 0.64), abs=0.1)
    assert any("another mode is higher than the inferred z's at a" in reason for reason in found.reasons)


def test_chains_that_do_not_mix_are_told():
    model, _, w = linear_generator()
    images, z = drawn(model, w)
    found = diagnose_generator(
        model, images, z, NAMES, num_warm_up=1, num_draws=12, rng=torch.Generator().manual_seed(0)
    )
    assert max(found.r_hat) > generator.R_HAT
    assert "chains mix within the mode at" in found.verdict


def test_of_many_images_an_evenly_spaced_part_is_used():
    model, _, w = linear_generator()
    images, z = drawn(model, w, n=40)
    names = tuple(map(str, range(40)))
    found = diagnose_generator(model, images, z, names, num_draws=8, rng=torch.Generator().manual_seed(0))
    assert len(found.names) == len(found.r_hat) == len(found.lambda_max) == generator.MAX_IMAGES
    assert (found.names[0], found.names[-1], found.num_images) == ("0", "39", 40)
    assert found.prior.num == 40
    assert "16 evenly spaced of the 40 images" in found.protocol
    with pytest.raises(ValueError, match="one for each of 40 images, got 39 z"):
        diagnose_generator(model, images, z[:39], names, rng=torch.Generator())


# -------------------------------------------------------------------------------------------- the starts


def test_starts_around_z_have_the_posterior_s_shape():
    model, precision, _ = linear_generator()
    z = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    starts = modes.around(model, z, num_chains=20_000, spread=3.0, rng=torch.Generator().manual_seed(0))
    assert starts.shape == (20_000, 1, 2)
    covariance = (starts[:, 0] - z).T.cov() @ precision / 9
    torch.testing.assert_close(covariance, torch.eye(2, dtype=torch.float64), atol=0.15, rtol=0)


def test_peaks_are_of_different_basins():
    starts = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    heights = torch.tensor([0.0, -3.0, -6.0])
    score = (heights - 20 * torch.cdist(starts, centres) ** 2).amax(1)[None]
    found = starts[modes.peaks(score, starts, num=3)[0]]
    assert torch.cdist(found, centres).argmin(1).tolist() == [0, 1, 2]
    highest = starts[score[0].topk(3).indices]
    assert torch.cdist(highest, centres).argmin(1).tolist() == [0, 0, 0]  # what they are for
    everything = modes.peaks(score, starts, num=256)
    assert everything.sort().values.tolist() == [list(range(256))]


def test_no_barrier_in_a_log_concave_posterior_and_one_between_modes():
    model, _, w = linear_generator()
    images, z = drawn(model, w)
    a, b = (z + torch.randn(6, 2, generator=torch.Generator().manual_seed(k)) for k in range(2))
    assert modes.barrier(model, images, a, b).abs().max() < 1e-9
    square = Generator(Square(), 2, 0.1)
    one = torch.ones(1, 2)
    assert modes.barrier(square, one, one, one * torch.tensor([-1.0, 1.0])).item() == pytest.approx(49.5, rel=1e-3)
    assert modes.barrier(square, one, one, 0.9 * one).item() == pytest.approx(0, abs=1e-3)


# ------------------------------------------------------------------------------------------ z's aggregate


def normal(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("z", "finding"),
    [
        (normal(40), "agrees with"),
        (2 * normal(40), "spreads beyond"),
        (0.4 * normal(40), "is concentrated within"),
        (normal(200).sign(), "differs in shape from"),
        (normal(40) + 2, "spreads beyond"),
    ],
)
def test_the_inferred_z_against_their_prior(z, finding):
    found = aggregate(z, rng=torch.Generator().manual_seed(1))
    assert found.finding == finding
    assert found.mean_square == pytest.approx((z**2).mean(0).tolist())
    assert found.mean_square_all == pytest.approx((z**2).mean().item())
    assert 0.001 <= found.energy_p <= 1


def test_p_values_are_uniform_under_the_prior(monkeypatch):
    monkeypatch.setattr("anasyn.diagnostics.prior.NUM_NULL", 99)
    monkeypatch.setattr("anasyn.diagnostics.prior.NUM_REFERENCE", 200)
    found = [aggregate(normal(11, seed=k), rng=torch.Generator().manual_seed(1000 + k)) for k in range(60)]
    for p in ([one.energy_p for one in found], [one.mean_square_p for one in found]):
        assert 0.36 < sum(p) / 60 < 0.64  # 0.5 ± 3.7 standard errors
        assert sum(value <= 0.05 for value in p) <= 10
