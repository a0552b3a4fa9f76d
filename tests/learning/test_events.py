"""Any `nn.Module` and any shape of an event: points in the plane, grey images and rectangles, for every learner."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import CooperativeLearner, DescriptorLearner, GeneratorLearner, learn, mcmc
from anasyn.learning import Learner
from anasyn.models import Cooperative, Descriptor, Generator

EVENTS = [(2,), (7,), (1, 9, 9), (3, 6, 10), (2, 3, 4, 5)]


class Decoder(nn.Module):
    """f(z) = B tanh(A z) + b, in the shape of an event."""

    def __init__(self, latent_dim: int, event: tuple[int, ...]):
        super().__init__()
        self.event = event
        self.a = nn.Parameter(torch.randn(latent_dim, 16))
        self.b = nn.Linear(16, math.prod(event))

    def forward(self, z: Tensor) -> Tensor:
        return self.b(torch.tanh(z @ self.a)).view(-1, *self.event)


class Score(nn.Module):
    """f(y) = wᵀ log(1 + exp(A y + a))."""

    def __init__(self, event: tuple[int, ...]):
        super().__init__()
        self.a = nn.Linear(math.prod(event), 32)
        self.w = nn.Parameter(torch.randn(32) / 32)

    def forward(self, y: Tensor) -> Tensor:
        return nn.functional.softplus(self.a(y.flatten(1))) @ self.w


def generator_learner(event: tuple[int, ...], **options: object) -> GeneratorLearner:
    torch.manual_seed(0)
    model = Generator(Decoder(2, event), 2, sigma=0.2)
    return GeneratorLearner(model, optimizer=torch.optim.Adam(model.parameters(), lr=0.03), **options)


def descriptor_learner(event: tuple[int, ...], **options: object) -> DescriptorLearner:
    torch.manual_seed(0)
    model = Descriptor(Score(event), 1.0, scale=5.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    chains = mcmc.ColdChains(mcmc.reference_noise(1.0))  # the mean colour is an image's alone
    return DescriptorLearner(model, optimizer=optimizer, kernel=mcmc.Langevin(0.25), chains=chains, **options)


def cooperative_learner(event: tuple[int, ...]) -> CooperativeLearner:
    model = Cooperative(generator_learner(event).model, descriptor_learner(event).model)
    return CooperativeLearner(model, kernel=mcmc.Langevin(0.25), num_steps=5)


LEARNERS = {
    "generator": generator_learner,
    "descriptor": descriptor_learner,
    "cooperative": cooperative_learner,
}


@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize("kind", LEARNERS)
def test_an_event_of_any_shape_is_learned_from(kind: str, event: tuple[int, ...]) -> None:
    learner: Learner = LEARNERS[kind](event)
    before = [weight.detach().clone() for weight in learner.model.parameters()]
    images = torch.rand(6, *event, generator=torch.Generator().manual_seed(1)) - 0.5
    records = list(learn(learner, images, num_iterations=3, batch_size=4))
    assert all(math.isfinite(record.loss) for record in records)
    assert not any(map(torch.equal, before, learner.model.parameters()))


def test_a_generator_learns_points_in_the_plane() -> None:
    """On a circle, which no linear map of z covers; and not where the learning rate is 0."""
    angle = torch.arange(16) * math.pi / 8
    points = torch.stack([angle.cos(), angle.sin()], 1)
    errors = {}
    for rate in (0.03, 0.0):
        learner = generator_learner((2,))
        learner.optimizer.param_groups[0]["lr"] = rate
        list(learn(learner, points, num_iterations=100))
        with torch.no_grad():
            errors[rate] = (learner.model(learner.chains.positions) - points).square().mean().sqrt().item()
        assert learner.chains.positions.abs().max() < 4
    assert errors[0.03] < 0.25 < 0.35 < errors[0.0]


def test_a_descriptor_learns_points_in_the_plane() -> None:
    """Off the centre and narrower than the reference; and not where the learning rate is 0."""
    mean, std = torch.tensor([0.8, -0.4]), 0.3
    points = mean + std * torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    found = {}
    for rate in (0.02, 0.0):
        learner = descriptor_learner((2,), num_steps=10)
        learner.optimizer.param_groups[0]["lr"] = rate
        list(learn(learner, points, num_iterations=100))
        rng = torch.Generator().manual_seed(3)
        start = torch.randn(400, 2, generator=rng)
        state, _ = mcmc.run(learner.kernel, learner.model.log_density, start, num_steps=10, rng=rng)
        off = (state.position.mean(0) - mean).norm().item()
        found[rate] = (off, state.position.std(0).max().item())
    assert found[0.02][0] < 0.2 < 0.5 < found[0.0][0]
    assert found[0.02][1] < 0.6 < 0.75 < found[0.0][1]
