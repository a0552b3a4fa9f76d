"""Masks that cannot be used, and occlusions that are none: refused in one line, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ..commands import Command, refused, warned
from .bytes_of import encoded
from .small import SMALL

GOOD = ("good-0", "good-1", "good-2")


def level(value: int, size: tuple[int, int] = (16, 16)) -> bytes:
    return encoded(Image.new("L", size, value), "PNG")


def masks_of(folder: Path, **contents: bytes) -> None:
    """A white mask of each image, but for these, whose names have _ for -."""
    folder.mkdir()
    for name in GOOD:
        (folder / f"{name}.png").write_bytes(level(255))
    for name, content in contents.items():
        (folder / f"{name.replace('_', '-')}.png").write_bytes(content)


def one_less(folder: Path) -> None:
    masks_of(folder)
    (folder / "good-1.png").unlink()


def a_file(folder: Path) -> None:
    folder.write_bytes(level(255))


BAD: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "not there": (lambda folder: None, ("is not there",)),
    "a file": (a_file, ("is a file",)),
    "empty": (Path.mkdir, ("no images in it",)),
    "one less": (one_less, ("none for good-1.png", "one mask for each image")),
    "one more": (lambda folder: masks_of(folder, other=level(255)), ("no image for other.png",)),
    "larger": (lambda folder: masks_of(folder, good_1=level(255, (17, 16))), ("good-1.png: 17 × 16", "16 × 16 pixels")),
    "damaged": (lambda folder: masks_of(folder, good_2=level(255)[:40]), ("good-2.png: ",)),
    "black": (
        lambda folder: masks_of(folder, **{name.replace("-", "_"): level(0) for name in GOOD}),
        ("no usable image (3 skipped: good-0.png: every pixel is hidden",),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_masks_that_cannot_be_used_are_refused(name: str, command: Command, good: Path, tmp_path: Path) -> None:
    make, said = BAD[name]
    make(tmp_path / "masks")
    learn = ("learn", "generator", "--data", good, "--masks", tmp_path / "masks", "--out", tmp_path / "run", *SMALL)
    refused(command(*learn), *said, *([] if name == "black" else ["masks: ", tmp_path / "masks"]))
    assert not (tmp_path / "run").exists()


def test_an_image_under_a_black_mask_is_skipped_by_name(
    command: Command, good: Path, tmp_path: Path, no_figures: None
) -> None:
    masks_of(tmp_path / "masks", good_1=level(127))
    learn = ("learn", "generator", "--data", good, "--masks", tmp_path / "masks", "--out", tmp_path / "run", *SMALL)
    refused(command(*learn, "--strict"), "good-1.png: every pixel is hidden")
    warned(command(*learn), "warning: good-1.png: every pixel is hidden; skipped")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pepper", "expected salt:SHARE"),
        ("salt:1", "expected salt:SHARE"),
        ("salt:\udcff\n", "expected salt:SHARE"),
        ("square:16", "smaller than the images, 16 × 16 pixels; got square:16"),
        ("salt:0.999", "leaves pixels of 0 images"),
    ],
)
def test_an_occlusion_that_hides_nothing_sensible_is_refused(
    word: str, said: str, command: Command, good: Path, tmp_path: Path
) -> None:
    learn = ("learn", "generator", "--data", good, "--out", tmp_path / "run", *SMALL)
    refused(command(*learn, f"--occlude={word}"), "occlude: ", said)
    assert not (tmp_path / "run").exists()


def test_a_drawn_set_has_no_masks(command: Command, tmp_path: Path) -> None:
    masks_of(tmp_path / "masks")
    learn = ("learn", "generator", "--data", "drawn-cats", "--out", tmp_path / "run", *SMALL)
    refused(command(*learn, "--masks", tmp_path / "masks"), "masks: drawn-cats is drawn by the program")


def test_a_film_in_one_file_has_no_masks(command: Command, tmp_path: Path) -> None:
    file, frames = tmp_path / "film.gif", [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    frames[0].save(file, save_all=True, append_images=frames[1:])
    masks_of(tmp_path / "masks")
    learn = ("learn", "generator", "--data", file, "--frames", "--masks", tmp_path / "masks")
    refused(command(*learn, "--out", tmp_path / "run", *SMALL), "masks: ", "is one file")
    assert not (tmp_path / "run").exists()
