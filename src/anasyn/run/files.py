"""Files that are written completely or not at all, even if the process is killed."""

import os
from pathlib import Path

__all__ = ["flush", "replace"]


def replace(file: Path, text: str) -> Path:
    """Replaces a file's content by this text, also while others read the file; returns its path."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    flush(partial)
    os.replace(partial, file)
    return file


def flush(path: Path) -> None:
    """Waits until a file or a folder has been written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
