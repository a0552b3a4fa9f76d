"""Large tensors lie in files: their values are the same, and no memory grows with them."""

import subprocess
import sys

import pytest
import torch

from anasyn import memory

PROGRAM = """
import resource, torch
from anasyn import memory
rows = memory.empty_rows((1_000_000, 100), torch.empty(0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for part in memory.parts(rows):
    part.normal_()
copy = memory.copied(rows)
total = sum(float((part - other).abs().sum()) for part, other in zip(memory.parts(rows), memory.parts(copy)))
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(total, float(rows[:1000].std()), grown)
"""


def test_two_large_tensors_take_a_small_part_of_their_size() -> None:
    """Of 381 MiB each, in a process of their own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    total, std, grown = map(float, done.stdout.split())
    assert total == 0
    assert 0.99 < std < 1.01
    assert grown < 60


@pytest.mark.parametrize("large", [0, 2**40], ids=["in a file", "in memory"])
@pytest.mark.parametrize("shape", [(5, 3), (7,), (3, 2, 4, 4)])
def test_values_survive_a_release(shape: tuple[int, ...], large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGE", large)
    monkeypatch.setattr(memory, "AT_ONCE", 16)
    rows, values = memory.empty_rows(shape, torch.empty(0)), torch.randn(shape)
    rows.copy_(values)
    memory.release()
    assert torch.equal(rows, values)
    copy = memory.copied(rows)
    rows.zero_()
    assert torch.equal(copy, values)
    assert torch.equal(torch.cat(list(memory.parts(copy))), values)


def test_a_full_disk_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGE", 0)
    with pytest.raises(OSError, match=r"space|large"):
        memory.empty_rows((2**50,), torch.empty(0))
