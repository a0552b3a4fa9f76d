"""The report: one file that needs no other, in which names cannot be anything but text."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.data.images import ImageSet
from anasyn.errors import InputError
from anasyn.learning import Record
from anasyn.recipes import DescriptorRecipe, GeneratorRecipe
from anasyn.report import html
from anasyn.run import Run
from anasyn.run.directory import FIGURES

HOSTILE = "<script>alert(1)<"


class Page(HTMLParser):
    """The tags with their attributes, and the text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def finished(path: Path, name: str) -> Run:
    """A run with its figures, faked."""
    common = {"data": f"/data/{HOSTILE} &amp; \"'", "size": 16, "num_steps": 2, "width": 8, "batch_size": 2}
    recipe = (
        GeneratorRecipe(**common, iterations=7, latent_dim=2, precision="float32")
        if name == "generator"
        else DescriptorRecipe(start="mean", **common, iterations=7, scale=1.0, precision="float32")
    )
    images = ImageSet((f"{HOSTILE}.png", "b.png"), draw_cats(drawn_factors(2), 16))
    run = Run.create(path, name, recipe, images)
    run.log(Record(5.0, 0.5, 0.03, {"mse": 0.5}, 6))
    run.log(Record(1234.5678, 0.571, 0.03, {"mse": 0.123456}, 7, events=(HOSTILE,)))
    (path / "figures").mkdir()
    shown = ("loss.png", "samples.png") if name == "generator" else ("loss.png", "synthesis.png")
    for figure in (*shown, "mine.png"):
        (path / "figures" / figure).write_bytes(f"{name} {figure}".encode())
    return run


def pictures(page: Page) -> list[bytes]:
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]


def test_one_run(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", "generator")
    assert html.write([run]) == run.path / "report.html"
    page = Page(run.path / "report.html")
    assert pictures(page) == [b"generator samples.png", b"generator loss.png"]
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    text = " ".join(page.text.split())
    assert "A generator learned from 2 images in 7 iterations" in text
    assert "loss 1235" in text
    assert "mse 0.1235" in text
    assert "sigma 0.3" in text
    assert "kernel mala" in text
    assert sorted(path.name for path in run.path.iterdir() if path.name.startswith("report")) == ["report.html"]


def test_several_runs(tmp_path: Path) -> None:
    runs = [finished(tmp_path / name, name) for name in ("descriptor", "generator")]
    out = tmp_path / "both.html"
    assert html.write(runs, out) == out
    page = Page(out)
    assert pictures(page) == [
        b"descriptor synthesis.png",
        b"descriptor loss.png",
        b"generator samples.png",
        b"generator loss.png",
    ]
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1", "h1"]
    assert not (runs[0].path / "report.html").exists()


def test_it_needs_no_other_file(tmp_path: Path) -> None:
    page = Page(html.write([finished(tmp_path / "run", "generator")]))
    content = (tmp_path / "run" / "report.html").read_text()
    assert not re.search(r"https?:|@import|url\(", content)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base", "form"} == set()
    for _, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("href", "srcset", "action")}


def test_names_are_escaped(tmp_path: Path) -> None:
    run = finished(tmp_path / HOSTILE, "generator")
    config = json.loads((run.path / "config.json").read_text())
    page = Page(html.write([Run.open(run.path)]))
    assert "script" not in {tag for tag, _ in page.tags}
    assert config["settings"]["data"] in page.text
    assert str(run.path) in page.text


def test_a_run_without_figures_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", "generator")
    for name in ("loss.png", "samples.png"):
        (run.path / "figures" / name).unlink()
    with pytest.raises(InputError, match="no figures yet; let `anasyn learn generator` end first"):
        html.write([run])
    assert not (run.path / "report.html").exists()


def test_every_figure_has_a_caption() -> None:
    assert set(html.CAPTIONS) == set(FIGURES)
