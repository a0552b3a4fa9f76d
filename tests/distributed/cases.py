"""What several processes learn, to be compared with what one learns; also the program that torchrun starts."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, distributed

from anasyn import learn, mcmc, ranks
from anasyn.data import draw_cats, drawn_factors
from anasyn.learning import (
    ComponentMetric,
    CooperativeLearner,
    DescriptorLearner,
    GeneratorLearner,
    LatentPriorLearner,
    LearnedNoise,
    Learner,
    RecoveryLearner,
    Shard,
    SharedMetric,
    tensors_of_images,
)
from anasyn.models import (
    Cooperative,
    Descriptor,
    DescriptorLadder,
    FittedGaussian,
    Generator,
    Ladder,
    LatentPrior,
    Mask,
    Observed,
    networks,
)
from anasyn.models.levelled import LevelledConv

from ..planting import plant

SIDE, NUM, HELD_OUT, ITERATIONS = 16, 23, 5, 20
IMAGES = draw_cats(drawn_factors(NUM + HELD_OUT), SIDE)
IMAGES, KEPT_ASIDE = IMAGES[:NUM].double() / 127.5 - 1, IMAGES[NUM:].double() / 127.5 - 1


def generator(kernel: mcmc.Kernel | None = None, plain: bool = False, **options: Any) -> GeneratorLearner:
    model = Generator(networks.deconv(3, SIDE, (16, 8)), 3, 0.3)
    if plain:
        options["optimizer"] = torch.optim.SGD(model.parameters(), lr=1e-6)
    return GeneratorLearner(model, kernel=kernel or mcmc.MALA(0.03), start="principal", **options)


def preconditioned() -> mcmc.Kernel:
    return mcmc.MALA(1.0, SharedMetric(3))


def descriptor(plain: bool = False, **options: Any) -> DescriptorLearner:
    model = Descriptor(networks.conv(SIDE, (8, 8), strides=2), 0.4, scale=100.0)
    if plain:
        options["optimizer"] = torch.optim.SGD(model.parameters(), lr=1e-6)
    return DescriptorLearner(model, kernel=mcmc.Langevin(0.02), num_steps=5, data_noise=0.03, **options)


def convergent(most_chains: int) -> DescriptorLearner:
    reference = FittedGaussian((3, SIDE, SIDE), 8)
    model = Descriptor(networks.conv(SIDE, (8, 8), strides=2), 0.4, scale=10.0, reference=reference)
    chains = mcmc.PersistentChains(model.draw_reference, restart=0.1, share=True)
    kernel = mcmc.MALA(0.3, ComponentMetric(reference))
    options = {"num_steps": 5, "data_noise": 0.1, "chains": chains, "most_chains": most_chains}
    return DescriptorLearner(model, kernel=kernel, **options)


def latent_prior() -> LatentPriorLearner:
    model = Generator(networks.deconv(3, SIDE, (16, 8)), 3, 0.3, prior=LatentPrior(networks.mlp(3, 10)))
    return LatentPriorLearner(
        model, kernel=preconditioned(), num_prior_chains=7, expansion=0.3, noise=LearnedNoise(0.02)
    )


def cooperative() -> CooperativeLearner:
    model = Cooperative(generator().model, descriptor().model)
    return CooperativeLearner(model, kernel=mcmc.Langevin(0.02), num_steps=5)


def recovery() -> RecoveryLearner:
    model = DescriptorLadder(LevelledConv((SIDE, SIDE), 3, (8, 8), 3, 1), Ladder.geometric(3, 0.1, 1.0))
    return RecoveryLearner(model, num_steps=5)


class Case(NamedTuple):
    make: Callable[[], Learner]
    batch_size: int
    held_out: bool = False
    masked: bool = False


CASES = {
    # In float32: with fixed steps and plain gradients, rounding is not amplified
    "generator, fixed steps": Case(partial(generator, mcmc.Langevin(0.03), plain=True), NUM),
    "descriptor, fixed steps": Case(partial(descriptor, plain=True), 8),
    "generator": Case(partial(generator, expansion=0.3), NUM),
    "generator in batches": Case(
        lambda: generator(preconditioned(), expansion=0.3, noise=LearnedNoise(0.02)), 8, held_out=True
    ),
    "generator, σ of all": Case(lambda: generator(noise=LearnedNoise(0.02)), 8),
    "generator under masks": Case(partial(generator, expansion=0.3), 8, masked=True),
    "descriptor": Case(descriptor, NUM),
    "descriptor, three chains an image": Case(partial(descriptor, chains_per_image=3), 8),
    "descriptor, persistent": Case(lambda: descriptor(chains=mcmc.PersistentChains()), 8),
    "descriptor, fitted": Case(partial(convergent, 100), 8),
    "descriptor, chains in turn": Case(partial(convergent, 17), 8),
    "latent prior": Case(latent_prior, 8, held_out=True),
    "cooperative": Case(cooperative, 8),
    "recovery": Case(recovery, 8),
}


class Learned(NamedTuple):
    """What one process has at the end, and the losses of all iterations."""

    weights: Tensor
    rows: tuple[dict[str, Tensor], dict[str, Tensor]]
    places: tuple[Tensor, Tensor]
    losses: list[float]


def learned(name: str, dtype: torch.dtype = torch.float64) -> Learned:
    """What this process learns in a case."""
    case = CASES[name]
    torch.manual_seed(0)
    learner = case.make()
    learner.model.to(dtype)
    images: Any = IMAGES.to(dtype)
    if case.masked:
        seen = torch.rand(NUM, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) > 0.3
        images = Observed(images, Mask(seen))
    held_out = KEPT_ASIDE.to(dtype) if case.held_out else None
    options = {"num_iterations": ITERATIONS, "batch_size": case.batch_size, "seed": 1, "held_out": held_out}
    losses = [record.loss for record in learn(learner, images, **options)]
    shards = Shard.both(NUM, HELD_OUT if case.held_out else 0, case.batch_size)
    weights = torch.cat([weight.detach().flatten() for weight in learner.model.parameters()])
    return Learned(weights, tensors_of_images(learner), (shards[0].places, shards[1].places), losses)


def difference(alone: Learned, parts: list[Learned]) -> float:
    """The largest difference of weights, relative to their norm, of losses, and of each image's rows, to one process.

    Every image must be in one process.
    """
    scale = alone.weights.norm()
    found = [float((part.weights - alone.weights).norm() / scale) for part in parts]
    found += [abs(a - b) / (1 + abs(a)) for part in parts for a, b in zip(part.losses, alone.losses, strict=True)]
    for kind in (0, 1):
        assert torch.cat([part.places[kind] for part in parts]).sort().values.equal(alone.places[kind])
        for name, rows in alone.rows[kind].items():
            for part in parts:
                own, num = part.rows[kind][name], len(alone.places[kind])
                each = max(len(rows) // max(num, 1), 1)
                places = part.places[kind]
                places = places[places < len(rows)] if len(rows) < num else places  # used in turn
                expected = rows.unflatten(0, (-1, each))[places] if len(places) else rows[:0]
                assert own.numel() == expected.numel(), name
                if len(places):
                    gap = own.double().view_as(expected) - expected.double()
                    found.append(float(gap.abs().max()))
    return max(found)


def main(out: Path, dtype: str, names: list[str], fault: list[str]) -> None:
    """Learns the cases in each process of torchrun, with a fault planted if one is given: where, old, new."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    with pytest.MonkeyPatch.context() as patch:
        if fault:
            where, old, new = fault
            plant(patch, where, {old: new})
        found = {name: tuple(learned(name, getattr(torch, dtype))) for name in names}
    torch.save(found, out / f"{ranks.rank()}.pt")
    ranks.leave()


if __name__ == "__main__":
    target, kind, chosen, *planted = sys.argv[1:]
    main(Path(target), kind, chosen.split(";"), planted)
    sys.stdout.flush()
    os._exit(0)  # without the destructors of threads that gloo has left
