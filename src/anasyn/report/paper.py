"""The figures of a run for paper: column widths, labelled axes, letters as letters; PDF, SVG or PNG."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import DescriptorLearner, GeneratorLearner
from ..rng import derive
from ..run import Run, latent_plane, panel, synthesize
from . import figures
from .film import film, num_frames

__all__ = ["Format", "write"]

Format = Literal["pdf", "png", "svg"]

COLUMN, PAGE = 3.4, 7.0  # inches
DPI = 300
SHOWN = 22  # images of a large set
STYLE = figures.STYLE | {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "figure.dpi": DPI,
}

Draw = Callable[[Axes], None]


def write(run: Run, form: Format, folder: Path | None = None) -> list[Path]:
    """Writes each figure of a run at publication size, and returns their paths.

    Args:
        run: of which something is learned.
        form: the format, which is the files' suffix too.
        folder: where to; RUN/paper where None.

    Raises:
        InputError: nothing is learned yet, or the run's images are gone or have changed.
    """
    learner, images = run.learned(), run.images()
    folder = folder or run.path / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(STYLE):
        for name, width, draw in _figures(run, learner, images):
            figure = Figure(figsize=(width, width), dpi=DPI, layout="constrained")
            ax = figure.add_subplot()
            draw(ax)
            # A mosaic keeps its proportions, and the paper is cut to what is drawn.
            path = folder / f"{name}.{form}"
            figures.save(figure, path, bbox_inches="tight", pad_inches=0)
            paths.append(path)
    return paths


def _figures(
    run: Run, learner: GeneratorLearner | DescriptorLearner, images: ImageSet
) -> Iterator[tuple[str, float, Draw]]:
    """The name, the width in inches and the drawing of each figure."""
    index = evenly(len(images), SHOWN)
    yield "training", PAGE, lambda ax: figures.draw_grid(ax, images.pixels[index], min(len(index), 11))
    records = run.metrics()
    measures = {
        "loss": ("loss", True),
        "mse": ("mean squared error per pixel", True),
        "energy_gap": ("$d_t$", False),
        "acceptance_rate": ("acceptance rate", False),
        "step_size": ("step size δ", True),
    }
    for name, (label, log) in measures.items():
        if any(record.get(name) is not None for record in records):
            yield name, COLUMN, _curve(records, name, label, log)
    if isinstance(learner, GeneratorLearner):
        yield from _of_generator(learner, images, run.recipe.seed)
    else:
        yield from _of_descriptor(learner, images, run.recipe.seed)


def _curve(records: Sequence[figures.Record], name: str, label: str, log: bool) -> Draw:
    def draw(ax: Axes) -> None:
        figures.draw_curves(ax, records, name, log=log, label=" ")
        figures.draw_events(ax, records)
        ax.set_title("")
        ax.set(xlabel="iteration", ylabel=label)
        ax.set_box_aspect(0.62)

    return draw


def _of_generator(learner: GeneratorLearner, images: ImageSet, seed: int) -> Iterator[tuple[str, float, Draw]]:
    z = learner.chains.positions
    index = evenly(len(images), SHOWN)
    with torch.no_grad():
        reconstructions = to_uint8(learner.model(z[index.to(z.device)])).cpu()
    yield "reconstructions", PAGE, lambda ax: figures.draw_reconstructions(ax, images.pixels[index], reconstructions)
    samples = to_uint8(learner.model.sample(33, rng=derive(seed, "figures", device=z.device))).cpu()
    yield "samples", PAGE, lambda ax: figures.draw_grid(ax, samples, 11)
    if z.shape[1] < 2:
        return
    plane = latent_plane(z)
    shown = to_uint8(panel(learner.model, plane, 8, -2, 2)).cpu()

    def draw(ax: Axes) -> None:
        figures.draw_panel(ax, shown, -2, 2, 8, plane.names)
        ax.set_box_aspect(1)

    yield "interpolation", COLUMN, draw
    coordinates = plane.coordinates(z).cpu()
    yield "latents", COLUMN, lambda ax: figures.draw_latents(ax, coordinates, images.pixels, plane.names)


def _of_descriptor(learner: DescriptorLearner, images: ImageSet, seed: int) -> Iterator[tuple[str, float, Draw]]:
    device = next(learner.model.parameters()).device
    chosen = evenly(len(images), 20)
    observed = to_float(images.pixels[chosen].to(device))
    made = synthesize(learner, chosen.to(device), observed, rng=derive(seed, "figures", device=device))
    starts, synthesized = (to_uint8(each).cpu() for each in made)
    yield "synthesis", PAGE, lambda ax: figures.draw_synthesis(ax, starts, synthesized, images.pixels[chosen])

    watched = film(learner, images, seed, most=6)
    stride = (len(watched.steps) - 1) // num_frames(len(watched.steps) - 1, 10) if len(watched.steps) > 1 else 1
    frames, steps = to_uint8(watched.frames[::stride]), watched.steps[::stride]

    def strip(ax: Axes) -> None:
        figures.draw_strip(ax, frames, steps)
        ax.set_xlabel("transitions")
        ax.xaxis.set_label_position("top")
        ax.set_ylabel("chains")

    yield "chains", PAGE, strip

    def energies(ax: Axes) -> None:
        figures.draw_energies(ax, watched.steps, watched.energy)
        ax.set(xlabel="transitions", ylabel="energy E(Y)")
        ax.set_box_aspect(0.62)

    yield "energy", COLUMN, energies
