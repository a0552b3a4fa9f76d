"""Files that are there whole or not at all, whoever is stopped in between."""

import os
from pathlib import Path

__all__ = ["flush", "replace"]


def replace(file: Path, text: str) -> Path:
    """Puts a text in the place of a file that others may be reading, and returns the file."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    flush(partial)
    os.replace(partial, file)
    return file


def flush(path: Path) -> None:
    """Sees to it that a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
