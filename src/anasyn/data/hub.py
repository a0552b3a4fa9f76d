"""Data sets of Hugging Face, by the package ``datasets``: from their hub, or from a folder that it saved."""

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .decoding import printable
from .masks import MaskFile
from .source import Source

__all__ = ["PREFIX", "HubSet"]

PREFIX = "hf:"


class HubSet(Source):
    """The images of one split, in its order: those of the first column of images, with the first column of classes.

    Args:
        data: ``hf:NAME`` or ``hf:NAME:SPLIT``, where the name is one on the hub or the path of a folder; the split is
            ``train`` by default.
    """

    def __init__(self, data: str):
        name, _, split = data.removeprefix(PREFIX).partition(":")
        self.name_of_set, self.split = name, split or "train"

    @property
    def full(self) -> str:
        """The same data, named in a way that is valid in any working directory."""
        local = os.path.realpath(self.name_of_set) if os.path.isdir(self.name_of_set) else self.name_of_set
        return f"{PREFIX}{local}:{self.split}"

    @property
    def title(self) -> str:
        return printable(f"{PREFIX}{self.name_of_set}:{self.split}")

    @property
    def place(self) -> str:
        return printable(self.full)

    @property
    def identity(self) -> str:
        return str(self._set._fingerprint)

    def __len__(self) -> int:
        return len(self._set)

    def name(self, index: int) -> str:
        return f"{index:08d}"

    def label(self, index: int) -> str | None:
        if self._labels is None:
            return None
        codes, feature = self._labels
        return printable(feature.int2str(int(codes[index]))) if codes[index] >= 0 else None

    def content(self, index: int) -> Path | bytes:
        found = self._encoded[index][self._column]
        if not found or not (found["bytes"] or found["path"]):
            raise InputError(f"{self.name(index)}: no image")
        return found["bytes"] or Path(found["path"])

    def mask(self, index: int) -> MaskFile | None:
        return None

    @cached_property
    def _set(self) -> Any:
        """The data set, which its package maps from the disk."""
        try:
            import datasets
        except ImportError as error:
            advice = "install it by `pip install 'anasyn[huggingface]'`"
            raise InputError(f"{self.title}: needs the package datasets; {advice}") from error

        if not sys.stderr.isatty():
            datasets.disable_progress_bars()
        try:
            if any(Path(self.name_of_set, name).exists() for name in ("state.json", "dataset_dict.json")):
                found = datasets.load_from_disk(self.name_of_set)
                return found[self.split] if isinstance(found, datasets.DatasetDict) else found
            return datasets.load_dataset(self.name_of_set, split=self.split)
        except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.title}: cannot be loaded ({reason}); check the name and the split") from error

    @cached_property
    def _column(self) -> str:
        import datasets

        features = self._set.features
        column = next((name for name, kind in features.items() if isinstance(kind, datasets.Image)), None)
        if column is None:
            raise InputError(f"{self.title}: no column of images; its columns are {', '.join(features)}")
        return column

    @cached_property
    def _encoded(self) -> Any:
        """The column of images, not decoded."""
        import datasets

        return self._set.select_columns([self._column]).cast_column(self._column, datasets.Image(decode=False))

    @cached_property
    def _labels(self) -> tuple[Any, Any] | None:
        """The number of each image's class, (n,), and the feature that names them; None if there is none."""
        import datasets

        found = ((name, kind) for name, kind in self._set.features.items() if isinstance(kind, datasets.ClassLabel))
        name, feature = next(found, (None, None))
        return None if name is None else (np.asarray(self._set.with_format("numpy")[name]), feature)
