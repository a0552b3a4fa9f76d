"""Several processes learn what one learns: weights, losses, and each image's chains, wherever the image is."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .cases import CASES, Learned, difference, learned

ROOT = Path(__file__).parents[2]
EXACT = 1e-9  # in float64, where the order of sums is all that differs
SMALL = ("generator in batches", "descriptor, three chains an image")
FAULTS = {
    "gradients summed for averaged": ("anasyn.learning.combining:combined", "each / batch", "each"),
    "unequal shards weighted equally": ("anasyn.learning.combining:combined", "num_images * gradient", "4 * gradient"),
    "a chain of another image": ("anasyn.mcmc.chains:WarmChains.store", "positions[index]", "positions[index - 1]"),
    "the seed from the rank": (
        "anasyn.learning.driver:Loop._iterate",
        "streams(seed, ",
        "streams(seed + ranks.rank(), ",
    ),
    "the moments of this process's z": (
        "anasyn.learning.expansion:shrunk_moments",
        "ranks.total(products)[0]",
        "products",
    ),
    "σ from this process's images": (
        "anasyn.learning.noise:LearnedNoise.update",
        "ranks.total(",
        "(lambda *each: each)(",
    ),
}


def processes(
    num: int, names: tuple[str, ...], out: Path, dtype: str = "float64", fault: tuple[str, ...] = ()
) -> dict[str, list[Learned]]:
    """What each of ``num`` processes that torchrun starts learns in these cases."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num)]
    worker = ["--module", "tests.distributed.cases", str(out), dtype, ";".join(names), *fault]
    done = subprocess.run([*run, *worker], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    parts = [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(num)]
    return {name: [Learned(*part[name]) for part in parts] for name in names}


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    for name, parts in processes(2, SMALL, tmp_path).items():
        assert difference(learned(name), parts) < EXACT, name


@pytest.mark.distributed
@pytest.mark.parametrize("num", [2, 3, 4])
def test_all_methods_learn_in_several_processes_what_they_learn_in_one(num: int, tmp_path: Path) -> None:
    for name, parts in processes(num, tuple(CASES), tmp_path).items():
        assert difference(learned(name), parts) < EXACT, name


@pytest.mark.distributed
@pytest.mark.parametrize("num", [2, 4])
def test_they_do_so_in_single_precision(num: int, tmp_path: Path) -> None:
    names = ("generator, fixed steps", "descriptor, fixed steps")
    for name, parts in processes(num, names, tmp_path, "float32").items():
        assert difference(learned(name, torch.float32), parts) < 1e-5, name


@pytest.mark.distributed
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, tmp_path: Path) -> None:
    name = "generator in batches"
    (parts,) = processes(2, (name,), tmp_path, fault=FAULTS[fault]).values()
    assert difference(learned(name), parts) > 1e-6
