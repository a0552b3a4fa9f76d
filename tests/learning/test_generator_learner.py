"""Algorithm 1 from pictures to factors."""

import pytest
import torch
from torch import Tensor

from anasyn import GeneratorLearner, learn, mcmc
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.learning import Guard
from anasyn.models import Generator, networks

FACTORS = drawn_factors(8)


def learner_of_cats(rate: float = 0.01, sigma: float = 0.3) -> GeneratorLearner:
    torch.manual_seed(0)
    model = Generator(networks.deconv(2, 16, (64, 32, 16)), 2, sigma)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.5, 0.999))
    return GeneratorLearner(model, num_steps=3, optimizer=optimizer)


def explained(z: Tensor, factors: Tensor) -> Tensor:
    """R² of each factor in a linear regression on z."""
    x = torch.cat([z, torch.ones(len(z), 1)], 1)
    residual = factors - x @ torch.linalg.lstsq(x, factors).solution
    return 1 - residual.var(0) / factors.var(0)


def check_learned(learner: GeneratorLearner, num_iterations: int = 80, guard: Guard | None = None) -> None:
    """The reconstructions' error is far below the pictures' variance; z determines the factors and fits its prior.

    And no iteration is in trouble.
    """
    images = draw_cats(FACTORS, 16)
    records = list(learn(learner, images, num_iterations=num_iterations, seed=1, guard=guard))
    assert not any(record.rolled_back for record in records)
    variance = (images / 127.5 - 1).var(0, correction=0).mean().item()
    r2 = explained(learner.chains.positions, FACTORS)
    assert records[-1].measures["mse"] < 0.4 * variance  # measured: 0.23
    assert r2.min() > 0.7  # measured: 0.96
    assert learner.chains.positions.abs().max() < 4
    assert records[-1].loss < 0.1 * records[0].loss


def test_drawn_cats_are_learned():
    check_learned(learner_of_cats())


class BatchMean(Generator):
    """Trap 1."""

    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) / (len(z) * images[0].numel())


def no_learning() -> GeneratorLearner:
    return learner_of_cats(rate=0.0)


def no_inference() -> GeneratorLearner:
    learner = learner_of_cats()
    learner.num_steps = 0
    return learner


def averaged_likelihood() -> GeneratorLearner:
    learner = learner_of_cats()
    learner.model.__class__ = BatchMean
    return learner


@pytest.mark.parametrize("make", [no_learning, no_inference, averaged_likelihood])
def test_planted_faults_in_learning_are_caught(make):
    """Also without a guard."""
    with pytest.raises(AssertionError):
        check_learned(make(), guard=Guard(active=False))


def test_inference_alone_lowers_the_error_at_fixed_weights():
    """MCMC on z with fixed weights: the likelihood's residual falls towards σ² D/2."""
    torch.manual_seed(0)
    model = Generator(networks.deconv(2, 16, (32, 16, 8)), 2, 0.1)
    images = model.sample(20, rng=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last)
    learner = GeneratorLearner(
        model, kernel=mcmc.MALA(0.01), num_steps=10, optimizer=torch.optim.SGD(model.parameters(), lr=0.0)
    )
    errors = [record.measures["mse"] for record in learn(learner, images, num_iterations=40)]
    assert errors[-1] < 0.2 * errors[0]
