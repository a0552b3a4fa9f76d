"""The interface of a learning algorithm, and whether the step sizes of its chains are stable."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..mcmc import Chains, Kernel, Stability
from ..rng import derive
from .record import Record, Watch

__all__ = ["Learner", "StepLimit", "step_limit"]


Batch = Any
"""Images, (b, c, H, W); of learners that can learn from what is seen of images, also `anasyn.models.Observed` ones."""


class Learner(Protocol):
    """One published algorithm, such as `GeneratorLearner` or `DescriptorLearner`."""

    iteration: int  # iterations done

    @property
    def model(self) -> nn.Module: ...

    @property
    def chains(self) -> Chains: ...

    @property
    def kernel(self) -> Kernel | None:
        """The MCMC transition; None for an algorithm that does not sample."""

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Updates the weights; None for an algorithm whose update has a closed form."""

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: torch.Generator) -> None:
        """Allocates the chains of ``num_images`` images, and what is kept of the held-out ones.

        ``images`` is any batch of them, for its shape and device.
        """

    def prepare(self, images: Batch, held_out: Batch) -> None:
        """Before the first iteration: sees all images, (n, *event), and the held-out ones, uint8 or float, once."""

    def step(self, index: Tensor, images: Batch, *, rng: torch.Generator, watch: Watch) -> Record:
        """One iteration on a batch: the images' indices in the data set, (b,), and the images, (b, c, H, W)."""

    def validate(self, index: Tensor, images: Batch, *, rng: torch.Generator) -> None:
        """After an iteration: uses a batch of held-out images, from which no weight is learned, and their indices."""

    def kept(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint, by name, besides those of the model, the optimiser and the chains."""

    def limits(self, images: Batch) -> dict[str, float]:
        """By the name of a measure, the absolute value above which learning is in trouble; ``images`` is any batch."""

    def stability(self, index: Tensor, images: Batch, *, rng: torch.Generator) -> Stability | None:
        """The largest curvature at the chains of a batch; None for an algorithm without a step size."""


class StepLimit(NamedTuple):
    """The largest step size of a batch's chains, and the limit below which all of them are stable."""

    step_size: float
    limit: float  # 2/√λ_max; NaN where the density is not finite
    lambda_max: float

    def __str__(self) -> str:
        side = "below" if self.step_size < self.limit else "above"
        allowed = f"2/√λ_max = {self.limit:.3g} (λ_max = {self.lambda_max:.3g})"
        return f"step size {self.step_size:.3g} is {side} the stability limit {allowed}"


def step_limit(learner: Learner, index: Tensor, images: Batch, seed: int) -> StepLimit | None:
    """The step size of these images' chains and its stability limit; None for a learner without a step size."""
    found = learner.stability(index, images, rng=derive(seed, "stability", learner.iteration, device=index.device))
    if found is None:
        return None
    lambda_max, limits = found
    step_sizes = learner.chains.step_sizes
    step_size = step_sizes[index % len(step_sizes)].max().item()  # images may share chains
    return StepLimit(step_size, limits.min().item(), lambda_max.max().item())
