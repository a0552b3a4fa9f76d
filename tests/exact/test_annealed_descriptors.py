"""log Z of descriptors by annealed importance sampling from their Gaussian reference N(0, s²I) (cases 11–14)."""

import pytest
import torch
from torch import Tensor, nn

from anasyn.evaluation import normalizer
from anasyn.models import Descriptor

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


class Network(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, y):
        return self.f(y)


A12, B12 = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=FLOAT), torch.tensor([1.0, -0.5], dtype=FLOAT)
# log Z of case 12: −½ log det(I + s²A) + (s²/2) bᵀ(I + s²A)⁻¹b
M12 = torch.eye(2, dtype=FLOAT) + 0.49 * A12
LOG_Z12 = (-0.5 * torch.logdet(M12) + 0.5 * 0.49 * B12 @ torch.linalg.solve(M12, B12)).item()
DESCRIPTORS = {
    "case 11": (lambda y: y @ torch.tensor([1.5, -1.0], dtype=FLOAT), 0.7, 2, 0.49 * 3.25 / 2),
    "case 12": (lambda y: -0.5 * ((y @ A12) * y).sum(1) + y @ B12, 0.7, 2, LOG_Z12),
    "case 13": (lambda y: y[:, 0].clamp_min(0), 1.0, 1, 0.635064),
    "case 14": (lambda y: (2 * y**2 - y**4 / 4)[:, 0], 1.0, 1, 2.159394),
}


def check_descriptor(name: str, s_of_draws: float | None = None, scale: float = 1.0) -> None:
    f, s, dim, expected = DESCRIPTORS[name]
    found = normalizer.log_normalizer(
        Descriptor(Network(f), s, scale).log_density,
        lambda y: -(y**2).sum(1) / (2 * s**2),
        (s_of_draws or s) * normal(4000, dim, seed=13),
        num_temperatures=30,
        rng=rng(14),
    )
    assert found.error < 0.03
    assert found.value.item() == pytest.approx(expected, abs=5 * found.error.item())


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_log_z_of_descriptors(name):
    check_descriptor(name)


@pytest.mark.parametrize("fault", [{"s_of_draws": 0.5}, {"scale": 1.2}])
def test_planted_faults_move_log_z(fault):
    with pytest.raises(AssertionError):
        check_descriptor("case 14", **fault)
