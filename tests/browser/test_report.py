"""The report in a real browser: what it shows is what the model makes, whatever it is looked at with."""

import base64
import io
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from anasyn.data import to_uint8
from anasyn.learning import DescriptorLearner, GeneratorLearner
from anasyn.report.explorer import latent_axes
from anasyn.report.figures import class_colors
from anasyn.report.film import film
from anasyn.run import Run

from .conftest import CLASSES, WARNING, GreyFaces, Open, moving_stripes, until

Pixels = NDArray[np.float64]

AT_GRID_POINTS, BETWEEN = 4, 12  # mean absolute differences that are allowed, of 255
PAGES = ("generator", "space", "descriptor", "three", "shapes")
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


def shown(canvas: Any) -> Pixels:
    """The pixels of a canvas, (H, W, 3)."""
    address = canvas.evaluate("(canvas) => canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"), float)


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a - b).mean())


class Explorer:
    """The explorer of a page, beside the model that it is of."""

    def __init__(self, page: Any, run: Run):
        learner = run.learned()
        assert isinstance(learner, GeneratorLearner)
        self.page, self.model, self.z = page, learner.model, learner.chains.positions
        self.axes, _ = latent_axes(self.z)
        self.root = page.locator("[data-explorer]").first
        self.root.scroll_into_view_if_needed()
        self.plane, self.canvas = self.root.locator(".plane"), self.root.locator("canvas")
        self.reach, self.points = self.root.evaluate(
            "(root) => { const d = JSON.parse(root.querySelector('script').textContent); return [d.reach, d.points]; }"
        )

    def place(self, a: float, b: float) -> tuple[float, float]:
        """Where on the screen a point of the plane is."""
        box = self.plane.bounding_box()
        # The border is outside of the plane's own square.
        return (
            box["x"] + (a / self.reach + 1) / 2 * box["width"],
            box["y"] + (1 - b / self.reach) / 2 * box["height"],
        )

    def point(self, column: float, row: float) -> tuple[float, float]:
        """A grid point, or one between; columns from the left, rows from the top."""
        spacing = 2 * self.reach / (self.points - 1)
        return -self.reach + column * spacing, self.reach - row * spacing

    def made(self, a: float, b: float, first: int = 0, second: int = 1) -> Pixels:
        """What the model generates there, as levels."""
        with torch.no_grad():
            image = self.model(self.axes.plane(first, second).at(torch.tensor([[a, b]])))
        return to_uint8(image)[0].permute(1, 2, 0).double().numpy()

    def off(self, a: float, b: float, first: int = 0, second: int = 1) -> float:
        return difference(shown(self.canvas), self.made(a, b, first, second))


def test_under_the_pointer_is_what_the_model_generates(page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("generator", viewport=DESK), runs["generator"])
    last = explorer.points - 1
    grid = [(3, 5), (last // 2, last // 2), (last // 2 + 9, 7), (last - 8, last - 1), (11, last - 4)]
    between = [(3.5, 5.5), (last / 2 + 0.3, last / 2 + 0.6), (last / 2 + 6.5, 8.2), (11.5, last - 4.5), (20.1, 9.5)]
    for places, most in ((grid, AT_GRID_POINTS), (between, BETWEEN)):
        for place in places:
            a, b = explorer.point(*place)
            explorer.page.mouse.move(*explorer.place(a, b))
            assert explorer.off(a, b) <= most
    # What a fault would show at the grid's points is farther away than that: axes changed about, a mirrored plane.
    for wrong in (lambda a, b: (b, a), lambda a, b: (-a, b), lambda a, b: (a, -b)):
        points = [explorer.point(*place) for place in grid]
        assert (
            max(difference(explorer.made(*point), explorer.made(*wrong(*point))) for point in points)
            > 1.5 * AT_GRID_POINTS
        )
    assert re.fullmatch(r"z₁ −?\d\.\d\d, z₂ −?\d\.\d\d", explorer.root.locator(".where").inner_text())


def test_it_changes_smoothly(page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("generator", viewport=DESK), runs["generator"])
    frames = []
    for column in np.linspace(20, 23, 31):
        explorer.page.mouse.move(*explorer.place(*explorer.point(column, 20.5)))
        frames.append(shown(explorer.canvas))
    steps = [difference(a, b) for a, b in pairwise(frames)]
    assert max(steps) < 0.3 * difference(frames[0], frames[-1])
    assert min(steps) > 0


def test_the_arrow_keys_move_by_a_grid_point(page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("generator", viewport=DESK), runs["generator"])
    explorer.root.locator(".pad").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        explorer.page.keyboard.press(key)
    middle = (explorer.points - 1) / 2
    assert explorer.off(*explorer.point(middle + 2, middle + 3)) <= AT_GRID_POINTS
    for _ in range(40):
        explorer.page.keyboard.press("Shift+ArrowLeft")  # and no further than the edge
    assert explorer.off(*explorer.point(0, middle + 3)) <= AT_GRID_POINTS


def test_a_finger_moves_too(page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("generator", viewport=PHONE, has_touch=True, is_mobile=True), runs["generator"])
    a, b = explorer.point(4.5, 6.5)
    explorer.page.touchscreen.tap(*explorer.place(a, b))
    assert explorer.off(a, b) <= BETWEEN


@pytest.mark.parametrize("how", ["drag", "keys"])
def test_a_line_between_two_thumbnails_plays_the_interpolation(how: str, page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("generator", viewport=DESK), runs["generator"])
    spread = explorer.z.norm(dim=1).argsort(descending=True).tolist()
    first = spread[0]
    second = int((explorer.z - explorer.z[first]).norm(dim=1).argmax())
    thumbs = explorer.root.locator(".thumb")
    if how == "drag":
        for thumb, then in ((first, explorer.page.mouse.down), (second, lambda: None)):
            # Where many lie on top of each other, the one that is drawn to is brought up.
            thumbs.nth(thumb).evaluate("(each) => { each.style.zIndex = 3; }")
            explorer.page.mouse.move(*explorer.place(*explorer.z[thumb].tolist()), steps=4)
            then()
        explorer.page.mouse.up()
    else:
        for thumb in (first, second):
            thumbs.nth(thumb).focus()
            explorer.page.keyboard.press("Enter")
    names = [thumbs.nth(thumb).get_attribute("data-name") for thumb in (first, second)]
    assert explorer.root.locator(".route").inner_text() == f"from {names[0]} to {names[1]}"
    assert explorer.root.locator(".way.drawn").count() == 1
    slider = explorer.root.locator("input[type=range]")
    until(lambda: slider.input_value() == "1")
    for t in (1.0, 0.0, 0.37):
        slider.evaluate("(s, t) => { s.value = t; s.dispatchEvent(new Event('input')); }", t)
        z = explorer.z[first] + t * (explorer.z[second] - explorer.z[first])
        assert explorer.off(*z.tolist()) <= BETWEEN
    explorer.root.locator(".pad").focus()
    explorer.page.keyboard.press("Escape")
    assert slider.is_disabled()


def test_any_two_principal_directions_are_shown(page: Open, runs: dict[str, Run]) -> None:
    explorer = Explorer(page("space", viewport=DESK), runs["space"])
    across, upwards = (explorer.root.locator(f"[data-axis='{k}']") for k in (0, 1))
    assert across.locator("option").count() == 4
    for first, second in ((0, 1), (0, 2), (3, 2), (1, 2)):
        across.select_option(str(first))
        upwards.select_option(str(second))
        for place in ((10, 30), (26, 20)):
            a, b = explorer.point(*place)
            explorer.page.mouse.move(*explorer.place(a, b))
            off = explorer.off(a, b, first, second)
            assert off <= AT_GRID_POINTS
            assert 2 * off < min(explorer.off(b, a, first, second), explorer.off(a, b, second, first))
        stands = explorer.axes.coordinates(explorer.z)[0, [first, second]]
        style = explorer.root.locator(".thumb").first.get_attribute("style")
        left = re.search(r"left: ([\d.]+)%", style)
        assert left
        assert float(left[1]) == pytest.approx(50 + 50 * float(stands[0]) / explorer.reach, abs=0.01)
    upwards.select_option("1")  # across is 1 already: they change places
    assert (across.input_value(), upwards.input_value()) == ("2", "1")


def test_tall_grey_images_are_shown_in_their_shape_and_in_grey(page: Open) -> None:
    opened = page("shapes", viewport=DESK)
    explorer, model = opened.locator("[data-explorer]"), GreyFaces()
    explorer.scroll_into_view_if_needed()
    canvas, plane = explorer.locator("canvas"), explorer.locator(".plane").bounding_box()
    reach = explorer.evaluate("(root) => JSON.parse(root.querySelector('script').textContent).reach")
    for a, b in ((0.0, 0.0), (-0.5 * reach, 0.75 * reach)):  # points of the grid
        x, y = plane["x"] + (a / reach + 1) / 2 * plane["width"], plane["y"] + (1 - b / reach) / 2 * plane["height"]
        opened.mouse.move(x, y)
        made = to_uint8(model(torch.tensor([[a, b]])))[0].permute(1, 2, 0).double().numpy()
        assert shown(canvas).shape == (48, 32, 3)
        assert difference(shown(canvas), made) <= AT_GRID_POINTS
    ratios = {".view canvas": 2 / 3, ".thumb img": 2 / 3, ".pairs img": 2 / 3, ".hero figure:first-child img": 2 / 3,
              ".hero figure:last-child img": 5 / 3, ".chains canvas": 5 / 3, ".chains img": 5 / 3}  # fmt: skip
    for selector, ratio in ratios.items():
        box = opened.locator(selector).first.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.05), selector


def test_thumbnails_have_the_colour_of_their_class(page: Open) -> None:
    opened = page("shapes", viewport=DESK)
    colors = class_colors(CLASSES)
    thumbs = opened.locator(".thumb")
    for k in range(thumbs.count()):
        border = thumbs.nth(k).evaluate("(e) => getComputedStyle(e).borderTopColor")
        red, green, blue = map(int, re.findall(r"\d+", border))
        assert f"#{red:02x}{green:02x}{blue:02x}" == colors[CLASSES[k % 3]]
        assert thumbs.nth(k).get_attribute("title") == f"{k}.png, class {CLASSES[k % 3]}"
    assert opened.locator(".legend li").all_inner_texts() == list(colors)
    assert page("generator").locator(".legend").count() == 0


def test_wide_chains_are_played_in_their_shape(page: Open) -> None:
    opened, frames = page("shapes", viewport=DESK), moving_stripes().frames
    canvases, slider = opened.locator("[data-film] canvas"), opened.locator("[data-film] input[type=range]")
    for frame in (7, 0, 3):
        slider.evaluate("(s, t) => { s.value = t; s.dispatchEvent(new Event('input')); }", frame)
        for chain in range(2):
            image = to_uint8(frames[frame, chain]).permute(1, 2, 0).double().numpy()
            assert difference(shown(canvases.nth(chain)), image) <= AT_GRID_POINTS


def test_an_image_turns_into_its_reconstruction(page: Open) -> None:
    opened = page("generator", viewport=DESK)
    flip = opened.locator(".flip").nth(2)
    over = flip.locator(".over")
    opened.mouse.move(5, 5)
    assert over.evaluate("(e) => getComputedStyle(e).opacity") == "0"
    for show in (flip.hover, flip.focus):
        opened.locator("h1").hover()
        show()
        until(lambda: over.evaluate("(e) => getComputedStyle(e).opacity") == "1")


def test_the_slider_shows_one_state_of_the_restored_images(page: Open) -> None:
    root = page("space", viewport=DESK).locator("[data-restored]")
    slider, states = root.locator("input[type=range]"), root.locator(".states img")
    names = ["what is seen", "mean of the draws", "draw 1", "draw 2", "draw 3", "spread"]
    assert root.locator(".state").inner_text() == names[1]
    for chosen in (0, 5, 2):
        slider.evaluate("(s, k) => { s.value = k; s.dispatchEvent(new Event('input')); }", chosen)
        assert root.locator(".state").inner_text() == names[chosen]
        assert [state.is_visible() for state in states.all()] == [k == chosen for k in range(6)]


def test_the_slider_plays_the_chains(page: Open, runs: dict[str, Run]) -> None:
    opened, run = page("descriptor", viewport=DESK), runs["descriptor"]
    learner = run.learned()
    assert isinstance(learner, DescriptorLearner)
    watched = film(learner, run.images(), run.settings.seed)
    frames = to_uint8(watched.frames).permute(0, 1, 3, 4, 2).double().numpy()
    root = opened.locator("[data-film]")
    canvases, slider = root.locator("canvas"), root.locator("input[type=range]")
    assert (canvases.count(), slider.get_attribute("max")) == (10, "12")
    for frame in (12, 0, 5):
        slider.evaluate("(s, t) => { s.value = t; s.dispatchEvent(new Event('input')); }", frame)
        assert root.locator(".step").inner_text() == str(watched.steps[frame])
        for chain in (0, 9):
            assert difference(shown(canvases.nth(chain)), frames[frame, chain]) <= AT_GRID_POINTS
        told = root.locator(".readout output").inner_text()
        mean = float(watched.energy[frame].double().mean())
        assert float(told.split(" at ")[0].replace("−", "-")) == pytest.approx(mean, rel=1e-3)
    slider.evaluate("(s) => { s.value = 5.5; s.dispatchEvent(new Event('input')); }")
    assert difference(shown(canvases.first), (frames[5, 0] + frames[6, 0]) / 2) <= BETWEEN

    slider.focus()
    opened.keyboard.press("Home")
    opened.keyboard.press("ArrowRight")
    assert 0 < float(slider.input_value()) < 1
    root.locator(".play").click()
    until(lambda: root.locator(".play").inner_text() == "Play")  # a slider rounds, and is at its end a frame before
    assert slider.input_value() == "12"


def test_curves_tell_the_values_under_the_pointer(page: Open, runs: dict[str, Run]) -> None:
    opened = page("generator", viewport=DESK)
    metrics = {line["iteration"]: line for line in runs["generator"].metrics()}
    curves = opened.locator("[data-charts]")
    slider = curves.locator(".iteration")
    loss, mse = curves.locator(".readout output").nth(0), curves.locator(".readout output").nth(1)
    for iteration in (40, 1):
        slider.evaluate("(s, t) => { s.value = t; s.dispatchEvent(new Event('input')); }", iteration)
        for output, name in ((loss, "loss"), (mse, "mse")):
            value, _, at = output.inner_text().partition(" at iteration ")
            assert (float(value), int(at)) == (pytest.approx(metrics[iteration][name], rel=1e-3), iteration)
    plot = curves.locator(".plot").nth(1)
    plot.hover(position={"x": plot.bounding_box()["width"] * 0.6, "y": 60})
    iteration = int(loss.inner_text().split()[-1])
    assert 50 < iteration < 80
    assert float(mse.inner_text().split()[0]) == pytest.approx(metrics[iteration]["mse"], rel=1e-3)

    dot = curves.locator(".dot").first
    before = dot.evaluate("(e) => e.style.top")
    assert curves.locator(".linear").first.is_visible()
    curves.get_by_text("logarithmic").click()
    assert curves.locator(".log").first.is_visible()
    assert not curves.locator(".linear").first.is_visible()
    assert dot.evaluate("(e) => e.style.top") != before
    told = curves.locator(".events").inner_text()
    assert "rolled back from iteration 30 to 20: energy gap" in told
    assert "a <b>warning</b>" in told


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_a_warning_stands_under_its_number(viewport: dict[str, int], page: Open) -> None:
    row = page("descriptor", viewport=viewport).locator(".measures div").first
    number, warning, protocol = (row.locator(each).bounding_box() for each in (".value", "strong", "dd:last-child"))
    assert row.locator(".value").inner_text() == f"14926.2\n{WARNING}"
    assert number["x"] == warning["x"]
    assert number["y"] < warning["y"] < number["y"] + number["height"]
    beside, below = number["x"] + number["width"] <= protocol["x"], number["y"] + number["height"] <= protocol["y"]
    assert (beside, below) == ((True, False) if viewport == DESK else (False, True))


def test_three_runs_stand_side_by_side(page: Open) -> None:
    opened = page("three", viewport=DESK)
    table = opened.locator("#compared table")
    assert table.locator("tbody tr").count() == 3
    assert {"data", "iterations", "kernel"} <= set(table.locator("th[scope=col]").all_inner_texts())
    assert opened.locator("article.run").count() == 3
    assert opened.locator("#compared .rows").count() == 3
    assert opened.locator("[data-explorer]").count() == 2
    charts = opened.locator("#compared .chart")
    titles = charts.locator("figcaption").all_inner_texts()
    assert {"loss (generator)", "loss (descriptor)", "acceptance rate"} <= set(titles)
    overlaid = charts.nth(titles.index("step size δ"))
    assert overlaid.locator(".readout li").count() == 3
    assert overlaid.locator(".dot:visible").count() == 3


def test_light_and_dark(page: Open) -> None:
    def lightness(opened: Any) -> int:
        colour = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    for scheme, is_light in (("light", True), ("dark", False)):
        opened = page("generator", color_scheme=scheme)
        assert (lightness(opened) > 600) == is_light
        assert (lightness(opened) < 150) != is_light
        opened.locator("#theme").click()
        assert (lightness(opened) > 600) != is_light
        tick = opened.locator(".plot svg text").first
        ink = tick.evaluate("(e) => getComputedStyle(e).fill")
        assert (sum(map(int, re.findall(r"\d+", ink)[:3])) > 600) == is_light


@pytest.mark.parametrize("name", PAGES)
def test_a_telephone_need_not_be_moved_sideways(name: str, page: Open) -> None:
    opened = page(name, viewport=PHONE, has_touch=True, is_mobile=True)
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    smallest = opened.evaluate(
        "Math.min(...[...document.querySelectorAll('.plot svg text')].filter((t) => t.checkVisibility())"
        ".map((t) => parseFloat(getComputedStyle(t).fontSize) * t.getCTM().a))"
    )
    assert smallest > 9


@pytest.mark.parametrize(
    ("name", "scheme"), [("generator", "light"), ("descriptor", "dark"), ("three", "light"), ("three", "dark")]
)
def test_nothing_serious_is_found_by_axe(name: str, scheme: str, page: Open) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page(name, viewport=DESK, color_scheme=scheme)).response["violations"]
    grave = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert grave == []


@pytest.mark.parametrize("name", PAGES)
def test_paper(name: str, page: Open) -> None:
    opened = page(name, viewport=DESK, color_scheme="dark")
    opened.emulate_media(media="print")
    for hidden in (".bar", ".play", ".rule"):
        assert not opened.locator(hidden).first.is_visible()
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.pdf(format="A4").startswith(b"%PDF")
