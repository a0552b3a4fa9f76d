"""Feature spaces: functions of one image alone, the same on every call, and sensitive to what spoils samples."""

import sys
from functools import cache

import pytest
import torch
from torch.nn import functional

from anasyn.data import to_float, to_uint8
from anasyn.data.drawn import draw_cats
from anasyn.errors import InputError
from anasyn.evaluation import (
    PixelFeatures,
    RandomFeatures,
    density_coverage,
    feature_space,
    features,
    kernel_distance,
    precision_recall,
)

SIZE, NUM = 32, 64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(num, height, width, channels=3):
    return torch.randint(0, 256, (num, channels, height, width), generator=rng()).byte()


@pytest.mark.parametrize(("height", "width", "channels"), [(64, 64, 3), (32, 48, 1)])
def test_pixels_are_averages_of_areas(height, width, channels):
    x = images(3, height, width, channels)
    expected = to_float(x).reshape(3, channels, 16, height // 16, 16, width // 16).mean((3, 5)).flatten(1)
    torch.testing.assert_close(features(PixelFeatures(), x), expected)


@pytest.mark.parametrize(
    ("height", "width", "num"), [(8, 8, 432), (16, 16, 528), (17, 41, 528), (64, 64, 528), (150, 200, 528)]
)
def test_random_features_are_those_of_each_image_alone_whatever_its_size(height, width, num):
    network, x = RandomFeatures(height, width), images(3, height, width)
    together = features(network, x)
    assert together.shape == (3, num)
    torch.testing.assert_close(together, torch.cat([features(network, each[None]) for each in x]), rtol=0, atol=1e-3)


def test_random_features_follow_from_their_seed_alone():
    x = images(3, 24, 24)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = features(RandomFeatures(24, 24), x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(features(RandomFeatures(24, 24), x), first)
    assert not torch.allclose(features(RandomFeatures(24, 24, seed=1), x), first, atol=0.5)
    # The definition itself, which should not change between versions: else their results cannot be compared.
    ramp = torch.linspace(-1, 1, 3 * 24 * 24).view(1, 3, 24, 24)
    found = features(RandomFeatures(24, 24), ramp)[0, [0, 24, 48, 527]]
    torch.testing.assert_close(found, torch.tensor(PINNED), rtol=0, atol=2e-3)


PINNED = [3.7464, -1.9414, 2.4511, -0.1056]


def test_grey_images_are_three_equal_channels():
    x = images(2, 20, 20, 1)
    network = RandomFeatures(20, 20)
    torch.testing.assert_close(features(network, x), features(network, x.expand(-1, 3, -1, -1)))


def test_natural_images_have_features_of_the_size_that_the_noise_has():
    found = features(RandomFeatures(SIZE, SIZE), cats(1))
    assert 0.1 < found.square().mean().sqrt() < 1.5


# ---- what spoils samples


@cache
def cats(seed, dropped=False):
    """Faces at random factors; the drawn sets themselves are spread more evenly than random ones."""
    factors = torch.rand(NUM, 2, generator=rng(seed))
    return draw_cats(factors / torch.tensor([2.0 if dropped else 1.0, 1.0]), SIZE)


def blurred(x):
    kernel = torch.tensor([1.0, 2, 1]) / 4
    kernel = kernel.outer(kernel).expand(3, 1, 3, 3)
    padded = functional.pad(to_float(x), (1, 1, 1, 1), mode="replicate")
    return to_uint8(functional.conv2d(padded, kernel, groups=3))


def noisy(x):
    return to_uint8(to_float(x) + 0.15 * torch.randn(x.shape, generator=rng()))


def shuffled(x):
    """The sixteen squares of each image in another order."""
    side = SIZE // 4
    patches = x.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    patches = patches[:, :, torch.randperm(16, generator=rng())].view(NUM, 3, 4, 4, side, side)
    return patches.permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


@pytest.fixture(scope="module")
def compared():
    """(KID, its standard error, precision, recall, density, coverage) of samples by 64 drawn faces."""
    network = RandomFeatures(SIZE, SIZE)
    real = features(network, cats(1))

    def scores(samples):
        x = features(network, samples)
        return (*kernel_distance(x, real), *precision_recall(x, real), *density_coverage(x, real))

    return scores


def test_new_faces_score_as_the_same_distribution(compared):
    kid, error, precision, recall, density, coverage = compared(cats(2))
    assert abs(kid) < 3 * error
    assert min(precision, recall, density, coverage) > 0.9


@pytest.mark.parametrize("spoilt", [blurred, noisy, shuffled])
def test_worse_faces_score_worse(spoilt, compared):
    kid, error, precision, _, density, coverage = compared(spoilt(cats(2)))
    assert kid > 3 * error
    assert max(precision, density, coverage) < 0.5


def test_a_dropped_mode_scores_worse_but_for_precision(compared):
    kid, error, precision, recall, _, coverage = compared(cats(2, dropped=True))
    assert kid > 3 * error
    assert precision > 0.9
    assert max(recall, coverage) < 0.7


# ---- the user's own

MODULE = """
import torch
from torch import nn

def means():
    return nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3), nn.AdaptiveAvgPool1d(4), nn.Flatten())

def maps():
    return nn.Conv2d(3, 2, 3)

def infinite():
    return nn.Sequential(nn.Flatten(), nn.Threshold(2.0, torch.inf))

def of_one_channel():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())

def nothing():
    return None
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_features.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_features", raising=False)


@pytest.mark.usefixtures("module")
def test_a_network_of_the_users_own_is_put_into_evaluation_mode():
    space = feature_space("my_features:means", (3, 8, 8))
    assert space.words == "12 features of my_features:means"
    x = images(5, 8, 8)
    torch.testing.assert_close(features(space.network, x)[:2], features(space.network, x[:2]))


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inception", "expected random, pixels or package.module:function, got 'inception'"),
        ("my_features:no_such", "cannot be imported"),
        ("no_such_module:f", "cannot be imported"),
        ("my_features:nothing", "made a NoneType, expected a torch.nn.Module"),
        ("my_features:maps", r"expected outputs of shape \(2, k\), got \(2, 2, 6, 6\)"),
        ("my_features:infinite", "not finite"),
        ("my_features:of_one_channel", r"gives no features of images \(3, 8, 8\)"),
    ],
)
def test_what_gives_no_features_is_refused(name, words):
    with pytest.raises(InputError, match=f"features: .*{words}"):
        feature_space(name, (3, 8, 8))


def test_the_built_in_spaces_say_what_they_are():
    assert feature_space("pixels", (1, 20, 20)).words == "the 256 pixels of images resized to 16 × 16"
    assert "528 features of a fixed random convolutional network" in feature_space("random", (3, 20, 20)).words


def test_images_that_are_too_small_are_an_error():
    with pytest.raises(ValueError, match="at least 8 pixels, got 7 × 20"):
        RandomFeatures(7, 20)
