"""What a learner synthesises while it learns: a few images, cheap to make, that change nothing of its learning."""

import torch
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import DescriptorLearner, GeneratorLearner
from ..rng import derive
from ..run import synthesize

__all__ = ["snapshot"]

SHOWN = 8


def snapshot(learner: GeneratorLearner | DescriptorLearner, images: ImageSet, seed: int) -> dict[str, Tensor]:
    """The learner's images as they are now, by what they are; uint8 (n, 3, H, W), n ≤ 8.

    Of a generator training images, their reconstructions and samples, of a descriptor training images and the ends
    of chains. What a chain made that is no number stays away with all of its row.
    """
    device = next(learner.model.parameters()).device
    rng = derive(seed, "snapshot", device=device)  # the same z and the same noise each time: what changes is the model
    index = evenly(len(images), SHOWN)
    observed = images.pixels[index]
    shown = {"training images": observed}
    if isinstance(learner, GeneratorLearner):
        with torch.no_grad():
            shown["reconstructions f(z)"] = learner.model(learner.chains.positions[index.to(device)])
        shown["samples f(z) at z ~ N(0, I)"] = learner.model.sample(SHOWN, rng=rng)
    else:
        where = index.to(device)
        _, shown["synthesised images"] = synthesize(learner, where, to_float(observed.to(device)), rng=rng)
    return {what: _uint8(made) for what, made in shown.items() if made.dtype == torch.uint8 or made.isfinite().all()}


def _uint8(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else to_uint8(images).cpu()
