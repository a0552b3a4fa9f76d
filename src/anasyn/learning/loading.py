"""Batches of images, read while the ones before are learned from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ..models import DataSet, Images, Stored, floats

__all__ = ["loaded"]


def loaded(images: DataSet, order: Iterator[Tensor], device: torch.device) -> Iterator[tuple[Tensor, Images]]:
    """Each index of an order, and its images as floats in [−1, 1], on a device, where images in memory are.

    A thread reads the next batch of images that are stored, and copies it to pinned memory for a GPU, while the caller
    uses the present one. No more than the next index is taken from the order before its turn.
    """
    if not isinstance(images, Stored):
        for index in order:
            place = index.to(device, non_blocking=True)
            yield place, floats(images[place])
        return

    def read(index: Tensor) -> tuple[Tensor, Images]:
        batch: Images = images[index]
        return index, batch.pin_memory() if device.type == "cuda" else batch

    with ThreadPoolExecutor(1, "images") as pool:
        ahead = [pool.submit(read, index) for index in [next(order, None)] if index is not None]
        while ahead:
            index, batch = ahead.pop().result()
            ahead = [pool.submit(read, following) for following in [next(order, None)] if following is not None]
            yield index.to(device, non_blocking=True), floats(batch.to(device, non_blocking=True))
