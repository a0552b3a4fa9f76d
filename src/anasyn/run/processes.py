"""Several processes that learn together: torchrun starts them, and Lightning Fabric makes them know of each other."""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from .. import ranks
from ..errors import InputError

__all__ = ["GRACE", "LOST", "is_told", "joined", "launch", "started"]

LOST = 75  # exit status of a process that has lost another one: EX_TEMPFAIL, since the same command goes on
GRACE = 3.0  # seconds that other processes wait, since torchrun stops all when one has failed, and the first says why
SETUP = timedelta(days=1)  # until every process has read its images
GOES_ON = "the same command goes on from the last checkpoint"
BY_LAUNCH = "ANASYN_LAUNCHED"  # set where `launch` has started this process, and tells the user what has ended it


def started() -> bool:
    """Whether torchrun has started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(command: Sequence[str], num: int) -> tuple[int, str]:
    """Runs an anasyn command in ``num`` processes on this machine, and waits for them.

    Returns:
        the exit status of the command, and a message if none of the processes could say why it failed.

    Raises:
        InputError: Lightning Fabric is missing.
    """
    require_fabric()
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # torchrun's: it reports a failure in thirty lines
    os.environ[BY_LAUNCH] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num,
        run_id=f"anasyn-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "anasyn", *command)
    except SignalException as stopped:
        return 128 + stopped.sigval, ""
    except ChildFailedError as error:
        statuses = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if said := [status for status in statuses.values() if status > 0 and status != LOST]:
            return said[0], ""
        # torchrun itself ends the others by SIGTERM
        ended = {rank: -status for rank, status in statuses.items() if status < 0}
        for rank, number in sorted(ended.items(), key=lambda item: item[1] == signal.SIGTERM):
            return 1, f"process {rank} of {num} was ended by {signal.Signals(number).name}; {GOES_ON}"
        return 1, f"a process of {num} does not answer; {GOES_ON}"
    return 0, ""


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the processes that torchrun has started; alone, does nothing.

    Args:
        device: the setting ``device``.

    Raises:
        InputError: Lightning Fabric is missing.
    """
    if not started():
        yield
        return
    require_fabric()
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    for name in ("lightning.fabric", "lightning_fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    # Gloo as well on GPUs: the optimiser counts its steps on the CPU
    strategy = DDPStrategy(process_group_backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=SETUP)
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // processes
    fabric = Fabric(accelerator="cuda" if on_gpu else "cpu", devices=processes, num_nodes=nodes, strategy=strategy)
    fabric.launch()
    if on_gpu:
        torch.cuda.set_device(fabric.device)
    try:
        yield
    finally:
        ranks.leave()


def require_fabric() -> None:
    """Raises `InputError`, saying what to install, if Lightning Fabric is missing."""
    from importlib.util import find_spec

    if find_spec("lightning_fabric") is None:
        raise InputError(
            "devices: several processes need Lightning Fabric; install it by pip install 'anasyn[distributed]'"
        )


def is_told() -> bool:
    """Whether `launch` tells the user why this process has ended."""
    return BY_LAUNCH in os.environ
