"""Networks that know the level of noise and the class: each image is seen with its own."""

import pytest
import torch
from torch import nn

from anasyn.models.levelled import LevelledConv, WithLevel
from anasyn.processor import frozen

LABELS = torch.tensor([2, 0, 1, 1, 2])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("fixed", [False, True], ids=["learning", "frozen"])
def test_in_a_batch_of_several_classes_each_image_has_the_network_of_its_own(fixed: bool) -> None:
    network, images = LevelledConv(16, 2, (6, 8, 8), classes=3), torch.randn(5, 3, 16, 16)
    for level in range(2):
        together = network.at(level, LABELS)
        if fixed:
            with frozen(together):
                mixed = together(images)
        else:
            mixed = together(images)
        of_one = torch.stack([network.at(level, torch.full((5,), k))(images) for k in range(3)])
        torch.testing.assert_close(mixed, of_one[LABELS, torch.arange(5)], rtol=1e-4, atol=1e-5)
        assert len({round(x, 4) for x in of_one[:, 0].tolist()}) == 3
        torch.testing.assert_close(of_one[1, 0], (network.at(level)[:-1](images[:1]).permute(0, 2, 3, 1).flatten()
                                                  @ network.heads[level].weight[1]))  # fmt: skip


def test_a_class_learns_from_its_own_images_alone() -> None:
    network = LevelledConv(16, 2, (6, 8, 8), classes=3)
    network.at(1, torch.tensor([2, 0]))(torch.randn(2, 3, 16, 16)).sum().backward()
    learned = network.heads[1].weight.grad.abs().sum(1) > 0
    assert learned.tolist() == [True, False, True]
    assert network.heads[0].weight.grad is None


class Channels(nn.Module):
    """Each constant channel's mean, weighted so that the sum tells all of them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        constant = images[:, 3:]
        assert torch.equal(constant, constant[..., :1, :1].expand_as(constant))
        return (constant[..., 0, 0] * 10.0 ** torch.arange(constant.shape[1])).sum(1)


def test_a_network_of_one_s_own_sees_level_and_class_as_channels() -> None:
    images = torch.randn(5, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert WithLevel(Channels(), 3).at(1)(images).tolist() == [0.5] * 5
    assert WithLevel(Channels(), 3, 3).at(2, LABELS)(images).tolist() == [1001, 11, 101, 101, 1001]
