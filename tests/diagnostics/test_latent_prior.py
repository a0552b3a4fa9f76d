"""The diagnosis of a learned prior where the answers are known: a Gaussian, and two modes far apart."""

import json

import pytest
import torch
from torch import Tensor, nn

from anasyn.diagnostics import diagnose_generator, diagnose_prior, latent_prior
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


def check_sound() -> None:
    model = generator(Narrow())
    found, pool = diagnose_prior(model, rng=rng())
    assert found.r_hat < 1.05
    assert found.ess_per_1000_gradients > 50
    assert 0.45 < found.acceptance_rate < 0.7
    assert pool.mean(0).tolist() == pytest.approx([3.0, 0.0], abs=0.05)
    assert found.samples.prior_mean_square == pytest.approx(5, abs=0.1)  # (9 + ½ + ½)/2
    assert latent_prior.judge_prior(found)[0] == "samples are draws from the learned prior"


def test_samples_of_a_gaussian_prior_are_draws_from_it():
    check_sound()


@pytest.mark.parametrize("num_steps", [0, 1], ids=["N(0, I)", "a single transition"])
def test_samples_that_are_no_draws_are_told(num_steps, monkeypatch):
    def short(model: Generator, num: int, *, rng: torch.Generator) -> Tensor:
        if num_steps == 0:
            return torch.randn(num, 2, dtype=FLOAT, generator=rng)
        return draw_prior(model, num, num_steps=1, rng=rng)

    monkeypatch.setattr(latent_prior, "draw_prior", short)
    found, _ = diagnose_prior(generator(Narrow()), rng=rng())
    verdict, reason = latent_prior.judge_prior(found)
    assert verdict.startswith("samples are not draws from the learned prior")
    assert "R-hat 1.0" in reason
    with pytest.raises(AssertionError):
        check_sound()


def test_chains_that_do_not_mix_are_told():
    found, _ = diagnose_prior(generator(TwoModes()), rng=rng())
    assert found.r_hat > 1.5
    assert latent_prior.judge_prior(found)[0] == "the prior's long chains do not mix"


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
            found = diagnose_generator(model, images, inferred, names, num_warm_up=5, num_draws=4, rng=rng())
            assert found.prior.finding.startswith(finding)
            plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
            assert (plain["prior_chains"] is None) == (f is None)
            assert ("samples are draws from the learned prior" in found.verdict) == (f is not None)
