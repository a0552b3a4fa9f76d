"""The noise level σ of a generator, learned from the residuals of its reconstructions."""

import torch
from torch import Tensor

from .. import ranks
from ..models import Generator, Images, observed

__all__ = ["LearnedNoise"]


class LearnedNoise:
    """The M-step of σ² over the posterior draws z_i of m images:

        σ² ← max(floor², Σ_i ‖Y_i − f(z_i)‖² / Σ_i D_i),   over the D_i values that are seen of image i

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
        self.residuals, self.num_seen = torch.empty(0), torch.empty(0)  # (m,) each: ‖Y_i − f(z_i)‖²/D_i and D_i

    def allocate(self, num_images: int, model: Generator, like: Tensor) -> None:
        """Begins as if every image were seen whole with the residual σ²; dtype and device are those of ``like``."""
        self.residuals = model.sigma.to(like).square().expand(num_images).clone()
        self.num_seen = torch.full_like(self.residuals, like[0].numel())

    @torch.no_grad()
    def keep(self, index: Tensor, images: Images, squares: Tensor) -> None:
        """Notes the squared residuals ‖Y − f(z)‖² of images, given their indices, (b,) each."""
        self.num_seen[index] = observed(images).num_seen.to(self.num_seen)
        self.residuals[index] = squares / self.num_seen[index]

    def update(self, model: Generator) -> None:
        """Sets the model's σ by all residuals, of all processes."""
        squares = (self.residuals.double() * self.num_seen).sum()
        squares, num_seen = ranks.total(squares, self.num_seen.sum(dtype=torch.float64))
        model.sigma.copy_((squares / num_seen).sqrt().clamp_min(self.floor))

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors that are kept, by name, not copied."""
        return {"residuals": self.residuals, "num_seen": self.num_seen}
