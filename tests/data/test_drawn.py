"""The drawn sets: pictures that are a continuous function of two factors which can be told apart."""

import pytest
import torch
from torch import Tensor

from anasyn.data.drawn import DRAWN, draw_cats, draw_egrets, drawn_factors
from anasyn.data.drawn.canvas import fixed_noise

both = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())


def along(column: int, num: int, other: float) -> Tensor:
    factors = torch.full((num, 2), other)
    factors[:, column] = torch.linspace(0, 1, num)
    return factors


@both
def test_draws_rgb_bytes_that_depend_on_the_factors_alone(draw):
    factors = drawn_factors(3)
    images = draw(factors, 24)
    assert images.shape == (3, 3, 24, 24)
    assert images.dtype == torch.uint8
    fixed_noise.cache_clear()  # as in another process
    assert torch.equal(images, draw(factors, 24))
    assert torch.equal(images[1:2], draw(factors[1:2], 24))  # a row does not depend on the others
    assert draw(factors[:0], 24).shape == (0, 3, 24, 24)


@both
def test_a_larger_drawing_is_the_same_picture(draw):
    small, large = (draw(drawn_factors(4), size).float() for size in (64, 128))
    reduced = torch.nn.functional.avg_pool2d(large, 2)
    others = reduced.roll(1, 0)
    assert (reduced - small).abs().mean() < 5  # of 255 grey levels
    assert (others - small).abs().mean() > 20  # the bound tells pictures apart


@both
@pytest.mark.parametrize("column", [0, 1])
def test_a_small_step_is_a_small_change_everywhere(draw, column):
    images = draw(along(column, 51, other=0.37), 32).float()
    steps = (images[1:] - images[:-1]).abs()
    mean = steps.mean(dim=(1, 2, 3))
    assert mean.min() > 0.05  # every step is seen
    assert mean.max() < 5  # none is a jump
    assert mean.max() < 3 * mean.median()
    assert steps.max() < 96  # and no pixel flips, as it would where a shape popped up


def test_the_species_takes_the_mane_and_brings_stripes():
    images = draw_cats(along(0, 5, other=0.5), 64).float() / 255
    # Stripes: contrast between neighbouring rows on the cheek to the left of the muzzle.
    cheek = images[:, :, 32:48, 11:18].mean(dim=(1, 3))
    stripes = (cheek[:, 1:] - cheek[:, :-1]).abs().mean(dim=1)
    assert (stripes.diff() > 0).all()
    assert stripes[-1] > 3 * stripes[0]
    # Mane: red above green beside the head, where the tiger shows leaves.
    red, green, _ = images[:, :, 16:40, 2:8].mean(dim=(2, 3)).unbind(1)
    assert ((red - green).diff() < 0).all()
    assert red[0] > green[0] + 0.1
    assert red[-1] < green[-1]


def test_the_turn_moves_the_nose_from_left_to_right():
    images = draw_cats(along(1, 5, other=0.0), 64).float() / 255
    # The lion's nose is the darkest thing at its height.
    darkness = (0.5 - images[:, :, 41:44, 16:48].mean(dim=(1, 2))).clamp(min=0) ** 2
    column = (darkness * torch.arange(16, 48)).sum(1) / darkness.sum(1)
    assert (column.diff() > 1).all()
    assert column[2] == pytest.approx(31.5, abs=1.0)


def test_the_grounds_are_a_lake_a_meadow_a_red_marsh_and_dusk():
    images = draw_egrets(along(0, 4, other=0.5), 64).float()
    ground = images[:, :, 36:60, :12].mean(dim=(2, 3))
    assert ground[:3].argmax(dim=1).tolist() == [2, 1, 0]  # blue, green, red
    assert ground[3].mean() < 0.8 * ground[:3].mean(dim=1).min()
    # The bird stays where it is, and white.
    assert images[:3, :, 36, 26].min() > 225


def test_the_neck_lifts_the_head():
    images = draw_egrets(along(1, 5, other=1 / 3), 64).float()
    bird = images.min(dim=1).values[:, :, 20:28] > 240
    top = bird.any(dim=2).int().argmax(dim=1)
    assert (top.diff() < 0).all()
    assert top[0] - top[-1] >= 8


@both
def test_the_two_factors_are_told_apart_from_the_pictures(draw):
    factors = drawn_factors(48).double()
    pixels = draw(factors, 16).flatten(1).double()
    # Linear regression on 8 principal components of the pictures; the last third is held out.
    pixels -= pixels.mean(0)
    basis = torch.linalg.eigh(pixels @ pixels.T).eigenvectors[:, -8:]
    features = torch.cat([basis, torch.ones(48, 1)], dim=1)
    weights = torch.linalg.lstsq(features[:32], factors[:32]).solution
    residual = factors[32:] - features[32:] @ weights
    assert (residual.var(0) < 0.1 * factors[32:].var(0)).all()


def test_factors_fill_the_square_and_extend():
    factors = drawn_factors(256, seed=3)
    assert factors.shape == (256, 2)
    assert factors.dtype == torch.float32
    assert torch.equal(factors[:100], drawn_factors(100, seed=3))
    assert not torch.equal(factors, drawn_factors(256, seed=4))
    # Of 16 × 16 cells hardly one stays empty, where independent draws leave a third of them empty.
    cells = (factors * 16).long().clamp(max=15)
    counts = torch.bincount(cells[:, 0] * 16 + cells[:, 1], minlength=256)
    assert (counts == 0).float().mean() < 0.1


@both
@pytest.mark.parametrize(
    ("factors", "size", "message"),
    [
        (torch.zeros(2, 3), 64, r"factors: expected shape \(n, 2\), got \(2, 3\)"),
        (torch.zeros(2), 64, r"factors: expected shape \(n, 2\), got \(2,\)"),
        (torch.tensor([[0.5, 1.5]]), 64, r"factors: expected values in \[0, 1\], got 1.5"),
        (torch.tensor([[-0.5, 0.5]]), 64, r"factors: expected values in \[0, 1\], got -0.5"),
        (torch.tensor([[torch.nan, 0.5]]), 64, r"factors: expected values in \[0, 1\], got nan"),
        (torch.zeros(1, 2), 15, "size: expected at least 16, got 15"),
    ],
)
def test_bad_input_is_refused_by_name(draw, factors, size, message):
    with pytest.raises(ValueError, match=message):
        draw(factors, size)


def test_no_factors_are_refused():
    with pytest.raises(ValueError, match="num: expected at least 1, got 0"):
        drawn_factors(0)
