"""Feature spaces in which sets of images are compared: networks from images in [−1, 1] to vectors."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import as_float
from ..errors import InputError
from ..methods.build import MISTAKES, load_function
from .distance import chunks

__all__ = ["FeatureSpace", "PixelFeatures", "RandomFeatures", "feature_space", "features"]

SEED = 0  # of the random network: part of the definition of its features
CHANNELS = (24, 48, 96, 96)  # of its layers, one for each scale
LARGEST = 128  # pixels: larger images are reduced before they enter it
NUM_NOISE = 128  # images of noise that its features are standardised by
SLOPE = 0.2  # of its leaky rectifiers
BATCH_SIZE = 64


class FeatureSpace(NamedTuple):
    """A network from images in [−1, 1], (n, c, H, W), to features, (n, k), and what it is in words."""

    network: nn.Module
    words: str


class PixelFeatures(nn.Module):
    """Images resized to 16 × 16 pixels by averaging areas, (n, c, H, W) → (n, 256 c)."""

    def forward(self, images: Tensor) -> Tensor:
        return functional.interpolate(images, (16, 16), mode="area").flatten(1)


class RandomFeatures(nn.Module):
    """The responses of a fixed random convolutional network at four scales, (n, c, H, W) → (n, k), c = 1 or 3.

    At each scale 3 × 3 convolutions with He-normal weights and a leaky rectifier, then 2 × 2 average pooling. The
    features are, of every channel, the mean over the image and log(standard deviation over the image + 0.02): k = 528,
    or 432 if the smaller side is below 16 pixels, where the last scale is one pixel. Grey images enter as three equal
    channels; images of more than 128 pixels are reduced by averaging areas.

    Each feature is shifted and scaled to mean 0 and standard deviation ½ over images of noise with the spectrum of
    natural images, 1/f. Thus it is a function of one image alone: standardised by the images that are compared, it
    would make their kernel distance biased. Everything is determined by the seed and the images' size.

    Args:
        height, width: of the images in pixels, at least 8.
        seed: determines the weights and the noise.

    Raises:
        ValueError: the images are too small.

    Source: random in place of learned features, Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative
    Models*, ICML 2020, who use a VGG16; this network is smaller.
    """

    def __init__(self, height: int, width: int, *, seed: int = SEED) -> None:
        super().__init__()
        least = 2 ** (len(CHANNELS) - 1)
        if min(height, width) < least:
            raise ValueError(f"images: expected sides of at least {least} pixels, got {height} × {width}")
        shrink = max(1, max(height, width) / LARGEST)
        self.size = (max(least, round(height / shrink)), max(least, round(width / shrink)))
        rng = torch.Generator().manual_seed(seed)
        self.weights = []
        for inputs, outputs in pairwise((3, *CHANNELS)):
            gain = (2 / (1 + SLOPE**2) / (9 * inputs)) ** 0.5
            self.weights.append(gain * torch.randn(outputs, inputs, 3, 3, generator=rng))
        noise = torch.cat([self._responses(batch) for batch in chunks(_noise(*self.size, rng), BATCH_SIZE)])
        self.std, self.mean = torch.std_mean(noise, 0)

    def forward(self, images: Tensor) -> Tensor:
        return (self._responses(images) - self.mean) / (2 * self.std)

    def _responses(self, images: Tensor) -> Tensor:
        if images.shape[2:] != self.size:
            images = functional.interpolate(images, self.size, mode="area")
        x = images.expand(-1, 3, -1, -1)
        responses = []
        for number, weight in enumerate(self.weights):
            x = functional.avg_pool2d(x, 2) if number else x
            x = functional.leaky_relu(functional.conv2d(x, weight, padding=1), SLOPE)
            responses.append(x.mean((2, 3)))
            if x.shape[2:].numel() > 1:
                deviation = x - responses[-1][..., None, None]  # two passes: torch.std is slower
                responses.append((deviation.square().mean((2, 3)).sqrt() + 0.02).log())
        return torch.cat(responses, 1)


def _noise(height: int, width: int, rng: torch.Generator) -> Tensor:
    """Images of 1/f noise, (`NUM_NOISE`, 3, H, W) in [−1, 1]: white noise of each octave, of equal strength, summed.

    A third of the variance is each channel's own: the colours of an image are correlated.
    """
    total = torch.zeros(NUM_NOISE, 3, height, width)
    side = max(height, width)
    for octave in range(side.bit_length()):
        coarse = [-(-s // 2**octave) for s in (height, width)]
        common, own = (torch.randn(NUM_NOISE, channels, *coarse, generator=rng) for channels in (1, 3))
        total += functional.interpolate(
            (2 / 3) ** 0.5 * common + (1 / 3) ** 0.5 * own, (height, width), mode="bilinear"
        )
    return (total / (2 * total.std())).clamp(-1, 1)


def features(network: nn.Module, images: Tensor) -> Tensor:
    """The features of images, (n, k), on the CPU; `BATCH_SIZE` images are computed at once.

    Args:
        network: on the CPU; maps images, (n, c, H, W) in [−1, 1], to (n, k).
        images: (n, c, H, W), uint8 or float in [−1, 1], n ≥ 1.

    Raises:
        ValueError: the output is no matrix of finite numbers with a row for each image.
    """
    with torch.no_grad():
        found = torch.cat([network(as_float(batch.cpu())).cpu() for batch in chunks(images, BATCH_SIZE)])
    if found.dim() != 2 or len(found) != len(images):
        raise ValueError(f"features: expected outputs of shape ({len(images)}, k), got {tuple(found.shape)}")
    if not found.isfinite().all():
        raise ValueError("features: an output is not finite")
    return found


def feature_space(name: str, shape: tuple[int, int, int]) -> FeatureSpace:
    """The feature space for images of a shape (c, H, W).

    Args:
        name: ``random``, ``pixels``, or ``package.module:function``. The function is called without arguments and
            returns an `nn.Module` from images in [−1, 1], (n, c, H, W), to (n, k), for instance Inception or DINOv2. It
            is put into evaluation mode. Modules are also imported from the current directory.
        shape: of one image.

    Raises:
        InputError: there is no such function, or what it returns does not map images of this shape to (n, k).
    """
    channels, height, width = shape
    if name == "random":
        random = RandomFeatures(height, width)
        return FeatureSpace(
            random, f"{len(random.mean)} features of a fixed random convolutional network (seed {SEED})"
        )
    if name == "pixels":
        return FeatureSpace(PixelFeatures(), f"the {256 * channels} pixels of images resized to 16 × 16")
    make = load_function("features", name, "random, pixels")
    try:
        network = make()
        if not isinstance(network, nn.Module):
            raise TypeError(f"it made a {type(network).__name__}, expected a torch.nn.Module")
        found = features(network.eval(), torch.zeros(2, *shape))
    except MISTAKES as cause:
        raise InputError(f"features: {name} gives no features of images {shape} ({cause})") from cause
    return FeatureSpace(network, f"{found.shape[1]} features of {name}")
