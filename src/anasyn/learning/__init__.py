"""The two published algorithms, and the driver that advances any learner."""

from .descriptor import DescriptorLearner
from .driver import constant, learn, linear_decay
from .generator import GeneratorLearner
from .guard import Guard
from .learner import Learner
from .record import Divergence, Record, Watch, require_finite
from .state import non_finite, prime, restore, tensors_of

__all__ = [
    "DescriptorLearner",
    "Divergence",
    "GeneratorLearner",
    "Guard",
    "Learner",
    "Record",
    "Watch",
    "constant",
    "learn",
    "linear_decay",
    "non_finite",
    "prime",
    "require_finite",
    "restore",
    "tensors_of",
]
