"""The report: one self-contained HTML file about one or more runs."""

import base64
import dataclasses
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import InputError
from ..run import Run

__all__ = ["write"]

CAPTIONS = {
    "training.png": "The images it learned from",
    "reconstructions.png": "Each image above its reconstruction f(z) from the inferred z",
    "samples.png": "Images f(z) at random z ~ N(0, I)",
    "interpolation.png": "The panel: f(z) over a square of the latent plane",
    "latents.png": "The inferred z of each image",
    "synthesis.png": "Where the chains start, what they synthesise, and the images learned from",
    "chains.png": "The chains on their way from start to end",
    "long_run.png": "Ten times the training length: chains from the data, then from the starts",
    "loss.png": "How learning went",
}


def write(runs: list[Run], out: Path | None = None) -> Path:
    """Writes the report of these runs, by default to report.html in the first, and returns its path.

    Raises:
        InputError: a run has no figures yet.
    """
    environment = Environment(
        loader=PackageLoader("anasyn.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    path = out or runs[0].path / "report.html"
    page = environment.get_template("report.html").render(runs=[_content(run) for run in runs])
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page)
    partial.rename(path)
    return path


def _content(run: Run) -> dict[str, Any]:
    folder = run.path / "figures"
    shown = [
        {"caption": caption, "data": base64.b64encode((folder / name).read_bytes()).decode()}
        for name, caption in CAPTIONS.items()
        if (folder / name).is_file()
    ]
    if not shown:
        raise InputError(f"{run.path}: no figures yet; let `anasyn learn {run.name}` end first")
    last = run.metrics()[-1]
    settings = [
        {"name": field.name, "value": getattr(run.recipe, field.name)} for field in dataclasses.fields(run.recipe)
    ]
    return {
        "name": run.name,
        "diagnosis": run.diagnosis(),
        "path": str(run.path),
        "figures": shown,
        "last": {
            key: f"{value:.4g}" for key, value in last.items() if isinstance(value, float) and math.isfinite(value)
        },
        "iteration": last["iteration"],
        "settings": settings,
        "num_images": len(run.data()["names"]),
        "kind": "generator" if run.is_generator else "descriptor",
    }
