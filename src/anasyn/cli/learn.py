"""``anasyn learn RECIPE``: begins or resumes a run, learns until its last iteration, and draws its figures."""

import argparse
import ctypes
import dataclasses
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..methods.settings import GROUPS, Scale, Settings, choices_of, height_and_width, kinds_of
from ..progress import show, silenced
from ..recipes import RECIPES, Recipe
from .console import Parser, fail, parsed, positive, print_message

if TYPE_CHECKING:
    from ..data import ImageSet
    from ..learning import Divergence, Record
    from ..run import Run

__all__ = ["add"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, GLIBC_DEFAULT = -1, -3, 2**17  # of malloc.h, and the value of both in bytes


def add(commands: Any) -> None:
    """Adds the command to the program's commands; its arguments are the settings of the recipes."""
    summary = "learn a model from images; the same command again resumes the run"
    learn = commands.add_parser("learn", help=summary, description=summary, allow_abbrev=False)
    recipes = learn.add_subparsers(title="recipes", required=True, metavar="RECIPE", parser_class=Parser)
    for name, recipe in RECIPES.items():
        add_recipe(recipes, name, recipe)


def add_recipe(recipes: Any, name: str, recipe: Recipe) -> None:
    """Adds ``anasyn learn NAME`` and its arguments."""
    usage, description = f"anasyn learn {name} [options]", f"{name}: {recipe.about}"
    sub = recipes.add_parser(name, usage=usage, help=recipe.about, description=description, allow_abbrev=False)
    run = sub.add_argument_group("run")
    run.add_argument("--out", type=Path, metavar="RUN", help=f"directory of the run (runs/{name})")
    run.add_argument("--devices", type=positive, default=1, metavar="N", help="processes on this machine (1)")
    run.add_argument("--overwrite", action="store_true", help="delete the run that is there and begin again")
    run.add_argument("--accept-new-data", action="store_true", help="resume although the images have changed")
    run.add_argument("--strict", action="store_true", help="refuse unreadable images instead of skipping them")
    run.add_argument("--log", choices=("tensorboard", "wandb"), help="log the run to this service as well")
    run.add_argument("--quiet", action="store_true", help="print nothing but warnings")
    for group in GROUPS:
        settings = sub.add_argument_group(group)
        for field in dataclasses.fields(recipe.settings):
            if field.metadata["group"] == group:
                add_setting(settings, field, getattr(recipe.settings, field.name))
    sub.set_defaults(command=learn_command, recipe=name)


def add_setting(group: Any, field: dataclasses.Field[Any], default: Any) -> None:
    """Adds the argument of one setting."""
    choices = choices_of(field)
    switch = default == "off" and "on" in choices  # --conditional is --conditional on
    missing = "required" if field.name == "data" else "follows from the data"
    group.add_argument(
        "--" + field.name.replace("_", "-"),
        dest="set_" + field.name,
        type=str if choices else parsed(field.metadata["parse"]) if field.metadata["parse"] else kinds_of(field)[0],
        default=argparse.SUPPRESS,
        nargs="?" if switch else None,
        const="on" if switch else None,
        metavar="|".join(choices) or field.name.upper(),
        help=f"{field.metadata['meaning']} ({missing if default is None else 'none' if default == '' else default})",
    )


def learn_command(arguments: argparse.Namespace) -> int:
    """Begins or resumes a run in a directory that it locks."""
    changes = {key.removeprefix("set_"): value for key, value in vars(arguments).items() if key.startswith("set_")}
    asked = dataclasses.replace(RECIPES[arguments.recipe].settings, **changes)
    path = arguments.out or Path("runs") / arguments.recipe
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # safetensors cannot read there
        raise InputError(f"{path}: expected a name that is valid UTF-8; choose another --out") from error

    from .. import ranks
    from ..run import joined, launch, locked, started

    if arguments.devices > 1 and not started():
        status, message = launch(sys.argv[1:], arguments.devices)
        return fail(status, message) if message else status
    with (
        silenced(arguments.quiet),
        joined(asked.device),
        locked(path) if ranks.rank() == 0 else nullcontext(),  # a process has its rank once it has joined
    ):
        return learn_in(path, arguments, asked)


def learn_in(path: Path, arguments: argparse.Namespace, asked: Settings) -> int:
    """Begins or resumes a run in a directory that the first process has locked."""
    from .. import ranks
    from ..learning import Divergence, averaged
    from ..report.live import Live, is_live
    from ..run import advance

    inform = (lambda line: None) if arguments.quiet else print_message
    run, images, held_out, changes = opened(path, arguments, asked)
    for line in settings_lines(run, asked):
        inform(line)
    if line := hidden_pixels([images, held_out] if held_out else [images]):
        inform(f"  {line}")
    learner, guard = run.resume()
    for remark in run.method.remarks(run.settings, learner):
        inform(f"  {remark}")
    assert run.settings.iterations is not None
    report = run.path / "report.html"
    # The final report is written last; a run that is still learning has none, or a live one.
    if learner.iteration >= run.settings.iterations and report.exists() and not is_live(report) and not changes:
        inform(f"finished at iteration {learner.iteration}; for more, add --iterations N")
        if ranks.rank() == 0:
            print(run.path / "figures")
        return 0
    first, alone = ranks.rank() == 0, ranks.count() == 1
    own = images if alone else images.only(run.shards()[0].places.tolist())
    log = live = None
    if first:
        if arguments.log:
            from ..report.loggers import open_log

            log = open_log(arguments.log, run, own)
        run.outdate()
        live = Live(run, own)

    def on_record(record: "Record") -> None:
        for event in record.events:
            print_message(f"warning: iteration {record.iteration}: {event}")
        if live:
            live.update(learner)
        if log:
            log.update(learner, record)

    ranks.limit()
    events = (f"images: {changes}",) if changes else ()
    with reused_memory(), stop_signals() as stopped:
        records = advance(run, learner, guard, images, held_out, events=events, stopped=stopped)
        try:
            for record in show(records, run.settings.iterations, quiet=arguments.quiet or not first):
                on_record(record)
        except Divergence as divergence:
            ranks.leave()
            return diverged(run, divergence) if first else 1
        finally:
            if log:
                log.close(learner)
    ranks.leave()
    if stopped:
        print_message(f"stopped and saved at iteration {learner.iteration}; the same command goes on from there")
        return 128 + stopped[0]
    if not first:
        return 0

    from ..report import gallery, html

    inform("drawing the figures")
    if not alone:
        learner, _ = run.resume()  # with the chains of all images
    with averaged(learner):
        gallery.write(run, learner, images)
    html.write([run])
    print(run.path / "figures")
    return 0


def opened(
    path: Path, arguments: argparse.Namespace, asked: Settings
) -> tuple["Run", "ImageSet", "ImageSet | None", str]:
    """Begins or resumes a run; returns it, its training images, the held-out ones, and how they have changed.

    The first of several processes does so, and then the others open the run that it has left.
    """
    from .. import ranks
    from ..run import Run

    first, changes = ranks.rank() == 0, ""
    with ranks.agreed(InputError, OSError):
        if first and (path / "config.json").exists() and not arguments.overwrite:
            run = Run.open(path).with_settings(asked, arguments.recipe)
            if arguments.accept_new_data:
                run, changes = run.accept_new_data()
            images, held_out = run.split_images()
            run.configure()  # only now, as a run whose images cannot be read is left as it was
            if not arguments.quiet:
                print_message(f"going on with {path}")
        elif first:
            run, images, held_out = begin(path, arguments.recipe, asked, arguments.strict, arguments.overwrite)
    with ranks.agreed(InputError, OSError):
        if not first:
            run = Run.open(path)
            images, held_out = run.split_images()
    with ranks.agreed(InputError):
        if ranks.count() > 1:
            run.require_same(images)
        run.shards()[0].require_images()
    return run, images, held_out, ranks.together(changes)[0]


def diverged(run: "Run", divergence: "Divergence") -> int:
    """Writes the report of a run that cannot go on, and prints why; the exit status."""
    for event in divergence.record.events[:-1] if divergence.record else ():
        print_message(f"warning: {event}")
    advice = f"; begin another run with {divergence.advice}" if divergence.advice else ""
    kept = "nothing is saved"
    if (saved := run.saved_iteration()) is not None:
        from ..report import html

        html.write([run])
        kept = f"the run is saved as it was at iteration {saved}"
    return fail(1, f"{divergence}; {kept}{advice}")


@contextmanager
def reused_memory() -> Iterator[None]:
    """Makes glibc reuse freed memory in the next step, instead of returning it and getting it back page by page."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(library, "mallopt", None)  # musl has none
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)
    try:
        yield
    finally:
        if library and mallopt:
            mallopt(M_TRIM_THRESHOLD, GLIBC_DEFAULT)
            mallopt(M_MMAP_THRESHOLD, GLIBC_DEFAULT)
            library.malloc_trim(0)


def begin(
    path: Path, name: str, asked: Settings, strict: bool, overwrite: bool
) -> tuple["Run", "ImageSet", "ImageSet | None"]:
    """Creates a run, with every open setting chosen from the data; its training images, and held-out ones if any."""
    from ..data import spread
    from ..methods.build import build_learner
    from ..run import Run, choose_device, has_bfloat16

    if asked.data is None:
        raise InputError(f"learn {name}: --data is missing; expected a folder of images or a set of `anasyn data list`")
    device = choose_device(asked.device)
    size = height_and_width(asked.size) if asked.size else None
    channels = None if asked.channels == "auto" else int(asked.channels)
    images = asked.read(size, channels, strict=strict)
    for line in images.skipped:
        print_message(f"warning: {line}")
    num_images, found_channels, *sides = images.shape
    scale = Scale(num_images, min(sides), has_bfloat16(device), found_channels, spread(images))
    settings = asked.absolute().resolve(scale)
    held_out, num = None, settings.num_held_out(len(images))
    if num:
        images, held_out = images.split(num)
    # Raises here, before anything is written, if the network or the classes are refused.
    build_learner(RECIPES[name].method, settings, device, images.labels)
    return Run.create(path, name, settings, images, held_out, overwrite=overwrite), images, held_out


def settings_lines(run: "Run", asked: Settings) -> Iterator[str]:
    """Lines that list the run's settings and mark those that were chosen from the data."""
    data = run.data()
    aside = f", {len(data.held_out)} more kept aside," if data.held_out else ""
    yield f"{run.name}: {len(data.names)} images{aside} from {run.settings.data} into {run.path}"
    for field in dataclasses.fields(run.settings):
        value, given = getattr(run.settings, field.name), getattr(asked, field.name)
        if field.name != "data":
            shown = f"{value:.6g}" if isinstance(value, float) else str(value) or "none"
            follows = "" if given is not None and given != "auto" else "follows from the data and the machine"
            yield f"  {field.name:18} {shown:12} {follows}".rstrip()
    for remark in run.settings.remarks():
        yield f"  {remark}"


def hidden_pixels(sets: list["ImageSet"]) -> str:
    """How many of the images have hidden pixels, and the share of these images that is hidden; empty if none has."""
    hidden = [share for images in sets for share in images.hidden_shares().tolist() if share]
    if not hidden:
        return ""
    return (
        f"hidden pixels: {len(hidden)} of {sum(map(len, sets))} images, "
        f"{100 * sum(hidden) / len(hidden):.3g} % of their pixels"
    )


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list to which the number of a SIGINT or SIGTERM is appended; a second signal ends the process at once."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(number: int, frame: object) -> None:
        received.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
