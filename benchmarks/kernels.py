"""Effective draws per gradient evaluation on learned posteriors: MALA against unadjusted Langevin.

For each image, the ESS of the worst coordinate of z, by MALA with step sizes adapted by warm-up and by unadjusted
Langevin at its largest step size with at most 5 % bias in the variance. Run by ``make bench``.
"""

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import timing
from anasyn.cli import main as anasyn
from anasyn.data import to_float
from anasyn.rng import derive
from anasyn.run import Run
from comparison import compare_kernels
from quadrature import Variance
from timing import Row


def rows(fast: bool) -> Iterator[Row]:
    recipe = "lion-tiger" if "ANASYN_PHOTOGRAPHS" in os.environ else "drawn-cats"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        anasyn(["learn", recipe, "--out", str(path), "--quiet", *(["--iterations", "20"] if fast else [])])
        run = Run.open(path)
        learner: Any = run.learned(precision="float32")
        images = run.images()
    z, names = learner.chains.positions, images.names
    if fast:
        z, names = z[:1], names[:1]
    pixels = to_float(images.pixels[: len(z)])
    for of in get_args(Variance):
        steps, rng = 100 if fast else 1000, derive(0, "kernels")
        found = compare_kernels(learner.model, pixels, z, names, of=of, num_steps=steps, rng=rng)
        for each in found:
            name = f"{each.name}, {of}"
            yield Row(f"{name}: step size of MALA", each.mala_step_size)
            yield Row(f"{name}: effective draws a gradient of MALA", each.mala_ess_per_gradient)
            yield Row(f"{name}: step size of unadjusted Langevin", each.unadjusted_step_size)
            yield Row(f"{name}: bias of unadjusted Langevin", each.unadjusted_bias)
            yield Row(f"{name}: effective draws a gradient of unadjusted Langevin", each.unadjusted_ess_per_gradient)
            yield Row(f"{name}: times as many by MALA", each.ratio)
        yield Row(f"{of}: median of times as many by MALA", statistics.median(each.ratio for each in found), "≥ 5")


if __name__ == "__main__":
    timing.main("kernels", rows, __doc__)
