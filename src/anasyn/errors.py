r"""The one error that is the user's to mend."""

__all__ = ["InputError"]


class InputError(ValueError):
    """The user's input is wrong: one line that says what, where and what to do."""
