"""Random numbers follow from (seed, purpose, iteration, process) alone."""

import pytest
import torch

from anasyn.rng import derive, standard_normal


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_part_of_the_key_makes_another_stream():
    keys = [(s, p, i, r) for s in (0, 1, 11) for p in ("order", "chains") for i in (0, 1, 11) for r in (0, 1)]
    heads = {tuple(torch.randint(2**62, (4,), generator=derive(*key)).tolist()) for key in keys}
    assert len(heads) == len(keys)
    assert torch.equal(torch.rand(5, generator=derive(3, "x", 2)), torch.rand(5, generator=derive(3, "x", 2)))


def test_streams_of_neighbouring_keys_are_uncorrelated():
    x = torch.stack([torch.randn(4000, generator=derive(0, "noise", t)) for t in range(20)])
    correlation = torch.corrcoef(x) - torch.eye(20)
    assert correlation.abs().max() < 5 / 4000**0.5


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_like_what_it_is_for(dtype, channels_last):
    like = torch.zeros(40, 3, 16, 20, dtype=dtype)
    if channels_last:
        like = like.contiguous(memory_format=torch.channels_last)
    noise = standard_normal(like, rng())
    assert noise.shape == like.shape
    assert noise.stride() == like.stride()
    assert noise.dtype == dtype
    assert torch.equal(noise, standard_normal(like, rng()))
    assert not torch.equal(noise, standard_normal(like, rng(1)))


def test_the_same_numbers_are_drawn_whatever_the_memory_format():
    flat = torch.zeros(5, 3, 8, 8)
    last = flat.contiguous(memory_format=torch.channels_last)
    in_memory = standard_normal(last, rng()).permute(0, 2, 3, 1).flatten()
    assert torch.equal(in_memory, standard_normal(flat, rng()).flatten())


@pytest.mark.parametrize("channels_last", [False, True])
def test_noise_is_standard_normal_everywhere(channels_last):
    """Mean 0, variance 1, fourth moment 3, neighbours in every direction uncorrelated: no number is used twice."""
    like = torch.zeros(500, 3, 16, 16, dtype=torch.float64)
    if channels_last:
        like = like.contiguous(memory_format=torch.channels_last)
    x = standard_normal(like, rng(2))
    n = x.numel()
    for power, expected, variance in [(1, 0, 1), (2, 1, 2), (4, 3, 96)]:
        assert abs((x**power).mean().item() - expected) < 5 * (variance / n) ** 0.5
    for axis in range(4):
        assert abs((x * x.roll(1, axis)).mean().item()) < 5 / n**0.5
    assert x.unique().numel() > 0.999 * n


def test_an_expanded_tensor_has_noise_of_its_own_for_each_place():
    like = torch.zeros(1, 1).expand(4, 6)
    assert standard_normal(like, rng()).unique().numel() == 24
