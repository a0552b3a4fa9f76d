"""The command line: ``anasyn COMMAND``. What is slow to import is imported by the command that needs it."""

import argparse
import ctypes
import dataclasses
import errno
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import InputError
from .recipes import RECIPES, Recipe, Scale, choices_of, default_size, kinds_of

if TYPE_CHECKING:
    from .data import ImageSet
    from .learning import Record
    from .run import Run

__all__ = ["main"]

WRONG_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MOST_Z = 100  # of an interpolation; z ~ N(0, I)
MOST_POINTS = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status: 0 done, 1 the run failed, 2 the input is wrong, 130 or 143 stopped."""
    arguments = parser().parse_args(argv)
    logging.getLogger("anasyn").handlers = [Warnings()]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path whose bytes are no text comes out as it came in
    try:
        status = int(arguments.command(arguments))
        sys.stdout.flush()
        return status
    except InputError as error:
        return fail(2, str(error))
    except BrokenPipeError:  # whoever read our output has had enough; nor may the interpreter's exit write to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        wrong_path = isinstance(error, WRONG_PATH) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP)
        where = f"{error.filename}: " if error.filename else ""
        return fail(2 if wrong_path else 1, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return fail(128 + signal.SIGINT, "stopped")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):  # the word of torch's allocators
            raise
        return fail(1, "out of memory; choose a smaller --size, --width or --batch-size")


def fail(status: int, message: str) -> int:
    """Says in one line what is wrong."""
    say(f"anasyn: {' '.join(message.split())}")
    return status


def say(line: str) -> None:
    """Tells the user something that is no result; what a name may hold cannot harm a terminal."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(shown, file=sys.stderr, flush=True)


class Warnings(logging.Handler):
    """Tells the user what the library warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {' '.join(record.getMessage().split())}")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(fail(2, f"{message}; see {self.prog} --help"))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As any does; a command tells of what it does not know itself, so that its own help is named."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments; those of ``learn`` are the fields of the recipes."""
    top = Parser(prog="anasyn", description="Deep generative models, learned by maximum likelihood with MCMC.")
    top.add_argument("--version", action="version", version=f"anasyn {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, function: Any, summary: str, run: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        sub.set_defaults(command=function)
        if run:
            sub.add_argument("run", metavar="RUN", type=Path, help="directory of a learning run")
        return sub

    learn = command("learn", None, "learn a model from images; the same command again goes on with the run", run=False)
    recipes = learn.add_subparsers(title="recipes", required=True, metavar="RECIPE", parser_class=Parser)
    for name, recipe in RECIPES.items():
        add_recipe(recipes, name, recipe)

    sample = command("sample", sample_command, "images from a learned model, as PNG files and one grid")
    sample.add_argument("--num", type=positive, required=True, metavar="N", help="how many")
    sample.add_argument("--seed", type=natural, default=0, metavar="S", help="of the random numbers (0)")
    sample.add_argument("--out", type=Path, metavar="DIR", help="where to (RUN/samples)")

    reconstruct = command("reconstruct", reconstruct_command, "infer z afresh by MCMC; prints the error as JSON")
    reconstruct.add_argument("--data", metavar="DIR", help="other images than the run's own")
    reconstruct.add_argument("--out", type=Path, metavar="DIR", help="where to write the reconstructions as PNG files")

    interpolate = command("interpolate", interpolate_command, "the panel of f(z) over a square of z")
    interpolate.add_argument("--points", type=positive, default=8, metavar="N", help="points a side (8)")
    interpolate.add_argument("--low", type=float, default=-2.0, metavar="Z", help="(-2)")
    interpolate.add_argument("--high", type=float, default=2.0, metavar="Z", help="(2)")
    interpolate.add_argument(
        "--axes", type=positive, nargs=2, metavar=("I", "J"), help="coordinates of z (1 2, or principal directions)"
    )

    evaluate = command("evaluate", evaluate_command, "the measures of a run, each with its protocol, as JSON")
    evaluate.add_argument("--data", metavar="DIR", help="held-out images")

    diagnose = command("diagnose", diagnose_command, "how far a run's chains can be believed: a verdict, its reasons")
    diagnose.add_argument("--json", action="store_true", help="as JSON")

    figures = command("figures", figures_command, "each figure at publication size, for a paper")
    figures.add_argument("--format", choices=("pdf", "png", "svg"), default="pdf", help="of the files (pdf)")
    figures.add_argument("--out", type=Path, metavar="DIR", help="where to (RUN/paper)")

    report = command("report", report_command, "one self-contained HTML file about one or more runs", run=False)
    report.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="directory of a learning run")
    report.add_argument("--out", type=Path, metavar="FILE", help="where to (report.html in the first RUN)")

    data = command("data", None, "image sets that need no folder of one's own", run=False)
    actions = data.add_subparsers(title="actions", required=True, metavar="ACTION", parser_class=Parser)
    listing = actions.add_parser("list", help="the sets that have a name", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=data_list_command)
    draw = actions.add_parser("draw", help="draw a set, as PNG files", allow_abbrev=False)
    draw.add_argument("name", metavar="NAME", help="drawn-cats or drawn-egrets")
    draw.add_argument("dir", metavar="DIR", type=Path, help="where to; a new or empty directory")
    draw.add_argument("--num", type=positive, default=25, metavar="N", help="images (25)")
    draw.add_argument("--size", type=positive, default=64, metavar="PIXELS", help="side (64)")
    draw.add_argument("--seed", type=natural, default=0, metavar="S", help="of the factors (0)")
    draw.set_defaults(command=data_draw_command)
    fetch = actions.add_parser("fetch", help="fetch and verify published photographs", allow_abbrev=False)
    fetch.add_argument("name", metavar="NAME", help="lion-tiger or egret")
    fetch.add_argument("dir", metavar="DIR", type=Path, nargs="?", help="where to (the user's cache)")
    fetch.set_defaults(command=data_fetch_command)
    return top


def add_recipe(recipes: Any, name: str, recipe: Recipe) -> None:
    """The arguments of ``anasyn learn NAME``, from the fields of the recipe."""
    summary = (type(recipe).__doc__ or "").strip()
    sub = recipes.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    sub.add_argument("--out", type=Path, metavar="RUN", help=f"directory of the run (runs/{name})")
    sub.add_argument("--overwrite", action="store_true", help="delete the run that is there and begin anew")
    sub.add_argument(
        "--accept-new-data", action="store_true", help="go on though images were added, removed or changed"
    )
    sub.add_argument("--strict", action="store_true", help="refuse a bad file among the images; else it is skipped")
    sub.add_argument("--log", choices=("tensorboard", "wandb"), help="tell this service of the run as well")
    sub.add_argument("--quiet", action="store_true", help="say nothing but warnings")
    for field in dataclasses.fields(recipe):
        default = getattr(recipe, field.name)
        choices = choices_of(field)
        follows = "follows from the data" if default is None else default
        sub.add_argument(
            "--" + field.name.replace("_", "-"),
            dest="set_" + field.name,
            type=str if choices else kinds_of(field)[0],
            default=argparse.SUPPRESS,
            metavar="|".join(choices) or field.name.upper(),
            help=f"{field.metadata['meaning']} ({follows})",
        )
    sub.set_defaults(command=learn_command, recipe=name)


def positive(text: str) -> int:
    """An integer of at least 1."""
    return at_least(1, text)


def natural(text: str) -> int:
    """An integer of at least 0."""
    return at_least(0, text)


def at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text!r}")
    return value


# ------------------------------------------------------------------------------------------------ learn


def learn_command(arguments: argparse.Namespace) -> int:
    """Begins a run or goes on with it, to its last iteration and its figures."""
    changes = {key.removeprefix("set_"): value for key, value in vars(arguments).items() if key.startswith("set_")}
    asked = dataclasses.replace(RECIPES[arguments.recipe], **changes)
    path = arguments.out or Path("runs") / arguments.recipe

    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # safetensors cannot read there
        raise InputError(f"{path}: expected a name that is text in UTF-8; choose another --out") from error

    from .run import locked

    with locked(path):
        return learn_in(path, arguments, asked)


def learn_in(path: Path, arguments: argparse.Namespace, asked: Recipe) -> int:
    """What ``learn`` does in a directory that no other process learns in."""
    from .learning import Divergence
    from .report.live import Live, is_live
    from .run import Run, advance

    tell = (lambda line: None) if arguments.quiet else say
    news = ""
    if (path / "config.json").exists() and not arguments.overwrite:
        run = Run.open(path).settle(asked, arguments.recipe)
        if arguments.accept_new_data:
            run, images, news = run.accept_new_data()
        else:
            images = run.images()
        tell(f"going on with {path}")
    else:
        run, images = begin(path, arguments.recipe, asked, strict=arguments.strict, overwrite=arguments.overwrite)
    for line in settings_lines(run, asked):
        tell(line)
    learner, guard = run.resume()
    assert run.recipe.iterations is not None
    report = run.path / "report.html"
    # The final report is written last; while learning goes on there is none, or a light one that says so.
    if learner.iteration >= run.recipe.iterations and report.exists() and not is_live(report) and not news:
        tell(f"finished at iteration {learner.iteration}; more with --iterations N")
        print(run.path / "figures")
        return 0
    log = None
    if arguments.log:
        from .report.loggers import open_log

        log = open_log(arguments.log, run, images)
    for outdated in (report, run.path / "diagnosis.json"):
        outdated.unlink(missing_ok=True)
    live = Live(run, images)

    def tell_of(record: "Record") -> None:
        for event in record.events:
            say(f"warning: iteration {record.iteration}: {event}")
        live.update(learner)
        if log:
            log.update(learner, record)

    keep_freed_memory()
    records = advance(run, learner, guard, images, news=(f"images: {news}",) if news else ())
    try:
        stopped_by = advance_showing(records, run.recipe.iterations, tell_of, quiet=arguments.quiet)
    except Divergence as trouble:
        for event in trouble.record.events[:-1] if trouble.record else ():
            say(f"warning: {event}")
        advice = f"; begin another run with {trouble.advice}" if trouble.advice else ""
        saved = run.saved_iteration()
        kept = "nothing is saved" if saved is None else f"the run is saved as it was at iteration {saved}"
        if saved is not None:
            from .report import html

            html.write([run])
        return fail(1, f"{trouble}; {kept}{advice}")
    finally:
        if log:
            log.close(learner)
    if stopped_by:
        say(f"stopped and saved at iteration {learner.iteration}; the same command goes on from there")
        return 128 + stopped_by

    from .report import gallery, html

    tell("drawing the figures")
    gallery.write(run, learner, images)
    html.write([run])
    print(run.path / "figures")
    return 0


def keep_freed_memory() -> None:
    """Has the C library keep what a step frees for the next one: glibc gives it back, and fetches it page by page."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt:
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
            mallopt(M_MMAP_THRESHOLD, 2**30)


def begin(path: Path, name: str, asked: Recipe, *, strict: bool, overwrite: bool) -> tuple["Run", "ImageSet"]:
    """A new run in ``path``, its open settings chosen from the data."""
    from .data.sources import full, load, smaller_side
    from .run import Run, choose_device, has_bfloat16

    if asked.data is None:
        raise InputError(f"learn {name}: --data is missing; expected a folder of images or a set of `anasyn data list`")
    device = choose_device(asked.device)
    side = smaller_side(asked.data) or 64
    scale = Scale(num_images=0, smaller_side=side, has_bfloat16=has_bfloat16(device))
    size = asked.size or default_size(scale)
    images = load(asked.data, size, fit=asked.fit, strict=strict)
    for line in images.skipped:
        say(f"warning: {line}")
    scale = dataclasses.replace(scale, num_images=len(images))
    recipe = dataclasses.replace(asked, size=size, data=full(asked.data)).resolve(scale)
    return Run.create(path, name, recipe, images, overwrite=overwrite), images


def settings_lines(run: "Run", asked: Recipe) -> Iterator[str]:
    """What the run is about to do, every setting named, those that follow from the data marked."""
    count = len(run.data()["names"])
    yield f"{run.name}: {count} images from {run.recipe.data} into {run.path}"
    for field in dataclasses.fields(run.recipe):
        value, wish = getattr(run.recipe, field.name), getattr(asked, field.name)
        if field.name != "data":
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            follows = "" if wish is not None and wish != "auto" else "follows from the data and the machine"
            yield f"  {field.name:18} {shown:12} {follows}".rstrip()
    if run.recipe.temperature != 1:
        yield f"  temperature is not 1: chains sample p^(1/{run.recipe.temperature:g}), not the model's density"


def advance_showing(
    records: Generator["Record", None, None], last: int, tell_of: Callable[["Record"], None], *, quiet: bool
) -> int | None:
    """Advances a run to its last iteration or to a signal, whose number is returned; shows how it goes."""
    from .progress import show

    with stop_signals() as stopped:
        for record in show(records, last, quiet=quiet):
            tell_of(record)
            if stopped:
                records.close()
                return stopped[0]
    return stopped[0] if stopped else None


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that SIGINT or SIGTERM puts its number into; a second one ends the process at once."""
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


# ------------------------------------------------------------------------------------- what was learned


def sample_command(arguments: argparse.Namespace) -> int:
    """N images as DIR/00000.png … and DIR/grid.png."""
    from .data import save_image, to_uint8
    from .report import figures
    from .run import Run, sample

    run = Run.open(arguments.run)
    if arguments.out:
        require_empty(arguments.out)
    out = arguments.out or run.path / "samples"
    images = to_uint8(sample(run, arguments.num, seed=arguments.seed)).cpu()
    out.mkdir(parents=True, exist_ok=True)
    for old in list(out.glob("*.png")):  # of the last call: only RUN/samples can hold any
        old.unlink()
    for number, image in enumerate(images):
        save_image(out / f"{number:05d}.png", image)
    figures.save(figures.samples_figure(images), out / "grid.png")
    print(out)
    return 0


def reconstruct_command(arguments: argparse.Namespace) -> int:
    """Fresh inference of z; one JSON object with the error."""
    from .data import save_image, to_uint8
    from .evaluation.runs import reconstruct

    run = generator_run(arguments.run)
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


def interpolate_command(arguments: argparse.Namespace) -> int:
    """The panel of f(z), written to RUN/figures/interpolation.png."""
    from .report import gallery

    run = generator_run(arguments.run)
    for name in ("low", "high"):
        if not abs(getattr(arguments, name)) <= MOST_Z:
            raise InputError(f"--{name}: expected {-MOST_Z} to {MOST_Z}, got {getattr(arguments, name):g}")
    if arguments.points > MOST_POINTS:
        raise InputError(f"--points: expected 1 to {MOST_POINTS}, got {arguments.points}")
    if not arguments.low < arguments.high:
        raise InputError(f"--low: expected a number below --high {arguments.high:g}, got {arguments.low:g}")
    print(gallery.interpolate(run, arguments.points, arguments.low, arguments.high, arguments.axes))
    return 0


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Every measure of the run, as one JSON object."""
    from .evaluation.runs import evaluate
    from .run import Run

    run = Run.open(arguments.run)
    held_out = images_of(run, arguments.data) if arguments.data else None
    print(json.dumps(evaluate(run, held_out), indent=2))
    return 0


def diagnose_command(arguments: argparse.Namespace) -> int:
    """The diagnosis of a run, in words or as JSON; it is kept for the report."""
    from .report import diagnosis
    from .run import Run

    told = diagnosis.write(Run.open(arguments.run))
    print(json.dumps(told, indent=2) if arguments.json else "\n".join(diagnosis.lines(told)))
    return 0


def report_command(arguments: argparse.Namespace) -> int:
    """One HTML file; runs that have no diagnosis yet are diagnosed, where arviz is installed."""
    from .report import diagnosis, html
    from .run import Run

    runs = [Run.open(path) for path in arguments.runs]
    for run in runs:
        if run.saved_iteration() is not None and run.diagnosis() is None and find_spec("arviz"):
            diagnosis.write(run)
    print(html.write(runs, arguments.out))
    return 0


def figures_command(arguments: argparse.Namespace) -> int:
    """Each figure of a run at publication size."""
    from .report import paper
    from .run import Run

    if arguments.out:
        require_empty(arguments.out)
    for path in paper.write(Run.open(arguments.run), arguments.format, arguments.out):
        print(path)
    return 0


def require_empty(folder: Path) -> None:
    """Raises `InputError` where writing into the folder could write over something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or empty directory")


def generator_run(path: Path) -> "Run":
    from .run import Run

    run = Run.open(path)
    if not run.is_generator:
        raise InputError(f"{path}: holds a descriptor, which has no z; expected a run of a generator")
    return run


def images_of(run: "Run", data: str | None) -> "ImageSet":
    """The run's own images, or those of another folder at the run's size."""
    from .data.sources import load

    if data is None:
        return run.images()
    assert run.recipe.size is not None
    images = load(data, run.recipe.size, fit=run.recipe.fit)
    for line in images.skipped:
        say(f"warning: {line}")
    return images


# ------------------------------------------------------------------------------------------------- data


def data_list_command(arguments: argparse.Namespace) -> int:
    """The sets that have a name, as a table or as JSON."""
    from .data.sources import named

    if arguments.json:
        print(json.dumps(named(), indent=2))
    else:
        for name, what in named().items():
            print(f"{name:14} {what}")
    return 0


def data_draw_command(arguments: argparse.Namespace) -> int:
    """A drawn set as PNG files."""
    from .data import save_image
    from .data.drawn import DRAWN, drawn_factors

    if arguments.name not in DRAWN:
        raise InputError(f"data draw: expected one of {', '.join(DRAWN)}, got {arguments.name}")
    require_empty(arguments.dir)
    if not 16 <= arguments.size <= 1024:
        raise InputError(f"--size: expected 16 to 1024 pixels, got {arguments.size}")
    if arguments.seed >= 2**63:
        raise InputError(f"--seed: expected less than 2^63, got {arguments.seed}")
    factors = drawn_factors(arguments.num, arguments.seed)
    arguments.dir.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(factors):
        (image,) = DRAWN[arguments.name](row[None], arguments.size)
        save_image(arguments.dir / f"{arguments.name}-{number:05d}.png", image)
    print(arguments.dir)
    return 0


def data_fetch_command(arguments: argparse.Namespace) -> int:
    """Published photographs, fetched and verified."""
    from .data.photographs import fetch

    print(fetch(arguments.name, arguments.dir, progress=sys.stderr.isatty()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
