"""Whether samples are of the class asked for: conditional recovery of the ten classes of CIFAR-10.

A linear classifier on random features learns from four fifths of the photographs, and names the rest, and samples of
each class. Of samples that are distributed as the photographs, it would name as many as of the photographs that it has
not learned from: their share is printed first. Without the photographs (ANASYN_PHOTOGRAPHS, with cifar10/CLASS) the
classes are drawn cats and egrets, and no target applies. ``--iterations`` bounds the learning, ``--size`` the sides of
the images.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import timing
from timing import Row

if TYPE_CHECKING:
    from torch import Tensor

    from anasyn.data import ImageSet

NUM_SAMPLES = 50  # of a class
WEIGHT_DECAY = 1e-3  # of the classifier


def rows(fast: bool, iterations: int | None, size: int) -> Iterator[Row]:
    import torch

    from anasyn.data import to_uint8
    from anasyn.evaluation.features import RandomFeatures, features
    from anasyn.learning.driver import learn
    from anasyn.methods import RecoverySettings, Scale
    from anasyn.methods.build import build_learner
    from anasyn.methods.recovery import RECOVERY
    from anasyn.rng import derive
    from anasyn.run import has_bfloat16

    cpu = torch.device("cpu")
    which, images = pictures(size)
    target = "≥ 60" if which == "CIFAR-10" and not fast else ""
    names = sorted(set(images.labels or ()))
    labels = torch.tensor([names.index(label) for label in images.labels or ()])
    network = RandomFeatures(size, size)
    seen = features(network, images.pixels)
    rest = torch.arange(len(labels)) % 5 == 0
    classify = classifier(seen[~rest], labels[~rest])
    yield Row(f"{which}: photographs that the classifier names, %", share(classify(seen[rest]), labels[rest]))

    settings = RecoverySettings(size=size, conditional="on", iterations=5 if fast else iterations)
    settings = settings.resolve(Scale(len(images), size, has_bfloat16(cpu)))
    settings = dataclasses.replace(settings, data=which)
    began = time.time()
    learner = build_learner(RECOVERY, settings, cpu, images.labels)
    assert settings.iterations is not None
    for _ in learn(learner, images.pixels, num_iterations=settings.iterations, batch_size=settings.batch_size):
        pass
    yield Row(f"{which}: seconds of {settings.iterations} iterations", time.time() - began)
    assert RECOVERY.classes
    classes = RECOVERY.classes(learner)
    assert classes
    shares = []
    for k, name in enumerate(classes.names):
        samples = classes.sample(torch.full((8 if fast else NUM_SAMPLES,), k), derive(k, "benchmark"))
        found = classify(features(network, to_uint8(samples)))
        shares.append(share(found, torch.full_like(found, k)))
        yield Row(f"{which}: samples of {name} that the classifier names, %", shares[-1])
    yield Row(
        f"{which}: samples that the classifier names, mean over the classes, %", sum(shares) / len(shares), target
    )


def pictures(size: int) -> "tuple[str, ImageSet]":
    """The name of the set, and the images with their classes."""
    import torch

    from anasyn.data import ImageSet, read_folder
    from anasyn.data.sources import load

    folder = Path(os.environ.get("ANASYN_PHOTOGRAPHS", "nowhere"), "cifar10")
    if folder.is_dir():
        return "CIFAR-10", read_folder(folder, size)
    sets = {name: load(f"drawn-{name}", size) for name in ("cats", "egrets")}
    pixels = torch.cat([images.pixels for images in sets.values()])
    labels = tuple(name for name, images in sets.items() for _ in images.names)
    return "drawn", ImageSet(tuple(name for images in sets.values() for name in images.names), pixels, labels=labels)


def classifier(seen: "Tensor", labels: "Tensor") -> "Callable[[Tensor], Tensor]":
    """Features (n, k) → the likeliest class, (n,), by a logistic regression on these features."""
    import torch
    from torch.nn import functional

    mean, std = seen.mean(0), seen.std(0) + 1e-6
    linear = torch.nn.Linear(seen.shape[1], int(labels.max()) + 1)
    for parameter in linear.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")
    standardised = (seen - mean) / std

    def loss() -> "Tensor":
        optimizer.zero_grad()
        total = functional.cross_entropy(linear(standardised), labels) + WEIGHT_DECAY * linear.weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return lambda others: linear((others - mean) / std).argmax(1)


def share(found: "Tensor", asked: "Tensor") -> float:
    """Per cent."""
    return 100 * (found == asked).double().mean().item()


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--iterations", type=int)
    options.add_argument("--size", type=int, default=32)
    known, sys.argv[1:] = options.parse_known_args()
    timing.main("classes", lambda fast: rows(fast, known.iterations, known.size), __doc__)
