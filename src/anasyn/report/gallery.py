"""The figures of a run, drawn into RUN/figures."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import Learner
from ..methods import Classes, Latents, Synthesis
from ..methods.synthesis import synthesize, trajectory
from ..models import Generator
from ..rng import derive
from ..run import Run
from . import figures
from .film import frame_steps
from .plane import Subspace, drawable, few_of, latent_plane, panel

__all__ = ["interpolate", "write"]

SHOWN = 40  # images of a large data set
FRAMES = 10  # of a film strip, without the start
PAIRS = 33  # of proposals and revisions
SAMPLED_CLASSES, SAMPLES_OF_A_CLASS = 20, 10


def write(run: Run, learner: Learner, images: ImageSet) -> list[Path]:
    """Draws every figure of a run and returns their paths; if the method infers z, also saves the inferred z.

    Args:
        run: the run whose directory the figures are written to.
        learner: the run's learner at its last iteration.
        images: the run's training images.
    """
    folder, method, seed = run.path / "figures", run.method, run.settings.seed
    folder.mkdir(exist_ok=True)
    device = next(learner.model.parameters()).device
    shown = images.only(few_of(len(images)).tolist())
    drawn = {
        "training.png": figures.grid_figure(shown.pixels, "training images"),
        "loss.png": figures.loss_figure(run.metrics()),
    }
    if shown.labels:
        drawn["classes.png"] = figures.class_grid_figure(shown.pixels, shown.labels, "training images by class")
    if method.infer:
        latents = method.infer(learner)
        run.save_latents(latents.z)
        samples = method.sample(learner, 64, lambda: images, derive(seed, "figures", device=device))
        drawn |= _inference_figures(*drawable(latents, images), samples, run.settings.in_order)
    if method.synthesise:
        drawn |= _synthesis_figures(method.synthesise(learner), images, seed)
    if method.revise:
        pairs = method.revise(learner, PAIRS, None, derive(seed, "figures", device=device))
        drawn["revisions.png"] = figures.revisions_figure(*map(to_uint8, pairs))
    if not (method.infer or method.synthesise):
        rng = derive(seed, "figures", device=device)
        if classes := method.classes and method.classes(learner):
            drawn["samples.png"] = _samples_by_class(classes, rng)
        else:
            samples = to_uint8(method.sample(learner, 64, lambda: images, rng))
            drawn["samples.png"] = figures.grid_figure(samples, "samples")
    for name, figure in drawn.items():
        figures.save(figure, folder / name)
    return [folder / name for name in drawn]


def interpolate(run: Run, points: int, low: float, high: float, axes: tuple[int, int] | None = None) -> Path:
    """Draws the panel of f(z) over a plane of z into RUN/figures/interpolation.png, and returns its path.

    Args:
        run: a run of a method that infers z.
        points: the number of images along each side.
        low, high: the range of each coordinate.
        axes: two coordinates of z, counted from 1; if None, see `latent_plane`.

    Raises:
        InputError: the method does not infer z, or z does not have these coordinates, or has only one.
    """
    latents = run.latents_of(run.learned())
    path = run.path / "figures" / "interpolation.png"
    path.parent.mkdir(exist_ok=True)
    plane = latent_plane(latents.z, axes)
    figures.save(_interpolation(latents.model, plane, points, low, high), path)
    return path


def _samples_by_class(classes: Classes, rng: torch.Generator) -> Figure:
    """A row of samples for each class, or for the first of many."""
    names = classes.names[:SAMPLED_CLASSES]
    labels = torch.arange(len(names), device=rng.device).repeat_interleave(SAMPLES_OF_A_CLASS)
    few = f", {len(names)} of {len(classes.names):,} classes" if len(names) < len(classes.names) else ""
    samples = to_uint8(classes.sample(labels, rng))
    return figures.class_grid_figure(samples, [names[k] for k in labels.tolist()], f"samples by class{few}")


def _inference_figures(latents: Latents, images: ImageSet, samples: Tensor, in_order: bool) -> dict[str, Figure]:
    model, z = latents
    with torch.no_grad():
        reconstructions = torch.cat([to_uint8(model(part)).cpu() for part in z.split(256)])
    drawn = {
        "reconstructions.png": figures.reconstructions_figure(images.pixels, reconstructions),
        "samples.png": figures.grid_figure(to_uint8(samples), "samples"),
    }
    if z.shape[1] > 1:
        plane = latent_plane(z)
        drawn["interpolation.png"] = _interpolation(model, plane, 8, -2, 2)
        coordinates = plane.coordinates(z).cpu()
        drawn["latents.png"] = figures.latents_figure(coordinates, images.pixels, plane.names, images.labels)
        if in_order:
            drawn["path.png"] = figures.path_figure(coordinates, images.pixels, plane.names)
    return drawn


def _interpolation(model: Generator, plane: Subspace, points: int, low: float, high: float) -> Figure:
    return figures.interpolation_figure(
        to_uint8(panel(model, plane, points, low, high)), low, high, points, plane.names
    )


def _synthesis_figures(synthesis: Synthesis, images: ImageSet, seed: int) -> dict[str, Figure]:
    """The chains as a film strip; if each belongs to an image, also their ends beside the images."""
    device = next(synthesis.model.parameters()).device
    rng = derive(seed, "figures", device=device)
    chosen = evenly(len(images), SHOWN)
    index, observed = chosen.to(device), to_float(images.take(chosen).to(device))
    drawn = {}
    if not synthesis.proposed:
        starts, synthesized = map(to_uint8, synthesize(synthesis, index, observed, rng=rng))
        drawn["synthesis.png"] = figures.synthesis_figure(starts, synthesized, images.take(chosen))
    steps = frame_steps(synthesis.num_steps, FRAMES)
    frames = trajectory(synthesis, index[:8], observed[:8], num_frames=len(steps) - 1, rng=rng)
    return drawn | {"chains.png": figures.strip_figure(to_uint8(frames), steps)}
