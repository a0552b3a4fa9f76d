"""Reports of short runs on drawn images, and a browser to open them in."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anasyn.data import ImageSet, to_float
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.data.sources import load
from anasyn.learning import Record
from anasyn.methods import DescriptorSettings, GeneratorSettings, Latents, Scale, Settings
from anasyn.report import charts, contents, html, pictures
from anasyn.report.explorer import explorer
from anasyn.report.film import Film, packed
from anasyn.run import Run, advance, metrics

WARNING = "Not to be trusted: the bounds of log Z are 9615.8 nats apart, above 5."
MEASURES = {
    "log_normalizer": {"value": 14926.2, "protocol": "Lower bound of log Z. " * 20, "warning": WARNING},
    "held_out_neighbourhood_coverage": {"value": 0.5, "protocol": "Share.", "meaning": "Half of the images."},
}
CLASSES = ("lion", "tiger & lion", "tiger")
HOW = "to have these tests run: apt-get install chromium, pip install -c constraints.txt -e '.[dev,browser]'"


def learned(path: Path, name: str, recipe: Settings) -> Run:
    """A run to its last iteration, with an event of each kind in its metrics."""
    images = load(recipe.data or "", recipe.size or 0)
    run = Run.create(path, name, recipe.resolve(Scale(len(images), 64, False)), images)
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images):
        pass
    last = run.metrics()[-1]
    iteration = last["iteration"]
    metrics.rewind(run.path / "metrics.jsonl", iteration - 1)
    told = ("rolled back from iteration 30 to 20: energy gap; learning rate × 0.5", "a <b>warning</b>")
    metrics.append(
        run.path / "metrics.jsonl", Record(last["loss"], float("nan"), last["step_size"], {}, iteration, events=told)
    )
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two generators, one of four dimensions, and a descriptor, which is evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    small: dict[str, Any] = {"size": 32, "precision": "float32"}
    plane = GeneratorSettings(**small, step_size=0.03, data="drawn-cats", width=32, iterations=120, latent_dim=2)
    space = GeneratorSettings(
        **small, step_size=0.03, data="drawn-cats", width=32, iterations=60, latent_dim=4, sigma=0.2
    )
    chains = DescriptorSettings(**small, data="drawn-egrets", width=16, iterations=25, num_steps=12, batch_size=8)
    found = {
        "generator": learned(folder / "plane", "drawn-cats", plane),
        "space": learned(folder / "space", "drawn-cats", space),
        "descriptor": learned(folder / "chains", "drawn-egrets", chains),
    }
    found["descriptor"].save_evaluation(25, MEASURES)
    grey = [torch.full((4, 3, 32, 32), 40 * k, dtype=torch.uint8) for k in range(5)]
    draws = torch.stack(grey[1:4])
    found["space"].save_restoration({"seen": grey[0], "restored": grey[1].clone(), "spread": grey[4], "draws": draws})
    return found


@pytest.fixture(scope="session")
def reports(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each run, and one of all three."""
    folder = tmp_path_factory.mktemp("reports")
    written = {name: html.write([run], folder / f"{name}.html") for name, run in runs.items()}
    written["three"] = html.write(list(runs.values()), folder / "three.html")
    written["shapes"] = folder / "shapes.html"
    written["shapes"].write_text(page_of_shapes(runs["generator"]))
    return written


class GreyFaces(nn.Module):
    """f(z), grey, 48 × 32: a drawn face plus z₁ and z₂ times its differences from two others."""

    def __init__(self) -> None:
        super().__init__()
        faces = to_float(draw_cats(drawn_factors(3), 48)).mean(1, keepdim=True)[..., 8:40] / 2
        self.origin, self.directions = faces[0], (faces[1:] - faces[0]).flatten(1)

    def forward(self, z: Tensor) -> Tensor:
        return self.origin + (z @ self.directions / 4).unflatten(1, self.origin.shape)


def moving_stripes() -> Film:
    """Two chains of 24 × 40 black pixels with one white column: column 5t + k in frame t of chain k."""
    frames = torch.full((8, 2, 3, 24, 40), -1.0)
    for t in range(8):
        for k in range(2):
            frames[t, k, ..., 5 * t + k] = 1.0
    return Film(torch.arange(2), list(range(8)), 7, frames, torch.arange(16.0).view(8, 2), proposed=False)


def page_of_shapes(run: Run) -> str:
    """A page of a model that both infers z and synthesises: grey tall images with classes, and wide chains."""
    model, z = GreyFaces(), torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    names = tuple(f"{k}.png" for k in range(12))
    tall = (model(z).clamp(-1, 1) * 127.5 + 127.5).round().byte()
    urls, watched = pictures.singles(tall, 128), moving_stripes()
    wide = ImageSet(names[:2], (watched.frames[-1] * 127.5 + 127.5).byte())
    film = packed(watched, wide, 1_000_000)
    labels = [CLASSES[k % 3] for k in range(12)]
    content = contents.content("run0", run, "shapes", 2_000_000) | {
        "training": [{"name": name, "image": url} for name, url in zip(names, urls, strict=True)],
        "learned": pictures.singles(wide.pixels, 128),
        "pairs": [
            {"name": name, "training": url, "reconstruction": url, "mse": 0.0, "z": "z = (0, 0)"}
            for name, url in zip(names, urls, strict=True)
        ],
        "panel": {"image": pictures.sheet(tall[:4].repeat(16, 1, 1, 1), 8, 64), "names": ("z₁", "z₂")},
        "explorer": explorer(Latents(model, z), names, tall, 1_000_000, labels),
        "film": film,
        "energy": charts.energy_chart("shapes", watched.steps, watched.energy),
    }
    return html.render("report.html", runs=[content], comparison=None, title="shapes")


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
