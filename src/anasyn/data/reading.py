"""Sets of images, read from where they come from: a small set into memory, a large one by way of the user's cache."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

import numpy as np
import torch

from ..errors import InputError
from . import cache
from .building import build, key_of
from .decoding import quiet
from .pixels import ImageSet, evenly
from .source import FEWEST, Form, Source, decode_rows, labels_of, require_enough, sides_of

__all__ = ["LEAST_CACHED", "MOST_HEADERS", "read_source", "sides"]

# Bytes of pixels from which a set is cached. Decoding fewer takes seconds, and keeping them takes less memory than
# PyTorch itself does.
LEAST_CACHED = 64 * 2**20
MOST_HEADERS = 1000  # images of which the size is looked at; the median of so many is near enough
MOST_IN_TASK = 256  # images


def read_source(source: Source, form: Form) -> ImageSet:
    """The images of a source, in its order.

    Raises:
        InputError: fewer than two can be used, or one cannot be and ``form`` is strict; or their cache is damaged.
    """
    images = _cached(source, form)
    if images is None and len(source) * prod(form.row) < LEAST_CACHED:
        return _in_memory(source, form)
    images = images or build(source, form)
    if form.strict and images.skipped:
        fault = images.skipped[0].removesuffix("; skipped")
        raise InputError(f"{source.title}/{fault}; repair or remove this file")
    return images


def _cached(source: Source, form: Form) -> ImageSet | None:
    """The images, if they are in the cache: as they are asked for, or as a set whose channels followed from them."""
    for channels in dict.fromkeys((form.channels, None)):
        images = cache.find(key_of(source, form, channels))
        if images and (form.channels in (None, images.shape[1])):
            return images
    return None


def _in_memory(source: Source, form: Form) -> ImageSet:
    num, workers = len(source), os.cpu_count() or 1
    step = min(MOST_IN_TASK, -(-num // (4 * workers)))
    tasks = [range(first, min(first + step, num)) for first in range(0, num, step)]
    with quiet(), ThreadPoolExecutor(workers) as pool:  # Pillow decodes and resizes without the GIL
        parts = list(pool.map(partial(decode_rows, source, form=form), tasks))
    lines = {index: line for part in parts for index, line in part.skipped.items()}
    kept, skipped = [index for index in range(num) if index not in lines], tuple(lines.values())
    require_enough(source, len(kept), skipped)
    array, seen, grey = (np.concatenate(each)[kept] for each in zip(*(part[:3] for part in parts), strict=True))
    if form.channels is None and grey.all():
        array = array[..., :1].copy()  # a copy, so that the other two channels are freed
    codes, classes = labels_of(source, kept)
    return ImageSet(
        tuple(source.name(index) for index in kept),
        torch.from_numpy(array).permute(0, 3, 1, 2),
        skipped,
        tuple(classes[code] for code in codes) if classes else None,
        None if seen.all() else torch.from_numpy(seen),
    )


def sides(source: Source) -> list[int]:
    """The smaller side, in pixels, of each image, or of a thousand of them, evenly spaced, if there are more.

    Raises:
        InputError: there are fewer than two images.
    """
    with quiet():
        found, skipped = sides_of(source, evenly(len(source), MOST_HEADERS).tolist())
        if len(found) < FEWEST < len(source):  # most cannot be read, but others may
            found, skipped = sides_of(source, range(len(source)))
    require_enough(source, len(found), skipped)
    return found
