"""``anasyn restore RUN``: fills in what is missing of images."""

import argparse
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..progress import counter, silenced
from .console import natural, parsed, positive, print_message, require_empty

if TYPE_CHECKING:
    from ..data import ImageSet
    from ..models import Images
    from ..run import Run

__all__ = ["add"]

FEWEST_DRAWS = 2  # of which there is a spread
SHOWN = 12  # images of the figure and of the report
PROTOCOL = (
    "Missing values in [−1, 1]. mse: of the mean of the draws; draw_mse: of a draw; within_80: share of the true "
    "values within the mean ± 1.28 standard deviations, 0.8 if the spread is right."
)


def add(commands: Any) -> None:
    """Adds the command to the program's commands."""
    summary = "fill in what is missing of images: transparent pixels, pixels under a mask, or detail of small copies"
    sub = commands.add_parser("restore", help=summary, description=summary, allow_abbrev=False)
    sub.set_defaults(command=restore)
    sub.add_argument("run", metavar="RUN", type=Path, help="directory of a learning run")
    sub.add_argument("--data", metavar="DIR", help="images to restore (the run's own)")
    sub.add_argument("--masks", metavar="DIR", help="folder of masks of the images' names, white where a pixel is seen")
    hiding = "pixels to hide in each image, for experiments: salt:0.7, square:24 or half; prints the errors as JSON"
    sub.add_argument("--occlude", type=parsed(occlusion), metavar="WHAT", help=hiding)
    smaller = "the images are copies that are K times smaller, by averages over blocks of K x K pixels"
    sub.add_argument("--as", dest="copies", type=parsed(small), metavar="small:K", help=smaller)
    sub.add_argument("--draws", type=positive, default=8, metavar="N", help="draws of each image (8)")
    sub.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the random numbers (0)")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty directory to write to")
    sub.add_argument("--quiet", action="store_true", help="show no progress")


def occlusion(text: str) -> str:
    """The canonical form of an occlusion; raises ValueError with what is expected."""
    from ..data import parse_occlusion  # which imports torch

    return parse_occlusion(text)


def small(text: str) -> int:
    """K of ``small:K``; raises ValueError with what is expected."""
    words = re.fullmatch(r"small:([2-9]|1[0-6])", text, re.ASCII)
    if not words:
        raise ValueError("expected small:K with K from 2 to 16")
    return int(words[1])


def restore(arguments: argparse.Namespace) -> int:
    """Writes restored images, draws and their spread as PNG files and a figure; prints what is known of the errors."""
    from ..data import save_image
    from ..evaluation import evenly
    from ..evaluation.restoration import restore
    from ..report import figures
    from ..run import Run

    run = Run.open(arguments.run)
    if arguments.draws < FEWEST_DRAWS:
        raise InputError(f"--draws: expected at least {FEWEST_DRAWS}, for the spread; got {arguments.draws}")
    require_empty(arguments.out)
    with silenced(arguments.quiet):
        images, seen, truth = damaged(run, arguments)
        found = restore(
            run,
            seen,
            num_draws=arguments.draws,
            seed=arguments.seed,
            digests=images.digests,
            labels=classes_of(images, arguments.data),
            progress=counter("restoring"),
        )
    names, found = list(images.names), found.without(images.padding)
    for kind in ("restored", "draws", "spread"):
        (arguments.out / kind).mkdir(parents=True)
    for i in range(len(names)):
        save_image(arguments.out / "restored" / f"{i:05d}.png", found.mean[i])
        save_image(arguments.out / "spread" / f"{i:05d}.png", found.shaded[i])
        for k, draw in enumerate(found.draws):
            save_image(arguments.out / "draws" / f"{i:05d}-{k}.png", draw[i])
    chosen = evenly(len(names), SHOWN)
    shown, known = found.only(chosen), {} if truth is None else {"truth": truth.pixels[chosen]}
    kept = {"seen": shown.damaged, "restored": shown.mean, "spread": shown.shaded}
    rows = kept | {"a draw": shown.draws[0]} | known
    figures.save(figures.restorations_figure(rows, len(names)), arguments.out / "restored.png")
    run.save_restoration(kept | {"draws": shown.draws} | known)
    errors = {} if truth is None else found.errors(truth.pixels, truth.masks) | {"protocol": PROTOCOL}
    result = {"num_images": len(names), "num_draws": arguments.draws, "out": str(arguments.out), **errors}
    print(json.dumps(result | {"images": names}, indent=2))
    return 0


def classes_of(images: "ImageSet", data: str | None) -> Sequence[str] | None:
    """The class of each image, if it has one; unlike in learning, a folder in which all of them lie is a class too."""
    if images.labels is not None or data is None or not os.path.isdir(data):
        return images.labels
    folders = [folder for folder, slash, _ in (name.partition("/") for name in images.names) if slash]
    return folders if len(folders) == len(images) else None


def damaged(run: "Run", arguments: argparse.Namespace) -> "tuple[ImageSet, Images, ImageSet | None]":
    """The images, what is seen of them, and the whole images if they are known."""
    from ..data import occlude
    from ..data.sources import load
    from ..models import BlockAverage, Observed, observe

    channels, height, width = run.settings.shape
    if arguments.copies:
        if arguments.masks or arguments.occlude or not arguments.data:
            raise InputError("--as: expected --data with the small copies, and neither --masks nor --occlude")
        factor = arguments.copies
        if height % factor or width % factor:
            raise InputError(f"--as: {height} x {width} pixels cannot be cut into blocks of {factor} x {factor}")
        small = load(arguments.data, (height // factor, width // factor), fit=run.settings.fit, channels=channels)
        return small, Observed(small.pixels, BlockAverage(factor)), None
    if arguments.data is None and arguments.masks is None:
        images = run.images()
    else:
        images = run.settings.read_damaged(arguments.data or str(run.settings.data), arguments.masks)
    for line in images.skipped:
        print_message(f"warning: {line}")
    truth = None
    if arguments.occlude:
        images, truth = occlude(images, arguments.occlude), images
    if not images.hides:
        raise InputError(
            "restore: nothing is missing of these images; expected transparent pixels, --masks, --occlude or --as"
        )
    return images, observe(images), truth
