"""The report while a run learns: a small page, rewritten as often as its cost allows."""

import time
from pathlib import Path
from typing import Any

from ..data import ImageSet
from ..learning import Learner, non_finite
from ..run import Run
from ..run.files import replace

__all__ = ["Live", "Pace", "is_live"]


class Pace:
    """Decides when to repeat a costly task: at least an interval apart, and within a share of the elapsed time.

    Args:
        every: the least number of seconds between two executions.
        share: the share of the elapsed time that may be spent.
        first_cost: seconds that the first execution is expected to take; later ones are expected to take as long as the
            last.
    """

    def __init__(self, every: float, *, share: float = 0.05, first_cost: float = 1.5):
        self.every, self.share, self.cost = every, share, first_cost
        self.spent = 0.0
        self.began = self.ended = time.perf_counter()

    def is_due(self) -> bool:
        """Whether the interval is over and another execution stays within the share."""
        now = time.perf_counter()
        affordable = self.spent + self.cost <= self.share * (now - self.began)
        return affordable and now - self.ended >= self.every

    def done(self, began: float) -> None:
        """Records an execution that began at ``began`` (`time.perf_counter`) and has just ended."""
        self.ended = time.perf_counter()
        self.cost = self.ended - began
        self.spent += self.cost


class Live:
    """Keeps RUN/report.html up to date while a run learns, until the final report replaces it.

    Args:
        run: the run that is learning.
        images: its training images.
        every: the least number of seconds between two pages.
    """

    def __init__(self, run: Run, images: ImageSet, *, every: float = 10.0):
        self.run, self.images, self.every = run, images, every
        self.pace = Pace(every)

    def update(self, learner: Learner) -> bool:
        """Writes the page if it is due, and returns whether it was written; call it after each iteration."""
        if not self.pace.is_due() or non_finite(learner):  # without a guard, a run goes on after it has diverged
            return False
        began = time.perf_counter()
        self.write(learner)
        self.pace.done(began)
        return True

    def write(self, learner: Learner) -> None:
        """Writes the page about the learner's current state, atomically."""
        from . import charts, html, pictures  # the first page, not the start of the run, loads matplotlib
        from .snapshot import snapshot

        run = self.run
        curves = [charts.Curves(run.name, run.metrics(), run.method.name)]
        rows: list[dict[str, Any]] = [
            {"title": title, "images": pictures.singles(made, 128)}
            for title, made in snapshot(run, learner, self.images).items()
        ]
        page = html.render(
            "live.html",
            title=run.name,
            kind=run.method.name,
            num_images=len(self.images),
            iteration=learner.iteration,
            iterations=run.settings.iterations,
            elapsed=_words(time.perf_counter() - self.pace.began),
            refresh=max(round(self.every), 5),
            rows=rows,
            charts=list(charts.learning_charts("now", curves)),
            events=charts.events(curves),
        )
        replace(run.path / "report.html", page)


def is_live(report: Path) -> bool:
    """Whether a file is the report of an unfinished run (which remains if the run is stopped) and not the final one."""
    if not report.is_file():
        return False
    with report.open(encoding="utf-8", errors="replace") as page:
        return 'http-equiv="refresh"' in page.read(2000)


def _words(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
