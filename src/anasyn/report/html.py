"""The report: one self-contained HTML file about one or more runs."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..run import Run
from ..run.files import replace
from . import charts, contents, settings
from .charts import Curves

__all__ = ["render", "write"]

LARGEST_PAGE = 5_700_000  # bytes; mail and course sites take 6 MB


def write(runs: list[Run], out: Path | None = None) -> Path:
    """Writes the report of these runs, by default to report.html in the first, and returns its path.

    A run need not be at its end: what can be shown of it so far is.

    Raises:
        InputError: of a run nothing is recorded yet, or what is recorded is damaged.
    """
    labels = _labels(runs)
    share = LARGEST_PAGE // len(runs)
    shown = [
        contents.content(f"run{k}", run, label, share) for k, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]
    page = render(
        "report.html",
        runs=shown,
        comparison=_comparison(runs, shown) if len(runs) > 1 else None,
        title=", ".join(labels) if len(runs) == 1 else f"{len(runs)} runs compared",
    )
    return replace(out or runs[0].path / "report.html", page)


def render(template: str, **content: Any) -> str:
    """A page from one of the templates; whatever it is given is text, never markup, but for the drawings."""
    environment = Environment(
        loader=PackageLoader("anasyn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "drawing": Markup}
    return environment.get_template(template).render(**content)


def number(value: Any) -> str:
    """A number as a page tells it, four significant digits; anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "not finite"


def _labels(runs: list[Run]) -> list[str]:
    """What runs are called: the recipe's name, and the directory's where that is not enough."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else f"{run.name} ({run.path.resolve().name})" for run in runs]


def _comparison(runs: list[Run], shown: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands side by side: settings that differ, the last iteration's measures, curves overlaid."""
    curves = [Curves(content["label"], content["records"], content["kind"]) for content in shown]
    names = settings.differing(runs)
    measures = {"loss": "loss", "mse": "MSE", "energy_gap": "dₜ", "acceptance_rate": "acceptance"}
    last = [content["records"][-1] if content["records"] else {} for content in shown]
    recorded = {name: word for name, word in measures.items() if any(name in line for line in last)}
    return {
        "settings": names,
        "values": [[getattr(run.recipe, name) for name in names] for run in runs],
        "measures": list(recorded.values()),
        "measured": [[line.get(name, "–") for name in recorded] for line in last],
        "charts": list(charts.learning_charts("all", curves)),
        "events": charts.events(curves),
    }
