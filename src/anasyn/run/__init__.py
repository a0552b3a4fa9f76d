"""Learning runs: from a recipe's settings to a directory that can be resumed, and back."""

from .build import build_kernel, build_learner, choose_device, has_bfloat16
from .directory import Run
from .lock import locked
from .sampling import latent_plane, panel, sample, synthesize, trajectory
from .session import advance

__all__ = [
    "Run",
    "advance",
    "build_kernel",
    "build_learner",
    "choose_device",
    "has_bfloat16",
    "latent_plane",
    "locked",
    "panel",
    "sample",
    "synthesize",
    "trajectory",
]
