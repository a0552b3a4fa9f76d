"""The error that tells users what to correct."""

__all__ = ["InputError"]


class InputError(ValueError):
    """The user's input is wrong. The message is one line that says what is wrong, where, and what to do."""
