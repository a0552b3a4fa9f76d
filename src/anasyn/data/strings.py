"""Strings of many images in little memory: each is made when it is asked for."""

import operator
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Strings", "coded", "decoded", "hexadecimal", "packed", "raw", "same", "unpacked"]

AT_ONCE = 4096  # strings that are made together


class Strings(Sequence[str]):
    """The strings that a function gives for these places.

    Args:
        get: the string of a place.
        places: int64 (n,).
        several: the strings of some places, where it makes them faster than ``get`` one by one.
    """

    def __init__(
        self,
        get: Callable[[int], str],
        places: NDArray[np.int64],
        several: Callable[[NDArray[np.int64]], Iterable[str]] | None = None,
    ):
        self._get, self._places = get, places
        self._several = several or (lambda part: map(get, part.tolist()))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Strings": ...
    def __getitem__(self, index: int | slice) -> "str | Strings":
        places = self._places[index]
        return Strings(self._get, places, self._several) if isinstance(index, slice) else self._get(int(places))

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), AT_ONCE):
            yield from self._several(self._places[first : first + AT_ONCE])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and same(self, other)

    __hash__ = None  # type: ignore[assignment]


def same(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two sequences have the same strings in the same order."""
    return len(first) == len(second) and all(map(operator.eq, first, second))


def packed(texts: Iterable[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as UTF-8, one after the other, and where each of them ends, (n,)."""
    content, ends = bytearray(), array("q")
    for text in texts:
        content += text.encode()
        ends.append(len(content))
    return np.frombuffer(content, dtype=np.uint8), np.frombuffer(ends, dtype=np.int64)


def unpacked(content: NDArray[np.uint8], ends: NDArray[np.int64], places: NDArray[np.int64]) -> Strings:
    """The texts that were packed, at these places; raises ValueError if they cannot have been."""
    if len(ends) and not (ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] == len(content)):
        raise ValueError("texts that end before they begin")
    return Strings(lambda i: content[ends[i - 1] if i else 0 : ends[i]].tobytes().decode(), places)


def hexadecimal(digests: NDArray[np.uint8], places: NDArray[np.int64]) -> Strings:
    """Digests, uint8 (n, 32), as hexadecimal numbers, at these places."""

    def several(part: NDArray[np.int64]) -> Iterator[str]:
        text = digests[part].tobytes().hex()
        return (text[first : first + 64] for first in range(0, len(text), 64))

    return Strings(lambda i: digests[i].tobytes().hex(), places, several)


def raw(digests: Iterable[str]) -> NDArray[np.uint8]:
    """Hexadecimal digests as uint8, (n, 32)."""
    content = bytearray()
    for digest in digests:
        content += bytes.fromhex(digest)
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 32)


def coded(texts: Iterable[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """The place of each text among the different ones, int32 (n,), and these, in the order of their appearance."""
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), dtype=np.int32)
    return codes, tuple(places)


def decoded(codes: NDArray[np.int32], texts: tuple[str, ...], places: NDArray[np.int64]) -> Strings:
    """The texts that were coded, at these places; raises ValueError if they cannot have been."""
    if len(codes) and not (codes.min() >= 0 and codes.max() < len(texts)):
        raise ValueError("codes of no text")
    return Strings(lambda i: texts[codes[i]], places)
