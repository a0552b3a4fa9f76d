"""What a checkpoint of a run holds: all that its learner and its guard are, and the images whose chains they keep."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..learning import DescriptorLearner, GeneratorLearner, Guard, prime, restore, tensors_of
from ..rng import derive
from . import checkpoint

__all__ = ["Learner", "load", "save"]

Learner = GeneratorLearner | DescriptorLearner

log = logging.getLogger(__name__)


def save(folder: Path, learner: Learner, guard: Guard, about: dict[str, Any]) -> None:
    """Writes a checkpoint of the learner as it stands.

    Args:
        folder: the run's ``checkpoints``.
        learner: at the end of an iteration.
        guard: what watches it.
        about: what the run is: its settings, its images' names and digests in order, versions; JSON-able.

    Raises:
        Divergence: a tensor is not finite; nothing is written.
    """
    state = {"iteration": learner.iteration, "guard": guard.state_dict(), **about}
    good = {f"good.{name}": tensor for name, tensor in guard.good.items()}
    checkpoint.write(folder, learner.iteration, tensors_of(learner) | good, state)


def load(
    folder: Path, learner: Learner, guard: Guard, digests: Sequence[str], like: Tensor, seed: int
) -> dict[str, Any] | None:
    """Takes a new learner to the newest whole checkpoint; one that is not whole is named in a warning.

    Args:
        folder: the run's ``checkpoints``.
        learner: new; it and the guard are changed in place.
        guard: what watches it.
        digests: of the images that the run has now. Chains of images that are still there go on, by content;
            others begin.
        like: one image, (1, 3, H, W), of the dtype and device of all.
        seed: of the chains that begin.

    Returns:
        the checkpoint's state; None where there is no checkpoint.

    Raises:
        InputError: there are checkpoints and none is whole.
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
        if state["data"]["digests"] != list(digests):
            _move(learner, state["data"]["digests"], digests, like, seed)
            guard.good = {}  # its chains are those of other images
        return state
    if faults:
        raise InputError(
            f"{faults[0]}; no checkpoint here is whole: copy one back, or begin again with --overwrite"
        ) from faults[0]
    return None


def _expected(
    learner: Learner, guard: Guard, state: dict[str, Any], path: Path, like: Tensor, seed: int
) -> dict[str, Tensor]:
    """What tensors a checkpoint of this state must hold, by name; the learner is given room for them."""
    try:
        digests, fresh = state["data"]["digests"], guard.state_dict()
        if not digests or not isinstance(digests, list) or {type(digest) for digest in digests} != {str}:
            raise TypeError("digests: expected a text for each image")
        if not isinstance(state["versions"], dict):
            raise TypeError(f"versions: expected an object, got {state['versions']}")
        if {name: type(value) for name, value in state["guard"].items()} != {n: type(v) for n, v in fresh.items()}:
            raise TypeError(f"guard: expected {fresh}, got {state['guard']}")
    except (KeyError, TypeError, AttributeError) as cause:
        raise InputError(f"{path / checkpoint.STATE}: not the state of a run of this version ({cause})") from cause
    learner.begin(like, len(digests), rng=derive(seed, "chains", device=like.device))
    prime(learner.optimizer)
    tensors = tensors_of(learner)
    return tensors | ({f"good.{name}": tensor for name, tensor in tensors.items()} if guard.active else {})


def _move(learner: Learner, before: Sequence[str], now: Sequence[str], like: Tensor, seed: int) -> None:
    """Gives each image that is still there, by content, the chains that it had; the others' chains begin."""
    places = defaultdict(list)
    for place, digest in enumerate(before):
        places[digest].append(place)
    moves = [(place, places[digest].pop(0)) for place, digest in enumerate(now) if places[digest]]
    kept = {name: tensor.clone() for name, tensor in learner.chains.state_dict().items()}
    learner.begin(like, len(now), rng=derive(seed, "chains", learner.iteration, device=like.device))
    to, source = torch.tensor(moves, dtype=torch.long, device=like.device).view(-1, 2).T
    for name, tensor in learner.chains.state_dict().items():
        each = (len(now), -1, *tensor.shape[1:])  # an image's chains lie together
        tensor.view(each)[to] = kept[name].view(len(before), *each[1:])[source]
