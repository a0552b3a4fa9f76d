"""The report: one self-contained HTML file about one run or several."""

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

LARGEST_PAGE = 5_700_000  # bytes, approximately; mail and course sites often accept at most 6 MB


def write(runs: list[Run], out: Path | None = None) -> Path:
    """Writes the report of these runs, finished or not, by default to report.html of the first, and returns its path.

    Raises:
        InputError: nothing is recorded yet for one of the runs, or its records are damaged.
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
    """A page from one of the templates; all its content is escaped as text, except for the drawings."""
    environment = Environment(
        loader=PackageLoader("anasyn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "drawing": Markup}
    return environment.get_template(template).render(**content)


def _number(value: Any, digits: int = 4) -> str:
    """A float with so many significant digits; any other value as text."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits}g}".replace("-", "−") if math.isfinite(value) else "not finite"


def _labels(runs: list[Run]) -> list[str]:
    """The titles of runs: the name of the recipe, followed by that of the directory if several have the same recipe."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else f"{run.name} ({run.path.resolve().name})" for run in runs]


def _comparison(runs: list[Run], shown: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparison of runs: settings that differ, metrics of the last iteration, and curves in common charts."""
    curves = [Curves(content["label"], content["records"], content["kind"]) for content in shown]
    names = settings.differing(runs)
    measures = {"loss": "loss", "mse": "MSE", "energy_gap": "energy gap", "acceptance_rate": "acceptance"}
    last = [content["records"][-1] if content["records"] else {} for content in shown]
    recorded = {name: word for name, word in measures.items() if any(name in line for line in last)}
    return {
        "settings": names,
        "values": [[getattr(run.settings, name) for name in names] for run in runs],
        "measures": list(recorded.values()),
        "measured": [[line.get(name, "–") for name in recorded] for line in last],
        "charts": list(charts.learning_charts("all", curves)),
        "events": charts.events(curves),
    }
