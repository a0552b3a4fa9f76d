"""Charts of a page: drawn in the page's colours, with numbers that lie on the drawn lines."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from anasyn.report import charts
from anasyn.report.charts import Curves


def records(num: int, **series: list[float]) -> list[dict[str, Any]]:
    return [{"iteration": t + 1} | {name: values[t] for name, values in series.items()} for t in range(num)]


def drawn(*runs: Curves) -> dict[str, dict[str, Any]]:
    return {chart["title"]: chart for chart in charts.learning_charts("key", runs)}


def test_every_recorded_metric_has_a_chart() -> None:
    run = Curves("it", records(5, loss=[5.0, 4, 3, 2, 1], mse=[0.5] * 5), "generator")
    found = drawn(run)
    assert list(found) == ["loss", "mean squared error"]
    (series,) = found["loss"]["series"]
    assert (series["x"], series["y"]) == ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert found["loss"]["described"] == "loss by iteration. it: 5 at iteration 1, 1 at 5, between 1 and 5"


@pytest.mark.parametrize(
    "values", [[1e4, 1e3, 10.0, 2.0], [-1e5, 3e5, 0.0, 1e6], [0.0] * 4, [-5.0, -4.0, -3.0, -1.0], [2.0] * 4]
)
def test_the_numbers_lie_on_the_lines(values: list[float]) -> None:
    lie_on_the_lines(values, drawn(Curves("it", records(4, loss=values), "generator"))["loss"])


def test_the_numbers_lie_on_the_lines_of_an_axis_with_fixed_limits() -> None:
    values = [0.01, 0.5, 0.9, 0.2]
    lie_on_the_lines(values, drawn(Curves("it", records(4, acceptance_rate=values), "generator"))["acceptance rate"])


def lie_on_the_lines(values: list[float], chart: dict[str, Any]) -> None:
    for scale in ("linear", "log"):
        heights = chart["series"][0][scale]
        assert len(set(heights)) == len(set(values))
        assert all(0 <= height <= 1 for height in heights)
        assert np.argsort(heights, kind="stable").tolist() == np.argsort(values, kind="stable").tolist()
        # The line in the SVG's units: with so few iterations, every point has a marker.
        marks = re.findall(
            r'<use xlink:href="#m\w+" x="([\d.]+)" y="([\d.]+)" style="fill: var\(--run-0\)', chart["drawings"][scale]
        )
        top, bottom = chart["box"]["top"] * 72 * charts.SIZE[1], chart["box"]["bottom"] * 72 * charts.SIZE[1]
        expected = [bottom - height * (bottom - top) for height in heights]
        assert [float(y) for _, y in marks] == pytest.approx(expected, abs=0.05)


def test_values_that_are_not_finite_are_left_out() -> None:
    run = Curves("it", records(4, loss=[math.nan, 3.0, math.inf, 1.0], mse=[math.nan] * 4), "generator")
    found = drawn(run)
    assert list(found) == ["loss"]
    assert found["loss"]["series"][0]["x"] == [2, 4]


def test_runs_are_overlaid_each_in_its_own_colour() -> None:
    runs = [
        Curves(name, records(20, loss=[1.0 + k] * 20, step_size=[0.1] * 20), "generator")
        for k, name in enumerate("abc")
    ]
    chart = drawn(*runs)["loss"]
    assert [(line["label"], line["color"]) for line in chart["series"]] == [("a", 0), ("b", 1), ("c", 2)]
    for drawing in chart["drawings"].values():
        assert {f"var(--run-{k})" in drawing for k in range(3)} == {True}


def test_losses_of_different_methods_are_in_different_charts() -> None:
    # One name is part of another.
    runs = [Curves(kind, records(3, loss=[1.0] * 3), kind) for kind in ("generator", "deep generator", "descriptor")]
    charts = drawn(*runs)
    assert list(charts) == ["loss (deep generator)", "loss (descriptor)", "loss (generator)"]
    assert [len(chart["series"]) for chart in charts.values()] == [1, 1, 1]


def test_drawings_take_their_colours_from_the_page_and_share_no_identifier() -> None:
    run = Curves("it", records(30, loss=[float(t + 1) for t in range(30)], step_size=[0.1] * 30), "generator")
    run.records[3]["events"] = ["rolled back from iteration 9 to 4"]  # type: ignore[index]
    svgs = [svg for chart in drawn(run).values() for svg in chart["drawings"].values()]
    identifiers = [set(re.findall(r'id="([^"]+)"', svg)) for svg in svgs]
    assert all(svg.startswith("<svg") and svg.rstrip().endswith("</svg>") for svg in svgs)
    assert not any(re.search(r"#[0-9a-f]{6}|<style|<metadata|<script", svg) for svg in svgs)
    assert "var(--alert)" in svgs[0]
    assert not any(a & b for k, a in enumerate(identifiers) for b in identifiers[:k])


def test_events_are_listed_with_their_run() -> None:
    lines = records(3, loss=[1.0] * 3)
    lines[1]["events"] = ["up", "down"]
    assert charts.events([Curves("a", records(3), "generator"), Curves("b", lines, "generator")]) == [
        {"iteration": 2, "event": "up", "run": "b"},
        {"iteration": 2, "event": "down", "run": "b"},
    ]


def test_a_long_run_has_a_curve_from_each_start() -> None:
    energy = {"data": [1.0, None, 3.0], "start": [9.0, 8.0, 7.0]}
    chart = charts.long_run_chart("key", {"steps": [0, 10, 20], "energy": energy})
    assert [(line["label"], line["x"]) for line in chart["series"]] == [
        ("from the data", [0, 20]), ("from the starts", [0, 10, 20]),
    ]  # fmt: skip


def test_energies_that_overflow_are_left_out() -> None:
    chart = charts.energy_chart("key", [0, 1, 2], torch.tensor([[1.0, 3.0], [2.0, 4.0], [math.inf, 1.0]]))
    assert chart["series"][0]["y"] == [2, 3]
