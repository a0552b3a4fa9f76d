"""Figures show the right image in the right place, pixel by pixel, and the same bytes every time."""

import io
import os
import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, draw_egrets, drawn_factors
from anasyn.evaluation import evenly
from anasyn.report import figures
from anasyn.report.figures.images import visible
from anasyn.report.figures.latents import FRAMES_SHOWN, PER_FRAME, far_apart
from anasyn.report.figures.style import CYCLE
from anasyn.report.figures.whole import MOST_IMAGES, num_columns

CATS = draw_cats(drawn_factors(9), 16)


def rendered(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi)
    return np.asarray(Image.open(file).convert("RGB"))


def colours(num):
    """``num`` images of 8 × 8 pixels, each of one colour that no other has."""
    levels = torch.linspace(20, 235, num).round().byte()
    return torch.stack([levels, levels.flip(0), torch.full_like(levels, 99)], 1)[..., None, None].expand(-1, -1, 8, 8)


def blocks(picture, image):
    """The places (top, left) at which an image, enlarged by 14, stands in a picture; for images of one colour."""
    match = (picture == image[:, 0, 0].numpy()).all(2)
    corner = match & ~np.roll(match, 1, 0) & ~np.roll(match, 1, 1)
    return [tuple(place) for place in np.argwhere(corner).tolist()]


def at(ax, x, y):
    """The colour of a rendered axes at data coordinates."""
    picture = rendered(ax.figure)
    column, row = ax.transData.transform((x, y))
    return tuple(picture[int(len(picture) - row), int(column)].tolist())


def records(num, **measures):
    rng = np.random.default_rng(0)
    return [
        {"iteration": t, "loss": 100 / t, "seconds": 0.1, "acceptance_rate": rng.uniform(), "step_size": 0.03}
        | {name: value(rng) for name, value in measures.items()}
        for t in range(1, num + 1)
    ]


# ---- grids


def test_a_grid_keeps_every_pixel_of_every_image():
    picture = rendered(figures.grid_figure(CATS, "training images"))
    scale = 7  # of 16 pixels, to be seen at 110
    side = 16 * scale
    for k, cat in enumerate(CATS.permute(0, 2, 3, 1).numpy()):
        row, column = divmod(k, 9)  # nine images stand in one row
        top, left = 40 + row * (side + 6), 16 + column * (side + 6)
        shown = picture[top : top + side, left : left + side]
        assert np.array_equal(shown, cat.repeat(scale, 0).repeat(scale, 1))
        assert (picture[top : top + side, left + side : left + side + 6] == 255).all()


def test_floats_are_drawn_as_their_bytes():
    levels, floats = (rendered(figures.grid_figure(images, "samples")) for images in (CATS, to_float(CATS)))
    assert np.array_equal(levels, floats)


def test_a_large_image_is_averaged_down_a_small_one_enlarged():
    large = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    large[..., ::2] = 200
    assert visible(large).shape == (1, 128, 128, 3)
    assert (visible(large) == 100).all()
    assert visible(CATS).shape == (9, 112, 112, 3)
    assert visible(torch.zeros(1, 3, 1024, 1024, dtype=torch.uint8)).shape[1:3] == (113, 113)


@pytest.mark.parametrize(("height", "width", "scale"), [(96, 64, 2), (64, 96, 2), (12, 48, 5)])
def test_rectangles_and_grey_images_keep_their_shape_and_their_grey(height, width, scale):
    grey = torch.linspace(0, 255, 3 * height * width).round().byte().view(3, 1, height, width)
    picture = rendered(figures.grid_figure(grey, "training images"))
    for k, image in enumerate(grey[:, 0].numpy()):
        left = 16 + k * (scale * width + 6)
        shown = picture[40 : 40 + scale * height, left : left + scale * width]
        assert np.array_equal(shown, np.repeat(image.repeat(scale, 0).repeat(scale, 1)[..., None], 3, 2))
    colour = grey.expand(-1, 3, -1, -1)
    for draw in (
        lambda x: figures.reconstructions_figure(x, to_float(x)),
        lambda x: figures.revisions_figure(x, to_float(x)),
        lambda x: figures.synthesis_figure(x, x, x),
        lambda x: figures.strip_figure(x[:, None], [0, 1, 2]),
        lambda x: figures.interpolation_figure(x[:1], -2, 2, 1),
        lambda x: figures.latents_figure(torch.eye(3)[:, :2], x),
        lambda x: figures.class_grid_figure(x, ["a", "b", "a"], "images"),
    ):
        assert np.array_equal(rendered(draw(grey)), rendered(draw(colour)))


def test_of_many_images_an_evenly_spaced_choice_is_shown_and_told():
    images = torch.arange(1000).remainder(256).byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    figure = figures.grid_figure(images, "training images")
    assert figure.axes[0].get_title(loc="left") == "training images, 64 of 1,000"
    assert evenly(1000, MOST_IMAGES)[[0, -1]].tolist() == [0, 999]
    assert "of" not in figures.grid_figure(images[:64], "training images").axes[0].get_title(loc="left").split()


def test_a_grid_is_not_too_wide_and_has_little_to_spare():
    for num in range(1, MOST_IMAGES + 1):
        columns = num_columns(num)
        assert 1 <= columns <= 11
        assert -num % columns <= 3
    assert num_columns(60, aspect=1 / 2) < num_columns(60)  # wide images need fewer


# ---- images in their order


def test_reconstructions_stand_below_their_images():
    images, reconstructions = colours(26)[::2], colours(26)[1::2]  # 13 pairs: rows of 11 and 2
    picture = rendered(figures.reconstructions_figure(images, reconstructions))
    places = [(blocks(picture, a), blocks(picture, b)) for a, b in zip(images, reconstructions, strict=True)]
    assert all(len(above) == len(below) == 1 for above, below in places)
    tops, lefts = zip(*(above[0] for above, _ in places), strict=True)
    assert all((below[0][0] - above[0][0], below[0][1] - above[0][1]) == (118, 0) for above, below in places)
    assert lefts[:11] == tuple(sorted(lefts[:11]))
    assert lefts[11:] == lefts[:2]
    assert len(set(tops)) == 2
    assert tops[11] > tops[0] + 2 * 118  # blocks are set apart


def test_synthesis_stands_between_start_and_training_image():
    sets = [colours(36)[k::3] for k in range(3)]
    picture = rendered(figures.synthesis_figure(*sets))
    for triple in zip(*sets, strict=True):
        (start,), (synthesis,), (training,) = (blocks(picture, image) for image in triple)
        assert start[1] == synthesis[1] == training[1]
        assert synthesis[0] - start[0] == training[0] - synthesis[0] == 118
    labels = [tick.get_text() for tick in figures.synthesis_figure(*sets).axes[0].get_yticklabels()]
    assert labels == ["start", "synthesis", "training"] * 2


def test_a_strip_runs_from_left_to_right_a_row_each_chain():
    frames = colours(12).unflatten(0, (4, 3))  # four moments of three chains
    figure = figures.strip_figure(frames, [0, 10, 20, 1000])
    picture = rendered(figure)
    places = [[blocks(picture, frames[t, k])[0] for t in range(4)] for k in range(3)]
    for k, row in enumerate(places):
        assert [top for top, _ in row] == [76 + 118 * k] * 4
        assert [left for _, left in row] == [16 + 118 * t for t in range(4)]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "10", "20", "1,000"]


def test_sets_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="sets of one shape"):
        figures.reconstructions_figure(CATS[:4], CATS[:3])


# ---- the panel and the map of z


def test_the_panel_shows_each_image_where_its_z_is():
    points, low, high = 4, -1.5, 2.0
    ticks = torch.linspace(low, high, points)
    panel = colours(points**2)
    ax = figures.interpolation_figure(panel, low, high, points, ("z₃", "z₇")).axes[0]
    for k, image in enumerate(panel):
        row, column = divmod(k, points)
        z1, z2 = ticks[column].item(), ticks.flip(0)[row].item()  # z₁ to the right, z₂ upwards
        assert at(ax, z1, z2) == tuple(image[:, 0, 0].tolist())
    assert at(ax, low, high) == tuple(panel[0, :, 0, 0].tolist())  # as on a map
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z₃", "z₇")
    np.testing.assert_allclose(ax.get_xticks(), ticks, rtol=1e-6)
    picture = rendered(ax.figure)
    for image in panel:  # and every pixel is there
        assert (picture == image[:, 0, 0].numpy()).all(2).sum() == 112**2


@pytest.mark.parametrize(("height", "width"), [(96, 64), (64, 96)])
def test_a_panel_of_rectangles_keeps_their_shape_on_any_axes(height, width):
    ax = axes()
    figures.draw_panel(ax, torch.zeros(9, 3, height, width), -2, 2, 3, gap=0)
    ax.apply_aspect()
    box = ax.get_window_extent()
    assert box.height / box.width == pytest.approx(height / width)


def test_a_panel_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="expected 3² = 9 images, got 8"):
        figures.interpolation_figure(CATS[:8], -2, 2, 3)


def test_thumbnails_lie_where_their_z_is():
    z = torch.tensor([[0.0, 1.0], [-2.0, -1.5], [3.0, 0.2]])
    images = colours(3)
    ax = figures.latents_figure(z, images).axes[0]
    for (x, y), image in zip(z.tolist(), images, strict=True):
        assert at(ax, x, y) == tuple(image[:, 0, 0].tolist())
    low, high = ax.get_xlim()
    assert low == -high
    assert high > 3


def test_of_many_latents_all_are_points_and_sixty_have_a_thumbnail():
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    ax = figures.latents_figure(z, CATS[:1].expand(500, -1, -1, -1)).axes[0]
    assert len(ax.collections[0].get_offsets()) == 500
    assert sum(isinstance(artist, AnnotationBbox) for artist in ax.get_children()) == 60
    assert "60 of 500" in ax.get_title(loc="left")
    chosen = far_apart(z.double().numpy(), 60)
    assert len(set(chosen.tolist())) == 60
    apart, first = (torch.pdist(z[list(index)]).min() for index in (chosen, range(60)))
    assert apart > 5 * first


@pytest.mark.parametrize(("height", "width"), [(96, 64), (64, 96), (12, 8)])
def test_a_thumbnail_keeps_the_shape_of_its_image(height, width):
    ax = figures.latents_figure(torch.zeros(1, 2), torch.zeros(1, 1, height, width)).axes[0]
    (box,) = (artist for artist in ax.get_children() if isinstance(artist, AnnotationBbox))
    shown = box.offsetbox.get_data().shape
    assert max(shown[:2]) == 84
    assert shown[0] / shown[1] == pytest.approx(height / width, rel=0.02)


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"z: expected shape \(9, 2\), got \(9, 3\)"):
        figures.latents_figure(torch.zeros(9, 3), CATS)
    for draw in (
        lambda labels: figures.latents_figure(torch.zeros(9, 2), CATS, labels=labels),
        lambda labels: figures.class_grid_figure(CATS, labels, "cats"),
    ):
        with pytest.raises(ValueError, match="labels: expected 9, one for each image, got 8"):
            draw(["cat"] * 8)


# ---- classes


def test_every_class_has_a_colour_of_its_own_whatever_the_order_of_the_labels():
    names = [f"class {k:02}" for k in range(35)]
    colors = figures.class_colors([*names[::-1], *names])
    assert list(colors) == names
    assert len(set(colors.values())) == 35
    assert tuple(colors.values())[:10] == CYCLE


@pytest.mark.parametrize("num", [60, 500])  # with thumbnails only, and with points besides
def test_points_and_thumbnails_have_the_colour_of_their_class(num):
    labels = [("dog", "cat", "egret")[k % 3] for k in range(num)]
    z = torch.randn(num, 2, generator=torch.Generator().manual_seed(0))
    ax = figures.latents_figure(z, CATS[:1].expand(num, -1, -1, -1), labels=labels).axes[0]
    expected = [to_rgba(figures.class_colors(labels)[label]) for label in labels]
    np.testing.assert_allclose(ax.collections[0].get_facecolor()[:, :3], np.array(expected)[:, :3])
    frames = [artist for artist in ax.get_children() if isinstance(artist, AnnotationBbox)]
    assert len(frames) == 60
    for frame in frames:
        place = (z.double() - torch.tensor(frame.xy)).norm(dim=1).argmin()
        assert frame.patch.get_edgecolor() == expected[place]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["cat", "dog", "egret"]
    assert [patch.get_facecolor() for patch in legend.get_patches()] == [expected[1], expected[0], expected[2]]


def test_a_legend_names_at_most_twenty_classes():
    labels = [f"class {k:02}" for k in range(23)]
    z = torch.zeros(23, 2)
    ax = figures.latents_figure(z, CATS[:1].expand(23, -1, -1, -1), labels=labels).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*labels[:20], "and 3 more"]
    assert figures.latents_figure(z, CATS[:1].expand(23, -1, -1, -1)).axes[0].get_legend() is None


def test_each_class_has_a_row_with_its_name_framed_in_its_colour():
    labels = ["dog", "cat", "cat", "egret", "cat", "dog"]
    pictures = colours(6)
    figure = figures.class_grid_figure(pictures, labels, "training images by class")
    picture = rendered(figure)
    places = [blocks(picture, image) for image in pictures]
    assert all(len(place) == 1 for place in places)
    tops, lefts = zip(*(place[0] for place in places), strict=True)
    assert [(top - min(tops)) // 118 for top in tops] == [1, 0, 0, 2, 0, 1]
    assert [(left - min(lefts)) // 118 for left in lefts] == [0, 0, 1, 0, 2, 1]
    ticks = figure.axes[0].get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["cat", "dog", "egret"]
    frames = [tick.get_bbox_patch().get_edgecolor() for tick in ticks]
    assert frames == [to_rgba(color) for color in figures.class_colors(labels).values()]
    assert figure.axes[0].get_title(loc="left") == "training images by class"


def test_of_many_classes_twenty_rows_of_ten_images_are_shown():
    labels = [f"class {k % 23:02}" for k in range(23 * 12)]
    ax = figures.class_grid_figure(CATS[:1].expand(len(labels), -1, -1, -1), labels, "images by class").axes[0]
    assert ax.get_title(loc="left") == "images by class, 20 of 23, at most 10 of each"
    assert len(ax.get_yticklabels()) == 20
    assert ax.get_images()[0].get_array().shape == (20 * 118 - 6, 10 * 118 - 6, 3)


# ---- curves


def axes():
    return Figure().add_subplot()


def test_a_curve_is_the_metric_and_its_running_median():
    lines = records(150)
    lines[20]["loss"] = 1e9  # a spike is drawn, but the median does not follow it
    ax = axes()
    figures.draw_curves(ax, lines, "loss", log=True)
    raw, median = ax.get_lines()
    assert raw.get_ydata().tolist() == [line["loss"] for line in lines]
    assert ax.get_yscale() == "log"
    expected = [np.median([line["loss"] for line in lines[t - 2 : t + 3]]) for t in range(2, 148)]
    np.testing.assert_allclose(median.get_ydata()[2:148], expected)
    assert median.get_ydata()[0] == raw.get_ydata()[0]


def test_a_metric_that_changes_sign_has_a_line_at_zero_and_stays_linear():
    ax = axes()
    figures.draw_curves(ax, records(50, energy_gap=lambda rng: rng.normal()), "energy_gap", log=True)
    assert list(ax.get_lines()[0].get_ydata()) == [0, 0]
    assert ax.get_yscale() == "linear"


def test_what_is_missing_or_not_finite_is_passed_over():
    lines = records(6, mse=lambda rng: rng.uniform())
    del lines[0]["mse"]
    lines[1]["mse"], lines[2]["mse"] = float("nan"), None
    ax = axes()
    figures.draw_curves(ax, lines, "mse")
    assert ax.get_lines()[0].get_xdata().tolist() == [4, 5, 6]


def test_events_are_marked_at_their_iteration():
    lines = records(5)
    lines[3]["events"] = ["above the stability limit"]
    lines[4]["events"] = []
    ax = axes()
    figures.draw_events(ax, lines)
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [4]


def test_the_loss_figure_shows_what_its_learner_tells():
    def titles(lines):
        return [ax.get_title(loc="left") for ax in figures.loss_figure(lines).axes]

    assert titles(records(20, mse=lambda rng: 0.1))[1] == "mean squared error"
    assert titles(records(20, energy_gap=lambda rng: 0.1))[1] == "mean f(data) − mean f(synthesis)"
    for few in (0, 1, 2):
        assert rendered(figures.loss_figure(records(few))).shape == (860, 1300, 3)


def test_the_path_joins_the_frames_in_their_order_and_thumbnails_do_not_overlap():
    angle = torch.linspace(0, 5, 60)
    z = 2 * torch.stack([angle.cos(), (2 * angle).sin()], 1)
    figure = figures.path_figure(z, colours(60))
    ax = figure.axes[0]
    (curve,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    pieces = np.stack(curve.get_segments())
    assert np.allclose(pieces[::PER_FRAME, 0], z[:-1])
    assert np.allclose(pieces[PER_FRAME - 1 :: PER_FRAME, 1], z[1:])
    assert np.allclose(pieces[1:, 0], pieces[:-1, 1])
    assert np.allclose(
        curve.get_colors()[[0, -1]], matplotlib.colormaps["viridis"]([0.5 / 472, 471.5 / 472]), atol=0.01
    )
    figure.draw_without_rendering()
    boxes = [each for each in ax.get_children() if isinstance(each, AnnotationBbox)]
    assert 10 <= len(boxes) <= FRAMES_SHOWN
    extents = [box.patch.get_window_extent() for box in boxes]
    assert not any(a.overlaps(b) for a, b in combinations(extents, 2))
    for box in boxes:
        picture, number = box.offsetbox.get_children()
        k = int(number.get_text())
        assert np.allclose(box.xy, z[k])
        assert (picture.get_data()[0, 0] == colours(60)[k, :, 0, 0].numpy()).all()


# ---- files


def all_figures():
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    egrets = draw_egrets(drawn_factors(9), 16)
    return {
        "training": figures.grid_figure(CATS, "training images"),
        "reconstructions": figures.reconstructions_figure(CATS, egrets),
        "synthesis": figures.synthesis_figure(CATS, egrets, CATS),
        "strip": figures.strip_figure(CATS.unflatten(0, (3, 3)), [0, 1, 2]),
        "interpolation": figures.interpolation_figure(CATS, -2, 2, 3),
        "latents": figures.latents_figure(z, CATS),
        "path": figures.path_figure(z, CATS),
        "latents by class": figures.latents_figure(z, CATS, labels=["lion", "tiger", "cat"] * 3),
        "classes": figures.class_grid_figure(CATS, ["lion", "tiger", "cat"] * 3, "training images"),
        "loss": figures.loss_figure(records(30)),
    }


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(tmp_path):
    for name, figure in all_figures().items():
        figures.save(figure, tmp_path / f"{name}.png")
    with matplotlib.rc_context({"font.size": 30, "font.family": "serif", "axes.facecolor": "red", "savefig.dpi": 20}):
        for name, figure in all_figures().items():
            figures.save(figure, tmp_path / "again.png")
            assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes(), name
    assert len(list(tmp_path.iterdir())) == len(all_figures()) + 1  # and nothing beside them
    assert b"Software" not in (tmp_path / "loss.png").read_bytes()  # its version would be among the bytes


def test_text_stays_within_every_figure():
    principal = ("1st principal direction", "2nd principal direction")
    few = {
        "one reconstruction": figures.reconstructions_figure(CATS[:1], CATS[:1]),
        "one synthesis": figures.synthesis_figure(CATS[:1], CATS[:1], CATS[:1]),
        "two moments of many chains": figures.strip_figure(CATS[:1].expand(2, 40, 3, 16, 16), [0, 100_000]),
        "small panel": figures.interpolation_figure(CATS[:4], -2.125, 2, 2, principal),
        "one class": figures.class_grid_figure(CATS, ["W" * 40] * 9, "training images"),
        "long names": figures.latents_figure(torch.zeros(9, 2), CATS, labels=[f"{k}{'W' * 40}" for k in range(9)]),
        "a narrow class": figures.class_grid_figure(CATS[:1, :, :, :8], ["W" * 40], "training images"),
        "many classes": figures.latents_figure(torch.zeros(60, 2), colours(60), labels=[f"{k}" for k in range(60)]),
        "far path": figures.path_figure(torch.linspace(-90, 90, 18).view(9, 2), CATS, principal),
        "a path that stands still": figures.path_figure(torch.zeros(9, 2), CATS),
        "far latents": figures.latents_figure(torch.linspace(-90, 90, 18).view(9, 2), CATS, principal),
    }
    for name, figure in (all_figures() | few).items():
        figure.draw_without_rendering()
        tight = figure.get_tightbbox().padded(-0.01)
        width, height = figure.get_size_inches()
        assert tight.x0 >= 0, name
        assert tight.y0 >= 0, name
        assert tight.x1 <= width, name
        assert tight.y1 <= height, name


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full(*_, **__):
        raise OSError("disk full")

    figure = figures.grid_figure(CATS, "training images")
    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError, match="disk full"):
        figures.save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_no_pyplot_and_no_display(tmp_path):
    code = (
        "import sys, torch; from anasyn.report import figures; "
        "figures.save(figures.grid_figure(torch.zeros(2, 3, 8, 8), 'x'), sys.argv[1]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    path = tmp_path / "figure.png"
    assert subprocess.run([sys.executable, "-c", code, path], env=environment, check=False).returncode == 0
    assert path.exists()
