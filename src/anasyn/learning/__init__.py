"""The published algorithms, and the driver that advances any learner."""

from .averaging import averaged, keep_average, use_average
from .cooperative import CooperativeLearner
from .descriptor import DescriptorLearner
from .driver import constant, learn, linear_decay
from .expansion import expand, expandable_layer, shrunk_moments
from .generator import GeneratorLearner
from .guard import Guard
from .latent_prior import LatentPriorLearner, draw_prior
from .learner import Learner
from .metric import ComponentMetric, SharedMetric
from .noise import LearnedNoise
from .principal import principal_components, principal_scores
from .record import Divergence, Record, Watch, require_finite
from .recovery import RecoveryLearner
from .shards import Shard, batches, begin
from .state import non_finite, prime, restore, shared_tensors, tensors_of, tensors_of_images
from .texture import TextureLearner

__all__ = [
    "ComponentMetric",
    "CooperativeLearner",
    "DescriptorLearner",
    "Divergence",
    "GeneratorLearner",
    "Guard",
    "LatentPriorLearner",
    "LearnedNoise",
    "Learner",
    "Record",
    "RecoveryLearner",
    "Shard",
    "SharedMetric",
    "TextureLearner",
    "Watch",
    "averaged",
    "batches",
    "begin",
    "constant",
    "draw_prior",
    "expand",
    "expandable_layer",
    "keep_average",
    "learn",
    "linear_decay",
    "non_finite",
    "prime",
    "principal_components",
    "principal_scores",
    "require_finite",
    "restore",
    "shared_tensors",
    "shrunk_moments",
    "tensors_of",
    "tensors_of_images",
    "use_average",
]
