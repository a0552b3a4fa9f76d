"""One thread a process, because the tests' tensors are small and each core has a process; and commands in this one."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

from .commands import Command, Outcome, without_figures

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the programs that tests start
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported: its kernels then run in Python
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore it


def pytest_configure(config: pytest.Config) -> None:
    """arviz writes a file at its first import of a day: the processes of the tests must not do so at the same time."""
    if not hasattr(config, "workerinput") and find_spec("arviz"):
        with warnings.catch_warnings(action="ignore"):
            import_module("arviz")


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process; an exception that it lets through fails the test."""
    from anasyn.cli import main

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            # As in the program, where nobody handles the log: what a library logs then goes to standard error.
            patch.setattr(logging.getLogger(), "handlers", [])
            try:
                status = main([str(each) for each in arguments])
            except SystemExit as left:
                status = int(left.code or 0)
        return Outcome(status, *capfd.readouterr())

    return run


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands draw no figures and write no report."""
    without_figures(monkeypatch)


@pytest.fixture(scope="module")
def coarse_distances() -> Iterator[None]:
    """Sliced Wasserstein distances of a quarter of the patches along a quarter of the directions, and likelihoods by
    few temperatures, and so faster."""
    from anasyn.evaluation import bounding, descriptor_likelihood, sliced_wasserstein

    defaults = sliced_wasserstein.__kwdefaults__
    with pytest.MonkeyPatch.context() as patch:
        for name in ("num_patches", "num_directions"):
            patch.setitem(defaults, name, defaults[name] // 4)
        patch.setattr(bounding, "MAX_TEMPERATURES", 16)
        patch.setattr(bounding, "MAX_IMAGES", 8)
        for name in ("MIN_TEMPERATURES", "MAX_TEMPERATURES"):
            patch.setattr(descriptor_likelihood, name, 16)
        yield
