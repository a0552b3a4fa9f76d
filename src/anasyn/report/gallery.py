"""The figures of a run, drawn from what it learned into RUN/figures."""

from pathlib import Path

import torch

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import DescriptorLearner, GeneratorLearner
from ..rng import derive
from ..run import Run, latent_plane, panel, synthesize, trajectory
from ..run.sampling import Plane
from . import figures
from .film import num_frames

__all__ = ["interpolate", "write"]

SHOWN = 40
"""Images of a large data set that its figures show."""

FRAMES = 10
"""That a film strip has room for, after the start."""


def write(run: Run, learner: GeneratorLearner | DescriptorLearner, images: ImageSet) -> list[Path]:
    """Draws every figure of a run and returns their paths; of a generator also saves the inferred z.

    Args:
        run: where to.
        learner: what was learned.
        images: the run's own.
    """
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    drawn = {
        "training.png": figures.training_figure(images.pixels),
        "loss.png": figures.loss_figure(run.metrics()),
    }
    if isinstance(learner, GeneratorLearner):
        run.save_latents(learner.chains.positions)
        drawn |= _generator_figures(learner, images, run.recipe.seed)
    else:
        drawn |= _descriptor_figures(learner, images, run.recipe.seed)
    for name, figure in drawn.items():
        figures.save(figure, folder / name)
    return [folder / name for name in drawn]


def interpolate(run: Run, points: int, low: float, high: float, axes: tuple[int, int] | None = None) -> Path:
    """Draws the panel of f(z) over a plane of z into RUN/figures/interpolation.png.

    Args:
        run: of a generator.
        points: images a side.
        low, high: what each coordinate runs over.
        axes: the coordinates of z, from 1; where None, see `latent_plane`.

    Raises:
        InputError: there are no such coordinates, or z has only one.
    """
    learner = run.learned()
    assert isinstance(learner, GeneratorLearner)
    path = run.path / "figures" / "interpolation.png"
    path.parent.mkdir(exist_ok=True)
    plane = latent_plane(learner.chains.positions, axes)
    figures.save(_interpolation(learner, plane, points, low, high), path)
    return path


def _generator_figures(learner: GeneratorLearner, images: ImageSet, seed: int) -> dict[str, figures.Figure]:
    z = learner.chains.positions
    rng = derive(seed, "figures", device=z.device)
    with torch.no_grad():
        reconstructions = torch.cat([to_uint8(learner.model(part)).cpu() for part in z.split(256)])
    drawn = {
        "reconstructions.png": figures.reconstructions_figure(images.pixels, reconstructions),
        "samples.png": figures.samples_figure(to_uint8(learner.model.sample(64, rng=rng)).cpu()),
    }
    if z.shape[1] > 1:
        plane = latent_plane(z)
        drawn["interpolation.png"] = _interpolation(learner, plane, 8, -2, 2)
        drawn["latents.png"] = figures.latents_figure(plane.coordinates(z).cpu(), images.pixels, plane.names)
    return drawn


def _interpolation(learner: GeneratorLearner, plane: Plane, points: int, low: float, high: float) -> figures.Figure:
    shown = to_uint8(panel(learner.model, plane, points, low, high)).cpu()
    return figures.interpolation_figure(shown, low, high, points, plane.names)


def _descriptor_figures(learner: DescriptorLearner, images: ImageSet, seed: int) -> dict[str, figures.Figure]:
    device = next(learner.model.parameters()).device
    rng = derive(seed, "figures", device=device)
    chosen = evenly(len(images), SHOWN)
    index, observed = chosen.to(device), to_float(images.pixels[chosen].to(device))
    starts, synthesized = synthesize(learner, index, observed, rng=rng)
    count = num_frames(learner.num_steps, FRAMES)
    frames = trajectory(learner, index[:8], observed[:8], num_frames=count, rng=rng)
    steps = list(range(0, learner.num_steps + 1, learner.num_steps // count))
    return {
        "synthesis.png": figures.synthesis_figure(
            to_uint8(starts).cpu(), to_uint8(synthesized).cpu(), to_uint8(observed).cpu()
        ),
        "chains.png": figures.strip_figure(to_uint8(frames).cpu(), steps),
    }
