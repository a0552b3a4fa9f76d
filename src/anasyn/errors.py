"""The error that tells users what to correct."""

from collections.abc import Sequence

__all__ = ["InputError", "first_names"]

MOST_NAMED = 8  # images in a message


class InputError(ValueError):
    """The user's input is wrong. The message is one line that says what is wrong, where, and what to do."""


def first_names(names: Sequence[str]) -> str:
    """The first of these names, and how many there are besides, for a message."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
