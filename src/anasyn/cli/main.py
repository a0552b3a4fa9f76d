"""The program: its commands, and how it reports errors."""

import argparse
import errno
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

from .. import __version__
from ..errors import InputError
from . import data, learn, restore, runs
from .console import Parser, WarningHandler, fail, is_first

__all__ = ["main", "parser"]

WRONG_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Exit status: 0 done, 1 the run failed, 2 the input is wrong, 130 or 143 stopped by a signal."""
    arguments = parser().parse_args(argv)
    logging.getLogger("anasyn").handlers = [WarningHandler()]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # prints paths that are not UTF-8
    try:
        status = int(arguments.command(arguments))
        sys.stdout.flush()
        return status
    except InputError as error:
        return fail(2, str(error))
    except BrokenPipeError:  # standard output was closed by its reader; the interpreter must not write to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        wrong_path = isinstance(error, WRONG_PATH) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP)
        where = f"{error.filename}: " if error.filename else ""
        return fail(2 if wrong_path else 1, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return fail(128 + signal.SIGINT, "stopped")
    except (MemoryError, RuntimeError) as error:
        from ..ranks import LostProcess
        from ..run.processes import GRACE, LOST, is_told

        if isinstance(error, LostProcess):
            time.sleep(0 if is_first() else GRACE)
            return LOST if is_told() else fail(LOST, "another process does not answer; the same command goes on")
        if isinstance(error, RuntimeError) and "allocate" not in str(error):  # what torch's allocators print_message
            raise
        return fail(1, "out of memory; choose a smaller --size, --width or --batch-size")


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments."""
    top = Parser(prog="anasyn", description="Deep generative models, learned by maximum likelihood with MCMC.")
    top.add_argument("--version", action="version", version=f"anasyn {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (learn, runs, restore, data):
        group.add(commands)
    return top
