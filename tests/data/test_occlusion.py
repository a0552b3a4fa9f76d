"""Pixels hidden for experiments: as many as asked for, anywhere with the same probability, and the same in any set."""

import pytest
import torch

from anasyn.data import ImageSet, chequered, occlude, parse_occlusion
from anasyn.errors import InputError

from ..planting import plant

NUM, HEIGHT, WIDTH, SIDE = 600, 8, 12, 3
PLACES = (HEIGHT - SIDE + 1) * (WIDTH - SIDE + 1)  # of a square


@pytest.fixture(scope="module")
def images():
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (NUM, 3, HEIGHT, WIDTH), generator=rng).to(torch.uint8)
    return ImageSet(tuple(f"{i}.png" for i in range(NUM)), pixels)


def even(counts):
    """Whether counts, of which each has the same expectation, have a χ² within five of its standard deviations."""
    counts = torch.as_tensor(counts, dtype=torch.float64)
    free = len(counts) - 1
    chi2 = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    return bool(abs(chi2 - free) < 5 * (2 * free) ** 0.5)


def salt_is_even(images):
    """Whether exactly 0.3 of each image's pixels are hidden, and each pixel in as many images."""
    hidden = ~occlude(images, "salt:0.3").masks.flatten(1)
    if set(hidden.sum(1).tolist()) != {round(0.3 * HEIGHT * WIDTH)}:
        return False
    # A pixel is hidden in a binomial number of images: its χ² is 0.7 of that of a Poisson number.
    counts = hidden.sum(0).double()
    chi2 = ((counts - counts.mean()) ** 2).sum() / (counts.mean() * 0.7)
    return bool(abs(chi2 - len(counts)) < 5 * (2 * len(counts)) ** 0.5)


def squares_are_even(images):
    """Whether a whole square is hidden in each image, at each place in as many images."""
    hidden = ~occlude(images, f"square:{SIDE}").masks[:, 0]
    corner = hidden.flatten(1).int().argmax(1)
    top, left = corner // WIDTH, corner % WIDTH
    for one, i, j in zip(hidden, top.tolist(), left.tolist(), strict=True):
        if one.sum() != SIDE**2 or not one[i : i + SIDE, j : j + SIDE].all():
            return False
    return even(torch.bincount(top * (WIDTH - SIDE + 1) + left, minlength=PLACES))


def halves_are_even(images):
    """Whether one of the four halves is hidden in each image, and each in as many."""
    hidden = ~occlude(images, "half").masks[:, 0]
    halves = torch.zeros(4, HEIGHT, WIDTH, dtype=torch.bool)
    halves[0, : HEIGHT // 2] = halves[1, HEIGHT // 2 :] = True
    halves[2, :, : WIDTH // 2] = halves[3, :, WIDTH // 2 :] = True
    same = (hidden[:, None] == halves).flatten(2).all(2)
    return bool((same.sum(1) == 1).all()) and even(same.sum(0))


FAULTS = {
    "salt always in the same places": (
        salt_is_even,
        "_drawn",
        {"torch.randperm(height * width, generator=rng)": "torch.arange(height * width)"},
    ),
    "salt in the other pixels": (salt_is_even, "_drawn", {"[:num]": "[num:]"}),
    "salt hidden independently": (
        salt_is_even,
        "_drawn",
        {"torch.randperm(height * width, generator=rng)[:num]": "torch.rand(height * width, generator=rng) < num / 96"},
    ),
    "a square that never reaches the border": (squares_are_even, "_drawn", {"length - side + 1": "length - side"}),
    "a square that is cut off": (squares_are_even, "_drawn", {"length - side + 1": "length"}),
    "never the right half": (halves_are_even, "_drawn", {"torch.randint(4,": "torch.randint(3,"}),
    "one mask for all": (halves_are_even, "_occluded", {"int(each, 16)": "0"}),
}  # fmt: skip


@pytest.mark.parametrize("holds", [salt_is_even, squares_are_even, halves_are_even])
def test_pixels_are_hidden_with_equal_probability(images, holds):
    assert holds(images)


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_occlusion_is_found(images, name, monkeypatch):
    holds, function, edits = FAULTS[name]
    plant(monkeypatch, f"anasyn.data.occlusion:{function}", edits)
    assert not holds(images)


def test_an_image_has_the_same_mask_whatever_else_is_in_the_set(images):
    some = images.only([7, 3, 90])
    for text in ("salt:0.5", "square:2", "half"):
        whole, part = occlude(images.only(list(range(100))), text), occlude(some, text)
        assert torch.equal(part.masks, whole.masks[[7, 3, 90]])
        assert part.digests == tuple(whole.digests[i] for i in (7, 3, 90))
        assert torch.equal(part.pixels, chequered(some.pixels, part.masks))
        assert not set(part.digests) & set(some.digests)


def test_what_is_hidden_already_stays_hidden(images):
    few = images.only(list(range(20)))
    masks = torch.ones(20, 1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[..., 5] = False
    before = ImageSet(few.names, chequered(few.pixels, masks), (), ("a", "b") * 10, masks)
    after = occlude(before, "salt:0.5")
    assert not after.masks[..., 5].any()
    assert after.masks[..., :5].any()
    assert (after.names, after.labels) == (before.names, before.labels)


def test_an_image_of_which_nothing_is_left_is_skipped_by_name(images):
    few = images.only([0, 1, 2])
    masks = torch.ones(3, 1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[1] = False
    masks[1, :, 0, 0] = True  # in the upper half and in the left one

    def occluded(seed):
        pixels = chequered(few.pixels, masks)
        pixels[1, :, 0, 0] = seed
        return occlude(ImageSet(few.names, pixels, ("x.png: damaged; skipped",), masks=masks), "half")

    results = [occluded(seed) for seed in range(12)]
    assert {result.names for result in results} == {("0.png", "1.png", "2.png"), ("0.png", "2.png")}
    for result in results:
        assert result.masks.flatten(1).any(1).all()
        assert len(result.masks) == len(result.pixels) == len(result)
        lost = () if "1.png" in result.names else ("1.png: every pixel is hidden; skipped",)
        assert result.skipped == ("x.png: damaged; skipped", *lost)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("salt:0.7", "salt:0.7"),
        ("salt:.70", "salt:0.7"),
        ("salt:0.00001", "salt:1e-05"),
        ("square:024", "square:24"),
        ("half", "half"),
    ],
)
def test_a_canonical_form(text, canonical):
    assert parse_occlusion(text) == canonical == parse_occlusion(canonical)


@pytest.mark.parametrize(
    "text",
    ["", "salt", "salt:", "salt:.", "salt:0", "salt:1", "salt:1.5", "salt:-0.5", "salt:nan", "salt:0,5",
     "square", "square:0", "square:-3", "square:2.5", "square:٣", "square:9999999999", "half:1", "Half", "pepper:0.5"],
)  # fmt: skip
def test_nonsense_is_refused(images, text):
    with pytest.raises(ValueError, match="expected salt:SHARE"):
        parse_occlusion(text)
    with pytest.raises(ValueError, match="expected salt:SHARE"):
        occlude(images, text)


@pytest.mark.parametrize("text", ["square:8", "square:12", "square:500"])
def test_a_square_as_large_as_the_image_is_refused(images, text):
    with pytest.raises(InputError, match=f"smaller than the images, 12 × 8 pixels; got {text}"):
        occlude(images, text)


def test_an_occlusion_that_leaves_nothing_is_refused(images):
    with pytest.raises(InputError, match=r"occlude: salt:0\.999 leaves pixels of 0 images; at least 2"):
        occlude(images, "salt:0.999")
    assert occlude(images.only([0, 1]), "salt:0.001").masks is None  # less than half a pixel
