"""What is seen of images: linear maps, and the likelihood of a generator on what is seen."""

import math

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from anasyn.models import (
    BlockAverage,
    Blur,
    Composition,
    Everything,
    Generator,
    Grey,
    Mask,
    Observation,
    Observed,
    floats,
    observed,
)

from ..planting import plant

FLOAT = torch.float64
N, C, SIDE, D = 4, 3, 8, 3 * 8 * 8


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=FLOAT, generator=torch.Generator().manual_seed(seed))


SEEN = draw(N, 1, SIDE, SIDE, seed=1) > 0
MAPS = {
    "everything": Everything(),
    "mask": Mask(SEEN),
    "block average": BlockAverage(4),
    "blur": Blur(1.2),
    "grey": Grey(),
    "small and grey, partly seen": Composition((Grey(), BlockAverage(2), Mask(draw(N, 1, 4, 4, seed=2) > 0))),
}


def generator(sigma: float = 0.5) -> Generator:
    """A linear one: images are Gaussian with covariance W Wᵀ + σ² I."""
    network = nn.Sequential(nn.Linear(2, D, dtype=FLOAT), nn.Unflatten(1, (C, SIDE, SIDE)))
    with torch.no_grad():
        network[0].weight.copy_(draw(D, 2, seed=3))
        network[0].bias.copy_(draw(D, seed=4))
    return Generator(network, 2, sigma)


@pytest.mark.parametrize("observation", MAPS.values(), ids=MAPS.keys())
def test_an_observation_is_linear_and_keeps_to_its_image(observation: Observation):
    a, b = draw(N, C, SIDE, SIDE, seed=5), draw(N, C, SIDE, SIDE, seed=6)
    torch.testing.assert_close(observation(2 * a - 3 * b), 2 * observation(a) - 3 * observation(b))
    third = slice(2, 3)
    torch.testing.assert_close(observation[third](a[third]), observation(a)[third])
    torch.testing.assert_close(observation[torch.tensor([3, 0])](a[[3, 0]]), observation(a)[[3, 0]])


@pytest.mark.parametrize("observation", [BlockAverage(4), Blur(1.2), Grey()], ids=["block average", "blur", "grey"])
def test_averages_leave_a_uniform_image_as_it_is(observation: Observation):
    seen = observation(torch.full((2, C, SIDE, SIDE), 0.3, dtype=FLOAT))
    torch.testing.assert_close(seen, torch.full_like(seen, 0.3))


def test_a_block_average_is_the_mean_of_its_pixels():
    image = draw(1, C, SIDE, SIDE)
    assert BlockAverage(4)(image)[0, 1, 1, 0] == pytest.approx(image[0, 1, 4:, :4].mean().item())


def test_a_blur_spreads_a_pixel_as_a_gaussian():
    image = torch.zeros(1, 1, 41, 41, dtype=FLOAT)
    image[0, 0, 20, 20] = 1
    blurred = Blur(2.0)(image)[0, 0]
    offsets = torch.arange(41, dtype=FLOAT) - 20
    assert blurred.sum().item() == pytest.approx(1)
    assert (blurred.sum(0) * offsets**2).sum().sqrt().item() == pytest.approx(2, rel=0.02)
    torch.testing.assert_close(blurred, blurred.T)


# ---- the likelihood


def check_likelihood(observation: Observation) -> None:
    """log p(A Y | z) is that of the values that are seen, each with noise σ, and of no others."""
    model, z, images = generator(), draw(N, 2, seed=7), draw(N, C, SIDE, SIDE, seed=8)
    values = observation(images)
    found = model.log_likelihood(z, Observed(values, observation))
    mean = observation(model(z).detach())
    for i in range(N):
        seen = torch.ones_like(values[i], dtype=torch.bool)
        if observation.seen is not None:
            seen = observation.seen[i].expand_as(seen)
        y, m = values[i][seen].numpy(), mean[i][seen].numpy()
        expected = multivariate_normal.logpdf(y, m, model.sigma.item() ** 2)
        assert found[i].item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("observation", MAPS.values(), ids=MAPS.keys())
def test_the_likelihood_is_that_of_what_is_seen(observation: Observation):
    check_likelihood(observation)


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("anasyn.models.observation:Mask.__call__", {"self.mask.to": "(~self.mask).to"}),
        ("anasyn.models.generator:Generator.log_likelihood", {"- num_seen / 2": "- images.values[0].numel() / 2"}),
        ("anasyn.models.generator:Generator.log_likelihood", {"-squares /": "-squares / num_seen /"}),
    ],
    ids=["mask inverted", "constant ignores the mask", "divided by the number of seen values"],
)
def test_planted_faults_change_the_likelihood(where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch, where, edits)
    with pytest.raises(AssertionError):
        check_likelihood(Mask(SEEN))


def test_images_seen_whole_are_explained_as_images():
    model, z, images = generator(), draw(N, 2, seed=7), draw(N, C, SIDE, SIDE, seed=8)
    torch.testing.assert_close(
        model.log_joint(z, images), model.log_joint(z, Observed(images, Mask(torch.ones_like(SEEN))))
    )


def test_a_hidden_pixel_has_no_gradient_and_no_influence():
    model, z, images = generator(), draw(N, 2, seed=7), draw(N, C, SIDE, SIDE, seed=8)
    other = torch.where(SEEN, images, 9.0)
    one, two = (floats(Observed(x, Mask(SEEN))) for x in (images, other))
    assert torch.equal(model.log_joint(z, one), model.log_joint(z, two))
    shown = model(z).detach().requires_grad_()
    (one.residuals(shown) ** 2).sum().backward()
    assert shown.grad is not None
    assert torch.equal(shown.grad != 0, SEEN.expand_as(images))


def test_hidden_values_become_zero_and_levels_become_floats():
    levels = torch.full((N, C, SIDE, SIDE), 255, dtype=torch.uint8)
    found = floats(Observed(levels, Mask(SEEN))).values
    assert torch.equal(found, SEEN.float().expand_as(found))


def test_the_number_of_values_that_are_seen():
    assert torch.equal(Observed(draw(N, C, SIDE, SIDE), Mask(SEEN)).num_seen, C * SEEN.flatten(1).sum(1))
    assert observed(draw(N, C, SIDE, SIDE)).num_seen.tolist() == [D] * N
    assert math.prod(BlockAverage(4)(draw(N, C, SIDE, SIDE)).shape[1:]) == D // 16
