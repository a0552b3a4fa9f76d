"""Which images a process has: each image in one, every batch about equally in all, in any number of processes."""

from itertools import islice

import pytest
import torch
from torch import Tensor

from anasyn import ranks
from anasyn.errors import InputError
from anasyn.learning import Shard, batches

SIZES = [(10, 3), (11, 11), (7, 2), (900, 100), (23, 8), (1000, 32), (5, 8), (64, 16)]


def shards(num: int, size: int, count: int) -> list[Shard]:
    b = -(-num // -(-num // size))
    return [Shard(num, b, r * b // count, (r + 1) * b // count) for r in range(count)]


def check_parts(num: int, size: int, count: int, order=batches) -> None:
    """The batches of ``count`` processes are those of one, cut in equal parts; all images are in one of them."""
    parts, whole = shards(num, size, count), Shard.own(num, size)
    assert torch.cat([part.places for part in parts]).sort().values.tolist() == list(range(num))
    assert [len(part) for part in parts] == [len(part.places) for part in parts]
    orders = [order(part, 3) for part in parts]
    for batch in islice(order(whole, 3), 3 * whole.num_batches):
        found = [part.places[next(each)] for part, each in zip(parts, orders, strict=True)]
        assert torch.cat(found).sort().values.tolist() == batch.sort().values.tolist()
        assert max(map(len, found)) - min(map(len, found)) <= 2


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(("num", "size"), SIZES)
def test_the_batches_of_several_processes_are_those_of_one(num: int, size: int, count: int) -> None:
    if count <= size:
        check_parts(num, size, count)


def test_planted_order_of_the_process_is_caught() -> None:
    """Drawn anew by each process, for its own images."""

    def own_order(shard: Shard, seed: int):
        rng = torch.Generator().manual_seed(seed)
        while True:
            yield from torch.randperm(len(shard), generator=rng).tensor_split(shard.num_batches)

    with pytest.raises(AssertionError):
        check_parts(1000, 32, 2, own_order)


@pytest.mark.parametrize(("num", "size"), SIZES)
def test_places_among_a_process_s_images(num: int, size: int) -> None:
    everything = torch.arange(num)
    for shard in shards(num, size, 3):
        found: Tensor = shard.among(everything)
        assert torch.equal(everything[found >= 0], shard.places)
        assert torch.equal(found[found >= 0], torch.arange(len(shard)))


def test_a_set_without_images_has_no_batches() -> None:
    shard = Shard.own(0, 0)
    assert len(shard) == len(shard.places) == shard.num_batches == 0
    assert list(batches(shard, 0)) == []


@pytest.mark.parametrize(("num", "size", "count", "enough"), [(4, 4, 4, True), (4, 4, 5, False), (8, 4, 2, True),
                                                              (8, 4, 3, False)])  # fmt: skip
def test_every_process_must_have_an_image_of_every_batch(
    num: int, size: int, count: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "count", lambda: count)
    shard = Shard.own(num, size)
    if enough:
        shard.require_images()
        return
    with pytest.raises(InputError, match=rf"devices: {count} processes, and batches of {size} images"):
        shard.require_images()
