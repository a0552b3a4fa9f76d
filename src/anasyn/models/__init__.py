"""The models, each defined by a log-density, and their networks."""

from . import networks
from .cooperative import Cooperative
from .descriptor import Descriptor
from .fitted import FittedLadder
from .generator import Generator
from .ladder import DescriptorLadder, Ladder
from .observation import (
    BlockAverage,
    Blur,
    Composition,
    DataSet,
    Everything,
    Grey,
    Images,
    Mask,
    Observation,
    Observed,
    Rows,
    Stored,
    data_set,
    floats,
    observe,
    observed,
)
from .prior import LatentPrior
from .reference import ClassGaussians, FittedGaussian
from .spectrum import StationaryGaussian
from .stationary import OnTorus, StationaryConv, TextureLadder

__all__ = [
    "BlockAverage",
    "Blur",
    "ClassGaussians",
    "Composition",
    "Cooperative",
    "DataSet",
    "Descriptor",
    "DescriptorLadder",
    "Everything",
    "FittedGaussian",
    "FittedLadder",
    "Generator",
    "Grey",
    "Images",
    "Ladder",
    "LatentPrior",
    "Mask",
    "Observation",
    "Observed",
    "OnTorus",
    "Rows",
    "StationaryConv",
    "StationaryGaussian",
    "Stored",
    "TextureLadder",
    "data_set",
    "floats",
    "networks",
    "observe",
    "observed",
]
