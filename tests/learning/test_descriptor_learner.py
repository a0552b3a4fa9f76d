"""Algorithm 2 from mean colours to pictures."""

import pytest
import torch
from torch import Tensor

from anasyn import DescriptorLearner, learn, mcmc
from anasyn.data import to_float
from anasyn.data.drawn import draw_egrets, drawn_factors
from anasyn.learning import Guard
from anasyn.models import Descriptor, networks

IMAGES = draw_egrets(drawn_factors(8, seed=2), 16)


class WrongSign(Descriptor):
    """The chains ascend the energy instead of descending it."""

    def energy(self, images):
        return super().energy(images) + 2 * self(images)


def learner_of_egrets(rate: float = 1e-3, kind: type[Descriptor] = Descriptor, num_steps: int = 10, **options):
    torch.manual_seed(0)
    delta = 0.02
    model = kind(networks.conv(16, (16, 24, 32), strides=2), 0.4, scale=2 / delta**2)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.5, 0.999))
    return DescriptorLearner(
        model, kernel=mcmc.Langevin(delta), num_steps=num_steps, data_noise=0.03, optimizer=optimizer, **options
    )


def distances(a: Tensor, b: Tensor) -> dict[str, float]:
    """Distances between two sets of pictures: of their mean, and of the variance around each one's mean colour."""

    def detail(x: Tensor) -> Tensor:
        return x - x.mean((2, 3), keepdim=True)

    return {
        "mean picture": (a.mean(0) - b.mean(0)).pow(2).mean().item(),
        "contrast": (detail(a).pow(2).mean((0, 2, 3)) - detail(b).pow(2).mean((0, 2, 3))).abs().sum().item(),
    }


def check_learned(learner: DescriptorLearner, num_iterations: int = 60, guard: Guard | None = None) -> None:
    """The synthesised pictures come nearer to the observed ones than their starts were; no iteration is in trouble."""
    observed, index = to_float(IMAGES), torch.arange(len(IMAGES))
    records = list(learn(learner, IMAGES, num_iterations=num_iterations, seed=1, guard=guard))
    assert not any(record.rolled_back for record in records)
    assert all(record.measures["pixel_max"] < 5 for record in records)
    rng = torch.Generator().manual_seed(5)
    start = learner.chains.start(index, observed, rng)
    state, _ = mcmc.run(learner.kernel, learner.model.log_density, start, num_steps=learner.num_steps, rng=rng)
    before, after = distances(start, observed), distances(state.position, observed)
    assert after["mean picture"] < 0.4 * before["mean picture"]  # measured: 0.10 and 0.12
    assert after["contrast"] < 0.4 * before["contrast"]  # measured: 0.20 and 0.19


def test_drawn_egrets_are_learned():
    check_learned(learner_of_egrets())


@pytest.mark.parametrize(
    "options", [{"rate": 0.0}, {"kind": WrongSign}, {"num_steps": 0}], ids=["no learning", "wrong sign", "no sampling"]
)
def test_planted_faults_in_learning_are_caught(options):
    """Also without a guard."""
    with pytest.raises(AssertionError):
        check_learned(learner_of_egrets(**options), 40 if "kind" in options else 60, Guard(active=False))
