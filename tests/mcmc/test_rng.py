"""Random numbers follow from (seed, purpose, iteration, process) alone."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from anasyn.rng import derive, draw, standard_normal, threefry


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


# ---- numbers that are functions of a key: the published generator, and what is made of its words


def words(*numbers: int) -> Tensor:
    """Words of 32 bits as PyTorch has them, signed."""
    return torch.tensor([n - (n >> 31 << 32) for n in numbers], dtype=torch.int32)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_answers(counter, key, expected):
    """The known answers of Random123 (kat_vectors, threefry2x32, 20 rounds)."""
    first, second = threefry(words(*key), words(counter[0]), words(counter[1]))
    assert torch.equal(torch.cat([first, second]), words(*expected))


def test_a_counter_one_bit_away_changes_half_of_the_bits():
    place = torch.arange(2000, dtype=torch.int32)
    zero = torch.zeros_like(place)
    one, other = (torch.stack(threefry(words(1, 2), place, second)) for second in (zero, zero + 1))
    bits = sum(((one ^ other) >> bit) & 1 for bit in range(32)).double() / 32
    assert abs(bits.mean().item() - 0.5) < 5 * 0.5 / (2 * 2000 * 32) ** 0.5


LIKES = {
    "vectors": torch.empty(700, 3),
    "side by side": torch.empty(3, 700).T,
    "images": torch.empty(7, 3, 10, 10).contiguous(memory_format=torch.channels_last),
    "double": torch.empty(333, 1, dtype=torch.float64),
}


@pytest.mark.parametrize("name", LIKES)
def test_numbers_have_their_distributions(name):
    like = LIKES[name]
    normal, uniform = draw(words(3, 5), 9, 9, like)
    assert normal[0].stride() == like.stride()
    assert normal.shape == (9, *like.shape)
    assert uniform.shape == (9, len(like))
    assert normal.dtype == uniform.dtype == like.dtype
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(normal.flatten(), "norm").pvalue > 1e-4
    assert stats.kstest(uniform.flatten(), "uniform").pvalue > 1e-4
    assert stats.kstest((normal**2).flatten(1).sum(1), "chi2", args=(like.numel(),)).pvalue > 1e-4


def test_no_number_comes_twice_and_none_knows_another():
    """Numbers at short distances, and a chain's normal and uniform ones, are uncorrelated; so are their squares."""
    normal, uniform = (numbers.double() for numbers in draw(words(7, 11), 40, 40, torch.empty(500, 2)))
    assert normal.unique().numel() > 0.995 * normal.numel()
    flat, scaled = normal.flatten(), (uniform.flatten() - 0.5) * 12**0.5
    pairs = [(flat[lag:], flat[:-lag]) for lag in (1, 2, 3, 500, 999, 1000, 1001, 20_000)]
    pairs += [(scaled[lag:], scaled[:-lag]) for lag in (1, 2, 500, 1000)]
    pairs += [(normal[..., 0].flatten(), scaled), (normal[..., 1].flatten(), scaled)]
    for a, b in pairs + [(a**2 - 1, b**2 - 1) for a, b in pairs]:
        assert abs((a * b).mean().item()) < 5 * (a.std() * b.std()).item() / len(a) ** 0.5


def test_another_key_gives_other_numbers_and_the_same_the_same():
    like = torch.empty(100, 2)
    first, same, other = (draw(words(*key), 1, 1, like) for key in ((1, 2), (1, 2), (2, 1)))
    assert torch.equal(first[0], same[0])
    assert torch.equal(first[1], same[1])
    assert abs((first[0] * other[0]).mean().item()) < 5 / 200**0.5
