"""What methods with a latent vector share: the settings of the generator's model, and how it is built."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import InputError
from .settings import ChainSettings, Scale, default_size, setting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..data import ImageSet
    from ..learning import LearnedNoise, SharedMetric
    from ..models import Generator

__all__ = ["LEARNED", "LatentSettings", "build_generator", "expansion", "generator_width_for", "latent_dim_for",
           "learned_noise", "metric", "remarks"]  # fmt: skip

LEARNED = "learned"
SIGMA = 0.3  # where σ is not learned, and from where it is learned
EXPANSION = 0.3  # κ of an epoch; from principal scores it costs no likelihood, as it does from random z
FEWEST_SPLIT = 100  # images of which a tenth is held out


def parse_sigma(value: float | str) -> float | str:
    """A number, or ``learned``; raises ValueError for anything else."""
    if value == LEARNED:
        return LEARNED
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not 1e-6 <= number <= 1e3:
        raise ValueError("expected learned, or a finite number at least 1e-06 and at most 1000")
    return number


def parse_occlude(text: str) -> str:
    """An occlusion as `anasyn.data.parse_occlusion` takes it, or nothing."""
    if not text:
        return text
    from ..data import parse_occlusion  # which imports torch

    return parse_occlusion(text)


@dataclass(frozen=True)
class LatentSettings(ChainSettings):
    """The settings of methods that infer a latent vector z by MCMC, from the pixels that are seen."""

    transparent: Literal["hidden", "white"] = setting(
        "hidden", "transparent pixels: not seen and not learned from, or white", "data"
    )
    masks: str = setting("", "folder of masks of the images' names, white where a pixel is seen", "data")
    occlude: str = setting(
        "",
        "pixels to hide in each image, for experiments: salt:0.7 (a share), square:24 (a side) or half",
        "data",
        parse=parse_occlude,
    )
    latent_dim: int | None = setting(None, "d, the dimension of z", "model", least=1, most=4096)
    sigma: float | str | None = setting(
        None,
        "σ, standard deviation of a pixel's noise; learned: from held-out images, or from all if none are held out",
        "model",
        parse=parse_sigma,
    )
    start: Literal["principal", "prior"] = setting(
        "principal",
        "where chains of z start: at the images' principal components, or at draws from N(0, I)",
        "chains",
    )
    precondition: Literal["auto", "on", "off"] = setting(
        "auto",
        "steps of z as wide in each direction as the posteriors are on average; auto: if step sizes are adapted",
        "chains",
    )
    step_size: float | None = setting(
        None,
        "δ of the Langevin kernels, ε of HMC; the initial value if it is adapted; in widths of the posterior if "
        "preconditioned",
        "chains",
        least=1e-6,
        most=1e3,
    )
    beta2: float = setting(
        0.99,
        "Adam's β₂: as σ falls, gradients grow within fewer iterations than 0.999 spans",
        "learning",
        least=0,
        most=0.999999,
    )
    expand: Literal["auto", "on", "off"] = setting(
        "auto", "parameter expansion, by which the z fill their prior; auto: if the network permits it", "learning"
    )
    sigma_floor: float = setting(0.02, "smallest σ that is learned", "model", least=1e-4, most=1e3)
    frames: Literal["off", "on"] = setting(
        "off", "on: the images are a film: a folder of frames, or an animated GIF, WebP or APNG", "data"
    )

    @property
    def in_order(self) -> bool:
        return self.frames == "on"

    @property
    def _is_animation(self) -> bool:
        """Whether ``data`` is a file, to be read as frames; what it holds is seen when it is read."""
        return self.in_order and self.data is not None and os.path.isfile(self.data)

    def absolute(self) -> Self:
        masks = self.masks and str(Path(self.masks).resolve())
        return replace(super().absolute(), masks=masks)

    def for_data(self, data: str) -> Self:
        return replace(super().for_data(data), masks="", occlude="")

    def read(self, size: tuple[int, int] | None, channels: int | None, *, strict: bool = False) -> "ImageSet":
        from ..data import occlude, read_frames
        from ..data.frames import frames_side
        from ..data.sources import load

        assert self.data is not None
        if self._is_animation:
            if self.masks:
                raise InputError(f"masks: {self.data} is one file; expected a folder of images, each with a mask")
            size_of_frames = size or default_size(frames_side(self.data))
            images = read_frames(self.data, size_of_frames, fit=self.fit, channels=channels)
        else:
            images = load(
                self.data,
                size or default_size,
                fit=self.fit,
                channels=channels,
                strict=strict,
                transparent=self.transparent,
                masks=self.masks or None,
            )
        return occlude(images, self.occlude) if self.occlude else images

    def resolve(self, scale: Scale) -> Self:
        # A film has no independent images to hold out: a frame is nearly the same as those before and after it.
        by_default = 0.1 if scale.num_images >= FEWEST_SPLIT and not self.in_order else 0.0
        hold_out = self.hold_out if self.hold_out is not None else by_default
        split = replace(self, hold_out=hold_out)
        n = scale.num_images - split.num_held_out(scale.num_images)
        batch = min(self.batch_size or (n if n <= 128 else 32), n)
        if self.precondition == "auto":
            split = replace(split, precondition="off" if self.kernel == "langevin" else "on")
        resolved = split.filled(
            scale,
            step_size=1.0 if split.precondition == "on" else 0.03,
            batch_size=batch,
            # The network memorises a few images: learned from their residuals, σ would fall to its floor.
            sigma=LEARNED if hold_out else SIGMA,
            latent_dim=latent_dim_for(n),
            # In the same time, more updates of the weights are worth more than more transitions between them.
            num_steps=3 if batch == n else 2,
            width=generator_width_for(n),
            iterations=700 if batch == n else min(max(20 * math.ceil(n / batch), 2000), 60_000),
        )
        if resolved.sigma == LEARNED and self.sigma_floor >= scale.spread:
            expected = f"expected less than the pixels' own standard deviation, {scale.spread:.3g}"
            raise InputError(f"sigma_floor: {expected}, where sigma is learned; got {self.sigma_floor:g}")
        return resolved

    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        if self.in_order and not self.hold_out:
            yield "frames: none is held out, as its neighbours show nearly the same"
        if self.sigma == LEARNED and not self.hold_out:
            floor = f"which the network may memorise; it stays above {self.sigma_floor:g}"
            yield f"sigma is learned from the training images, {floor}"
        elif not self.hold_out:
            yield f"no image is held out to learn sigma from: it stays {self.sigma:g}"


def latent_dim_for(num_images: int) -> int:
    """The default d for a number of images."""
    return 2 if num_images <= 25 else 8 if num_images <= 100 else 100 if num_images <= 20_000 else 128


def generator_width_for(num_images: int) -> int:
    """The default number of channels of the widest layer for a number of images."""
    return 256 if num_images <= 20_000 else 384


def build_generator(
    settings: LatentSettings, device: "torch.device", *, option: str = "network", **options: Any
) -> "Generator":
    """The generator of resolved settings, with more options of `anasyn.Generator`; ``option`` is that of messages."""
    from ..models import Generator, networks
    from .build import load_network

    assert settings.latent_dim is not None
    assert settings.width is not None
    assert settings.sigma is not None
    channels, height, width = settings.shape
    if settings.network == "built-in":
        doublings = 4 if min(height, width) >= 32 else 3
        widths = [max(settings.width >> depth, 4) for depth in range(doublings)]
        network: nn.Module = networks.deconv(settings.latent_dim, (height, width), widths, channels)
    else:
        network = load_network(settings, takes=(settings.latent_dim,), gives=settings.shape, option=option)
    sigma = max(SIGMA, settings.sigma_floor) if settings.sigma == LEARNED else float(settings.sigma)
    return Generator(network, settings.latent_dim, sigma, settings.precision, **options).to(device)


def expansion(settings: LatentSettings, model: "Generator") -> float:
    """κ of an epoch; raises `InputError` if the expansion is asked for and the network does not permit it."""
    from ..learning import expandable_layer

    able = expandable_layer(model.network, model.latent_dim) is not None
    if settings.expand == "on" and not able:
        raise InputError(
            f"expand: {settings.network} does not begin with a linear layer of z with bias, which would absorb the "
            "expansion; expected auto or off"
        )
    return EXPANSION if able and settings.expand != "off" else 0.0


def remarks(settings: LatentSettings, learner: Any) -> tuple[str, ...]:
    """That the network does not permit the expansion, unless it is not wanted."""
    if settings.expand == "auto" and not learner.expansion:
        return ("no parameter expansion: the network does not begin with a linear layer of z with bias",)
    return ()


def metric(settings: LatentSettings) -> "SharedMetric | None":
    """The preconditioner of the chains of z, if these settings ask for it."""
    from ..learning import SharedMetric

    assert settings.latent_dim is not None
    return SharedMetric(settings.latent_dim) if settings.precondition == "on" else None


def learned_noise(settings: LatentSettings) -> "LearnedNoise | None":
    """Learns σ if these settings ask for it."""
    from ..learning import LearnedNoise

    return LearnedNoise(settings.sigma_floor) if settings.sigma == LEARNED else None
