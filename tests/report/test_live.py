"""The report while a run learns: current, whole at any moment, and cheap."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from anasyn.data.sources import load
from anasyn.methods import METHODS, DescriptorSettings, GeneratorSettings, Scale, Settings
from anasyn.report import html, live
from anasyn.report.live import Live, Pace, is_live
from anasyn.report.snapshot import snapshot
from anasyn.run import Run, advance

METHOD_OF = {method.settings: method.name for method in METHODS}


COMMON: dict[str, Any] = {
    "data": "drawn-cats", "size": 16, "width": 8, "iterations": 3, "num_steps": 2, "precision": "float32",
}  # fmt: skip
RECIPES: list[Settings] = [GeneratorSettings(**COMMON, step_size=0.03, latent_dim=2), DescriptorSettings(**COMMON)]


def begun(path: Path, recipe: Settings) -> Run:
    return Run.create(path, METHOD_OF[type(recipe)], recipe.resolve(Scale(16, 16, False)), load("drawn-cats", 16))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


def test_it_spends_a_twentieth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    for cost, iteration in ((0.3, 0.05), (4.0, 0.2), (0.01, 3.0)):
        pace, began, times = Pace(10.0), clock.now, []
        for _ in range(4000):
            clock.now += iteration
            if pace.is_due():
                start = clock.now
                clock.now += cost
                pace.done(start)
                times.append(start)
            # At no moment after the first time, of which the cost can only be guessed.
            if len(times) > 1:
                assert pace.spent <= 0.05 * (clock.now - began) + 1e-9
        assert len(times) >= 4
        assert min(b - a for a, b in pairwise(times)) >= 10.0 + cost


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_page_is_current(recipe: Settings, tmp_path: Path) -> None:
    run, images = begun(tmp_path / "run", recipe), load("drawn-cats", 16)
    watch, (learner, guard) = Live(run, images, every=0.0), run.resume()
    watch.pace.cost = 0.0
    watch.pace.began -= 1000
    seen = []
    for record in advance(run, learner, guard, images):
        watch.pace.ended = 0.0
        assert watch.update(learner)
        text = (run.path / "report.html").read_text()
        seen.append(f"{record.iteration} of 3</strong>" in text)
        assert is_live(run.path / "report.html")
        assert "loss" in text
    assert seen == [True] * 3
    assert not list(run.path.glob("report.html.*"))
    assert not is_live(html.write([run]))
    assert not is_live(run.path / "none.html")


@pytest.mark.parametrize("recipe", RECIPES)
def test_watching_changes_nothing(recipe: Settings, tmp_path: Path) -> None:
    images, weights = load("drawn-cats", 16), []
    for name in ("watched", "alone"):
        run = begun(tmp_path / name, recipe)
        watch, (learner, guard) = Live(run, images), run.resume()
        for _ in advance(run, learner, guard, images):
            if name == "watched":
                watch.write(learner)
        weights.append(torch.cat([parameter.flatten() for parameter in learner.model.parameters()]))
    assert torch.equal(*weights)


def test_it_waits_until_it_can_be_afforded(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", RECIPES[0])
    watch = Live(run, load("drawn-cats", 16))
    began = time.perf_counter()
    assert not watch.update(run.resume()[0])
    assert time.perf_counter() - began < 0.5
    assert not (run.path / "report.html").exists()


def test_a_snapshot_is_the_learners_own(tmp_path: Path) -> None:
    images = load("drawn-cats", 16)
    run = begun(tmp_path / "run", RECIPES[0])
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images):
        pass
    shown = snapshot(run, learner, images)
    training, reconstructions, samples = shown.values()
    assert [len(each) for each in shown.values()] == [8, 8, 8]
    assert torch.equal(training[[0, -1]], images.pixels[[0, -1]])
    with torch.no_grad():
        last = learner.model(learner.chains.positions[-1:])
    assert (reconstructions[-1].double() - (last[0] + 1) * 127.5).abs().max() < 0.6
    assert torch.equal(samples, snapshot(run, learner, images)["samples, f(z) at random z ~ N(0, I)"])
