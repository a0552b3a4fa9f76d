"""The report: one file that needs no other, of a run at any stage, in which names cannot be anything but text."""

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anasyn.data import ImageSet, save_image, spread
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.data.sources import load
from anasyn.errors import InputError
from anasyn.learning import Record
from anasyn.methods import DescriptorSettings, GeneratorSettings, Scale, Settings, TextureSettings
from anasyn.report import contents, html, settings
from anasyn.run import Run, advance, metrics

HOSTILE = "<script>alert(1)<"
COMMON: dict[str, Any] = {
    "data": "drawn-cats", "size": 16, "width": 8, "iterations": 3, "num_steps": 2, "precision": "float32",
}  # fmt: skip
SCALE = Scale(num_images=16, smaller_side=16, has_bfloat16=False)


class Page(HTMLParser):
    """The tags with their attributes, the text, and the data for the scripts."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data: list[Any] = []
        self.inside: list[str] = []
        self.feed(path.read_text())
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = [tag, dict(attrs).get("type") or ""]

    def handle_endtag(self, tag: str) -> None:
        self.inside = []

    def handle_data(self, data: str) -> None:
        if self.inside == ["script", "application/json"]:
            self.data.append(json.loads(data, parse_constant=pytest.fail))
        elif not self.inside:
            self.words.append(data)


def begun(path: Path, recipe: Settings, name: str = "generator", images: ImageSet | None = None) -> Run:
    return Run.create(path, name, recipe.resolve(SCALE), images or load("drawn-cats", 16))


def learned(path: Path, recipe: Settings, name: str = "generator", images: ImageSet | None = None) -> Run:
    run = begun(path, recipe, name, images)
    learner, guard = run.resume()
    for _ in advance(run, learner, guard, images or run.images()):
        pass
    return run


def generator(path: Path, **settings: Any) -> Run:
    return learned(path, GeneratorSettings(**(COMMON | {"step_size": 0.03, "latent_dim": 2} | settings)))


def descriptor(path: Path, **settings: Any) -> Run:
    return learned(path, DescriptorSettings(**(COMMON | settings)), "descriptor")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A generator's run, not to be changed."""
    return generator(tmp_path_factory.mktemp("runs") / "run", sigma=0.2)


@pytest.fixture(scope="module")
def synthesising(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A descriptor's run, not to be changed."""
    return descriptor(tmp_path_factory.mktemp("runs") / "run")


def copied(run: Run, to: Path) -> Run:
    return Run.open(shutil.copytree(run.path, to))


def test_a_generator_and_that_its_page_needs_no_other_file(finished: Run, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "run")
    assert html.write([run]) == run.path / "report.html"
    page = Page(run.path / "report.html")
    assert "Learned by the method generator from 16 images in 3 iterations" in page.text
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1"]
    for heading in ("Explore the latent space", "Reconstructions", "Panel of f(z)", "Learning curves", "Reproduce"):
        assert heading in page.words
    assert page.text.count("MSE") == 16
    explorer = next(data for data in page.data if "planes" in data)
    assert explorer["points"] >= 33
    assert sum("thumb" in (attributes.get("class") or "") for _, attributes in page.tags) == 16
    assert "sigma 0.2 recipe: 0.3" in page.text
    assert "anasyn learn generator --size 16" in page.text
    assert sorted(path.name for path in run.path.iterdir() if path.name.startswith("report")) == ["report.html"]
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")
    assert_needs_no_other_file(page, run.path / "report.html")


def assert_needs_no_other_file(page: Page, path: Path) -> None:
    assert path.stat().st_size < 6e6
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "base", "form"}
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("srcset", "action")}
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#"), tag
    (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'")
    assert not re.search(r"@import|url\((?!#)", path.read_text())


def test_the_mse_is_each_images_own(finished: Run) -> None:
    run = finished
    learner, images = run.learned(), run.images()
    shown = contents.content("run0", run, "it", 5_000_000)
    for place in (0, 9):
        made = learner.model(learner.chains.positions[place : place + 1])
        target = images.pixels[place].float() / 127.5 - 1
        assert shown["pairs"][place]["mse"] == pytest.approx(((target - made) ** 2).mean().item(), rel=1e-4)
        z = ", ".join(f"{float(a):.2f}" for a in learner.chains.positions[place])
        assert shown["pairs"][place]["z"] == f"z = ({z})".replace("-", "−")


def test_a_descriptor(synthesising: Run, tmp_path: Path) -> None:
    page = Page(html.write([synthesising], tmp_path / "report.html"))
    assert "Learned by the method descriptor from 16 images in 3 iterations" in page.text
    assert {"Chains", "energy E(Y) along the chains"} <= set(page.words)
    chains = next(data for data in page.data if "steps" in data)
    assert chains["steps"] == [0, 1, 2]
    assert not any("planes" in data for data in page.data)


def test_one_dimension_has_a_line_and_no_plane(tmp_path: Path) -> None:
    page = Page(html.write([generator(tmp_path / "run", latent_dim=1)]))
    assert "Explore the latent space" not in page.words
    assert "z from −2 at the left to 2 at the right." in page.text


def test_many_dimensions_have_principal_directions(tmp_path: Path) -> None:
    page = Page(html.write([generator(tmp_path / "run", latent_dim=6)]))
    explorer = next(data for data in page.data if "planes" in data)
    assert explorer["planes"] == {"0 1": 0, "0 2": 1, "1 2": 2, "0 3": 3, "1 3": 4, "2 3": 5}
    assert "1st principal direction" in page.text
    assert "% of the variance" in page.text


def test_several_runs(finished: Run, synthesising: Run, tmp_path: Path) -> None:
    runs = [generator(tmp_path / "one"), copied(finished, tmp_path / "two"), copied(synthesising, tmp_path / "three")]
    page = Page(html.write(runs, tmp_path / "all.html"))
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1"]
    assert "3 runs compared" in page.words
    assert {"generator (one)", "generator (two)", "descriptor"} <= set(page.words)
    assert not (runs[0].path / "report.html").exists()
    columns = settings.differing(runs)
    assert "kernel" in columns
    assert "sigma" not in columns  # the descriptor has none
    assert settings.differing(runs[:2]) == ["sigma"]
    identifiers = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_names_are_escaped(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / f"{HOSTILE} &amp; \"'" / "data"
    folder.mkdir(parents=True)
    names = ("<script>.png", "</script><script>alert(2)<b>.png", "\"' onload=alert(3) {{ 7 * 7 }}.png")
    for name, image in zip((n.replace("/", "∕") for n in names), draw_cats(drawn_factors(3), 16), strict=True):
        save_image(folder / name, image)
    images = load(str(folder), 16)
    runs = [
        learned(tmp_path / f"{HOSTILE}{kind}", recipe, kind, images)
        for kind, recipe in {
            "generator": GeneratorSettings(**(COMMON | {"step_size": 0.03, "data": str(folder), "latent_dim": 2})),
            "descriptor": DescriptorSettings(**(COMMON | {"data": str(folder)})),
        }.items()
    ]
    metrics.append(runs[0].path / "metrics.jsonl", Record(1.0, 0.5, 0.03, {}, 4, events=(HOSTILE,)))
    plain = Page(html.write([finished], tmp_path / "plain.html"))
    for each in ([runs[0]], runs):
        page = Page(html.write(each, tmp_path / "page.html"))
        assert sum(tag == "script" and not a.get("type") for tag, a in page.tags) == 1
        assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags} | {"article", "ol", "h3", "i"}
        assert not {name for _, attributes in page.tags for name in attributes if name.startswith("on")}
        told = [*page.words, *(value or "" for _, attributes in page.tags for value in attributes.values())]
        assert any("<script>.png" in text for text in told)
        assert all(any(str(run.path) in text for text in told) for run in each)
        assert not any(text.strip() == "49" for text in told)
        assert HOSTILE in page.text


def test_what_is_not_a_number_breaks_nothing(finished: Run, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "run")
    metrics.append(
        run.path / "metrics.jsonl",
        Record(math.nan, math.nan, math.inf, {"mse": math.nan}, 4, events=("rolled back from iteration 4 to 3",)),
    )
    page = Page(html.write([run]))  # in whose data there is no NaN
    assert "loss not finite" in page.text
    assert "rolled back from iteration 4 to 3" in page.text


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", GeneratorSettings(**(COMMON | {"step_size": 0.03, "latent_dim": 2})))
    with pytest.raises(InputError, match="nothing learned yet"):
        html.write([run])
    metrics.append(run.path / "metrics.jsonl", Record(5.0, 0.5, 0.03, {"mse": 0.5}, 1))
    page = Page(html.write([run]))
    assert "in 1 of 3 iterations" in page.text
    assert "No checkpoint has been written yet" in page.text
    assert not any("planes" in data for data in page.data)


def test_a_run_whose_images_are_gone(tmp_path: Path) -> None:
    for index, image in enumerate(draw_cats(drawn_factors(3), 16)):
        (tmp_path / "data").mkdir(exist_ok=True)
        save_image(tmp_path / "data" / f"{index}.png", image)
    images = load(str(tmp_path / "data"), 16)
    recipe = GeneratorSettings(**(COMMON | {"step_size": 0.03, "data": str(tmp_path / "data"), "latent_dim": 2}))
    run = learned(tmp_path / "run", recipe, images=images)
    (tmp_path / "data" / "1.png").unlink()
    assert "The training images are not shown" in Page(html.write([run])).text


def test_the_verdict_stands_at_the_top(synthesising: Run, tmp_path: Path) -> None:
    run = copied(synthesising, tmp_path / "run")
    text = Page(html.write([run])).text
    assert f"anasyn diagnose {run.path}" in text
    energy = {"data": [1.0, None, -3.0], "start": [2.0, 1.0, 0.0]}
    told = {"verdict": "not <b>learned</b>", "reasons": ["far & away"], "protocol": "as is"}
    told["synthesis"] = {"long_run": {"steps": [0, 10, 20], "energy": energy}}
    (run.path / "diagnosis.json").write_text(json.dumps(told))
    page = Page(html.write([run]))
    assert "Verdict: not <b>learned</b>" in page.text
    assert "far & away" in page.words
    assert "mean energy along chains 10 times as long as in training" in page.words


LOW = "the bounds of log Z are 41.2 nats apart & <b>above</b> 5."
MEASURES: dict[str, Any] = {
    "log_normalizer": {
        "value": -12345.678,
        "protocol": "Lower bound of log Z.",
        "warning": f"Not to be trusted: {LOW}",
    },
    "bits_per_dimension": {"value": math.nan, "protocol": "−log p(Y)/(D ln 2).", "warning": "Not finite: <i>."},
    "kid": {"value": 0.0123, "standard_error": 0.00456, "protocol": "Kernel distance.", "meaning": "None are copies."},
}


def test_an_evaluation_is_shown_with_each_warning_beside_its_number(synthesising: Run, tmp_path: Path) -> None:
    run = copied(synthesising, tmp_path / "run")
    text = Page(html.write([run])).text
    assert f"The run is not evaluated as it is now: run anasyn evaluate {run.path}" in text
    run.save_evaluation(3, MEASURES)
    page = Page(html.write([run]))
    assert "The measures of anasyn evaluate , after iteration 3." in page.text
    assert f"log normalizer −12345.7 Not to be trusted: {LOW} Lower bound of log Z. bits per dimension" in page.text
    assert "bits per dimension not finite Not finite: <i>. −log p(Y)/(D ln 2). kid" in page.text
    assert "kid 0.0123 ± 0.0046 None are copies. Kernel distance." in page.text
    assert "anasyn evaluate " + str(run.path) not in page.text
    assert_needs_no_other_file(page, run.path / "report.html")
    run.save_evaluation(3, MEASURES, "/faces/<i>")
    assert "after iteration 3, with the images of /faces/<i> as held-out ones." in Page(html.write([run])).text
    several = Page(html.write([run, synthesising], tmp_path / "both.html"))
    assert several.text.count(LOW) == 1
    assert several.text.count("not evaluated as it is now") == 1


def test_restored_images_are_shown_until_the_run_learns_on(finished: Run, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "run")
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    kept = {name: images.clone() for name in ("seen", "restored", "spread")} | {"draws": torch.stack([images] * 3)}
    assert "Restored images" not in Page(html.write([run])).text
    run.save_restoration(kept)
    page = Page(html.write([run]))
    assert "Restored images" in page.text
    assert run.path.joinpath("report.html").read_text().count("restored images: draw") == 3
    assert_needs_no_other_file(page, run.path / "report.html")
    save_file(kept, run.path / "restored.safetensors", {"iteration": "1"})
    assert "Restored images" not in Page(html.write([run])).text


@pytest.mark.parametrize("iteration", [2, 4])
def test_an_evaluation_of_another_iteration_is_not_the_runs(iteration: int, synthesising: Run, tmp_path: Path) -> None:
    run = copied(synthesising, tmp_path / "run")
    run.save_evaluation(iteration, MEASURES)
    page = Page(html.write([run]))
    assert f"The run is not evaluated as it is now: run anasyn evaluate {run.path}" in page.text
    assert not any(measure["protocol"] in page.text for measure in MEASURES.values())


def test_settings_that_follow_from_the_data_are_nobodys_wish(tmp_path: Path) -> None:
    asked = {"size": 16, "width": 8, "iterations": 3, "num_steps": 2, "kernel": "langevin", "temperature": 0.5}
    run = begun(tmp_path / "run", DescriptorSettings(data="drawn-cats", **asked), "descriptor")
    changed = {change.name: (change.recipe, change.value) for change in settings.changes(run)}
    # Not: the batch, f's scale, the start, the precision, the data, the seed.
    assert changed == {
        "temperature": (1.0, 0.5), "num_steps": (30, 2), "width": (128, 8), "iterations": (500, 3), "size": (32, 16),
    }  # fmt: skip
    command = settings.command(run)
    assert command.startswith("anasyn learn descriptor --size 16")
    assert "--data drawn-cats" in command
    assert "--channels 3" in command  # a grey folder that was asked for in colour is so again
    assert command.endswith("--seed 0")


def test_what_follows_from_the_pixels_is_nobodys_wish_either(tmp_path: Path) -> None:
    photograph = tmp_path / "cat.png"
    save_image(photograph, draw_cats(drawn_factors(1), 64)[0])
    texture = TextureSettings(data=str(photograph), size=32)
    images = texture.read((32, 32), 3)
    recipe = texture.resolve(Scale(len(images), 32, has_bfloat16=False, spread=spread(images)))
    run = Run.create(tmp_path / "run", "texture", recipe, images)
    changed = {change.name: change.value for change in settings.changes(run)}
    assert changed == {"size": 32}
    assert "--contrast" not in settings.command(run)
    other = Run.create(tmp_path / "other", "texture", replace(recipe, contrast=0.5), images)
    assert {change.name for change in settings.changes(other)} == {"size", "contrast"}
    photograph.unlink()
    assert {change.name for change in settings.changes(run)} == {"size"}
