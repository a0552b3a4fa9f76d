"""The command line: ``anasyn COMMAND``. Modules that are slow to import are imported by the commands that need them."""

from .main import main

__all__ = ["main"]
