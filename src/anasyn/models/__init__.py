"""The models, each defined by a log-density, and their networks."""

from . import networks
from .cooperative import Cooperative
from .descriptor import Descriptor
from .generator import Generator
from .ladder import DescriptorLadder, Ladder
from .prior import LatentPrior
from .reference import FittedGaussian

__all__ = [
    "Cooperative",
    "Descriptor",
    "DescriptorLadder",
    "FittedGaussian",
    "Generator",
    "Ladder",
    "LatentPrior",
    "networks",
]
