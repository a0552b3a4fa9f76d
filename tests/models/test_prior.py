"""The learned prior of a generator."""

import math

import pytest
import torch
from torch import nn

from anasyn.models import Generator, LatentPrior, networks


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_begins_at_the_standard_normal():
    prior, z = LatentPrior(networks.mlp(3)), normal(5, 3)
    assert (prior(z) == 0).all()
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    torch.testing.assert_close(prior.log_density(z), expected)


def test_it_replaces_the_generator_s_prior():
    prior = LatentPrior(networks.mlp(3, 16))
    nn.init.normal_(prior.network[-2].weight)
    plain, tilted = (Generator(nn.Linear(3, 4), 3, 0.5, prior=one) for one in (None, prior))
    tilted.network.load_state_dict(plain.network.state_dict())
    z, images = normal(5, 3), normal(5, 4, seed=1)
    assert (prior(z) != 0).all()
    torch.testing.assert_close(tilted.log_prior(z), plain.log_prior(z) + prior(z))
    torch.testing.assert_close(tilted.log_joint(z, images), plain.log_joint(z, images) + prior(z))
    torch.testing.assert_close(prior(z[2:3]), prior(z)[2:3])  # a row depends on itself alone
    assert tilted.log_prior(torch.zeros(1, 3)).item() == pytest.approx(
        prior(torch.zeros(1, 3)).item() - 1.5 * math.log(2 * math.pi), abs=1e-6
    )


def test_only_chains_draw_from_it():
    model = Generator(nn.Linear(3, 4), 3, 0.5, prior=LatentPrior(networks.mlp(3)))
    with pytest.raises(ValueError, match="prior: a learned one is drawn from by MCMC"):
        model.sample(2, rng=torch.Generator())
