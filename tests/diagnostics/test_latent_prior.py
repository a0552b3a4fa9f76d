"""The diagnosis of a learned prior where the answers are known: a Gaussian, and two modes far apart."""

import json
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from anasyn.diagnostics import PriorChains, diagnose_generator, diagnose_prior, latent_prior
from anasyn.learning import draw_prior
from anasyn.models import Generator, LatentPrior

FLOAT = torch.float64


class Narrow(nn.Module):
    """f(z) = −‖z‖²/2 + 6 z₁: p(z) = N((3, 0), I/2)."""

    def forward(self, z: Tensor) -> Tensor:
        return -0.5 * (z**2).sum(1) + 6 * z[:, 0]


class TwoModes(nn.Module):
    """f(z) = 8 |z₁|: about half of the draws at z₁ = 8, the others at −8, between which no chain moves."""

    def forward(self, z: Tensor) -> Tensor:
        return 8 * z[:, 0].abs()


def generator(f: nn.Module) -> Generator:
    torch.manual_seed(0)
    return Generator(nn.Linear(2, 3, dtype=FLOAT), 2, 0.5, prior=LatentPrior(f))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(model: Generator, num: int, rng: torch.Generator, num_steps: int = 500) -> Tensor:
    return draw_prior(model, num, num_steps=num_steps, rng=rng)


def diagnosed(model: Generator, num_steps: int = 500) -> tuple[PriorChains, Tensor]:
    return diagnose_prior(model, partial(drawn, model, num_steps=num_steps), rng=rng())


def check_sound(num_steps: int = 500) -> None:
    found, pool = diagnosed(generator(Narrow()), num_steps)
    assert found.r_hat < 1.05
    assert found.ess_per_1000_gradients > 50
    assert 0.45 < found.acceptance_rate < 0.7
    assert pool.mean(0).tolist() == pytest.approx([3.0, 0.0], abs=0.05)
    assert found.samples.prior_mean_square == pytest.approx(5, abs=0.1)  # (9 + ½ + ½)/2
    assert latent_prior.judge_prior(found)[0] == "samples are draws from the learned prior"


def test_samples_of_a_gaussian_prior_are_draws_from_it():
    check_sound()


@pytest.mark.parametrize("num_steps", [0, 1], ids=["N(0, I)", "a single transition"])
def test_samples_that_are_no_draws_are_told(num_steps):
    found, _ = diagnosed(generator(Narrow()), num_steps)
    verdict, reason = latent_prior.judge_prior(found)
    assert verdict.startswith("samples are not draws from the learned prior")
    assert "R-hat 1.0" in reason
    with pytest.raises(AssertionError):
        check_sound(num_steps)


def test_chains_that_do_not_mix_are_told():
    found, _ = diagnosed(generator(TwoModes()))
    assert found.r_hat > 1.5
    assert latent_prior.judge_prior(found)[0] == "the prior's long chains do not mix"


def test_draws_are_asked_for_a_learned_prior_alone():
    model, images = generator(Narrow()), torch.zeros(2, 3, dtype=FLOAT)
    z = torch.zeros(2, 2, dtype=FLOAT)
    with pytest.raises(ValueError, match="draw_prior: expected for a learned prior"):
        diagnose_generator(model, images, z, ("a", "b"), rng=rng())
    model.prior = None
    with pytest.raises(ValueError, match="and for no other"):
        diagnose_generator(model, images, z, ("a", "b"), draw_prior=partial(drawn, model), rng=rng())
    with pytest.raises(ValueError, match="expected a generator with a LatentPrior"):
        diagnose_prior(model, partial(drawn, model), rng=rng())


def test_the_inferred_z_are_compared_with_the_learned_prior(monkeypatch):
    """z from N((3, 0), I/2) agree with it, and z from N(0, I) do not; for a prior N(0, I) it is the other way round."""
    monkeypatch.setattr("anasyn.diagnostics.prior.NUM_NULL", 199)
    for f, expected in (
        (Narrow(), ("agrees with", "is concentrated within")),
        (None, ("spreads beyond", "agrees with")),
    ):
        model = generator(f or Narrow())
        if f is None:
            model.prior = None
        z = torch.randn(200, 2, dtype=FLOAT, generator=rng(1))
        narrow = torch.tensor([3.0, 0.0]) + z / 2**0.5
        for inferred, finding in zip((narrow, z), expected, strict=True):
            with torch.no_grad():
                images = model(inferred)
            names = tuple(map(str, range(200)))
            few = {"num_warm_up": 5, "num_draws": 4}
            draw = partial(drawn, model) if f else None
            found = diagnose_generator(model, images, inferred, names, draw_prior=draw, **few, rng=rng())
            assert found.prior.finding.startswith(finding)
            plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
            assert (plain["prior_chains"] is None) == (f is None)
            assert ("samples are draws from the learned prior" in found.verdict) == (f is not None)
