"""Random numbers follow from (seed, purpose, iteration) alone, and those of a row from its image."""

import pytest
import torch
from scipy import stats

from anasyn.rng import (
    Streams,
    counted_normal,
    counted_uniform,
    derive,
    repeated,
    rows_of,
    standard_normal,
    streams,
    uniform,
    unrelated,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_part_of_the_key_makes_another_stream():
    keys = [(s, p, i) for s in (0, 1, 11) for p in ("order", "chains") for i in (0, 1, 11)]
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


# ---- a stream for each row

DRAWS = {
    "PyTorch's generators": (standard_normal, uniform),
    "SplitMix64": (lambda like, rng: counted_normal(like, rng).view(like.shape), counted_uniform),
}


def by_rows(seed: int = 0, purpose: str = "x", iteration: int = 0, rows: int = 64) -> Streams:
    return streams(seed, purpose, iteration, torch.arange(rows))


@pytest.mark.parametrize("draws", DRAWS.values(), ids=DRAWS.keys())
def test_rows_are_standard_normal_and_uniform_and_independent(draws):
    normal, flat = draws
    rng, like = by_rows(), torch.empty(64, 3, 20, 50)
    first, second = (normal(like, rng).flatten(1) for _ in range(2))
    for x in (first, second):
        assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
        assert (torch.corrcoef(x) - torch.eye(64)).abs().max() < 5 / 3000**0.5
    assert abs(float((first * second).mean())) < 5 / first.numel() ** 0.5  # from one call to the next
    numbers = flat(torch.empty(64, 3000), rng)
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 1e-3
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    of_rows = flat(torch.empty(20_000), by_rows(rows=20_000))  # one number of each
    assert stats.kstest(of_rows.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("draws", DRAWS.values(), ids=DRAWS.keys())
def test_a_row_s_numbers_do_not_depend_on_the_other_rows(draws):
    like, chosen = torch.empty(64, 7), torch.tensor([40, 3, 9])
    for draw in draws:
        whole, some = by_rows(), streams(0, "x", 0, chosen)
        for _ in range(2):
            assert torch.equal(draw(like, whole)[chosen], draw(like[:3], some))
        assert torch.equal(draw(like[:3], rows_of(by_rows(), chosen)), draw(like[:3], streams(0, "x", 0, chosen)))


def test_numbers_are_finite_whatever_the_bits(monkeypatch):
    """An iteration on a GPU can draw 10⁸ numbers, and some then have nearly the least or the largest of all bits."""
    extremes = torch.tensor([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1])
    bits = (extremes[:, None] * 2**32 + (extremes & 2**32 - 1)).flatten()
    monkeypatch.setattr("anasyn.rng._mixed", lambda state: bits.expand(len(state), -1))
    for dtype in (torch.float32, torch.float64):
        normal = counted_normal(torch.empty(3, 72, dtype=dtype), by_rows(rows=3))
        assert normal.abs().max() < 7
        assert normal.unique().numel() > 12
        flat = counted_uniform(torch.empty(3, 36, dtype=dtype), by_rows(rows=3))
        assert flat.min() >= 0
        assert flat.max() < 1


def test_each_part_of_a_stream_s_key_makes_another_stream():
    keys = [(s, p, i) for s in (0, 1, 11) for p in ("order", "chains") for i in (0, 1, 11)]
    heads = [tuple(by_rows(*key).keys.tolist()) for key in keys]
    heads += [tuple(unrelated(by_rows(*key), 64).keys.tolist()) for key in keys]
    repeats = [tuple(repeated(by_rows(*key), 3).keys.tolist()) for key in keys]
    every = [key for head in heads + repeats for key in head]
    assert len(set(every)) == len(every)


def test_what_belongs_to_no_row_is_the_same_whichever_rows_there_are():
    one, other = (unrelated(streams(0, "x", 0, torch.tensor(rows)), 5) for rows in ([1, 2], [7]))
    assert torch.equal(one.keys, other.keys)


def test_another_number_of_rows_is_refused():
    with pytest.raises(ValueError, match=r"expected an array of 64 rows, got one of shape \(32, 2\)"):
        standard_normal(torch.empty(32, 2), by_rows())


def test_a_generator_for_all_rows_stays_itself():
    generator = rng()
    assert rows_of(generator, slice(3)) is repeated(generator, 3) is unrelated(generator, 3) is generator
