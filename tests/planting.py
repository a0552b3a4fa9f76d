"""Faults planted in the package's own source."""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable

import pytest

__all__ = ["plant"]


def plant(monkeypatch: pytest.MonkeyPatch, where: str, edits: dict[str, str]) -> None:
    """Edits one function, ``module:name``: every ``old`` becomes its ``new``.

    Compiles the edited source in the module's own namespace and puts it wherever the original is known.
    """
    module_name, _, path = where.partition(":")
    module = importlib.import_module(module_name)
    *owners, name = path.split(".")
    owner = getattr(module, owners[0]) if owners else module
    original = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(original))
    for old, new in edits.items():
        assert old in source, f"the fault cannot be planted: {where} no longer contains {old!r}"
        source = source.replace(old, new)
    planted: dict[str, Callable] = {}
    exec("from __future__ import annotations\n" + source, module.__dict__, planted)
    if owners:
        monkeypatch.setattr(owner, name, planted[name])
        return
    for known in [module for module in sys.modules.values() if getattr(module, name, None) is original]:
        monkeypatch.setattr(known, name, planted[name])
