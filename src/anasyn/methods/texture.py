"""Textures, learned from one photograph and sampled at any size: the settings, the learner and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

from ..errors import InputError
from .method import Method
from .settings import ChainSettings, Kernel, Scale, height_and_width, parse_size, setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import DescriptorLearner
    from ..models import Descriptor

__all__ = ["TEXTURE", "TextureSettings"]

AT_ONCE = 256 * 256  # pixels of images whose chains run together
FOLLOWED = 100.0  # nats by which f may tell a patch from chains before learning slows down
MOST_LEVELS = 6
LEVELS = 4  # by default, if the patches are large enough


@dataclass(frozen=True)
class TextureSettings(ChainSettings):
    """The settings of `anasyn learn texture`: a descriptor that is stationary, learned from patches of a photograph."""

    data: str | None = setting(None, "the photograph, an image file of any size", "data")
    longest: int = setting(
        512, "pixels of the photograph's longer side, to which a larger one is reduced", "data", least=16, most=4096
    )
    size: int | str | None = setting(
        96, "pixels of a patch: side, or height x width as in 96x64", "data", parse=parse_size
    )
    levels: int | None = setting(
        None, "levels of the network; L of them see grain of up to 5 · 2^L pixels", "model", least=1, most=6
    )
    kernel: Kernel = setting("langevin", "MCMC transition: langevin, whose step size suits any area", "chains")
    step_size: float | None = setting(
        0.2, "δ, in units of the photograph's spread at each frequency", "chains", least=1e-6, most=1e3
    )
    learning_rate: float | None = setting(0.001, "learning rate γ at the first iteration", "learning", above=0)
    data_noise: float = setting(
        0.1, "standard deviation of the noise on the photograph, in units of its spread at each frequency", "learning",
        least=0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel not in ("auto", "langevin"):
            raise InputError(
                f"kernel: a texture's is langevin, as others' step sizes depend on the area; got {self.kernel}"
            )
        if self.network != "built-in":
            raise InputError(f"network: a texture has only its built-in one, got {self.network}")

    def resolve(self, scale: Scale) -> Self:
        assert self.size is not None
        size = height_and_width(self.size)
        most = max((k for k in range(1, MOST_LEVELS + 1) if allows(size, k)), default=1)
        levels = self.levels or min(most, LEVELS)
        if not allows(size, levels):
            expected = f"{levels} levels of the network see {5 << levels} pixels and need multiples of {1 << levels}"
            raise InputError(f"size: {expected}, got {self.size}; choose another size, or fewer levels")
        return self.filled(
            scale,
            batch_size=min(self.batch_size or 2, scale.num_images),
            kernel="langevin",
            levels=levels,
            num_steps=40,
            width=64,
            iterations=200,
        )

    def smaller_side(self) -> int | None:
        from ..data.patches import photograph_sides

        assert self.data is not None
        return min(photograph_sides(self.data, self.longest))

    def read(self, size: tuple[int, int], channels: int | None, *, strict: bool = False) -> "ImageSet":
        """Patches of the photograph that ``data`` names, (height, width) in size; a file is never skipped."""
        from ..data.patches import read_patches

        assert self.data is not None
        return read_patches(self.data, size, longest=self.longest, channels=channels)


def allows(size: tuple[int, int], levels: int) -> bool:
    """Whether patches of this height and width are as large as a network of so many levels sees, and fit its grid."""
    return all(side >= 5 << levels and side % (1 << levels) == 0 for side in size)


def build(settings: TextureSettings, device: "torch.device") -> "DescriptorLearner":
    """The learner that these settings describe."""
    from .. import mcmc
    from ..learning import DescriptorLearner
    from ..models import Pyramid, StationaryGaussian, Texture
    from .build import kernel, optimizer

    assert settings.num_steps is not None
    assert settings.width is not None
    assert settings.levels is not None
    channels, height, width = settings.shape
    reference = StationaryGaussian(channels, max(height, width))
    network = Pyramid(channels, [max(settings.width // 2, 4), *[settings.width] * (settings.levels - 1)])
    model = Texture(network, reference, precision=settings.precision).to(device)
    return DescriptorLearner(
        cast("Descriptor", model),  # it has all that Algorithm 2 asks of one
        kernel=kernel(settings, reference),
        num_steps=settings.num_steps,
        chains=mcmc.ColdChains(model.draw_reference),
        data_noise=settings.data_noise,
        followed=FOLLOWED,
        optimizer=optimizer(settings, model),
    )


def sample(
    learner: "DescriptorLearner", num: int, images: "Callable[[], ImageSet]", rng: "torch.Generator"
) -> "Tensor":
    """Periodic textures of the patches' size, as learning has them."""
    height, width = images().pixels.shape[2:]
    return weave(learner, num, (height, width), True, rng)


def weave(
    learner: "DescriptorLearner", num: int, size: tuple[int, int], periodic: bool, rng: "torch.Generator"
) -> "Tensor":
    """The ends of chains on tori of any size, as long as in learning; cut out of them if they are not to be periodic.

    As in learning, the density is that of the photograph with noise: what is returned are the means of the images
    without it.

    Raises:
        InputError: a periodic image cannot have this size.
    """
    import torch

    from .. import mcmc
    from ..models import Texture
    from ..processor import frozen

    model = learner.model
    assert isinstance(model, Texture)
    grid, margin = model.network.grid, 2 * model.network.halo
    if periodic and any(side % grid for side in size):
        raise InputError(f"size: a periodic image has sides in multiples of {grid}, got {size[0]}x{size[1]}")
    # The opposite borders of a torus are neighbours: those of the image are to be as far apart as the network sees.
    height, width = size if periodic else (-(-(side + margin) // grid) * grid for side in size)
    like, woven = model.reference.mean, []
    at_once = max(1, AT_ONCE // (height * width))
    for first in range(0, num, at_once):
        start = model.draw_reference(like.new_empty(min(at_once, num - first), len(like), height, width), rng)
        with frozen(model):
            state, _ = mcmc.run(learner.kernel, model.log_density, start, num_steps=learner.num_steps, rng=rng)
        images = model.reference.denoise(state.position, state.gradient, learner.data_noise)
        woven.append(images[..., : size[0], : size[1]])
    return torch.cat(woven)


TEXTURE = Method(
    name="texture",
    about="one photograph: a stationary energy-based model of its texture, sampled at any size, tileable on request",
    settings=TextureSettings,
    build=build,
    sample=sample,
    sampled="the ends of its chains",
    weave=weave,
)
