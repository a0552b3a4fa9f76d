"""Textures, learned from one photograph and sampled at any size: the settings, the learner and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from ..errors import InputError
from .method import Method
from .recovery import recover, restore, tempered
from .settings import ChainSettings, Scale, height_and_width, parse_size, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import TextureLearner

__all__ = ["TEXTURE", "TextureSettings"]

MOST_SCALES = 6
SCALES = 4  # by default, if the patches are large enough


@dataclass(frozen=True)
class TextureSettings(ChainSettings):
    """The settings of `anasyn learn texture`: a ladder of descriptors, learned from patches of one photograph."""

    data: str | None = setting(None, "the photograph, an image file of any size", "data")
    longest: int = setting(
        512, "pixels of the photograph's longer side, to which a larger one is reduced", "data", least=16, most=4096
    )
    size: int | str | None = setting(
        112, "pixels of a patch: side, or height x width as in 96x64", "data", parse=parse_size
    )
    scales: int | None = setting(
        None,
        "scales of the network; S of them see grain of up to 7 · 2^S − 10 pixels",
        "model",
        least=1,
        most=MOST_SCALES,
    )
    levels: int = setting(9, "T, levels of noise, each with its own descriptor", "model", least=1, most=100)
    contrast: float | None = setting(
        None, "standard deviation of the photograph's pixels, the unit of the noise", "model", least=1e-3, most=2
    )
    smallest_noise: float = setting(
        0.07, "c_0, standard deviation of the noise that images keep at level 0", "model", least=1e-3, most=1
    )
    largest_noise: float = setting(
        15.0,
        "c_T, beside which only the mean and correlations of images count; levels have equal ratios",
        "model",
        least=2,
        most=1e4,
    )
    network: Literal["built-in"] = setting("built-in", "a sum over positions, which no other is", "model")
    kernel: Literal["langevin"] = setting("langevin", "MCMC transition, whose step size suits any area", "chains")
    step_size: float | None = setting(
        0.6,
        "step size b, in units of the standard deviation of pixels given the noisier ones, in each direction",
        "chains",
        least=1e-6,
        most=1.9,
    )
    learning_rate: float | None = setting(0.001, "learning rate γ at the first iteration", "learning", above=0)
    beta1: float = setting(0.9, "Adam's β₁, or SGD's momentum", "learning", least=0, most=0.9999)
    average: float = setting(
        0.99,
        "decay of the exponential moving average of the weights, with which samples, evaluation and report are made; "
        "0: none",
        "learning",
        least=0,
        most=0.9999,
    )

    def resolve(self, scale: Scale) -> Self:
        assert self.size is not None
        size = height_and_width(self.size)
        most = max((k for k in range(1, MOST_SCALES + 1) if allows(size, k)), default=1)
        scales = self.scales or min(most, SCALES)
        if not allows(size, scales):
            expected = f"{scales} scales of the network see {view(scales)} pixels and need multiples of {1 << scales}"
            raise InputError(f"size: {expected}, got {self.size}; choose another size, or fewer scales")
        return self.filled(
            scale,
            batch_size=min(self.batch_size or 3, scale.num_images),
            scales=scales,
            contrast=min(max(scale.spread, 1e-3), 2.0),
            num_steps=5,
            width=64,
            iterations=2500,
        )

    def read(self, size: tuple[int, int] | None, channels: int | None, *, strict: bool = False) -> "ImageSet":
        """Patches of the photograph that ``data`` names, (height, width) in size; a file is never skipped."""
        from ..data.patches import read_patches

        assert self.data is not None
        assert size is not None
        return read_patches(self.data, size, longest=self.longest, channels=channels)

    def read_damaged(self, data: str, masks: str | None) -> "ImageSet":
        """One photograph of the texture, at its own scale."""
        from ..data.patches import read_damaged

        if masks is not None:
            raise InputError("masks: a texture is restored in one photograph, where what is missing is transparent")
        assert self.scales is not None
        return read_damaged(data, longest=self.longest, grid=1 << self.scales, channels=int(self.channels))


def view(scales: int) -> int:
    """The side in pixels of what the network sees (`models.stationary.field_of_view`, which imports torch)."""
    return (7 << scales) - 10


def allows(size: tuple[int, int], scales: int) -> bool:
    """Whether patches of this height and width are as large as a network of so many scales sees, and fit its grid."""
    return all(side >= view(scales) and side % (1 << scales) == 0 for side in size)


def build(settings: TextureSettings, device: "torch.device") -> "TextureLearner":
    """The learner that these settings describe."""
    from ..learning import TextureLearner
    from ..mcmc import Langevin
    from ..models import Ladder, StationaryConv, TextureLadder
    from .build import optimizer

    assert settings.num_steps is not None
    assert settings.width is not None
    assert settings.scales is not None
    assert settings.contrast is not None
    assert settings.step_size is not None
    noise = settings.contrast * settings.smallest_noise, settings.contrast * settings.largest_noise
    ladder = Ladder.geometric(settings.levels, *noise)
    widths = [max(settings.width // 2, 4), *[settings.width] * (settings.scales - 1)]
    network = StationaryConv(ladder, widths, settings.shape[0], settings.contrast)
    model = TextureLadder(network, ladder, settings.precision).to(device)
    kernel = tempered(Langevin(settings.step_size, settings.temperature))
    return TextureLearner(model, kernel=kernel, num_steps=settings.num_steps, optimizer=optimizer(settings, model))


def sample(learner: "TextureLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator") -> "Tensor":
    """Textures of the patches' size."""
    _, height, width = learner.shape
    return learner.weave(num, (height, width), periodic=False, rng=rng)


def weave(
    learner: "TextureLearner", num: int, size: tuple[int, int], periodic: bool, rng: "torch.Generator"
) -> "Tensor":
    """Textures of any size; raises `InputError` if a periodic one cannot have it."""
    grid = learner.network.grid
    if periodic and any(side % grid for side in size):
        raise InputError(f"size: a periodic image has sides in multiples of {grid}, got {size[0]}x{size[1]}")
    return learner.weave(num, size, periodic=periodic, rng=rng)


TEXTURE = Method(
    name="texture",
    about="one photograph: a ladder of energy-based models of its texture, sampled at any size, tileable on request",
    settings=TextureSettings,
    build=build,
    sample=sample,
    sampled="ancestral samples down the ladder of noise",
    recover=recover,
    restore=restore,
    weave=weave,
)
