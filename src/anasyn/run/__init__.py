"""Learning runs: directories in which learning is recorded, and from which it is resumed."""

from .device import choose_device, has_bfloat16
from .directory import Run
from .lock import locked
from .processes import joined, launch, started
from .session import advance

__all__ = ["Run", "advance", "choose_device", "has_bfloat16", "joined", "launch", "locked", "started"]
