"""Learning with MCMC against a variational auto-encoder, and the learned prior against N(0, I), on two sets.

A child process learns each model. The auto-encoder has the same decoder with the same initial weights, learns σ from
the same held-out images in the same way, and takes as many seconds as the generator; only its inference differs: an
encoder of the mirrored widths gives the mean and the standard deviation of q(z|Y), and decoder and encoder maximise
the evidence lower bound by Adam (Kingma and Welling 2014). It keeps the weights of its best bound on the held-out
images, and its learning rate is the better of two in held-out likelihood. All are then measured by the same functions:
annealed importance sampling, errors of reconstructions with z newly inferred by MCMC, precision, recall and KID of 512
samples against held-out images.

The sets are 2,000 drawn cats of 64 × 64 with 400 held out, and one class of CIFAR-10 (ANASYN_PHOTOGRAPHS) with 200 of
its 1,000 images held out.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timing
from timing import Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anasyn.data import ImageSet
    from anasyn.evaluation.likelihood import DrawPrior
    from anasyn.methods.latent import LatentSettings
    from anasyn.models import Generator, Images

SETS = {"drawn cats": 64, "CIFAR-10 cats": 32}  # sides in pixels
NUM_CATS, NUM_SAMPLES, NUM_INFERRED = 2000, 512, 64
RATES = (0.001, 0.003)  # of the auto-encoder
SECONDS = {"fast": 20.0, "full": 90.0}  # of annealed importance sampling, for each model


def rows(fast: bool, seeds: int, only: list[str], iterations: int | None) -> Iterator[Row]:
    for name in only or SETS:
        if name.startswith("CIFAR") and "ANASYN_PHOTOGRAPHS" not in os.environ:
            continue
        of_models: dict[str, list[dict[str, float]]] = {}
        rate = 0.0
        for seed in range(seeds):
            generator = child(name, "generator", seed, fast, iterations)
            seconds = generator["seconds"]
            if not rate:
                tried = {each: child(name, "vae", seed, fast, None, seconds, each) for each in RATES}
                rate = max(tried, key=lambda each: tried[each]["log_likelihood"])
                vae = tried[rate]
                yield Row(f"{name}: learning rate of the auto-encoder", rate)
            else:
                vae = child(name, "vae", seed, fast, None, seconds, rate)
            prior = child(name, "latent-prior", seed, fast, iterations)
            for model, figures in {"generator": generator, "vae": vae, "latent-prior": prior}.items():
                of_models.setdefault(model, []).append(figures)
                for measure, figure in figures.items():
                    yield Row(f"{name}, {model}, seed {seed}: {measure}", figure)
        for model, of_seeds in of_models.items():
            for measure in of_seeds[0]:
                median = statistics.median(each[measure] for each in of_seeds)
                yield Row(f"{name}, {model}, median of {len(of_seeds)}: {measure}", median)
        yield from compared(name, of_models)


def compared(name: str, of_models: dict[str, list[dict[str, float]]]) -> Iterator[Row]:
    """The rows with targets: medians over the seeds of differences and ratios."""

    def median(measure: str, model: str, other: str, how: Any) -> float:
        pairs = zip(of_models[model], of_models[other], strict=True)
        return statistics.median(how(a[measure], b[measure]) for a, b in pairs)

    def both(figures: dict[str, float]) -> float:
        return figures["precision"] + figures["recall"]

    more = median("log_likelihood", "generator", "vae", lambda a, b: a - b)
    yield Row(f"{name}: nats by which the generator is better than the auto-encoder", more, "≥ 200")
    ratio = median("held_out_mse", "generator", "vae", lambda a, b: a / b)
    yield Row(f"{name}: held-out MSE, generator / auto-encoder", ratio, "≤ 0.9")
    sums = [both(a) - both(b) for a, b in zip(of_models["generator"], of_models["vae"], strict=True)]
    yield Row(f"{name}: precision + recall, generator − auto-encoder", statistics.median(sums), "≥ 0")
    ratio = median("kid", "latent-prior", "generator", lambda a, b: a / b)
    yield Row(f"{name}: KID, latent-prior / generator", ratio, "≤ 0.8")


def child(
    name: str, model: str, seed: int, fast: bool, iterations: int | None, seconds: float = 0, rate: float = 0
) -> dict[str, float]:
    """The figures of one model, learned and measured in a new process."""
    arguments = [__file__, "--child", name, model, str(seed), str(int(fast)), str(iterations or 0), str(seconds)]
    output, _, _ = timing.child([*arguments, str(rate)])
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def images_of(name: str) -> "ImageSet":
    from anasyn.data import ImageSet, draw_cats, drawn_factors
    from anasyn.data.sources import load

    if name == "drawn cats":
        return ImageSet(tuple(map(str, range(NUM_CATS))), draw_cats(drawn_factors(NUM_CATS), SETS[name]))
    return load(str(Path(os.environ["ANASYN_PHOTOGRAPHS"], "cifar10", "cat")), (SETS[name], SETS[name]))


def learn(
    name: str, model: str, seed: int, fast: bool, iterations: int, seconds: float, rate: float
) -> dict[str, float]:
    """Learns a model from a set, and measures it on the held-out images."""
    import torch

    from anasyn.data import spread
    from anasyn.learning.driver import learn
    from anasyn.methods import METHODS, Scale
    from anasyn.methods.build import build_learner
    from anasyn.rng import derive
    from anasyn.run import has_bfloat16

    cpu = torch.device("cpu")
    images = images_of(name)
    method = next(each for each in METHODS if each.name == (model if model != "vae" else "generator"))
    open_settings = method.settings(
        data=name, hold_out=0.2, size=SETS[name], seed=seed, iterations=20 if fast else iterations or None
    )
    settings: Any = open_settings.resolve(Scale(len(images), SETS[name], has_bfloat16(cpu), spread=spread(images)))
    training, held_out = (part.pixels for part in images.split(settings.num_held_out(len(images))))
    learner: Any = build_learner(method, settings, cpu)
    began = time.perf_counter()
    if model == "vae":
        learn_vae(learner.model, settings, training, held_out, seconds=seconds, rate=rate)
    else:
        options = {"num_iterations": settings.iterations, "seed": seed, "batch_size": settings.batch_size}
        for _ in learn(learner, training, held_out=held_out, **options):
            pass
    taken = time.perf_counter() - began
    learner.model.precision = "float32"
    rng = derive(seed, "benchmark samples")
    samples = torch.cat([method.sample(learner, 64, lambda: images, rng) for _ in range(NUM_SAMPLES // 64)])
    draw_prior = partial(method.draw_prior, learner) if method.draw_prior else None
    figures = measure(learner.model, samples, training, held_out, SECONDS["fast" if fast else "full"], draw_prior)
    return {"seconds": taken, "sigma": float(learner.model.sigma)} | figures


def measure(
    model: "Generator",
    samples: "Tensor",
    training: "Tensor",
    held_out: "Tensor",
    seconds: float,
    draw_prior: "DrawPrior | None",
) -> dict[str, float]:
    """The measures of a model's likelihood and of its samples."""
    from anasyn.data import to_uint8
    from anasyn.evaluation import evaluate_likelihood, evenly
    from anasyn.evaluation.evaluate import against, evaluate_inference

    found = against(to_uint8(samples), "samples", training, held_out, 0)
    few = (images[evenly(len(images), NUM_INFERRED)] for images in (training, held_out))
    found |= evaluate_inference(model, *few, seed=0)
    found |= evaluate_likelihood(model, held_out, "held-out images", seed=0, seconds=seconds, draw_prior=draw_prior)
    names = ("log_likelihood", "log_likelihood_bracket", "bits_per_dimension", "held_out_mse", "training_mse",
             "z_mean_square", "saturated_share", "coverage_mse", "nearest_training_mse")  # fmt: skip
    figures = {name: found[name]["value"] for name in names}
    of_samples = ("precision", "recall", "density", "neighbourhood_coverage", "kid", "swd")
    figures |= {each: found[f"held_out_{each}"]["value"] for each in of_samples}
    return figures | {"kid_standard_error": found["held_out_kid"]["standard_error"]}


def learn_vae(
    decoder: "Generator",
    settings: "LatentSettings",
    training: "Images",
    held_out: "Images",
    *,
    seconds: float,
    rate: float,
) -> "Callable[[Images], Tensor]":
    """Maximises the evidence lower bound for so many seconds; σ² is the mean squared residual of held-out images.

    The decoder is left with the weights of the best mean bound over a pass of the held-out images; returned is its
    encoder's mean of q(z|Y). Where not all of an image is seen, the likelihood is that of what is seen, and the encoder
    sees the mask as one more channel.
    """
    import torch

    from anasyn.learning import LearnedNoise, Shard, batches
    from anasyn.models import floats, observed
    from anasyn.rng import derive, standard_normal

    encoder = encoder_of(decoder, with_mask(floats(training[:1])).shape[1:], settings)
    optimizer = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=rate)
    noise = LearnedNoise(settings.sigma_floor)
    noise.allocate(len(held_out), decoder, observed(floats(held_out[:1])).values)
    assert settings.batch_size is not None
    order = batches(Shard.own(len(training), settings.batch_size), settings.seed)
    parts = math.ceil(len(training) / settings.batch_size)
    validation = itertools.cycle(torch.arange(len(held_out)).tensor_split(parts))
    rng = derive(settings.seed, "auto-encoder")

    def encode(images: "Images") -> "tuple[Tensor, Tensor]":
        """The mean and the log standard deviation of q(z|Y)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=decoder.precision == "bfloat16"):
            mean, log_std = encoder(with_mask(images)).float().chunk(2, 1)
        return mean, log_std

    def minus_bound(images: "Images") -> "tuple[Tensor, Tensor]":
        """KL(q ‖ N(0, I)) − E_q log p(Y|z) of each image by one draw, and this z."""
        mean, log_std = encode(images)
        z = mean + log_std.exp() * standard_normal(mean, rng)
        divergence = (0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std).sum(1)
        return divergence - decoder.log_likelihood(z, images), z

    bounds: list[float] = []
    networks = (decoder, encoder)
    best, kept = math.inf, [network.state_dict() for network in networks]
    began = time.perf_counter()
    while (progress := (time.perf_counter() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - progress)
        bound, _ = minus_bound(floats(training[next(order)]))
        optimizer.zero_grad()
        bound.mean().backward()
        optimizer.step()
        index = next(validation)
        with torch.no_grad():
            images = floats(held_out[index])
            bound, z = minus_bound(images)
            noise.keep(index, images, decoder.squares(z, images))
            noise.update(decoder)
        bounds = [*bounds, bound.mean().item()][-parts:]
        if len(bounds) == parts and statistics.fmean(bounds) < best:
            best = statistics.fmean(bounds)
            kept = [{key: tensor.clone() for key, tensor in each.state_dict().items()} for each in networks]
    for network, state in zip(networks, kept, strict=True):
        network.load_state_dict(state)
    return lambda images: encode(images)[0]


def with_mask(images: "Images") -> "Tensor":
    """Images, (n, c, H, W), or what is seen of them and the mask, (n, c + 1, H, W)."""
    import torch

    from anasyn.models import Observed

    if not isinstance(images, Observed):
        return images
    assert images.observation.seen is not None
    return torch.cat([images.values, images.observation.seen.to(images.values.dtype)], 1)


def encoder_of(decoder: "Generator", shape: "torch.Size", settings: "LatentSettings") -> "torch.nn.Sequential":
    """Convolutions that mirror the decoder's, to the mean and the log standard deviation of q(z|Y)."""
    from torch import nn

    assert settings.width is not None
    channels, height, width = shape
    doublings = 4
    widths = [settings.width >> (doublings - 1 - depth) for depth in range(doublings)]
    layers: list[nn.Module] = []
    for narrow, wider in zip([channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(narrow, wider, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    features = widths[-1] * (height >> doublings) * (width >> doublings)
    last = nn.Linear(features, 2 * decoder.latent_dim)
    nn.init.zeros_(last.weight)  # q(z|Y) begins as the prior
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, nn.Flatten(), last)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, model, seed, fast, iterations, seconds, rate = sys.argv[2:]
        result = learn(name, model, int(seed), bool(int(fast)), int(iterations), float(seconds), float(rate))
        print(json.dumps(result))
    else:
        options = argparse.ArgumentParser(add_help=False)
        options.add_argument("--seeds", type=int, default=5)
        options.add_argument("--set", action="append", choices=SETS, default=[], dest="only")
        options.add_argument("--iterations", type=int, help="of the generator and latent-prior")
        known, rest = options.parse_known_args()
        sys.argv[1:] = rest
        timing.main("vae", lambda fast: rows(fast, 1 if fast else known.seeds, known.only, known.iterations), __doc__)
