"""The likelihood of nonlinear generators of one and two dimensions, against quadrature over z."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from anasyn.evaluation import likelihood
from anasyn.models import Generator

FLOAT = torch.float64


class Function(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, z):
        return self.f(z)


def two_peaks(z: Tensor) -> Tensor:
    """The posterior is symmetric, and has two peaks unless z is near 0, where J is 0."""
    return torch.cat([z**2, 0.5 * z**2 - 1], 1)


def unequal_peaks(z: Tensor) -> Tensor:
    return torch.cat([z**2, 0.1 * z], 1)


def curved(z: Tensor) -> Tensor:
    x, y = z[:, :1], z[:, 1:]
    return torch.cat([x + 0.5 * y**2, (1.5 * y).sin(), x * y], 1)


CASES = {"two peaks": (two_peaks, 1, 0.1), "unequal peaks": (unequal_peaks, 1, 0.2), "curved": (curved, 2, 0.15)}


def quadrature(model: Generator, images: Tensor) -> Tensor:
    """log p(Y) by the trapezoidal rule, whose error for such smooth functions is far below a thousandth."""
    axis = torch.linspace(-7, 7, 14_001 if model.latent_dim == 1 else 401, dtype=FLOAT)
    z = torch.cartesian_prod(*[axis] * model.latent_dim).view(-1, model.latent_dim)
    values = torch.stack([model.log_joint(z, image.expand(len(z), -1)).logsumexp(0) for image in images])
    return values + model.latent_dim * (axis[1] - axis[0]).log()


class NoShares(likelihood._Chains):
    """The chains of each peak go to all of the posterior, and not to the share of their peak."""

    def _path(self, components, coordinates):
        images = self.images.repeat_interleave(components.shape[1], 0)

        def target(u: Tensor) -> Tensor:
            return self.model.log_joint(coordinates.position(u), images) + coordinates.log_dets

        return replace(super()._path(components, coordinates), target=target)


def check_quadrature(monkeypatch, name: str, num_peaks: int = 8, kind: type = likelihood._Chains) -> None:
    """In expectation over 64 simulated images lower ≤ truth ≤ upper; both are near, and few images lack a peak."""
    f, d, sigma = CASES[name]
    model, seen = Generator(Function(f), d, sigma), []

    class Spy(kind):
        def __init__(self, model, images, *rest):
            seen.append(images)
            super().__init__(model, images, *rest)

    monkeypatch.setattr(likelihood, "_Chains", Spy)
    found = likelihood.bracket(
        model,
        torch.zeros(1, len(f(torch.zeros(1, d))[0]), dtype=FLOAT),
        num_images=64,
        num_chains=16,
        num_temperatures=30,
        num_peaks=num_peaks,
        rng=torch.Generator().manual_seed(11),
    )
    truth = quadrature(model, torch.cat(seen))
    below, above = truth - found.lower, found.upper - truth
    assert below.mean() + 3 * below.std() / 8 >= 0, below
    assert above.mean() + 3 * above.std() / 8 >= 0, above
    assert below.mean() < 0.1, below
    assert above.median() < 0.1, above
    assert (above > 3).sum() <= 2, above


@pytest.mark.parametrize("name", CASES)
def test_the_bracket_holds_the_quadrature(monkeypatch, name):
    check_quadrature(monkeypatch, name)


@pytest.mark.parametrize("fault", [{"num_peaks": 1}, {"kind": NoShares}], ids=["missed peaks", "shares left out"])
def test_planted_faults_miss_the_quadrature(monkeypatch, fault):
    with pytest.raises(AssertionError):
        check_quadrature(monkeypatch, "two peaks", **fault)
