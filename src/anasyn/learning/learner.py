"""The interface of a learning algorithm, and whether the step sizes of its chains are stable."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .. import ranks
from ..mcmc import Chains, Kernel, Stability
from ..rng import Rng
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
        """Updates the weights; None for an algorithm whose update has a closed form.

        With several processes, gradients are averaged for it; a closed form sums its own statistics by `ranks.total`.
        """

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Allocates the chains of ``num_images`` images, and what is kept of the held-out ones.

        Args:
            images: a first batch of them, for its shape, dtype and device.
            num_images, num_held_out: those of this process.
            rng: one source of random numbers, or a stream for each of these images and then of the held-out ones.
        """

    def prepare(self, images: Batch, held_out: Batch, *, whole: Batch) -> None:
        """Before the first iteration: sees all images, uint8 or float, once.

        Args:
            images, held_out: those of this process, (n, *event).
            whole: the training images of all processes.
        """

    def step(self, index: Tensor, images: Batch, *, rng: Rng, watch: Watch) -> Record:
        """One iteration on a batch: the images' indices in the data set, (b,), and the images, (b, c, H, W)."""

    def validate(self, index: Tensor, images: Batch, *, rng: Rng) -> None:
        """After an iteration: uses a batch of held-out images, from which no weight is learned, and their indices."""

    def kept(self) -> dict[str, Tensor]:
        """What else a checkpoint must keep, by name, the same in every process."""

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What else must be kept of each image of this process, by name: of training images, and of held-out ones."""

    def limits(self, images: Batch) -> dict[str, float]:
        """By the name of a measure, the absolute value above which learning is in trouble; ``images`` is any batch."""

    def stability(self, index: Tensor, images: Batch, *, rng: Rng) -> Stability | None:
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


def step_limit(learner: Learner, index: Tensor, images: Batch, *, rng: Rng) -> StepLimit | None:
    """The step size of these images' chains and its stability limit; None for a learner without a step size.

    With several processes, of the chains of all.
    """
    found = learner.stability(index, images, rng=rng)
    if found is None:
        return None
    lambda_max, limits = found
    step_sizes = learner.chains.step_sizes
    step_size = step_sizes[index % len(step_sizes)].max()  # images may share chains
    step_size, limit, curvature = ranks.gathered(torch.stack([step_size, -limits.min(), lambda_max.max()])).amax(0)
    return StepLimit(step_size.item(), -limit.item(), curvature.item())
