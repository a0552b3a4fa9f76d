"""Probabilistic PCA of data with missing entries: Algorithm 1 against the EM algorithm, which is exact."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import GeneratorLearner, learn, mcmc
from anasyn.learning import LearnedNoise, constant
from anasyn.models import Generator, Mask, Observed

from ..planting import plant

FLOAT = torch.float64
N, D, LATENT_DIM, SIGMA, HIDDEN = 300, 8, 2, 0.4, 0.35
START_SIGMA = 1.0


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    """y ~ N(b, W Wᵀ + σ² I), (n, D), and what is seen of it."""
    rng = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(D, LATENT_DIM, dtype=FLOAT, generator=rng), torch.randn(D, dtype=FLOAT, generator=rng)
    z = torch.randn(N, LATENT_DIM, dtype=FLOAT, generator=rng)
    y = z @ weight.T + bias + SIGMA * torch.randn(N, D, dtype=FLOAT, generator=rng)
    return y, torch.rand(N, D, generator=rng) > HIDDEN


def log_likelihood(y: Tensor, seen: Tensor, weight: Tensor, bias: Tensor, variance: Tensor) -> float:
    """Σ_i log N(y_i; b, W Wᵀ + σ² I) over what is seen of each row."""
    total = 0.0
    for row, kept in zip(y, seen, strict=True):
        w, gap = weight[kept], row[kept] - bias[kept]
        covariance = w @ w.T + variance * torch.eye(len(w), dtype=FLOAT)
        total -= 0.5 * (
            len(w) * math.log(2 * math.pi) + torch.logdet(covariance) + gap @ torch.linalg.solve(covariance, gap)
        )
    return float(total)


def em(y: Tensor, seen: Tensor, iterations: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """The maximum likelihood W, b and σ² (Tipping and Bishop 1999, with each row's own missing entries)."""
    weight = torch.randn(D, LATENT_DIM, dtype=FLOAT, generator=torch.Generator().manual_seed(1))
    bias, variance = torch.zeros(D, dtype=FLOAT), torch.ones((), dtype=FLOAT)
    m = seen.to(FLOAT)
    for _ in range(iterations):
        # E step: the moments of (z_i, 1) given what is seen of y_i
        gram = torch.einsum("np,pi,pj->nij", m, weight, weight)
        covariance = variance * torch.linalg.inv(gram + variance * torch.eye(LATENT_DIM, dtype=FLOAT))
        mean = torch.einsum("nij,nj->ni", covariance, ((y - bias) * m) @ weight) / variance
        extended = torch.cat([mean, torch.ones(N, 1, dtype=FLOAT)], 1)
        moments = extended[:, :, None] * extended[:, None]
        moments[:, :LATENT_DIM, :LATENT_DIM] += covariance
        # M step: each pixel's row of (W, b) from the images in which it is seen
        left, right = torch.einsum("np,nij->pij", m, moments), torch.einsum("np,np,ni->pi", m, y, extended)
        rows = torch.linalg.solve(left, right)
        weight, bias = rows[:, :LATENT_DIM], rows[:, LATENT_DIM]
        spread = torch.einsum("pi,nij,pj->np", weight, covariance, weight)
        variance = (m * ((y - mean @ weight.T - bias) ** 2 + spread)).sum() / m.sum()
    return weight, bias, variance


def learned(y: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W, b and σ² by alternating back-propagation on what is seen; the iterates of the last third are averaged."""
    torch.manual_seed(2)
    linear = nn.Linear(LATENT_DIM, D, dtype=FLOAT)
    model = Generator(linear, LATENT_DIM, START_SIGMA)
    learner = GeneratorLearner(
        model,
        kernel=mcmc.MALA(0.5),
        num_steps=3,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
        expansion=0.3,
        noise=LearnedNoise(0.01),
    )
    images = Observed(torch.where(seen, y, 0.0), Mask(seen))
    kept = [
        (linear.weight @ linear.weight.T, linear.bias.clone(), model.sigma**2)
        for record in learn(learner, images, num_iterations=600, schedule=constant)
        if record.iteration > 400
    ]
    square, bias, variance = (torch.stack(part).mean(0).detach() for part in zip(*kept, strict=True))
    values, vectors = torch.linalg.eigh(square)
    return vectors[:, -LATENT_DIM:] * values[-LATENT_DIM:].sqrt(), bias, variance


def check() -> float:
    """The share of the gain in log-likelihood, from independent entries to its maximum, that is missed."""
    y, seen = data()
    best = log_likelihood(y, seen, *em(y, seen))
    mean = (y * seen).sum(0) / seen.sum(0)
    variance = (((y - mean) ** 2) * seen).sum() / seen.sum()
    independent = log_likelihood(y, seen, torch.zeros(D, LATENT_DIM, dtype=FLOAT), mean, variance)
    missed = (best - log_likelihood(y, seen, *learned(y, seen))) / (best - independent)
    assert -1e-6 <= missed < 0.02
    return missed


def test_learning_from_what_is_seen_reaches_the_maximum_likelihood():
    """Within 2 % of the gain in log-likelihood."""
    check()


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("anasyn.models.observation:Mask.__call__", {"images * self.mask.to(images.dtype)": "images"}),
        (
            "anasyn.learning.noise:LearnedNoise.keep",
            {"squares / self.num_seen[index]": "squares / squares.new_tensor(8.0)"},
        ),
        ("anasyn.models.generator:Generator.squares", {".sum(tuple(range(1, residuals.dim())))": ".mean(1)"}),
    ],
    ids=["hidden entries count as zeros", "residuals divided by all entries", "likelihood divided by entries"],
)
def test_planted_faults_miss_the_maximum(where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch, where, edits)
    with pytest.raises(AssertionError):
        check()
