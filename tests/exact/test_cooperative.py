"""Cooperative learning of a linear generator and a quadratic descriptor: both reach the covariance of the images."""

import pytest
import torch
from torch import Tensor, nn

from anasyn import CooperativeLearner, mcmc
from anasyn.models import Cooperative, Descriptor, Generator
from anasyn.rng import derive

from ..planting import plant

FLOAT = torch.float64
SIGMA = 0.6
STEP = "anasyn.learning.cooperative:CooperativeLearner.step"


class Linear(nn.Module):
    """f_g(z) = W z."""

    def __init__(self, dim: int, latent_dim: int):
        super().__init__()
        self.W = nn.Parameter(0.3 * torch.randn(dim, latent_dim, dtype=FLOAT, generator=derive(0, "W")))

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.W.T


class Quadratic(nn.Module):
    """f(y) = −½ yᵀA y."""

    def __init__(self, dim: int):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(dim, dim, dtype=FLOAT))

    def forward(self, y: Tensor) -> Tensor:
        return -0.5 * ((y @ self.A) * y).sum(1)


def observed(n: int = 500) -> Tensor:
    """Draws of Y = W z + ε with W of rank 2 in three dimensions, around 0, in units in which the reference is wider."""
    w = torch.tensor([[0.9, 0.0], [0.5, 0.6], [-0.3, 0.4]], dtype=FLOAT)
    z, noise = torch.randn(n, 5, dtype=FLOAT, generator=derive(5, "images")).split([2, 3], dim=1)
    return z @ w.T + SIGMA * noise


def learner_of(recall_steps: int = 8) -> CooperativeLearner:
    model = Cooperative(Generator(Linear(3, 2), 2, SIGMA), Descriptor(Quadratic(3), 1.5))
    optimizer = torch.optim.SGD(
        [
            {"params": model.descriptor.parameters(), "lr": 0.3},
            {"params": model.generator.parameters(), "lr": 0.3},
        ]
    )
    kernels = {"kernel": mcmc.MALA(0.8), "recall_kernel": mcmc.MALA(0.8)}
    return CooperativeLearner(model, **kernels, num_steps=10, recall_steps=recall_steps, optimizer=optimizer)


def check_learned() -> None:
    """The means over the last iterations of (A + I/s²)⁻¹ and of WWᵀ + σ²I are the maximum likelihood's covariances."""
    images, learner = observed(), learner_of()
    second = images.T @ images / len(images)  # both models have mean 0
    values, vectors = torch.linalg.eigh(second)
    values = torch.cat([torch.tensor([SIGMA**2], dtype=FLOAT), values[1:]])  # of rank 2 and σ²I
    of_generator = vectors @ values.diag() @ vectors.T
    learner.begin(images, len(images), rng=derive(0, "chains"))
    found = []
    for t in range(120):
        learner.step(torch.arange(len(images)), images, rng=derive(0, "noise", t))
        w, a = learner.model.generator.network.W.detach(), learner.model.descriptor.network.A.detach()
        precision = (a + a.T) / 2 + torch.eye(3) / learner.model.descriptor.reference_std**2
        found.append(torch.stack([precision, w @ w.T + SIGMA**2 * torch.eye(3)]))
    precision, covariance = torch.stack(found[60:]).mean(0)
    errors = [(torch.linalg.inv(precision) - second).abs().max(), (covariance - of_generator).abs().max()]
    assert max(errors) < 0.06, errors


def test_both_reach_the_covariance_of_the_images() -> None:
    check_learned()


@pytest.mark.parametrize(
    "edits",
    [
        {"[observed, revised]": "[observed, proposed]"},
        {"generator(recalled.position) - revised": "generator(recalled.position) - images"},
        {"gap = f_observed.mean() - f_revised.mean()": "gap = f_revised.mean() - f_observed.mean()"},
        {"num_steps=self.recall_steps": "num_steps=0"},
    ],
    ids=["revisions forgotten", "taught by the images", "sign of the gap", "no recall"],
)
def test_planted_faults_keep_them_from_it(edits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, STEP, edits)
    with pytest.raises(AssertionError):
        check_learned()


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of W and of A in the first iteration, which has the same random numbers for all images."""
    learner = learner_of()
    learner.begin(images, len(images), rng=derive(0, "chains"))
    learner.step(torch.arange(len(images)), images, rng=derive(0, "noise"))
    w, a = learner.model.generator.network.W.grad, learner.model.descriptor.network.A.grad
    assert w is not None
    assert a is not None
    return w, a


def check_only_the_descriptor_sees_the_images() -> None:
    (w, a), (other_w, other_a) = gradients(observed(50)), gradients(2 * observed(50))
    assert torch.equal(w, other_w)
    assert not torch.equal(a, other_a)


def test_only_the_descriptor_sees_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taught by the images, with their own recalled z, the generator would reach the same covariance without it."""
    check_only_the_descriptor_sees_the_images()
    plant(
        monkeypatch,
        STEP,
        {"given=(revised,)": "given=(images,)", "recalled.position) - revised": "recalled.position) - images"},
    )
    with pytest.raises(AssertionError):
        check_only_the_descriptor_sees_the_images()


def check_equations() -> None:
    """One step of gradient descent from known weights moves A and W by equations (17) and (10), exactly."""
    images, learner = observed(40), learner_of(recall_steps=0)
    w, a = learner.model.generator.network.W, learner.model.descriptor.network.A
    before = w.detach().clone()
    learner.begin(images, 40, rng=derive(0, "chains"))
    learner.step(torch.arange(40), images, rng=derive(0, "noise"))
    # Without recall, z̃ = ẑ; the revision is done again with the same random numbers.
    rng = derive(0, "noise")
    z = torch.randn(80, dtype=FLOAT, generator=rng).view(40, 2)
    model = Descriptor(Quadratic(3), 1.5)
    state, _ = mcmc.run(mcmc.MALA(0.8), model.log_density, z @ before.T, num_steps=10, rng=rng)
    y = state.position
    torch.testing.assert_close(a.detach(), 0.3 * -0.5 * (images.T @ images - y.T @ y) / 40)
    torch.testing.assert_close(w.detach(), before + 0.3 * (y - z @ before.T).T @ z / 40 / SIGMA**2)


def test_the_learning_step_is_equations_17_and_10() -> None:
    check_equations()


@pytest.mark.parametrize(
    "edits",
    [{"/ (2 * generator.sigma**2)": ""}, {"- gap\n": "- 2 * gap\n"}, {"squares.sum() / len(images)": "squares.mean()"}],
    ids=["no σ", "gap twice", "mean over pixels"],
)
def test_planted_faults_in_the_step_are_caught(edits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, STEP, edits)
    with pytest.raises(AssertionError):
        check_equations()
