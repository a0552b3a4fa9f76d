"""Effective draws per gradient evaluation on learned posteriors: MALA against unadjusted Langevin.

For each image, the ESS of the worst coordinate of z, by MALA with step sizes adapted by warm-up and by unadjusted
Langevin at its largest step size with at most 5 % bias in the variance. Run by ``make bench``.
"""

import os
import statistics
import tempfile
from pathlib import Path

from anasyn.cli import main as anasyn
from anasyn.data import to_float
from anasyn.rng import derive
from anasyn.run import Run
from comparison import compare_kernels


def main() -> None:
    recipe = "lion-tiger" if "ANASYN_PHOTOGRAPHS" in os.environ else "drawn-cats"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        anasyn(["learn", recipe, "--out", str(path), "--quiet"])
        run = Run.open(path)
        learner = run.learned(precision="float32")
        images = run.images()
    for of in ("every direction", "coordinates"):
        rows = compare_kernels(
            learner.model,
            to_float(images.pixels),
            learner.chains.positions,
            images.names,
            of=of,
            rng=derive(0, "kernels"),
        )
        print(f"\n{recipe}: bias of unadjusted Langevin at most 5 % in the variance of {of}")
        print(f"{'image':20}{'MALA δ':>10}{'ESS/grad':>10}{'ULA δ':>10}{'bias':>8}{'ESS/grad':>10}{'ratio':>8}")
        for row in rows:
            print(
                f"{row.name:20}{row.mala_step_size:10.4f}{row.mala_ess_per_gradient:10.4f}"
                f"{row.unadjusted_step_size:10.4f}{row.unadjusted_bias:8.3f}{row.unadjusted_ess_per_gradient:10.4f}"
                f"{row.ratio:8.2f}"
            )
        print(f"median ratio {statistics.median(row.ratio for row in rows):.2f}, target ≥ 5")


if __name__ == "__main__":
    main()
