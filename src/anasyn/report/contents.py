"""The content of a report about one run, gathered from its directory as plain values for the template."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ..data import ImageSet, to_uint8
from ..diagnostics.chains import finite
from ..errors import InputError
from ..evaluation import evenly
from ..learning import Learner
from ..methods import Latents, Synthesis
from ..methods.synthesis import LONG_RUN
from ..models import Generator, data_set, floats, observed
from ..rng import derive
from ..run import Run
from . import charts, pictures, settings
from .charts import Curves
from .explorer import explorer
from .figures.curves import METRICS
from .film import film, packed
from .plane import drawable, latent_plane, panel

__all__ = ["content"]

SHOWN, SAMPLES = 24, 15  # images of a large data set, and images that the model generates
RESTORED_DRAWS = 6
SIDE = 128  # pixels of the longer side of an image, at most
PANEL_POINTS = 8
CURVES = 400_000  # bytes that the curves and the text of a run take, approximately
ROOM_FOR_ALL = 1_400_000  # bytes; a run that has less shows fewer and smaller images


def content(key: str, run: Run, label: str, share: int) -> dict[str, Any]:
    """Everything that the template needs to know about a run.

    Args:
        key: a prefix for identifiers, unique in the page.
        run: finished or not; without a checkpoint, its content is curves and settings only.
        label: the title of the run.
        share: bytes of the page that the run may take.

    Raises:
        InputError: nothing is recorded yet, or the records are damaged.
    """
    records = run.metrics()
    trained = run.saved_iteration() is not None
    if not records and not trained:
        raise InputError(f"{run.path}: nothing learned yet (no checkpoint); let `anasyn learn {run.name}` go on")
    curves = [Curves(label, records, run.method.name)]
    diagnosis = run.diagnosis()
    synthesis = diagnosis and diagnosis.get("synthesis")
    strip, path = (run.path / "figures" / name for name in ("long_run.png", "path.png"))
    shown: dict[str, Any] = {
        "key": key,
        "label": label,
        "name": run.name,
        "path": str(run.path),
        "kind": run.method.name,
        "sampled": run.method.sampled,
        "num_images": len(run.data().names),
        "iteration": records[-1]["iteration"] if records else 0,
        "iterations": run.settings.iterations,
        "numbers": _numbers(records),
        "diagnosis": diagnosis,
        "evaluation": run.evaluation(),
        "changes": settings.changes(run),
        "settings": [
            {"name": field.name, "value": getattr(run.settings, field.name), "meaning": field.metadata["meaning"]}
            for field in fields(run.settings)
        ],
        "command": settings.command(run),
        "config": run.config(),
        "records": records,
        "charts": list(charts.learning_charts(key, curves)),
        "events": charts.events(curves),
        "long_run": pictures.from_file(strip) if strip.is_file() else None,
        "path_of_frames": pictures.from_file(path) if path.is_file() else None,
        "long_run_chart": charts.long_run_chart(f"{key} long", synthesis["long_run"]) if synthesis else None,
        "long_run_length": LONG_RUN,
        "missing": None,
        "restored": None,
        "training": [],
        "learned": [],
    }
    if not trained:
        return shown | {"missing": "No checkpoint has been written yet: there are curves, and no pictures."}
    shown["restored"] = _restored(run)
    learner = run.learned()
    try:
        images = run.images()
    except InputError as error:
        return shown | {"missing": f"The training images are not shown: {error}."}
    return shown | _pictures(key, run, learner, images, share)


def _numbers(records: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """The titles and values of the metrics of the last iteration."""
    titles = {name: title for name, (title, _) in METRICS.items()}
    titles |= {"divergent": "share of divergent transitions", "gradient_norm": "norm of the gradient"}
    last = records[-1] if records else {}
    return [(title, float(last[name])) for name, title in titles.items() if last.get(name) is not None]


def _pictures(key: str, run: Run, learner: Learner, images: ImageSet, share: int) -> dict[str, Any]:
    """The pictures for each ability of the run's method; for a method that can only sample, its samples."""
    method, seed = run.method, run.settings.seed
    parts: dict[str, Any] = {}
    room = share // max(1, sum(ability is not None for ability in (method.infer, method.synthesise)))
    if method.synthesise:
        parts |= _of_synthesis(key, method.synthesise(learner), images, seed, room)

    def samples() -> Tensor:
        rng = derive(seed, "report", device=next(learner.model.parameters()).device)
        return to_uint8(method.sample(learner, SAMPLES, lambda: images, rng))

    if method.infer:
        parts |= _of_inference(method.infer(learner), samples(), images, room)
    if not parts:
        training = _named(images, evenly(len(images), SHOWN), SIDE)
        parts = {"training": training, "learned": pictures.singles(samples(), SIDE)}
    return parts


def _restored(run: Run) -> list[dict[str, str]] | None:
    """The states of some restored images in turn, each a name and the images side by side; None if there are none."""
    found = run.restoration()
    if found is None:
        return None
    states = {"what is seen": found["seen"], "mean of the draws": found["restored"]}
    states |= {f"draw {k}": draw for k, draw in enumerate(found["draws"][:RESTORED_DRAWS], 1)}
    states |= {"spread": found["spread"]} | ({"truth": found["truth"]} if "truth" in found else {})
    return [{"name": name, "image": pictures.sheet(images, 6, SIDE)} for name, images in states.items()]


def _named(images: ImageSet, index: Tensor, side: int) -> list[dict[str, Any]]:
    """The names and data URLs of some training images."""
    urls = pictures.singles(images.take(index), side)
    return [{"name": images.names[i], "image": url} for i, url in zip(index.tolist(), urls, strict=True)]


@torch.no_grad()
def _of_inference(latents: Latents, drawn: Tensor, images: ImageSet, share: int) -> dict[str, Any]:
    """The pictures of a method that infers z, with samples ``drawn`` from it, uint8."""
    model, z = latents
    shown, side = (SHOWN, SIDE) if share > ROOM_FOR_ALL else (SHOWN // 2, SIDE // 2)
    index = evenly(len(images), shown)
    chosen = z[index.to(z.device)]
    seen = floats(data_set(images)[index].to(z.device))
    mse = (model.squares(chosen, seen) / observed(seen).num_seen).tolist()
    reconstructions = model(chosen).cpu()
    training, after = _named(images, index, side), pictures.singles(to_uint8(reconstructions), side)
    samples = pictures.singles(drawn, side)
    found, few = drawable(latents, images)
    square = _panel(model, found.z, side // 2)
    pairs = [
        {"name": a["name"], "training": a["image"], "reconstruction": b, "mse": error, "z": _coordinates(position)}
        for a, b, error, position in zip(training, after, mse, chosen.cpu(), strict=True)
    ]
    urls = [square["image"], *samples, *(pair[what] for pair in pairs for what in ("training", "reconstruction") * 2)]
    room = share - CURVES - sum(map(len, urls))
    plane = explorer(found, few.names, few.pixels, room, few.labels) if z.shape[1] > 1 else None
    return {"training": training, "learned": samples, "pairs": pairs, "panel": square, "explorer": finite(plane)}


def _panel(model: Generator, z: Tensor, side: int) -> dict[str, Any]:
    """f(z) over a square of the plane, or along a line if z has one dimension."""
    names: tuple[str, ...] = ("z",)
    if z.shape[1] == 1:
        images = model(torch.linspace(-2, 2, PANEL_POINTS, device=z.device, dtype=z.dtype)[:, None])
    else:
        plane = latent_plane(z)
        images, names = panel(model, plane, PANEL_POINTS, -2, 2), plane.names
    return {"image": pictures.sheet(to_uint8(images), PANEL_POINTS, side), "names": names}


def _of_synthesis(key: str, synthesis: Synthesis, images: ImageSet, seed: int, share: int) -> dict[str, Any]:
    watched = film(synthesis, images, seed)
    return {
        "training": _named(images, watched.chosen, SIDE),
        "learned": pictures.singles(to_uint8(watched.frames[-1]), SIDE),
        "film": packed(watched, images, share // 2),
        "energy": charts.energy_chart(f"{key} energy", watched.steps, watched.energy),
    }


def _coordinates(z: Tensor) -> str:
    """The coordinates of z or, if there are more than four, its length."""
    if len(z) <= 4:
        return f"z = ({', '.join(f'{float(a):.2f}' for a in z)})".replace("-", "−")
    return f"‖z‖ = {float(z.norm()):.2f}"
