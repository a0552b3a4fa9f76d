"""Where chains start, and what is kept of them between iterations, by the image's index."""

import pytest
import torch
from torch import Tensor

from anasyn import mcmc
from anasyn.mcmc import chains as starts


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 10, size: int = 8, seed: int = 0) -> Tensor:
    images = torch.rand(n, 3, size, size, generator=rng(seed)) * 2 - 1
    return images.contiguous(memory_format=torch.channels_last)


KINDS = {
    "warm": lambda: mcmc.WarmChains(2),
    "cold": lambda: mcmc.ColdChains(),
    "persistent": lambda: mcmc.PersistentChains(),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


@kinds
def test_step_sizes_are_kept_by_index(make):
    """Under shuffled mini-batches each image meets the step size that was stored for it, and no other."""
    chains, images = make(), pictures()
    chains.allocate(10, 0.1, like=images, rng=rng())
    assert chains.step_sizes.tolist() == pytest.approx([0.1] * 10)
    for index in torch.randperm(10, generator=rng(1)).split(4):
        position = chains.start(index, images[index], rng())
        chains.store(index, position, 0.01 * (index + 1))
    assert torch.equal(chains.step_sizes, 0.01 * torch.arange(1, 11))


@kinds
def test_step_sizes_may_differ_from_the_start(make):
    chains, initial = make(), torch.linspace(0.1, 1.0, 10)
    chains.allocate(10, initial, like=pictures(), rng=rng())
    chains.store(torch.tensor([3]), chains.start(torch.tensor([3]), pictures(1), rng()), torch.tensor([9.0]))
    assert initial[3] == pytest.approx(0.4)  # the caller's tensor is left alone
    assert chains.step_sizes[3] == 9


def test_warm_chains_keep_positions_by_index_under_shuffled_batches():
    chains, images = mcmc.WarmChains(2), pictures()
    chains.allocate(10, 0.1, like=images, rng=rng())
    first = chains.positions.clone()
    for epoch in range(3):
        for index in torch.randperm(10, generator=rng(epoch)).split(3):
            position = chains.start(index, images[index], rng())
            torch.testing.assert_close(position, first[index] + epoch)
            chains.store(index, position + 1, chains.step_sizes[index])
    torch.testing.assert_close(chains.positions, first + 3)


def test_warm_chains_begin_at_the_prior():
    """z ~ N(0, I_d), by mean and variance, in the images' dtype, and by rng."""
    chains = mcmc.WarmChains(4)
    chains.allocate(20_000, 0.1, like=pictures().double(), rng=rng())
    z = chains.positions
    assert z.shape == (20_000, 4)
    assert z.dtype == torch.float64
    assert (z.mean(0).abs() < 5 / 20_000**0.5).all()
    assert ((z**2).mean(0) - 1).abs().max() < 5 * (2 / 20_000) ** 0.5
    again = mcmc.WarmChains(4)
    again.allocate(20_000, 0.1, like=pictures().double(), rng=rng())
    assert torch.equal(z, again.positions)


def test_what_a_start_returns_is_no_view_of_what_is_kept():
    for chains in (mcmc.WarmChains(2), mcmc.PersistentChains()):
        images, index = pictures(), torch.arange(10)
        chains.allocate(10, 0.1, like=images, rng=rng())
        chains.store(index, chains.start(index, images, rng()), torch.full((10,), 0.2))
        kept = chains.positions.clone()
        chains.start(index, images, rng()).add_(1)
        assert torch.equal(chains.positions, kept)


def test_cold_chains_start_at_the_mean_colour_every_time():
    """Each image reduced to 1 × 1 and enlarged again; channels-last."""
    chains, images = mcmc.ColdChains(), pictures()
    chains.allocate(10, 0.1, like=images, rng=rng())
    index = torch.tensor([7, 2])
    for _ in range(2):
        start = chains.start(index, images[index], rng())
        expected = images[index].mean((2, 3))[:, :, None, None].expand(2, 3, 8, 8)
        torch.testing.assert_close(start, expected)
        assert start.is_contiguous(memory_format=torch.channels_last)
        chains.store(index, start + 5, chains.step_sizes[index])


def test_reference_noise_has_its_standard_deviation():
    images = pictures(200, 16)
    noise = mcmc.reference_noise(0.4)(images, rng())
    assert noise.shape == images.shape
    n = noise.numel()
    assert abs(noise.mean().item()) < 5 * 0.4 / n**0.5
    assert abs((noise**2).mean().item() - 0.16) < 5 * 0.16 * (2 / n) ** 0.5
    assert abs((noise**4).mean().item() - 3 * 0.4**4) < 5 * 0.4**4 * (96 / n) ** 0.5
    assert torch.equal(noise, mcmc.reference_noise(0.4)(images, rng()))
    assert not torch.equal(noise, mcmc.reference_noise(0.4)(images, rng(1)))


def test_uniform_noise_fills_the_images_range():
    images = pictures(200, 16)
    noise = mcmc.uniform_noise(images, rng())
    n = noise.numel()
    assert noise.shape == images.shape
    assert -1 <= noise.min() < -0.99
    assert 0.99 < noise.max() <= 1
    assert abs(noise.mean().item()) < 5 / (3 * n) ** 0.5
    assert abs((noise**2).mean().item() - 1 / 3) < 5 * (4 / 45 / n) ** 0.5


def test_chains_may_start_at_the_data():
    images = pictures()
    assert torch.equal(starts.data(images, rng()), images)


def test_persistent_chains_start_once_and_go_on():
    """A chain begins at its start in its image's first iteration, and later continues from where it ended."""
    chains, images = mcmc.PersistentChains(mcmc.reference_noise(0.4)), pictures()
    chains.allocate(10, 0.1, like=images, rng=rng())
    a, b = torch.tensor([1, 4, 6]), torch.tensor([6, 0, 1])
    first = chains.start(a, images[a], rng(1))
    assert torch.equal(first, mcmc.reference_noise(0.4)(images[a], rng(1)))
    chains.store(a, first + 3, chains.step_sizes[a])
    second = chains.start(b, images[b], rng(2))
    assert torch.equal(second[0], first[2] + 3)  # image 6 goes on
    assert torch.equal(second[2], first[0] + 3)  # image 1 goes on
    assert torch.equal(second[1], mcmc.reference_noise(0.4)(images[b], rng(2))[1])  # image 0 starts
    assert second.is_contiguous(memory_format=torch.channels_last)
    assert chains.started.tolist() == [i in (1, 4, 6) for i in range(10)]


@pytest.mark.parametrize("event", [(5,), (3, 4, 4)])
def test_persistent_chains_hold_events_of_any_shape(event):
    chains, images = mcmc.PersistentChains(mcmc.reference_noise(1.0)), torch.zeros(4, *event)
    chains.allocate(4, 0.1, like=images, rng=rng())
    start = chains.start(torch.arange(4), images, rng())
    assert start.shape == (4, *event)
    chains.store(torch.arange(4), start, torch.full((4,), 0.2))
    assert torch.equal(chains.start(torch.arange(4), images, rng(1)), start)


@kinds
def test_the_state_goes_around(make):
    """state_dict gives the tensors themselves, one row per chain; chains restored from them continue alike."""
    chains, images, index = make(), pictures(), torch.tensor([1, 8, 3])
    chains.allocate(10, 0.1, like=images, rng=rng())
    chains.store(index, chains.start(index, images[index], rng(1)) + 1, torch.tensor([0.2, 0.3, 0.4]))
    other = make()
    other.allocate(10, 0.7, like=images, rng=rng(5))
    assert all(isinstance(value, Tensor) and len(value) == 10 for value in chains.state_dict().values())
    assert other.state_dict().keys() == chains.state_dict().keys()
    for name, value in other.state_dict().items():
        value.copy_(chains.state_dict()[name])
    everyone = torch.arange(10)
    assert torch.equal(other.step_sizes, chains.step_sizes)
    start = chains.start(everyone, images, rng(2))
    assert torch.equal(other.start(everyone, images, rng(2)), start)
    chains.store(everyone, start + 1, 2 * chains.step_sizes)
    assert torch.equal(other.start(everyone, images, rng(2)), start)
    assert torch.equal(2 * other.step_sizes, chains.step_sizes)


def test_a_share_of_persistent_chains_starts_anew():
    chains, images = mcmc.PersistentChains(starts.data, restart=0.3), torch.zeros(1000, 1, 8, 8)
    chains.allocate(1000, 0.1, like=images, rng=rng())
    everyone = torch.arange(1000)
    chains.store(everyone, torch.ones_like(images), chains.step_sizes.clone())
    anew = (chains.start(everyone, images, rng(1)) == 0).flatten(1)
    assert (anew.all(1) | ~anew.any(1)).all()  # a whole chain, or nothing of it
    assert anew[:, 0].float().mean() == pytest.approx(0.3, abs=0.05)


def test_persistent_chains_that_share_a_step_size_have_the_mean_of_the_last_batch():
    chains, images = mcmc.PersistentChains(share=True), pictures()
    chains.allocate(10, 0.1, like=images, rng=rng())
    index = torch.tensor([2, 5])
    chains.store(index, images[index], torch.tensor([0.1, 0.4]))
    torch.testing.assert_close(chains.step_sizes, torch.full((10,), 0.2))
