"""The commands that use an existing run."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..methods.settings import height_and_width, parse_size
from .console import images_of, natural, positive, require_empty

if TYPE_CHECKING:
    from ..run import Run

__all__ = ["add"]

MAX_Z = 100  # in an interpolation; z ~ N(0, I)
MAX_POINTS = 64  # on a side of it
SAMPLED_SIDES = range(16, 4097)  # pixels, of images of any size


def add(commands: Any) -> None:
    """Adds the commands to the program's commands."""

    def command(name: str, function: Any, summary: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        sub.set_defaults(command=function)
        return sub

    def of_run(name: str, function: Any, summary: str) -> argparse.ArgumentParser:
        sub = command(name, function, summary)
        sub.add_argument("run", metavar="RUN", type=Path, help="directory of a learning run")
        return sub

    sampling = of_run("sample", sample, "images from a learned model, as PNG files and one grid")
    sampling.add_argument("--num", type=positive, required=True, metavar="N", help="number of images")
    sampling.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the random numbers (0)")
    revision = "MCMC transitions by which a descriptor revises the generator's images; 0 for none (as in learning)"
    sampling.add_argument("--revise", type=natural, metavar="L", help=revision)
    named = "class of the images, of a run that was learned with --conditional (as in the data, at random)"
    sampling.add_argument("--class", dest="of_class", metavar="NAME", help=named)
    filmed = "one film instead, f(z) along a smooth path of z: through the frames' z, or closed and at random"
    sampling.add_argument("--film", action="store_true", help=filmed)
    larger = "height x width in pixels, as in 512x768, of a texture (as in learning)"
    sampling.add_argument("--size", type=any_size, metavar="SIZE", help=larger)
    tileable = "a texture that continues across its borders, to be laid side by side"
    sampling.add_argument("--periodic", action="store_true", help=tileable)
    sampling.add_argument("--out", type=Path, metavar="DIR", help="directory to write to (RUN/samples)")

    reconstructing = of_run("reconstruct", reconstruct, "infer z afresh by MCMC; prints the error as JSON")
    reconstructing.add_argument("--data", metavar="DIR", help="other images than the run's own")
    reconstructing.add_argument("--out", type=Path, metavar="DIR", help="directory for reconstructions as PNG files")

    interpolating = of_run("interpolate", interpolate, "the panel of f(z) over a square of z")
    interpolating.add_argument("--points", type=positive, default=8, metavar="N", help="points on a side (8)")
    interpolating.add_argument("--low", type=float, default=-2.0, metavar="Z", help="(-2)")
    interpolating.add_argument("--high", type=float, default=2.0, metavar="Z", help="(2)")
    coordinates = "coordinates of z (1 2, or principal directions)"
    interpolating.add_argument("--axes", type=positive, nargs=2, metavar=("I", "J"), help=coordinates)

    evaluating = of_run(
        "evaluate", evaluate, "quality measures of a run, each with its protocol, as JSON and for its report"
    )
    evaluating.add_argument("--data", metavar="DIR", help="held-out images")
    compared = "to compare images by: random, pixels or package.module:function (random)"
    evaluating.add_argument("--features", default="random", metavar="F", help=compared)
    evaluating.add_argument("--fast", action="store_true", help="a likelihood of fewer chains, within a minute")

    diagnosing = of_run("diagnose", diagnose, "convergence of a run's chains: a verdict with its reasons")
    diagnosing.add_argument("--json", action="store_true", help="as JSON")

    drawing = of_run("figures", figures, "each figure at publication size, for a paper")
    drawing.add_argument("--format", choices=("pdf", "png", "svg"), default="pdf", help="of the files (pdf)")
    drawing.add_argument("--out", type=Path, metavar="DIR", help="directory to write to (RUN/paper)")

    reporting = command("report", report, "one self-contained HTML file about one or more runs")
    reporting.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="directory of a learning run")
    reporting.add_argument("--out", type=Path, metavar="FILE", help="file to write (report.html in the first RUN)")


def any_size(text: str) -> tuple[int, int]:
    """Converts an argument to the (height, width) of images to be sampled."""
    try:
        return height_and_width(parse_size(text, SAMPLED_SIDES))
    except ValueError as cause:
        raise argparse.ArgumentTypeError(f"{cause}, got {text!r}") from cause


def sample(arguments: argparse.Namespace) -> int:
    """Writes N samples as DIR/00000.png … and DIR/grid.png, or a film of N images as DIR/film.webp."""
    from ..data import save_image, to_uint8
    from ..report import figures
    from ..run import Run

    run = Run.open(arguments.run)
    if arguments.film:
        return write_film(run, arguments)
    if arguments.out:
        require_empty(arguments.out)
    out = arguments.out or run.path / "samples"
    drawn = run.sample(
        arguments.num,
        seed=arguments.seed,
        revise=arguments.revise,
        of_class=arguments.of_class,
        size=arguments.size,
        periodic=arguments.periodic,
    )
    images = to_uint8(drawn).cpu()
    out.mkdir(parents=True, exist_ok=True)
    for old in list(out.glob("*.png")):  # from the last call: only RUN/samples can contain any
        old.unlink()
    for number, image in enumerate(images):
        save_image(out / f"{number:05d}.png", image)
    figures.save(figures.grid_figure(images, "samples"), out / "grid.png")
    print(out)
    return 0


def write_film(run: "Run", arguments: argparse.Namespace) -> int:
    """Writes a film of N images as DIR/film.webp."""
    from ..data import save_film, to_uint8

    if arguments.num < 2:
        raise InputError("--num: expected at least 2 with --film, got 1")
    if arguments.revise is not None or arguments.of_class is not None or arguments.size or arguments.periodic:
        raise InputError("--film: shows f(z) alone; leave out --revise, --class, --size and --periodic")
    if arguments.out:
        require_empty(arguments.out)
    out = arguments.out or run.path / "samples"
    images = to_uint8(run.film(arguments.num, seed=arguments.seed))
    out.mkdir(parents=True, exist_ok=True)
    save_film(out / "film.webp", images)
    print(out / "film.webp")
    return 0


def reconstruct(arguments: argparse.Namespace) -> int:
    """Infers z afresh and prints the reconstruction error as one JSON object."""
    from ..data import save_image, to_uint8
    from ..evaluation.runs import reconstruct
    from ..run import Run

    run = Run.open(arguments.run)
    run.require_inference()
    if arguments.out:
        require_empty(arguments.out)
    images = images_of(run, arguments.data)
    result, reconstructions = reconstruct(run, images)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(to_uint8(reconstructions)):
            save_image(arguments.out / f"{number:05d}.png", image)
    print(json.dumps(result, indent=2))
    return 0


def interpolate(arguments: argparse.Namespace) -> int:
    """Draws f(z) over a square of z in RUN/figures/interpolation.png."""
    from ..report import gallery
    from ..run import Run

    run = Run.open(arguments.run)
    run.require_inference()
    for name in ("low", "high"):
        if not abs(getattr(arguments, name)) <= MAX_Z:
            raise InputError(f"--{name}: expected {-MAX_Z} to {MAX_Z}, got {getattr(arguments, name):g}")
    if arguments.points > MAX_POINTS:
        raise InputError(f"--points: expected 1 to {MAX_POINTS}, got {arguments.points}")
    if not arguments.low < arguments.high:
        raise InputError(f"--low: expected a number below --high {arguments.high:g}, got {arguments.low:g}")
    print(gallery.interpolate(run, arguments.points, arguments.low, arguments.high, arguments.axes))
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Prints every quality measure of the run as one JSON object, and keeps them for the report."""
    from ..data.sources import full
    from ..evaluation.runs import evaluate
    from ..progress import counter
    from ..run import Run

    run = Run.open(arguments.run)
    held_out = images_of(run, arguments.data) if arguments.data else None
    iteration = run.saved_iteration()  # before, since a run that learns meanwhile makes the measures outdated
    measures = evaluate(run, held_out, features=arguments.features, fast=arguments.fast, progress=counter("likelihood"))
    print(json.dumps(measures, indent=2))
    assert iteration is not None  # or there was nothing to evaluate
    run.save_evaluation(iteration, measures, full(arguments.data) if arguments.data else None)
    return 0


def diagnose(arguments: argparse.Namespace) -> int:
    """Diagnoses a run and prints the result in words or as JSON; the report uses it later."""
    from ..report import diagnosis
    from ..run import Run

    result = diagnosis.write(Run.open(arguments.run))
    print(json.dumps(result, indent=2) if arguments.json else "\n".join(diagnosis.lines(result)))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Writes one HTML file; runs without a diagnosis are diagnosed first if arviz is installed."""
    from ..report import diagnosis, html
    from ..run import Run

    runs = [Run.open(path) for path in arguments.runs]
    for run in runs:
        if run.saved_iteration() is not None and run.diagnosis() is None and find_spec("arviz"):
            diagnosis.write(run)
    print(html.write(runs, arguments.out))
    return 0


def figures(arguments: argparse.Namespace) -> int:
    """Writes each figure of a run at publication size."""
    from ..report import paper
    from ..run import Run

    if arguments.out:
        require_empty(arguments.out)
    for path in paper.write(Run.open(arguments.run), arguments.format, arguments.out):
        print(path)
    return 0
