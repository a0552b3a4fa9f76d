"""Data that do not fit in memory: how fast images are decoded into the cache, and how soon they are there again.

The photographs are noise with structure, made here; Pillow alone decodes and resizes them in as many threads as there
are processors, and keeps nothing. Opening is measured in processes of their own.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import timing
from timing import Row

SIDE, SIZE = 256, 64  # pixels of a photograph and of what is learned from
SMALL = 32
OPEN = """
import resource, sys, time
import torch
from anasyn.data import read_folder
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
began = time.perf_counter()
images = read_folder(sys.argv[1], 32)
opened = time.perf_counter() - began
images.stored[torch.randint(len(images), (64,))] if images.stored else images.pixels[:64].clone()
first = time.perf_counter() - began
for batch in range(200 if images.stored else 0):
    images.stored[torch.randint(len(images), (64,))]
print(opened, first, time.perf_counter() - began - first, peak() - before, len(images))
"""


def rows(fast: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ANASYN_CACHE"] = str(Path(temporary, "cache"))
        yield from decoding(Path(temporary, "photographs"), 500 if fast else 10_000, 1 if fast else 3)
        yield from opening(Path(temporary, "small"), 25_000 if fast else 200_000)


def decoding(folder: Path, num: int, repeats: int) -> Iterator[Row]:
    from anasyn.data import cache, read_folder, reading

    photographs(folder, num)
    reading.LEAST_CACHED = 0
    alone, cached = [], []
    for _ in range(repeats):  # in turn, so that other load affects both alike
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(by_pillow, sorted(folder.iterdir()), chunksize=1):
                pass
        alone.append(num / (time.perf_counter() - began))
        began = time.perf_counter()
        read_folder(folder, SIZE)
        cached.append(num / (time.perf_counter() - began))
        for entry in cache.entries():
            cache.delete(entry.key)
    yield Row(f"Pillow alone, JPEGs of {SIDE} pixels a second", statistics.median(alone))
    yield Row("into the cache, images a second", statistics.median(cached))
    ratio = statistics.median(one / other for one, other in zip(cached, alone, strict=True))
    yield Row("into the cache / Pillow alone", ratio, "≥ 0.9")


def by_pillow(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.draft(None, (2 * SIZE, 2 * SIZE))
        image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=3.0).tobytes()


def photographs(folder: Path, num: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(num):
        coarse = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        coarse.save(folder / f"{number}.jpg", quality=90)


def opening(folder: Path, num: int) -> Iterator[Row]:
    """Of images of 32 pixels: the first process decodes them, the next one finds them."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(100):
        Image.fromarray(rng.integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)).save(folder / "one.bmp")
        contents.append((folder / "one.bmp").read_bytes())
    (folder / "one.bmp").unlink()
    for number in range(num):
        (folder / f"{number}.bmp").write_bytes(contents[number % 100])
    (building, few) = (float(timing.child(["-c", OPEN, str(folder)])[0].split()[3]), few_images(folder))
    opened, first, batches, peak, _ = map(float, timing.child(["-c", OPEN, str(folder)])[0].split())
    yield Row(f"from a cache of {num} images of 32 pixels to the set, s", opened, "< 2")
    yield Row("… and to the first batch of 64, s", first)
    yield Row("a batch of 64 images at random, verified, ms", batches / 200 * 1000)
    yield Row("peak memory of opening it and of 200 batches, beyond torch's, MiB", peak)
    yield Row("peak memory of building it, beyond torch's, MiB", building)
    yield Row("peak memory of 1000 images, in memory, beyond torch's, MiB", few)


def few_images(folder: Path) -> float:
    few = folder.with_name("few")
    few.mkdir()
    for number in range(1000):
        (few / f"{number}.bmp").hardlink_to(folder / f"{number}.bmp")
    return float(timing.child(["-c", OPEN, str(few)])[0].split()[3])


if __name__ == "__main__":
    timing.main("cache", rows, __doc__)
