"""Figures show the right image in the right place, pixel by pixel, and the same bytes every time."""

import io
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, draw_egrets, drawn_factors
from anasyn.report import figures

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
    picture = rendered(figures.training_figure(CATS))
    scale = 7  # of 16 pixels, to be seen at 110
    side = 16 * scale
    for k, cat in enumerate(CATS.permute(0, 2, 3, 1).numpy()):
        row, column = divmod(k, 9)  # nine images stand in one row
        top, left = 40 + row * (side + 6), 16 + column * (side + 6)
        shown = picture[top : top + side, left : left + side]
        assert np.array_equal(shown, cat.repeat(scale, 0).repeat(scale, 1))
        assert (picture[top : top + side, left + side : left + side + 6] == 255).all()


def test_floats_are_drawn_as_their_bytes():
    assert np.array_equal(rendered(figures.samples_figure(CATS)), rendered(figures.samples_figure(to_float(CATS))))


def test_a_large_image_is_averaged_down_a_small_one_enlarged():
    large = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    large[..., ::2] = 200
    assert figures._visible(large).shape == (1, 128, 128, 3)
    assert (figures._visible(large) == 100).all()
    assert figures._visible(CATS).shape == (9, 112, 112, 3)
    assert figures._visible(torch.zeros(1, 3, 1024, 1024, dtype=torch.uint8)).shape[1:3] == (113, 113)


def test_of_many_images_an_evenly_spaced_choice_is_shown_and_told():
    images = torch.arange(1000).remainder(256).byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    figure = figures.training_figure(images)
    assert figure.axes[0].get_title(loc="left") == "training images, 64 of 1,000"
    assert figures._choice(1000, 64)[[0, -1]].tolist() == [0, 999]
    assert "of" not in figures.training_figure(images[:64]).axes[0].get_title(loc="left").split()


def test_a_grid_is_not_too_wide_and_has_little_to_spare():
    for num in range(1, figures.MOST_IMAGES + 1):
        columns = figures._columns(num)
        assert 1 <= columns <= 11
        assert -num % columns <= 3


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
    assert sum(type(artist).__name__ == "AnnotationBbox" for artist in ax.get_children()) == 60
    assert "60 of 500" in ax.get_title(loc="left")
    chosen = figures._far_apart(z.double().numpy(), 60)
    assert len(set(chosen.tolist())) == 60
    apart, first = (torch.pdist(z[list(index)]).min() for index in (chosen, range(60)))
    assert apart > 5 * first


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"z: expected shape \(9, 2\), got \(9, 3\)"):
        figures.latents_figure(torch.zeros(9, 3), CATS)


# ---- curves


def axes():
    return Figure().add_subplot()


def test_a_curve_is_the_metric_and_its_running_median():
    lines = records(50)
    lines[20]["loss"] = 1e9  # a spike is seen, but the median does not follow it
    ax = axes()
    figures.draw_curves(ax, lines, "loss", log=True, smooth=5)
    raw, median = ax.get_lines()
    assert raw.get_ydata().tolist() == [line["loss"] for line in lines]
    assert ax.get_yscale() == "log"
    expected = [np.median([line["loss"] for line in lines[t - 2 : t + 3]]) for t in range(2, 48)]
    np.testing.assert_allclose(median.get_ydata()[2:48], expected)
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
    assert titles(records(20, energy_gap=lambda rng: 0.1))[1] == "mean f of data − of synthesis"
    for few in (0, 1, 2):
        assert rendered(figures.loss_figure(records(few))).shape == (860, 1300, 3)


# ---- files


def all_figures():
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    egrets = draw_egrets(drawn_factors(9), 16)
    return {
        "training": figures.training_figure(CATS),
        "samples": figures.samples_figure(CATS),
        "reconstructions": figures.reconstructions_figure(CATS, egrets),
        "synthesis": figures.synthesis_figure(CATS, egrets, CATS),
        "strip": figures.strip_figure(CATS.unflatten(0, (3, 3)), [0, 1, 2]),
        "interpolation": figures.interpolation_figure(CATS, -2, 2, 3),
        "latents": figures.latents_figure(z, CATS),
        "loss": figures.loss_figure(records(30)),
    }


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(tmp_path):
    for name, figure in all_figures().items():
        figures.save(figure, tmp_path / f"{name}.png")
    with matplotlib.rc_context({"font.size": 30, "font.family": "serif", "axes.facecolor": "red", "savefig.dpi": 20}):
        for name, figure in all_figures().items():
            figures.save(figure, tmp_path / "again.png")
            assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes(), name
    assert len(list(tmp_path.iterdir())) == 9  # and nothing beside them
    assert b"Software" not in (tmp_path / "loss.png").read_bytes()  # its version would be among the bytes


def test_text_stays_within_every_figure():
    principal = ("1st principal direction", "2nd principal direction")
    few = {
        "one reconstruction": figures.reconstructions_figure(CATS[:1], CATS[:1]),
        "one synthesis": figures.synthesis_figure(CATS[:1], CATS[:1], CATS[:1]),
        "two moments of many chains": figures.strip_figure(CATS[:1].expand(2, 40, 3, 16, 16), [0, 100_000]),
        "small panel": figures.interpolation_figure(CATS[:4], -2.125, 2, 2, principal),
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

    figure = figures.training_figure(CATS)
    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError, match="disk full"):
        figures.save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_no_pyplot_and_no_display(tmp_path):
    code = (
        "import sys, torch; from anasyn.report import figures; "
        "figures.save(figures.training_figure(torch.zeros(2, 3, 8, 8)), sys.argv[1]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    path = tmp_path / "figure.png"
    assert subprocess.run([sys.executable, "-c", code, path], env=environment, check=False).returncode == 0
    assert path.exists()
