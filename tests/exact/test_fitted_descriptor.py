"""A descriptor with a fitted reference whose answer is known: f is quadratic along one direction.

f(Y) = (θ/2) (u · (Y − m))²,   p₀ = N(m, C),   c = uᵀ C u
log Z = −½ log(1 − θ c);   the variance along u under p is c/(1 − θ c), and is that of the images, v, at the maximum
likelihood:   θ = 1/c − 1/v
"""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import learn, mcmc
from anasyn.evaluation import bracket_normalizer
from anasyn.learning import DescriptorLearner
from anasyn.models import Descriptor, FittedGaussian

from ..planting import plant

SHAPE = (1, 8, 8)
NOISE = 1.0


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


DIRECTION = torch.randn(SHAPE, generator=rng(1))
DIRECTION /= DIRECTION.norm()


def pictures(num: int = 400) -> Tensor:
    """Images with a variance along u that the stationary reference does not know of."""
    scores = 0.15 * torch.randn(num, generator=rng(2))
    return scores[:, None, None, None] * DIRECTION + 0.1 * torch.randn(num, *SHAPE, generator=rng(3))


class Square(nn.Module):
    def __init__(self, mean: Tensor, theta: float = 0.0) -> None:
        super().__init__()
        self.mean = mean
        self.theta = nn.Parameter(torch.tensor(theta))

    def along(self, images: Tensor) -> Tensor:
        return ((images - self.mean) * DIRECTION).sum((1, 2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.theta / 2 * self.along(images) ** 2


def fitted(images: Tensor, components: int = 0) -> FittedGaussian:
    reference = FittedGaussian(SHAPE, components)
    reference.fit(images, NOISE)
    return reference


def variance(reference: FittedGaussian) -> float:
    """c."""
    return reference.color_transposed(DIRECTION[None]).square().sum().item()


def check_learning() -> None:
    images = pictures()
    reference = fitted(images)
    network = Square(reference.mean)
    learner = DescriptorLearner(
        Descriptor(network, 1.0, reference=reference),
        kernel=mcmc.MALA(0.8, reference),
        num_steps=5,
        chains=mcmc.PersistentChains(reference.draw, restart=0.02, share=True),
        data_noise=NOISE,
        optimizer=torch.optim.Adam(network.parameters(), lr=0.7),
    )
    for _ in learn(learner, images, num_iterations=200, batch_size=200):
        pass
    reference = fitted(images)
    noisy = reference.observe(images.repeat(20, 1, 1, 1), NOISE, rng(4))
    exact = 1 / variance(reference) - 1 / network.along(noisy).square().mean().item()
    assert exact > 5
    assert network.theta.item() == pytest.approx(exact, rel=0.08)


def test_learning_reaches_the_maximum_likelihood():
    check_learning()


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        (
            "models.descriptor:Descriptor.observe",
            {"return self.reference.observe(images, noise, rng)": "return images"},
        ),
        (
            "models.descriptor:Descriptor.reference_energy",
            {"self.reference.energy(images)": "2 * self.reference.energy(images)"},
        ),
        (
            "learning.descriptor:DescriptorLearner.prepare",
            {"self.model.reference.fit(whole": "self.model.reference.fit(3 * images"},
        ),
    ],
)
def test_planted_faults_are_caught(monkeypatch, where, edits):
    plant(monkeypatch, f"anasyn.{where}", edits)
    with pytest.raises(AssertionError):
        check_learning()


@pytest.mark.parametrize("components", [0, 20])
def test_the_bracket_holds_the_exact_normalising_constant(components):
    reference = fitted(pictures(), components)
    theta = 0.9 / variance(reference)
    model = Descriptor(Square(reference.mean, theta), 1.0, reference=reference)
    like = torch.empty(64, *SHAPE)
    ends = reference.draw(like, rng(5))
    factor = 1 / math.sqrt(1 - 0.9) - 1  # draws from p: their part along C u is stretched
    along = model.network.along(ends)[:, None, None, None] / variance(reference)
    ends = ends + factor * along * reference.color(reference.color_transposed(DIRECTION[None]))
    found = bracket_normalizer(
        model.log_density,
        lambda y: -model.reference_energy(y),
        reference.draw(like, rng(6)),
        ends,
        num_temperatures=100,
        rng=rng(7),
        kernel=mcmc.MALA(1.0, reference),
    )
    exact = -0.5 * math.log(1 - 0.9)
    assert found.upper - found.lower < 0.3
    assert found.lower - 3 * found.lower_error < exact < found.upper + 3 * found.upper_error


def test_learning_is_slower_where_chains_cannot_follow():
    """γ_t falls with the square of d_t beyond 10 nats."""
    model = Descriptor(nn.Flatten(0), 1.0, reference=FittedGaussian(SHAPE, 0))
    learner = DescriptorLearner(model, optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))

    def rate(gap: float) -> float:
        learner.optimizer.param_groups[0]["lr"] = 1.0
        learner._slow_down(gap)
        return learner.optimizer.param_groups[0]["lr"]

    assert rate(0) == rate(9.9) == rate(-9.9) == 1
    assert rate(20) == rate(-20) == pytest.approx(0.25)


def test_images_use_a_limited_number_of_chains_in_turn():
    images = pictures(20)
    reference = fitted(images)
    learner = DescriptorLearner(
        Descriptor(Square(reference.mean), 1.0, reference=reference),
        kernel=mcmc.MALA(0.5, reference),
        num_steps=1,
        chains=mcmc.PersistentChains(reference.draw, share=True),
        most_chains=6,
        data_noise=NOISE,
    )
    for _ in learn(learner, images, num_iterations=8, batch_size=5):
        pass
    assert learner.chains.positions.shape == (5, *SHAPE)  # as many for each place in a batch
    assert learner.chains.started.all()
    index = torch.tensor([1, 7, 19])
    _, start = learner.first_chains(index, images[index], rng())
    torch.testing.assert_close(start, learner.chains.positions[[1, 2, 4]])
