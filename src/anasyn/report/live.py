"""The report while a run learns: a light page, written anew as often as its cost allows."""

import time
from pathlib import Path
from typing import Any

from ..data import ImageSet
from ..learning import DescriptorLearner, GeneratorLearner, non_finite
from ..run import Run
from ..run.files import replace

__all__ = ["Live", "Pace", "is_live"]


class Pace:
    """When to do again what is of use, but costs time: at an interval, and within a share of all the time.

    Args:
        every: seconds between two times, at least.
        share: of the time since the beginning that may be spent.
        first_cost: seconds that the first time is expected to take; after it, the last one's cost is expected again.
    """

    def __init__(self, every: float, *, share: float = 0.05, first_cost: float = 1.5):
        self.every, self.share, self.cost = every, share, first_cost
        self.spent = 0.0
        self.began = self.ended = time.perf_counter()

    def is_due(self) -> bool:
        """Whether the interval is over, and one time more stays within the share."""
        now = time.perf_counter()
        affordable = self.spent + self.cost <= self.share * (now - self.began)
        return affordable and now - self.ended >= self.every

    def done(self, began: float) -> None:
        """Counts what was begun at ``began`` (`time.perf_counter`) and has just ended."""
        self.ended = time.perf_counter()
        self.cost = self.ended - began
        self.spent += self.cost


class Live:
    """Keeps RUN/report.html current between a run's iterations, until the final report takes its place.

    Args:
        run: that is learning.
        images: its own.
        every: seconds between two pages, at least.
    """

    def __init__(self, run: Run, images: ImageSet, *, every: float = 10.0):
        self.run, self.images, self.every = run, images, every
        self.pace = Pace(every)

    def update(self, learner: GeneratorLearner | DescriptorLearner) -> bool:
        """Writes the page if it is time; to be called after each iteration. Returns whether it was written."""
        if not self.pace.is_due() or non_finite(learner):  # unguarded, a run may go on with nothing to show
            return False
        began = time.perf_counter()
        self.write(learner)
        self.pace.done(began)
        return True

    def write(self, learner: GeneratorLearner | DescriptorLearner) -> None:
        """Writes the page as the learner stands, whole or not at all."""
        from . import charts, html, pictures  # what draws is loaded by the first page, not by a run that begins
        from .snapshot import snapshot

        run = self.run
        kind = "generator" if run.is_generator else "descriptor"
        curves = [charts.Curves(run.name, run.metrics(), kind)]
        rows: list[dict[str, Any]] = [
            {"what": what, "images": pictures.singles(made, 128)}
            for what, made in snapshot(learner, self.images, run.recipe.seed).items()
        ]
        page = html.render(
            "live.html",
            title=run.name,
            kind=kind,
            num_images=len(self.images),
            iteration=learner.iteration,
            iterations=run.recipe.iterations,
            elapsed=_words(time.perf_counter() - self.pace.began),
            refresh=max(round(self.every), 5),
            rows=rows,
            charts=list(charts.learning_charts("now", curves)),
            events=charts.events(curves),
        )
        replace(run.path / "report.html", page)


def is_live(report: Path) -> bool:
    """Whether a report is of a run under way, as one that was stopped leaves it, and not the final one."""
    if not report.is_file():
        return False
    with report.open(encoding="utf-8", errors="replace") as page:
        return 'http-equiv="refresh"' in page.read(2000)


def _words(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
