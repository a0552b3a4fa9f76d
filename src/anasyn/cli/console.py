"""Helpers of the commands: messages to the user, and the parsing and checking of arguments."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InputError

if TYPE_CHECKING:
    from ..data import ImageSet
    from ..run import Run

__all__ = [
    "Parser",
    "WarningHandler",
    "fail",
    "images_of",
    "is_first",
    "natural",
    "parsed",
    "positive",
    "print_message",
    "require_empty",
]


def fail(status: int, message: str) -> int:
    """Prints an error message on one line and returns the exit status."""
    print_message(f"anasyn: {' '.join(message.split())}")
    return status


def is_first() -> bool:
    """Whether this process is alone, or the first of those that torchrun has started, which speaks for all."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def print_message(line: str) -> None:
    """Prints a line to standard error, with control characters escaped, since file names may contain them."""
    if not is_first():
        return
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(shown, file=sys.stderr, flush=True)


class WarningHandler(logging.Handler):
    """Prints the warnings that the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        print_message(f"warning: {' '.join(record.getMessage().split())}")


class Parser(argparse.ArgumentParser):
    """An argument parser that prints an error on one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(fail(2, f"{message}; see {self.prog} --help"))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses unknown arguments here, so that the message refers to the help of the command in question."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def at_least(least: int, text: str) -> int:
    """Converts an argument to an integer of at least ``least``."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text!r}")
    return value


def parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that raises ValueError with what it expects, with errors that argparse prints."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as cause:
            raise argparse.ArgumentTypeError(f"{cause}, got {text!r}") from cause

    return convert


natural, positive = partial(at_least, 0), partial(at_least, 1)


def require_empty(folder: Path) -> None:
    """Raises `InputError` unless the folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or empty directory")


def images_of(run: "Run", data: str | None) -> "ImageSet":
    """The run's own images, or those of another folder in the size and channels of the run's."""
    if data is None:
        return run.images()
    images = run.load(data)
    for line in images.skipped:
        print_message(f"warning: {line}")
    return images
