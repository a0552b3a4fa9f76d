"""The two models, each defined by a log-density, and their networks."""

from . import networks
from .descriptor import Descriptor
from .generator import Generator

__all__ = ["Descriptor", "Generator", "networks"]
