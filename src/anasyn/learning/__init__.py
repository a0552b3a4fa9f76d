"""The two published algorithms and the one driver that advances either."""

from .descriptor import DescriptorLearner
from .driver import Learner, constant, learn, linear_decay
from .generator import GeneratorLearner
from .guard import Divergence, Guard
from .record import Record
from .state import non_finite, prime, restore, tensors_of

__all__ = [
    "DescriptorLearner",
    "Divergence",
    "GeneratorLearner",
    "Guard",
    "Learner",
    "Record",
    "constant",
    "learn",
    "linear_decay",
    "non_finite",
    "prime",
    "restore",
    "tensors_of",
]
