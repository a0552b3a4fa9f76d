"""anasyn, analysis by synthesis: deep generative models learned by maximum likelihood, MCMC in the learning loop."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.20.0"

if TYPE_CHECKING:
    from . import data as data
    from . import diagnostics as diagnostics
    from . import evaluation as evaluation
    from . import mcmc as mcmc
    from .learning import CooperativeLearner as CooperativeLearner
    from .learning import DescriptorLearner as DescriptorLearner
    from .learning import Divergence as Divergence
    from .learning import GeneratorLearner as GeneratorLearner
    from .learning import LatentPriorLearner as LatentPriorLearner
    from .learning import Record as Record
    from .learning import RecoveryLearner as RecoveryLearner
    from .learning import learn as learn
    from .mcmc import HMC as HMC
    from .mcmc import MALA as MALA
    from .mcmc import Langevin as Langevin
    from .models import Cooperative as Cooperative
    from .models import Descriptor as Descriptor
    from .models import DescriptorLadder as DescriptorLadder
    from .models import Generator as Generator
    from .models import Ladder as Ladder
    from .models import LatentPrior as LatentPrior
    from .models import networks as networks
    from .run import Run as Run

_MODULES = {
    "": ("data", "diagnostics", "evaluation", "mcmc", "report"),
    "learning": (
        "CooperativeLearner",
        "DescriptorLearner",
        "Divergence",
        "GeneratorLearner",
        "LatentPriorLearner",
        "Record",
        "RecoveryLearner",
        "learn",
    ),
    "mcmc": ("HMC", "MALA", "Langevin"),
    "models": (
        "Cooperative",
        "Descriptor",
        "DescriptorLadder",
        "Generator",
        "Ladder",
        "LatentPrior",
        "networks",
    ),
    "run": ("Run",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: ``import anasyn`` and ``anasyn --help`` do not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'anasyn' has no attribute {name!r}")
    home = _HOME[name]
    value = getattr(import_module(f".{home}", __name__), name) if home else import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
