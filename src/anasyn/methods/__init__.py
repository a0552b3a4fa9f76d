"""The methods of learning, one in each file. A new method adds its file and its name to `METHODS`."""

from .cooperative import COOPERATIVE, CooperativeSettings
from .descriptor import DESCRIPTOR, DescriptorSettings
from .generator import GENERATOR, GeneratorSettings
from .latent_prior import LATENT_PRIOR, LatentPriorSettings
from .method import Classes, Latents, Method, Recovery, Restored, Synthesis
from .recovery import RECOVERY, RecoverySettings
from .settings import Scale, Settings
from .texture import TEXTURE, TextureSettings

__all__ = [
    "METHODS",
    "Classes",
    "CooperativeSettings",
    "DescriptorSettings",
    "GeneratorSettings",
    "LatentPriorSettings",
    "Latents",
    "Method",
    "Recovery",
    "RecoverySettings",
    "Restored",
    "Scale",
    "Settings",
    "Synthesis",
    "TextureSettings",
]

METHODS = (GENERATOR, DESCRIPTOR, LATENT_PRIOR, COOPERATIVE, RECOVERY, TEXTURE)
