"""Films that cannot be learned from: refused in one line that names the file, and nothing is written."""

from pathlib import Path

import pytest
from PIL import Image

from anasyn.run import Run

from ..commands import Command, refused, tree
from .bytes_of import GZIP, HTML, MP4, changed, encoded, noise
from .conftest import finished
from .small import SMALL


def film(format: str, num: int = 3, **options: object) -> bytes:
    """Frames of noise, turned by 90 degrees from each to the next."""
    first, *others = (noise(16).rotate(90 * k) for k in range(num))
    return encoded(first, format, save_all=True, append_images=others, **options)


GIF, APNG, WEBP = film("GIF"), film("PNG"), film("WEBP", lossless=True)

# name: the file's suffix, its content, and what the message must contain
BAD: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "empty": ("gif", b"", ("not an image of a known format",)),
    "text": ("gif", HTML, ("not an image of a known format",)),
    "compressed": ("gif", GZIP, ("not an image of a known format",)),
    "a video": ("webp", MP4, ("not an image of a known format",)),
    "a still GIF": ("gif", encoded(noise(16), "GIF"), ("a single picture", "GIF, WebP or APNG")),
    "a still WebP": ("webp", encoded(noise(16), "WEBP"), ("a single picture", "GIF, WebP or APNG")),
    "a photograph": ("jpg", encoded(noise(16), "JPEG"), ("a single picture", "GIF, WebP or APNG")),
    "pages": ("tif", film("TIFF"), ("a single picture", "GIF, WebP or APNG")),
    "one frame beside a poster": ("png", film("PNG", 2, default_image=True), ("an animation of one frame",)),
    "a GIF without its end": ("gif", GIF[:-1], ("cut off after 3 frames",)),
    "a cut GIF": ("gif", GIF[: len(GIF) // 2], ()),
    "a cut APNG": ("png", APNG[: len(APNG) // 2], ()),
    "a cut WebP": ("webp", WEBP[: len(WEBP) // 2], ()),
    "a GIF of 65535 × 65535 pixels": ("gif", changed(GIF, 6, b"\xff\xff\xff\xff"), ("4294836225 pixels",)),
    "an APNG with a damaged frame": ("png", changed(APNG, APNG.rindex(b"fdAT") + 20, b"\xff\xff"), ()),
}


@pytest.mark.parametrize("name", BAD)
def test_a_film_that_cannot_be_learned_from_is_refused(name: str, command: Command, tmp_path: Path) -> None:
    suffix, content, said = BAD[name]
    data = tmp_path / f"film.{suffix}"
    data.write_bytes(content)
    refused(command("learn", "generator", "--data", data, "--frames", "--out", tmp_path / "run", *SMALL), data, *said)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="session")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator of a film's frames, not to be changed."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "good.gif").write_bytes(GIF)
    return finished("generator", folder / "good.gif", folder / "run", "--frames")


@pytest.mark.parametrize("name", BAD)
def test_held_out_frames_are_refused_alike(name: str, command: Command, filmed: Path, tmp_path: Path) -> None:
    suffix, content, said = BAD[name]
    data, before = tmp_path / f"film.{suffix}", tree(filmed)
    data.write_bytes(content)
    refused(command("reconstruct", filmed, "--data", data), data, *said)
    assert tree(filmed) == before


def test_a_film_that_is_damaged_later_is_named(command: Command, tmp_path: Path, no_figures: None) -> None:
    """The run goes on when the film is put back."""
    data, run = tmp_path / "film.gif", tmp_path / "run"
    learn = ("learn", "generator", "--data", data, "--frames", "--out", run, *SMALL, "--iterations")
    data.write_bytes(GIF)
    assert command(*learn, 1).status == 0
    data.write_bytes(GIF[:-1])
    refused(command(*learn, 2), data, "cut off")
    data.unlink()
    refused(command(*learn, 2), data, "is not there")
    assert Run.open(run).saved_iteration() == 1
    data.write_bytes(GIF)
    assert command(*learn, 2).status == 0


@pytest.mark.parametrize("num", [0, 1])
def test_a_folder_of_too_few_frames_is_refused(num: int, command: Command, tmp_path: Path) -> None:
    data = tmp_path / "frames"
    data.mkdir()
    for k in range(num):
        Image.new("RGB", (16, 16)).save(data / f"{k}.png")
    refused(command("learn", "generator", "--data", data, "--frames", "--out", tmp_path / "run", *SMALL), data, "2")
    assert not (tmp_path / "run").exists()
