"""Ten textures at 256 × 256 grey pixels: the method ``texture`` against Portilla and Simoncelli (plenoptic).

For each, the sliced Wasserstein distance between 64 × 64 patches of the synthesis and of the photograph, a mean over
three seeds of the distance, and seconds. The photographs ship with scikit-image, scikit-learn and plenoptic.
``--iterations`` bounds the learning.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import timing
from timing import Row

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SIDE, PATCH, STRIDE = 256, 64, 16
TARGET = "≥ 8"

# The package, the file in it, and the (left, upper, right, lower) part of the image; None for all of it.
PHOTOGRAPHS: dict[str, tuple[str, str, tuple[int, int, int, int] | None]] = {
    "brick": ("skimage", "data/brick.png", None),
    "grass": ("skimage", "data/grass.png", None),
    "gravel": ("skimage", "data/gravel.png", None),
    "skin": ("plenoptic", "data/reptile_skin.pgm", None),
    "fur": ("plenoptic", "data/macaca_nigra_self-portrait.jpg", (300, 1060, 700, 1460)),
    "stars": ("skimage", "data/hubble_deep_field.jpg", (100, 100, 612, 612)),
    "tissue": ("skimage", "data/ihc.png", None),
    "cat": ("skimage", "data/chelsea.png", (150, 0, 260, 110)),
    "trees": ("sklearn", "datasets/images/china.jpg", (440, 320, 547, 427)),
    "petals": ("sklearn", "datasets/images/flower.jpg", (190, 100, 420, 330)),
}


def rows(fast: bool, iterations: int | None) -> Iterator[Row]:
    import tempfile

    missing = [name for name in ("skimage", "sklearn", "plenoptic") if not find_spec(name)]
    if missing:
        for name in missing:
            timing.missing(name)
        return
    wins = 0
    chosen = list(PHOTOGRAPHS)[:1] if fast else list(PHOTOGRAPHS)
    for name in chosen:
        image = photograph(name)
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            image.save(Path(folder, f"{name}.png"))
            began = time.time()
            woven = ours(Path(folder, f"{name}.png"), 5 if fast else iterations)
            yield Row(f"{name}: texture, seconds", time.time() - began)
        began = time.time()
        metamer = portilla_simoncelli(image, 2 if fast else 100)
        yield Row(f"{name}: Portilla and Simoncelli, seconds", time.time() - began)
        for what, synthesis in (("texture", woven), ("Portilla and Simoncelli", metamer)):
            found[what] = distance(synthesis, as_tensor(image))
            yield Row(f"{name}: {what}, sliced Wasserstein distance", found[what])
        wins += found["texture"] < found["Portilla and Simoncelli"]
    yield Row(f"textures of {len(chosen)} nearer than Portilla and Simoncelli", wins, "" if fast else TARGET)


def photograph(name: str) -> "Image.Image":
    """256 × 256 grey pixels."""
    from PIL import Image

    package, file, box = PHOTOGRAPHS[name]
    found = find_spec(package)
    assert found
    assert found.origin
    image = Image.open(Path(found.origin).parent / file).convert("L")
    return (image.crop(box) if box else image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def as_tensor(image: "Image.Image") -> "Tensor":
    """uint8, (1, 1, H, W)."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image))[None, None]


def ours(file: Path, iterations: int | None) -> "Tensor":
    """A synthesis by `anasyn learn texture` at its default settings, uint8 (1, 1, H, W)."""
    from contextlib import redirect_stdout

    from anasyn.cli import main
    from anasyn.data import to_uint8
    from anasyn.run import Run

    more = [] if iterations is None else ["--iterations", str(iterations)]
    with redirect_stdout(sys.stderr):
        assert main(["learn", "texture", "--data", str(file), "--out", str(file.parent / "run"), *more]) == 0
    return to_uint8(Run.open(file.parent / "run").sample(1, seed=0, size=(SIDE, SIDE)))


def portilla_simoncelli(image: "Image.Image", iterations: int) -> "Tensor":
    """A metamer of plenoptic's model at its defaults, by the optimiser of its documentation, uint8 (1, 1, H, W)."""
    import plenoptic as po
    import torch

    target = as_tensor(image).float() / 255
    po.set_seed(0)
    model = po.models.PortillaSimoncelli(target.shape[2:]).eval()
    metamer = po.Metamer(target, model, loss_function=po.loss.portilla_simoncelli_loss_factory(model, target))
    lbfgs = {"max_iter": 10, "max_eval": 10, "history_size": 100, "line_search_fn": "strong_wolfe", "lr": 1}
    metamer.setup(optimizer=torch.optim.LBFGS, optimizer_kwargs=lbfgs)
    metamer.synthesize(max_iter=iterations)
    return (metamer.metamer.detach().clamp(0, 1) * 255).round().to(torch.uint8)


def distance(synthesis: "Tensor", image: "Tensor") -> float:
    """The sliced Wasserstein distance of patches on a grid."""
    import torch

    from anasyn.evaluation import sliced_wasserstein

    def patches(x: "Tensor") -> "Tensor":
        return torch.cat(
            [part for rows in x.unfold(2, PATCH, STRIDE).unfold(3, PATCH, STRIDE)[0, 0] for part in rows[:, None, None]]
        )

    seeds = (0, 10, 20)
    return sum(sliced_wasserstein(patches(synthesis), patches(image), seed=seed).mean for seed in seeds) / len(seeds)


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--iterations", type=int)
    known, sys.argv[1:] = options.parse_known_args()
    timing.main("textures", lambda fast: rows(fast, known.iterations), __doc__)
