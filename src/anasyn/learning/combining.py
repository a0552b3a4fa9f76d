"""An iteration of several processes as one: the gradients and the record of all their images."""

from dataclasses import replace

import torch
from torch import nn

from .. import ranks
from .record import Record, gradient_norm

__all__ = ["combined"]


@torch.no_grad()
def combined(record: Record, model: nn.Module, num_images: int) -> Record:
    """The record of all processes' images; the gradients of the weights become those of all.

        g ← Σ_r b_r g_r / Σ_r b_r,   for the gradient g_r of a mean over the b_r images of process r

    Numbers are combined likewise, but step sizes by their logarithms; of measures whose names end in ``_max`` the
    largest counts.

    Args:
        record: of this process's images.
        model: its gradients are those of this process's images.
        num_images: b_r, at least 1.
    """
    if ranks.count() == 1:
        return record
    own = [record.loss, record.acceptance_rate, record.step_size, *record.measures.values(), num_images]
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    table = next(model.parameters()).new_zeros(ranks.count(), len(own))
    table[ranks.rank()] = table.new_tensor(own)  # so that one sum, of which each costs a millisecond, gathers these too
    *sums, table = ranks.total(*(num_images * gradient for gradient in gradients), table)
    numbers = table.double().cpu()
    numbers[:, 2].log_()
    batch = numbers[:, -1].sum().item()
    for gradient, each in zip(gradients, sums, strict=True):
        gradient.copy_(each / batch)
    weights = numbers[:, -1] / batch
    loss, acceptance, log_step, *means = (weights @ numbers[:, :-1]).tolist()
    measures = dict(zip(record.measures, means, strict=True))
    for place, name in enumerate(measures, 3):
        if name.endswith("_max"):
            measures[name] = numbers[:, place].max().item()
    if gradients:
        measures["gradient_norm"] = gradient_norm(model.parameters()).item()
    step_size = torch.tensor(log_step).exp().item()
    return replace(record, loss=loss, acceptance_rate=acceptance, step_size=step_size, measures=measures)
