"""A lock on a run's directory: only one process at a time learns in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError

__all__ = ["locked"]

NAME = ".lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Creates and locks a run's directory; directories that are still empty in the end are removed again.

    Raises:
        InputError: another process has locked it.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout as cause:
        advice = "wait for it, stop it, or choose another --out"
        raise InputError(f"{path}: another process is learning in it; {advice}") from cause
    try:
        yield
    finally:
        (path / NAME).unlink(missing_ok=True)  # before the release, after which another process could lock it
        lock.release()
        with suppress(OSError):  # a directory that is not empty
            for folder in missing:
                folder.rmdir()
