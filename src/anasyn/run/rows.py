"""What a checkpoint keeps of each image, such as its chain: rows of tensors, in parts that each process writes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.strings import raw
from ..errors import InputError
from ..learning import Learner, Shard, tensors_of_images
from ..memory import release
from . import checkpoint
from .listing import Listing

__all__ = ["Group", "groups_of", "read", "written"]

PART_BYTES = 2**24  # about as much is in memory at once, and in a file


@dataclass(frozen=True)
class Group:
    """What is kept of this process's training images, or of its held-out ones.

    Args:
        kind: the beginning of the tensors' names in a checkpoint.
        shard: which of the images the process has.
        digests: of all images, not only of this process's.
        tensors: by name. The rows of an image are adjacent, equally many for each. A tensor with fewer rows than images
            has one for each of the first ones; all images use them in turn.
    """

    kind: str
    shard: Shard
    digests: Sequence[str]
    tensors: dict[str, Tensor]

    def rows_each(self, tensor: Tensor) -> int:
        """The number of rows of an image."""
        return max(len(tensor) // max(len(self.shard), 1), 1)

    @property
    def labelled(self) -> dict[str, Tensor]:
        """The tensors under their names in a checkpoint, with those that say which images they belong to."""
        place, digest = torch.empty(0, dtype=torch.int64), torch.empty(0, 32, dtype=torch.uint8)
        own = {f"{self.kind}.{name}": tensor for name, tensor in self.tensors.items()}
        return {f"{self.kind}.place": place, f"{self.kind}.digest": digest, **own}


def groups_of(
    learner: Learner, good: dict[str, Tensor], images: Listing, shards: tuple[Shard, Shard]
) -> tuple[Group, Group]:
    """The two groups of a learner and of its last good state, which has the tensors of `tensors_of` or none."""

    def group(kind: str, shard: Shard, digests: Sequence[str], tensors: dict[str, Tensor]) -> Group:
        kept = {f"good.{name}": good[name] for name in tensors if good}
        return Group(kind, shard, digests, tensors | kept)

    of_images, of_held_out = tensors_of_images(learner)
    return group("images", shards[0], images.digests, of_images), group(
        "held_out", shards[1], images.held_out, of_held_out
    )


def written(groups: Sequence[Group]) -> Iterator[dict[str, Tensor]]:
    """This process's rows, part by part, with the places and the digests of the images that they belong to."""
    most = max(len(group.shard) for group in groups)
    size = sum(tensor.nbytes for group in groups for tensor in group.tensors.values())
    step = max(1, most * PART_BYTES // max(size, 1))
    for start in range(0, most, step):
        part = {}
        for group in groups:
            places = group.shard.places[start : start + step]
            part[f"{group.kind}.place"] = places
            part[f"{group.kind}.digest"] = torch.from_numpy(raw([group.digests[place] for place in places.tolist()]))
            for name, tensor in group.tensors.items():
                each = group.rows_each(tensor)
                part[f"{group.kind}.{name}"] = tensor[start * each : (start + step) * each]
        yield part
        release()


def read(path: Path, groups: Sequence[Group], *, same: bool) -> None:
    """Copies a checkpoint's rows into the groups' tensors, whichever processes wrote them.

    Args:
        path: of a checkpoint that `checkpoint.read_state` has verified.
        same: whether the images are those of the checkpoint. If not, rows go to images of the same content, and images
            without an earlier one keep the rows that they have.

    Raises:
        InputError: rows are damaged, or, with the same images, missing.
    """
    expected = {name: tensor for group in groups for name, tensor in group.labelled.items()}
    filled = dict.fromkeys(expected, 0)
    times = [torch.zeros(len(group.shard), dtype=torch.int64) for group in groups]
    waiting: list[dict[bytes, list[int]]] = [{} if same else _places_by_content(group) for group in groups]
    for part in checkpoint.read_shards(path, expected, 2 * PART_BYTES):
        for group, places, found in zip(groups, waiting, times, strict=True):
            in_turn = group.shard.among(part[f"{group.kind}.place"])
            own = in_turn if same else _taken(places, part[f"{group.kind}.digest"])
            found += own[own >= 0].bincount(minlength=len(found))
            for name, tensor in group.tensors.items():
                rows = part[f"{group.kind}.{name}"]
                each, to = group.rows_each(tensor), own
                if len(tensor) < len(group.shard) or len(rows) < len(own):  # images use the rows in turn
                    each, to = 1, in_turn[: len(rows)]
                if len(rows) != each * len(to):
                    raise InputError(f"{path}: {group.kind}.{name}: {len(rows)} rows of {len(to)} images")
                kept = (to >= 0) & (to < len(tensor) // each)
                tensor.unflatten(0, (-1, each))[to[kept]] = rows.unflatten(0, (-1, each))[kept].to(tensor.device)
                filled[f"{group.kind}.{name}"] += each * int(kept.sum())
        release()
    for group, found in zip(groups, times, strict=True) if same else ():
        if (found != 1).any():
            raise InputError(f"{path}: {group.kind}.place: expected every image of this process once")
        for name, tensor in group.tensors.items():
            if (got := filled[f"{group.kind}.{name}"]) != len(tensor):
                raise InputError(f"{path}: {group.kind}.{name}: {got} rows for this process, expected {len(tensor)}")


def _places_by_content(group: Group) -> dict[bytes, list[int]]:
    """Of each digest, which of this process's images have it."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for own, place in enumerate(group.shard.places.tolist()):
        places[bytes.fromhex(group.digests[place])].append(own)
    return places


def _taken(places: dict[bytes, list[int]], digests: Tensor) -> Tensor:
    """For each digest, the next image that has it, or −1; an image is taken once."""
    found = [places.get(bytes(digest)) for digest in digests.numpy()]
    return torch.tensor([each.pop(0) if each else -1 for each in found], dtype=torch.int64)
