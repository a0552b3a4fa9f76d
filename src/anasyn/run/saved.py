"""The checkpoint of a run: the state of its learner and its guard, and the images to which its chains belong."""

import logging
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from ..learning import Guard, Learner, prime, restore, tensors_of
from ..rng import derive
from . import checkpoint
from .listing import Listing

__all__ = ["load", "save", "versions"]

log = logging.getLogger(__name__)


def save(folder: Path, learner: Learner, guard: Guard, about: dict[str, Any]) -> None:
    """Writes a checkpoint of a learner and its guard at the end of an iteration.

    Args:
        folder: the run's ``checkpoints``.
        about: the run's settings, the names and digests of its images in order, and versions, as for JSON.

    Raises:
        Divergence: a tensor is not finite; nothing is written.
    """
    state = {"iteration": learner.iteration, "guard": guard.state_dict(), **about}
    good = {f"good.{name}": tensor for name, tensor in guard.good.items()}
    checkpoint.write(folder, learner.iteration, tensors_of(learner) | good, state)


def load(
    folder: Path, learner: Learner, guard: Guard, images: Listing, like: Tensor, seed: int
) -> dict[str, Any] | None:
    """Restores a new learner and guard, in place, from the newest intact checkpoint, and returns its state.

    Returns None if there is no checkpoint. Warnings are logged about damaged ones.

    Args:
        folder: the run's ``checkpoints``.
        images: the run's present images. An image whose content is that of an earlier one keeps its chains; the
            chains of the others are started anew, and those of held-out images if these have changed.
        like: one image, (1, c, H, W), with the dtype and device of all.
        seed: of the chains that are started anew.

    Raises:
        InputError: there are checkpoints and none is intact.
    """
    faults: list[InputError] = []
    for path in checkpoint.newest_first(folder):
        try:
            state = checkpoint.read_state(path)
            tensors = checkpoint.read_tensors(path, _expected(learner, guard, state, path, like, seed))
        except InputError as fault:
            faults.append(fault)
            continue
        for damage in faults:
            log.warning("%s; going on from iteration %d", damage, state["iteration"])
        restore(learner, tensors)
        learner.iteration = state["iteration"]
        guard.load_state_dict(state["guard"])
        good = {name: tensor.to(like.device) for name, tensor in tensors.items() if name.startswith("good.")}
        guard.good = {name.removeprefix("good."): tensor for name, tensor in good.items()}
        if (state["data"]["digests"], state["data"]["held_out"]) != (images.digests, images.held_out):
            _move(learner, state["data"]["digests"], images, like, seed)
            guard.good = {}  # the chains in it belong to other images
        return state
    if faults:
        advice = "no checkpoint here is intact: copy one back, or begin again with --overwrite"
        raise InputError(f"{faults[0]}; {advice}") from faults[0]
    return None


def _expected(
    learner: Learner, guard: Guard, state: dict[str, Any], path: Path, like: Tensor, seed: int
) -> dict[str, Tensor]:
    """The tensors that a checkpoint with this state must contain, by name; the learner allocates them."""
    try:
        digests, held_out, fresh = state["data"]["digests"], state["data"]["held_out"], guard.state_dict()
        lists = isinstance(digests, list) and isinstance(held_out, list)
        if not lists or not digests or {type(digest) for digest in (*digests, *held_out)} != {str}:
            raise TypeError("digests: expected a string for each image")
        if not isinstance(state["versions"], dict):
            raise TypeError(f"versions: expected an object, got {state['versions']}")
        if {name: type(value) for name, value in state["guard"].items()} != {n: type(v) for n, v in fresh.items()}:
            raise TypeError(f"guard: expected {fresh}, got {state['guard']}")
    except (KeyError, TypeError, AttributeError) as cause:
        raise InputError(f"{path / checkpoint.STATE}: not the state of a run of this version ({cause})") from cause
    learner.begin(like, len(digests), len(held_out), rng=derive(seed, "chains", device=like.device))
    if learner.optimizer:
        prime(learner.optimizer)
    tensors = tensors_of(learner)
    return tensors | ({f"good.{name}": tensor for name, tensor in tensors.items()} if guard.active else {})


def _move(learner: Learner, before: Sequence[str], images: Listing, like: Tensor, seed: int) -> None:
    """Assigns the chains to the present images by content, and starts those of the new images."""
    now = images.digests
    places = defaultdict(list)
    for place, digest in enumerate(before):
        places[digest].append(place)
    moves = [(place, places[digest].pop(0)) for place, digest in enumerate(now) if places[digest]]
    kept = {name: tensor.clone() for name, tensor in learner.chains.state_dict().items()}
    rng = derive(seed, "chains", learner.iteration, device=like.device)
    learner.begin(like, len(now), len(images.held_out), rng=rng)
    to, source = torch.tensor(moves, dtype=torch.long, device=like.device).view(-1, 2).T
    for name, tensor in learner.chains.state_dict().items():
        if len(tensor) % len(now) or len(kept[name]) % len(before):  # chains that images use in turn belong to none
            num = min(len(tensor), len(kept[name]))
            tensor[:num] = kept[name][:num]
            continue
        each = (len(now), -1, *tensor.shape[1:])  # the chains of an image are adjacent
        tensor.view(each)[to] = kept[name].view(len(before), *each[1:])[source]


def versions() -> dict[str, str]:
    """The versions on which a run's numbers depend."""
    packages = {"torch": torch.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
    return {"anasyn": __version__, "python": platform.python_version(), **packages}
