"""The noise level σ of a generator, learned from the residuals of its reconstructions."""

import torch
from torch import Tensor

from .. import mcmc
from ..models import Generator
from .inference import infer

__all__ = ["LearnedNoise", "validate"]


class LearnedNoise:
    """The M-step of σ² over the posterior draws z_i of m images:

        σ² ← max(floor², (1/mD) Σ_i ‖Y_i − f(z_i)‖²)

    Its images should be held out. The residuals of images from which W is learned are smaller than those of new ones;
    with a few images W memorises them, and σ falls to the floor. Of an image that was not in the last batch, the last
    known residual counts.

    Args:
        floor: the smallest σ, in the images' units ([−1, 1]).

    Source: compare Rybkin, Daniilidis and Levine 2021, *Simple and effective VAE training with calibrated decoders*,
        who take the mean over the training images.
    """

    def __init__(self, floor: float):
        self.floor = floor
        self.residuals = torch.empty(0)  # (m,), ‖Y_i − f(z_i)‖²/D

    def allocate(self, num_images: int, model: Generator, like: Tensor) -> None:
        """Begins with the residual σ² for each image, with the dtype and device of ``like``."""
        self.residuals = model.sigma.to(like).square().expand(num_images).clone()

    @torch.no_grad()
    def update(self, model: Generator, index: Tensor, squares: Tensor) -> None:
        """Sets the model's σ, given squared residuals (Y − f(z))², (b, *event), and the images' indices, (b,)."""
        self.residuals[index] = squares.flatten(1).mean(1)
        model.sigma.copy_(self.residuals.double().mean().sqrt().clamp_min(self.floor))


def validate(
    noise: LearnedNoise,
    model: Generator,
    kernel: mcmc.Kernel,
    chains: mcmc.WarmChains,
    index: Tensor,
    images: Tensor,
    num_steps: int,
    rng: torch.Generator,
) -> None:
    """Infers z of a batch of held-out images, which W does not learn from, keeps them, and updates σ.

    The other arguments are those of `infer`; ``chains`` are the held-out images'.
    """
    z, step_size, info = infer(model, kernel, chains, index, images, num_steps, rng)
    chains.store(index, z, mcmc.adapt(kernel, step_size, info.acceptance_rate, gain=0.3))
    with torch.no_grad():
        noise.update(model, index, (model(z) - images) ** 2)
