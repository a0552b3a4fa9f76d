"""The figures of a run for papers: column widths, labelled axes, text stored as text; PDF, SVG or PNG."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..evaluation import evenly
from ..learning import Learner
from ..methods import Latents, Synthesis
from ..methods.synthesis import synthesize
from ..rng import derive
from ..run import Run
from . import figures
from .figures.curves import METRICS, Record
from .figures.style import STYLE
from .film import film, frame_steps
from .plane import drawable, latent_plane, panel

__all__ = ["Format", "write"]

Format = Literal["pdf", "png", "svg"]

COLUMN, PAGE = 3.4, 7.0  # inches
DPI = 300
SHOWN = 22  # images of a large data set
PAPER_STYLE = STYLE | {
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
        run: a run with a checkpoint.
        form: the format, which is also the suffix of the files.
        folder: the directory to write to; RUN/paper if None.

    Raises:
        InputError: nothing has been learned yet, or the run's images are missing or have changed.
    """
    learner, images = run.learned(), run.images()
    folder = folder or run.path / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(PAPER_STYLE):
        for name, width, draw in _figures(run, learner, images):
            figure = Figure(figsize=(width, width), dpi=DPI, layout="constrained")
            ax = figure.add_subplot()
            draw(ax)
            # A mosaic keeps its proportions, so the figure is cropped to what is drawn.
            path = folder / f"{name}.{form}"
            figures.save(figure, path, bbox_inches="tight", pad_inches=0)
            paths.append(path)
    return paths


def _figures(run: Run, learner: Learner, images: ImageSet) -> Iterator[tuple[str, float, Draw]]:
    """The name, the width in inches and the drawing of each figure."""
    index = evenly(len(images), SHOWN)
    yield "training", PAGE, lambda ax: figures.draw_grid(ax, images.take(index), min(len(index), 11))
    records = run.metrics()
    for name, (label, log) in METRICS.items():
        if any(record.get(name) is not None for record in records):
            yield name, COLUMN, _curve(records, name, label, log)
    if run.method.infer:
        latents = run.method.infer(learner)
        rng = derive(run.settings.seed, "figures", device=latents.z.device)
        samples = to_uint8(run.method.sample(learner, 33, lambda: images, rng))
        yield from _of_inference(latents, samples, images, run.settings.in_order)
    if run.method.synthesise:
        yield from _of_synthesis(run.method.synthesise(learner), images, run.settings.seed)
    if run.method.revise:
        rng = derive(run.settings.seed, "figures", device=next(learner.model.parameters()).device)
        pairs = dict(
            zip(("proposal", "revision"), map(to_uint8, run.method.revise(learner, 22, None, rng)), strict=True)
        )
        yield "revisions", PAGE, lambda ax: figures.draw_rows(ax, pairs, 11)


def _curve(records: Sequence[Record], name: str, label: str, log: bool) -> Draw:
    def draw(ax: Axes) -> None:
        figures.draw_curves(ax, records, name, log=log)
        figures.draw_events(ax, records)
        ax.set(xlabel="iteration", ylabel=label)
        ax.set_box_aspect(0.62)

    return draw


def _of_inference(
    latents: Latents, samples: Tensor, images: ImageSet, in_order: bool
) -> Iterator[tuple[str, float, Draw]]:
    (model, z), images = drawable(latents, images)
    index = evenly(len(images), SHOWN)
    with torch.no_grad():
        reconstructions = to_uint8(model(z[index.to(z.device)]))
    pairs = {"image": images.take(index), "f(z)": reconstructions}
    yield "reconstructions", PAGE, lambda ax: figures.draw_rows(ax, pairs, 11)
    yield "samples", PAGE, lambda ax: figures.draw_grid(ax, samples, 11)
    if z.shape[1] < 2:
        return
    plane = latent_plane(z)
    shown = to_uint8(panel(model, plane, 8, -2, 2))
    yield "interpolation", COLUMN, lambda ax: figures.draw_panel(ax, shown, -2, 2, 8, plane.names)
    coordinates = plane.coordinates(z).cpu()
    yield "latents", COLUMN, lambda ax: figures.draw_latents(ax, coordinates, images.pixels, plane.names, images.labels)
    if in_order:
        yield "path", COLUMN, lambda ax: figures.draw_path(ax, coordinates, images.pixels, plane.names)


def _of_synthesis(synthesis: Synthesis, images: ImageSet, seed: int) -> Iterator[tuple[str, float, Draw]]:
    """The chains over time, and their energies; if each belongs to an image, also their ends beside the images."""
    if not synthesis.proposed:
        device = next(synthesis.model.parameters()).device
        chosen = evenly(len(images), 20)
        observed = to_float(images.take(chosen).to(device))
        made = synthesize(synthesis, chosen.to(device), observed, rng=derive(seed, "figures", device=device))
        starts, synthesized = map(to_uint8, made)
        rows = {"start": starts, "synthesis": synthesized, "training": images.take(chosen)}
        yield "synthesis", PAGE, lambda ax: figures.draw_rows(ax, rows, 10)

    watched = film(synthesis, images, seed, most=6)
    kept = frame_steps(len(watched.steps) - 1, 10)

    def strip(ax: Axes) -> None:
        figures.draw_strip(ax, to_uint8(watched.frames[kept]), [watched.steps[k] for k in kept])
        ax.set_xlabel("transitions")
        ax.xaxis.set_label_position("top")
        ax.set_ylabel("chains")

    yield "chains", PAGE, strip

    def energies(ax: Axes) -> None:
        figures.draw_energies(ax, watched.steps, watched.energy)
        ax.set(xlabel="transitions", ylabel="energy E(Y)")
        ax.set_box_aspect(0.62)

    yield "energy", COLUMN, energies
