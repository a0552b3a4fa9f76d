"""The two published algorithms and the one driver that advances either."""

from .descriptor import DescriptorLearner
from .driver import Learner, constant, learn, linear_decay
from .generator import GeneratorLearner
from .guard import Divergence
from .record import Record

__all__ = [
    "DescriptorLearner",
    "Divergence",
    "GeneratorLearner",
    "Learner",
    "Record",
    "constant",
    "learn",
    "linear_decay",
]
