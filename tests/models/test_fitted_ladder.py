"""The ladder whose references are those of a fitted Gaussian, against dense matrices."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.learning import recovery
from anasyn.models import ClassGaussians, FittedGaussian, FittedLadder, Ladder, Mask, Observed

from ..planting import plant

FITTED = "anasyn.models.fitted:FittedLadder"
CLASSES = "anasyn.models.reference:ClassGaussians"
REFERENCE = "anasyn.models.reference:FittedGaussian"
SHAPE, D = (2, 8, 9), 2 * 8 * 9
LADDER = Ladder((0.3, 0.8, 2.0, 5.0))
T = 1


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


class Zero(nn.Module):
    """Networks that have learned nothing."""

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        return self

    def forward(self, images: Tensor) -> Tensor:
        return 0 * images.sum((1, 2, 3))


def fitted() -> FittedLadder:
    """To images with four directions in common, a mean, and colours that go together."""
    common = randn(4, *SHAPE, seed=1)
    images = 0.2 * randn(60, *SHAPE) + torch.einsum("nk,kchw->nchw", 0.3 * randn(60, 4, seed=2), common)
    images[:, 1] += 0.5 * images[:, 0]
    model = FittedLadder(Zero(), LADDER, FittedGaussian(SHAPE, 4).double())
    model.fit(images + 0.1 * common[0])
    return model


def basis() -> Tensor:
    return torch.eye(D, dtype=torch.float64).view(D, *SHAPE)


def matrices(model: FittedLadder) -> tuple[Tensor, Tensor]:
    """C and the noise's covariance N, each (D, D)."""
    reference = model.reference
    noise = reference.noise_covariance(basis()).flatten(1)
    return reference.color(reference.color_transposed(basis())).flatten(1), noise


def of_level(model: FittedLadder, t: int = T) -> tuple[Tensor, Tensor, Tensor]:
    """m_t, (D,), C_t and N."""
    covariance, noise = matrices(model)
    shrinkage, alpha_bar = LADDER.shrinkage(t) ** 2, LADDER.alpha_bar(t)
    mean = (shrinkage * alpha_bar) ** 0.5 * model.reference.mean.flatten()
    return mean, shrinkage * (alpha_bar * covariance + (1 - alpha_bar) * noise), noise


def error(found: Tensor, expected: Tensor) -> float:
    """Relative to the largest entry expected."""
    return float((found - expected).abs().max() / expected.abs().max())


def error_of_the_energy() -> float:
    model = fitted()
    mean, covariance, _ = of_level(model)
    y = randn(5, *SHAPE, seed=3)
    deviation = y.flatten(1) - mean
    return error(-model.at(T).log_density(y), (deviation @ torch.linalg.inv(covariance) * deviation).sum(1) / 2)


def error_of_the_noise() -> float:
    """Of the energy of ε, and of the covariance of its draws, of which 200,000 are 5 standard errors from 2 %."""
    model = fitted()
    _, _, noise = of_level(model)
    drawn = model.noise(torch.empty(200_000, *SHAPE, dtype=torch.float64), rng()).flatten(1)
    of_covariance = error(drawn.T @ drawn / len(drawn), noise)
    exact = (drawn[:5] @ torch.linalg.inv(noise) * drawn[:5]).sum(1) / 2
    return max(of_covariance / 0.02, error(model.noise_energy(drawn[:5].view(-1, *SHAPE)), exact) / 1e-6)


def error_of_the_posterior() -> float:
    model = fitted()
    mean, covariance, noise = of_level(model)
    x_next = randn(3, *SHAPE, seed=4)
    found = model.posterior(T, x_next)
    precision = torch.linalg.inv(noise) / LADDER.sigma(T + 1) ** 2
    exact = torch.linalg.inv(torch.linalg.inv(covariance) + precision)
    expected = (mean @ torch.linalg.inv(covariance) + x_next.flatten(1) @ precision) @ exact
    of_covariance = error(found.color(found.color_transposed(basis())).flatten(1), exact)
    return max(of_covariance, error(found.mean.flatten(1), expected))


class Bumps(nn.Module):
    """Networks of which every pixel's part is different."""

    def at(self, level: int, labels: Tensor | None = None) -> nn.Module:
        return self

    def forward(self, images: Tensor) -> Tensor:
        return (randn(*SHAPE, seed=9) * images.sin()).sum((1, 2, 3))


def error_of_whitened_chains() -> float:
    """Of chains of u from those with a preconditioner that start at the same place and use the same random numbers."""
    model = fitted()
    model.network = Bumps()
    x_next, kernel = randn(3, *SHAPE, seed=4).contiguous(memory_format=torch.channels_last), mcmc.Langevin(0.7, 0.9)
    found, _ = recovery.recover(model, T, kernel, x_next, 5, rng(5))
    same = rng(5)
    chains = recovery.chains_given(model, T, kernel, x_next, same, None, None)
    state, _ = mcmc.run(chains.kernel, chains.log_density, chains.start, num_steps=5, rng=same)
    return error(found, state.position)


def error_of_classes() -> float:
    """Of the energies of images of two classes and of their posteriors, from what one class alone has."""
    labels = torch.tensor([1, 0, 1, 1, 0])
    of_images = torch.arange(60) % 2
    model = FittedLadder(Zero(), LADDER, ClassGaussians(SHAPE, 4, of_images, 2).double())
    model.fit(torch.where(of_images.bool()[:, None, None, None], 1.0, -0.5) + 0.3 * randn(60, *SHAPE))
    reference = model.reference
    y, x_next, white = randn(5, *SHAPE, seed=3), randn(5, *SHAPE, seed=4), randn(5, *SHAPE, seed=5)
    energies, posterior = model.at(T, labels).reference_energy(y), model.posterior(T, x_next, labels)
    worst = 0.0
    for k in (0, 1):
        alone = FittedGaussian(SHAPE, 4).double()
        for name in ("colours", "std"):
            getattr(alone, name).copy_(getattr(reference, name))
        alone.mean.copy_(reference.means[k])
        for name in ("components", "scales", "rest"):
            getattr(alone, name).copy_(getattr(reference, name)[k])
        own, here = FittedLadder(Zero(), LADDER, alone), labels == k
        expected = own.posterior(T, x_next[here])
        worst = max(
            worst,
            error(energies[here], own.at(T).reference_energy(y[here])),
            error(posterior.mean[here], expected.mean),
            error(posterior.color(white)[here], expected.color(white[here])),
        )
    means = torch.stack([model.reference.means[k].mean() for k in (0, 1)])
    return max(worst, float((means - torch.tensor([-0.5, 1.0])).abs().max() > 0.05))


def error_of_samples() -> float:
    """Of the mean squares of denoised samples in whitened coordinates, over all pixels, relative.

    Without networks, x_0 is of the reference, and the mean of x given it has the covariance C A⁻¹ C, A = C + N (1/ᾱ_0
    − 1). Of 4,000 × D numbers, five standard errors are 1 %.
    """
    model = fitted()
    covariance, noise = matrices(model)
    x = model.noisiest(torch.empty(4000, *SHAPE, dtype=torch.float64), rng(5))
    kernel = mcmc.Langevin(0.7, 1 - 0.7**2 / 4)
    samples = recovery.descend(model, kernel, 2, x, rng(6)).flatten(1) - model.reference.mean.flatten()
    noisy = covariance + noise * (1 / LADDER.alpha_bar(0) - 1)
    expected = covariance @ torch.linalg.inv(noisy) @ covariance
    return abs(float((samples @ torch.linalg.inv(expected) * samples).mean(0).sum()) / D - 1)


def error_of_restoration() -> float:
    """Of the mean of pixels given those of the left half, in standard deviations of a pixel.

    The chains know the seen pixels with the noise of x_0: E[x | x_0 on the left], over its noise, is linear in it.
    """
    model = fitted()
    covariance, noise = matrices(model)
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[..., :4] = True
    image = model.reference.draw(torch.empty(1, *SHAPE, dtype=torch.float64), rng(7)).expand(3000, *SHAPE)
    observed = Observed(torch.where(mask, image, 0.0), Mask(mask.expand(3000, *SHAPE)))
    kernel, x = mcmc.Langevin(0.7, 1 - 0.7**2 / 4), model.noisiest(image, rng(9))
    drawn = recovery.descend(model, kernel, 10, x, rng(8), seen=observed)
    seen, deviation = mask.flatten(), (image[0] - model.reference.mean).flatten()
    noisy = covariance + noise * (1 / LADDER.alpha_bar(0) - 1)
    gain = torch.linalg.solve(noisy[seen][:, seen], covariance[seen])  # of E[x | x_0 on the left]
    expected = deviation[seen] @ gain
    spread = covariance.diagonal().sqrt()
    found = drawn.mean(0).flatten() - model.reference.mean.flatten()
    return float(((found - expected) / spread)[~seen].abs().max())


# The cosines are rounded to float32: 1e-6.
CHECKS: dict[str, tuple[Callable[[], float], float]] = {
    "energy": (error_of_the_energy, 1e-6),
    "noise": (error_of_the_noise, 1),
    "posterior": (error_of_the_posterior, 1e-6),
    "whitened chains": (error_of_whitened_chains, 1e-6),
    "classes": (error_of_classes, 1e-6),
    "samples": (error_of_samples, 0.01),
    "restoration": (error_of_restoration, 0.1),
}


@pytest.mark.parametrize("check", CHECKS)
def test_it_agrees_with_the_matrices(check: str) -> None:
    found, bound = CHECKS[check]
    assert found() < bound


@pytest.mark.parametrize(
    ("check", "where", "edits"),
    [
        ("energy", f"{FITTED}._with_variances", {"* self.ladder.alpha_bar(t) ** 0.5 ": ""}),
        ("energy", f"{REFERENCE}.rescaled", {"variance(self.rest**2)": "variance(self.rest)"}),
        ("noise", f"{REFERENCE}.noise", {"self.std * ": ""}),
        ("noise", f"{REFERENCE}.noise_energy", {"/ self.std": "* self.std"}),
        ("posterior", f"{FITTED}.posterior", {"+ precision *": "+"}),
        ("posterior", f"{REFERENCE}.shrunk", {"/ self.std": ""}),
        ("whitened chains", "anasyn.learning.recovery:recover", {"/ 2\n": "\n"}),
        ("whitened chains", "anasyn.learning.recovery:recover", {"return posterior.mean + ": "return "}),
        ("classes", f"{CLASSES}._along", {"[self.place]": "[self.order]"}),
        ("classes", f"{CLASSES}.of", {"self.means[labels]": "self.means[1 - labels]"}),
        ("classes", f"{CLASSES}.fit", {"self.labels == k": "self.labels != k"}),
        ("samples", f"{FITTED}.noisiest", {"+ ladder.sigma(t + 1) ** 2": "* 0"}),
        ("samples", "anasyn.learning.recovery:descend", {"model.noise_covariance": ""}),
        ("restoration", "anasyn.learning.recovery:descend", {"mcmc.hold(bottom.log_density, *held)":
                                                             "bottom.log_density"}),
    ],
)  # fmt: skip
def test_a_planted_fault_is_caught(check: str, where: str, edits, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, where, edits)
    found, bound = CHECKS[check]
    assert not found() < bound
