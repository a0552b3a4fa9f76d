"""What methods with a descriptor share: the settings of its density and chains, and how it is built."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .settings import ChainSettings, Kernel, setting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..models import Descriptor, FittedGaussian

__all__ = ["DensitySettings", "build_descriptor"]


@dataclass(frozen=True)
class DensitySettings(ChainSettings):
    """The settings of methods that sample images by MCMC from a density that they learn."""

    kernel: Kernel = setting("langevin", "MCMC transition; auto: the one that suits the other settings", "chains")
    step_size: float | None = setting(
        0.01, "δ of the Langevin kernels, ε of HMC; the initial value if it is adapted", "chains", least=1e-6, most=1e3
    )
    learning_rate: float | None = setting(0.0003, "learning rate γ at the first iteration", "learning", above=0)
    reference_std: float = setting(0.4, "s of the reference N(0, s²I) on [−1, 1]", "model", least=1e-6, most=1e3)
    scale: float | None = setting(
        None, "f = scale · network; 2/δ² by default, 10 with a fitted reference", "model", above=0
    )
    data_noise: float | None = setting(0.03, "standard deviation of the noise on observed images", "learning", least=0)


def build_descriptor(
    settings: DensitySettings, device: "torch.device", reference: "FittedGaussian | None" = None
) -> "Descriptor":
    """The descriptor of resolved settings."""
    from ..models import Descriptor, networks
    from .build import load_network

    assert settings.width is not None
    assert settings.scale is not None
    channels, height, width = settings.shape
    if settings.network == "built-in":
        widths = [max(settings.width >> halvings, 4) for halvings in (2, 1, 0, 0)]
        network: nn.Module = networks.conv((height, width), widths, channels=channels)
    else:
        network = load_network(settings, takes=settings.shape, gives=())
    return Descriptor(network, settings.reference_std, settings.scale, settings.precision, reference).to(device)
