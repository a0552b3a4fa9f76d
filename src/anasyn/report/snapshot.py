"""Snapshots: a few images from a learner while it learns, cheap to make and without any effect on the learning."""

import torch
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import Learner, averaged
from ..methods.synthesis import synthesize
from ..rng import derive
from ..run import Run

__all__ = ["snapshot"]

SHOWN = 8


def snapshot(run: Run, learner: Learner, images: ImageSet) -> dict[str, Tensor]:
    """The current images of a learner by their titles, each uint8 (n, c, H, W), n ≤ 8.

    These are training images; if the method infers z, their reconstructions and samples; and if it synthesises images,
    the ends of chains, or, if it revises proposals, the proposals; all with the average of the weights, if one is kept.
    A row of images that are not all finite is left out.
    """
    device = next(learner.model.parameters()).device
    # The z and the noise are the same each time, so that changes in the images are changes in the model.
    rng = derive(run.settings.seed, "snapshot", device=device)
    index = evenly(len(images), SHOWN)
    observed = images.take(index)
    shown: dict[str, Tensor] = {}
    with averaged(learner):
        if run.method.infer:
            model, z = run.method.infer(learner)
            with torch.no_grad():
                shown["reconstructions f(z)"] = model(z[index.to(device)])
            shown[f"samples, {run.method.sampled}"] = run.method.sample(learner, SHOWN, lambda: images, rng)
        if run.method.revise:
            rng = derive(run.settings.seed, "snapshot", device=device)
            shown["proposals"], _ = run.method.revise(learner, SHOWN, 0, rng)
        elif run.method.synthesise:
            synthesis, where = run.method.synthesise(learner), index.to(device)
            _, shown["synthesised images"] = synthesize(synthesis, where, to_float(observed.to(device)), rng=rng)
    return {"training images": observed} | {
        title: to_uint8(made).cpu() for title, made in shown.items() if made.isfinite().all()
    }
