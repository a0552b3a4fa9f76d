"""Reports of short runs on drawn pictures, and a browser to open them in."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anasyn.data.sources import load
from anasyn.learning import Record
from anasyn.recipes import DescriptorRecipe, GeneratorRecipe, Recipe, Scale
from anasyn.report import html
from anasyn.run import Run, advance

HOW = "to have these tests run: apt-get install chromium, pip install -c constraints.txt -e '.[dev,browser]'"


def learned(path: Path, name: str, recipe: Recipe) -> Run:
    """A run to its last iteration, with an event of each kind in its metrics."""
    images = load(recipe.data or "", recipe.size or 0)
    run = Run.create(path, name, recipe.resolve(Scale(len(images), 64, False)), images)
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images):
        pass
    last = run.metrics()[-1]
    iteration = last["iteration"]
    run.rewind(iteration - 1)
    told = ("rolled back from iteration 30 to 20: energy gap; learning rate × 0.5", "a <b>warning</b>")
    run.log(Record(last["loss"], float("nan"), last["step_size"], {}, iteration, events=told))
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two generators, one of four dimensions, and a descriptor."""
    folder = tmp_path_factory.mktemp("runs")
    small: dict[str, Any] = {"size": 32, "precision": "float32"}
    plane = GeneratorRecipe(**small, data="drawn-cats", width=32, iterations=120, latent_dim=2)
    space = GeneratorRecipe(**small, data="drawn-cats", width=32, iterations=60, latent_dim=4, sigma=0.2)
    chains = DescriptorRecipe(**small, data="drawn-egrets", width=16, iterations=25, num_steps=12, batch_size=8)
    return {
        "generator": learned(folder / "plane", "drawn-cats", plane),
        "space": learned(folder / "space", "drawn-cats", space),
        "descriptor": learned(folder / "chains", "drawn-egrets", chains),
    }


@pytest.fixture(scope="session")
def reports(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each run, and one of all three."""
    folder = tmp_path_factory.mktemp("reports")
    written = {name: html.write([run], folder / f"{name}.html") for name, run in runs.items()}
    return written | {"three": html.write(list(runs.values()), folder / "three.html")}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a screen."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed; {HOW}")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip(f"there is no chromium here; {HOW}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


Open = Callable[..., Any]


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for something; Playwright's own waiting evaluates strings, which the page forbids."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def page(browser: Any, reports: dict[str, Path]) -> Iterator[Open]:
    """Opens a report; afterwards nothing may have been said on the console, nor asked of anyone."""
    contexts, complaints = [], []

    def open_report(name: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        opened = context.new_page()
        address = reports[name].as_uri()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "request",
            lambda request: (
                None if request.url == address or request.url.startswith("data:") else complaints.append(request.url)
            ),
        )
        opened.goto(address)
        for player in opened.locator("[data-explorer], [data-film]").all():
            until(lambda player=player: player.get_attribute("data-ready") == "true")
        return opened

    yield open_report
    for context in contexts:
        context.close()
    assert complaints == []
