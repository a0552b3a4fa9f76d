"""A descriptor of 8 × 8 patches whose density is a known Gaussian mixture: the bracket of log Z holds the truth."""

import math

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.evaluation import descriptor_likelihood, evaluate_descriptor_likelihood
from anasyn.models import Descriptor

from ..planting import plant

S, SHIFT = 0.5, 40.0  # of the reference; log Z
SHAPE = (3, 8, 8)
D = math.prod(SHAPE)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


MEANS = 0.1 * torch.randn(3, D, generator=rng(1)).sign() * torch.linspace(0.2, 1, D)
STDS = torch.tensor([0.25, 0.3, 0.35])
LOG_SHARES = torch.tensor([0.5, 0.3, 0.2]).log()


def log_mixture(y: Tensor) -> Tensor:
    z = (y.flatten(1)[:, None] - MEANS) / STDS[:, None]
    return (LOG_SHARES - 0.5 * (z**2).sum(2) - D * (STDS.log() + 0.5 * math.log(2 * math.pi))).logsumexp(1)


class Known(nn.Module):
    """f(Y) = log mixture − log N(Y; 0, s²I) + log Z."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(SHIFT))

    def forward(self, y: Tensor) -> Tensor:
        gaussian = -(y.flatten(1) ** 2).sum(1) / (2 * S**2) - D / 2 * math.log(2 * math.pi * S**2)
        return log_mixture(y) - gaussian + self.shift


def draws(num: int, seed: int) -> Tensor:
    component = torch.multinomial(LOG_SHARES.exp(), num, replacement=True, generator=rng(seed))
    noise = torch.randn(num, D, generator=rng(seed + 1))
    return (MEANS[component] + STDS[component, None] * noise).view(num, *SHAPE)


def measures(monkeypatch: pytest.MonkeyPatch, starts: Tensor, num_steps: int = 3) -> dict:
    """Without the dependence of the number of temperatures on the machine's speed."""
    monkeypatch.setattr(descriptor_likelihood, "MIN_TEMPERATURES", 1024)
    pixels = ((draws(64, 5).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return evaluate_descriptor_likelihood(
        Descriptor(Known(), S),
        mcmc.MALA(0.1),
        num_steps,
        starts,
        pixels,
        "patches",
        data_noise=0.0,
        seed=0,
        seconds=0.0,
    )


def check(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measures(monkeypatch, draws(16, 3))
    lower = found["log_normalizer"]["value"]
    width = found["log_normalizer_bracket"]["value"]
    assert "warning" not in found["log_normalizer"]
    assert lower - 0.5 < SHIFT < lower + width + 0.5
    assert width < 4
    # log p(Y) itself: the mixture's at the images, which the constants of both densities enter.
    pixels = ((draws(64, 5).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    exact = log_mixture(pixels).mean().item()
    assert found["log_likelihood"]["value"] == pytest.approx(exact, abs=4)
    expected = -found["log_likelihood"]["value"] / (D * math.log(2)) + math.log2(127.5)
    assert found["bits_per_dimension"]["value"] == pytest.approx(expected)


def test_the_bracket_holds_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch)


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        (
            "descriptor_likelihood:evaluate_descriptor_likelihood",
            {"-model.reference_energy": "-2 * model.reference_energy"},
        ),
        ("descriptor_likelihood:evaluate_descriptor_likelihood", {"- model.log_ref": "+ model.log_ref"}),
        ("descriptor_likelihood:evaluate_descriptor_likelihood", {"- found.upper\n": "+ found.upper\n"}),
        ("normalizer:bracket_normalizer", {"-reverse.value": "reverse.value"}),
        ("normalizer:bracket_normalizer", {"chains.reverse(ends)": "chains.reverse(draws)"}),
    ],
)
def test_planted_faults(where: str, edits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, f"anasyn.evaluation.{where}", edits)
    with pytest.raises(AssertionError):
        check(monkeypatch)


def test_chains_that_have_not_arrived_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measures(monkeypatch, torch.full((16, *SHAPE), 10.0), num_steps=1)
    for measure in found.values():
        assert measure["warning"].startswith("Not to be trusted: the bounds of log Z are")
