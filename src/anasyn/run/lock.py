"""One process at a time learns in a run's directory."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError

__all__ = ["locked"]

NAME = ".lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a run's directory; the lock ends with the process, however it ends. What it made and left empty is removed.

    Raises:
        InputError: another process holds it.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout as cause:
        raise InputError(
            f"{path}: another process is learning in it; wait for it, stop it, or choose another --out"
        ) from cause
    try:
        yield
    finally:
        (path / NAME).unlink(missing_ok=True)  # while it is held, so that nobody can have taken it meanwhile
        lock.release()
        with suppress(OSError):  # something lies in it
            for folder in missing:
                folder.rmdir()
