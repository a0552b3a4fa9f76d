"""What a report shows of one run, gathered from its directory as plain values for the template."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ..data import ImageSet, to_float, to_uint8
from ..diagnostics.chains import finite
from ..errors import InputError
from ..evaluation import evenly
from ..learning import DescriptorLearner, GeneratorLearner
from ..rng import derive
from ..run import Run, latent_plane, panel
from . import charts, pictures, settings
from .charts import Curves
from .explorer import explorer
from .film import film, packed

__all__ = ["content", "numbers"]

SHOWN = 24  # images of a large set
SAMPLES = 15
SIDE = 128  # pixels that an image of the page has at most
PANEL_POINTS = 8
CURVES = 400_000  # bytes, nearly, that a run's curves and words take
ROOM_FOR_ALL = 1_400_000  # bytes; with less, fewer and smaller images are shown


def content(key: str, run: Run, label: str, share: int) -> dict[str, Any]:
    """All that the template asks of a run.

    Args:
        key: one in the page, for identifiers.
        run: at whatever stage; without a checkpoint, there are only curves and settings.
        label: what the run is called.
        share: bytes that it may take in the page.

    Raises:
        InputError: nothing is recorded yet, or what is recorded is damaged.
    """
    records = run.metrics()
    trained = run.saved_iteration() is not None
    if not records and not trained:
        raise InputError(f"{run.path}: nothing learned yet (no checkpoint); let `anasyn learn {run.name}` go on")
    kind = "generator" if run.is_generator else "descriptor"
    curves = [Curves(label, records, kind)]
    diagnosis = run.diagnosis()
    strip = run.path / "figures" / "long_run.png"
    shown: dict[str, Any] = {
        "key": key,
        "label": label,
        "name": run.name,
        "path": str(run.path),
        "kind": kind,
        "num_images": len(run.data()["names"]),
        "iteration": records[-1]["iteration"] if records else 0,
        "iterations": run.recipe.iterations,
        "numbers": numbers(records),
        "diagnosis": diagnosis,
        "changes": settings.changes(run),
        "settings": [
            {"name": field.name, "value": getattr(run.recipe, field.name), "meaning": field.metadata["meaning"]}
            for field in fields(run.recipe)
        ],
        "command": settings.command(run),
        "origin": settings.origin(run),
        "records": records,
        "charts": list(charts.learning_charts(key, curves)),
        "events": charts.events(curves),
        "long_run": pictures.from_file(strip) if strip.is_file() and not run.is_generator else None,
        "long_run_chart": charts.long_run_chart(f"{key} long", diagnosis["long_run"])
        if diagnosis and "long_run" in diagnosis
        else None,
        "missing": None,
        "training": [],
        "learned": [],
    }
    if not trained:
        return shown | {"missing": "No checkpoint has been written yet: there are curves, and no pictures."}
    learner = run.learned()
    try:
        images = run.images()
    except InputError as gone:
        return shown | {"missing": f"The training images are not shown: {gone}."}
    if isinstance(learner, GeneratorLearner):
        return shown | _of_generator(learner, images, run.recipe.seed, share)
    return shown | _of_descriptor(key, learner, images, run.recipe.seed, share)


def numbers(records: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """The last iteration's measures, in the field's words."""
    words = charts.MEASURES | {"divergent": "share of divergent transitions", "gradient_norm": "norm of the gradient"}
    last = records[-1] if records else {}
    return [(word, float(last[name])) for name, word in words.items() if last.get(name) is not None]


@torch.no_grad()
def _of_generator(learner: GeneratorLearner, images: ImageSet, seed: int, share: int) -> dict[str, Any]:
    model, z = learner.model, learner.chains.positions
    rng = derive(seed, "report", device=z.device)
    shown, side = (SHOWN, SIDE) if share > ROOM_FOR_ALL else (SHOWN // 2, SIDE // 2)
    index = evenly(len(images), shown)
    chosen = z[index.to(z.device)]
    reconstructions = model(chosen).cpu()
    observed = images.pixels[index]
    mse = ((to_float(observed) - reconstructions) ** 2).flatten(1).mean(1).tolist()
    before, after = pictures.singles(observed, side), pictures.singles(to_uint8(reconstructions), side)
    samples = pictures.singles(to_uint8(model.sample(SAMPLES, rng=rng)), side)
    square = _panel(learner, z, side // 2)
    pairs = [
        {"name": images.names[i], "training": a, "reconstruction": b, "mse": error, "z": _coordinates(position)}
        for i, a, b, error, position in zip(index.tolist(), before, after, mse, chosen.cpu(), strict=True)
    ]
    room = share - CURVES - len(square["image"]) - sum(map(len, (*before, *before, *after, *after, *samples)))
    return {
        "training": [{"name": pair["name"], "image": pair["training"]} for pair in pairs],
        "learned": samples,
        "pairs": pairs,
        "panel": square,
        "explorer": finite(explorer(learner, images.names, images.pixels, room)) if z.shape[1] > 1 else None,
    }


def _panel(learner: GeneratorLearner, z: Tensor, side: int) -> dict[str, Any]:
    """f(z) over a square of the plane; of a z of one dimension, along a line."""
    if z.shape[1] == 1:
        line = torch.linspace(-2, 2, PANEL_POINTS, device=z.device, dtype=z.dtype)[:, None]
        return {"image": pictures.sheet(to_uint8(learner.model(line)), PANEL_POINTS, side), "names": ["z"]}
    plane = latent_plane(z)
    images = to_uint8(panel(learner.model, plane, PANEL_POINTS, -2, 2))
    return {"image": pictures.sheet(images, PANEL_POINTS, side), "names": plane.names}


def _of_descriptor(key: str, learner: DescriptorLearner, images: ImageSet, seed: int, share: int) -> dict[str, Any]:
    watched = film(learner, images, seed)
    shown = packed(watched, images, share // 2)
    return {
        "training": [
            {"name": chain["name"], "image": image}
            for chain, image in zip(shown["chains"], shown.pop("observed"), strict=True)
        ],
        "learned": shown.pop("synthesised"),
        "film": shown,
        "energy": charts.energy_chart(f"{key} energy", watched.steps, watched.energy),
    }


def _coordinates(z: Tensor) -> str:
    """z in words; of many dimensions, its length."""
    if len(z) <= 4:
        return f"z = ({', '.join(f'{float(a):.2f}' for a in z)})".replace("-", "−")
    return f"‖z‖ = {float(z.norm()):.2f}"
