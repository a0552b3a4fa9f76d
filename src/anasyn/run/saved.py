"""The checkpoint of a run: the state of its learner and its guard, and the images to which its chains belong."""

import hashlib
import logging
import platform
import re
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from ..learning import Guard, Learner, Shard, begin, prime, shared_tensors, tensors_of
from ..memory import copied
from . import checkpoint, rows
from .listing import Listing

__all__ = ["another_version", "load", "save", "versions"]

log = logging.getLogger(__name__)


def save(
    folder: Path, learner: Learner, guard: Guard, images: Listing, shards: tuple[Shard, Shard], about: dict[str, Any]
) -> None:
    """Writes a checkpoint of a learner and its guard at the end of an iteration; all processes call this together.

    Args:
        folder: the run's ``checkpoints``.
        images: the images of the run.
        shards: this process's part of the training images, and of the held-out ones.
        about: the run's settings and versions, as for JSON.

    Raises:
        Divergence, OSError: as `checkpoint.write` does.
    """
    state = {"iteration": learner.iteration, "guard": guard.state_dict(), "data": _identity(images), **about}
    shared = shared_tensors(learner)
    good = {f"good.{name}": guard.good[name] for name in shared if guard.good}
    parts = rows.written(rows.groups_of(learner, guard.good, images, shards))
    checkpoint.write(folder, learner.iteration, shared | good, state, parts)


def load(
    folder: Path,
    learner: Learner,
    guard: Guard,
    images: Listing,
    shards: tuple[Shard, Shard],
    like: Tensor,
    seed: int,
) -> dict[str, Any] | None:
    """Restores a new learner and guard, in place, from the newest intact checkpoint, and returns its state.

    Returns None if there is no checkpoint. Warnings are logged about damaged ones. How many processes wrote it does
    not matter.

    Args:
        folder: the run's ``checkpoints``.
        images: the run's present images. An image whose content is that of an earlier one keeps its chains; the
            chains of the others are started anew.
        shards: this process's part of the training images, and of the held-out ones.
        like: a batch of this process, (b, c, H, W), for its shape, dtype and device.
        seed: of the chains that are started anew.

    Raises:
        InputError: there are checkpoints and none is intact.
    """
    faults: list[InputError] = []
    identity = _identity(images)
    for path in checkpoint.newest_first(folder):
        try:
            state = checkpoint.read_state(path)
            _require_kinds(state, guard, path)
            same = state["data"] == identity
            begin(learner, like, *shards, seed, 0 if same else state["iteration"])
            if learner.optimizer:
                prime(learner.optimizer)
            good = _read(path, learner, state["versions"].get("anasyn"), guard.active, images, shards, same=same)
        except InputError as fault:
            faults.append(fault)
            continue
        for damage in faults:
            log.warning("%s; going on from iteration %d", damage, state["iteration"])
        learner.iteration = state["iteration"]
        guard.load_state_dict(state["guard"])
        guard.good = good if same else {}  # its chains belong to the images of the checkpoint
        return state
    if faults:
        advice = "no checkpoint here is intact: copy one back, or begin again with --overwrite"
        raise InputError(f"{faults[0]}; {advice}") from faults[0]
    return None


def _require_kinds(state: dict[str, Any], guard: Guard, path: Path) -> None:
    """Raises `InputError` unless the state has what `save` writes."""
    try:
        if not (isinstance(state["data"], str) and re.fullmatch("[0-9a-f]{64}", state["data"])):
            raise TypeError(f"data: expected the identity of the images, got {state['data']}")
        if not isinstance(state["versions"], dict):
            raise TypeError(f"versions: expected an object, got {state['versions']}")
        fresh = guard.state_dict()
        if {name: type(value) for name, value in state["guard"].items()} != {n: type(v) for n, v in fresh.items()}:
            raise TypeError(f"guard: expected {fresh}, got {state['guard']}")
    except (KeyError, TypeError, AttributeError) as cause:
        raise InputError(f"{path / checkpoint.STATE}: not the state of a run of this version ({cause})") from cause


def _read(
    path: Path,
    learner: Learner,
    written_by: str | None,
    guarded: bool,
    images: Listing,
    shards: tuple[Shard, Shard],
    *,
    same: bool,
) -> dict[str, Tensor]:
    """Copies a checkpoint into a learner that has begun; returns the last good state, if there is a guard."""
    good = {name: copied(tensor) for name, tensor in tensors_of(learner).items()} if guarded else {}
    shared = shared_tensors(learner)
    shared |= {f"good.{name}": good[name] for name in shared if good}
    try:
        found = checkpoint.read_tensors(path, shared)
    except InputError as fault:
        raise InputError(f"{fault}{another_version(written_by)}") from fault
    with torch.no_grad():
        for name, tensor in shared.items():
            tensor.copy_(found[name])
    rows.read(path, rows.groups_of(learner, good, images, shards), same=same)
    return good


def _identity(images: Listing) -> str:
    """The SHA-256 of the digests of the training images and of the held-out ones, in order."""
    content = hashlib.sha256()
    for digest in chain(images.digests, ["and held out"], images.held_out):
        content.update(digest.encode())
    return content.hexdigest()


def another_version(written_by: str | None) -> str:
    """What a message about a file adds if another version of anasyn wrote it."""
    return "" if written_by == __version__ else f"; anasyn {written_by} wrote it, and this is {__version__}"


def versions() -> dict[str, str]:
    """The versions on which a run's numbers depend."""
    packages = {"torch": torch.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
    return {"anasyn": __version__, "python": platform.python_version(), **packages}
