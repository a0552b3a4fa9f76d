"""Animations: every frame as a viewer shows it, or one line that says why not."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anasyn.data import draw_cats, drawn_factors, frames, read_folder, read_frames, save_film
from anasyn.errors import InputError

from ..planting import plant
from .pictures import BLUE, GREEN, RED, WHITE, is_one_line

FORMATS = {
    "gif": {},
    "png": {},
    "webp": {"lossless": True},
}


def plain(num: int) -> list[Image.Image]:
    """Pictures of 16 pixels in few colours, which a GIF keeps as they are: a square that moves to the right."""
    pictures = []
    for k in range(num):
        picture = np.full((16, 16, 3), BLUE, np.uint8)
        picture[4:10, k : k + 5] = RED
        pictures.append(Image.fromarray(picture))
    return pictures


def saved(path: Path, pictures: list[Image.Image], **options: object) -> Path:
    first, *others = pictures
    first.save(path, save_all=True, append_images=others, duration=40, **options)
    return path


def rows(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(each) for each in pictures])


def frames_of(path: Path, **options: object) -> np.ndarray:
    """(n, H, W, 3)"""
    return read_frames(path, 16, **options).pixels.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_frames_are_those_that_were_written_in_their_order(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"walk.{suffix}", plain(11), **FORMATS[suffix])
    images = read_frames(path, 16)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), rows(plain(11)))
    assert images.names == tuple(f"walk.{suffix}#{k:04d}" for k in range(11))
    assert images.skipped == ()
    assert images.labels is None
    assert frames.frames_side(path) == 16


def test_a_film_that_was_written_is_read_again_exactly(tmp_path: Path) -> None:
    cats = draw_cats(drawn_factors(5), 32)
    save_film(tmp_path / "film.webp", cats)
    assert torch.equal(read_frames(tmp_path / "film.webp", 32).pixels, cats)
    with Image.open(tmp_path / "film.webp") as film:
        assert film.info["loop"] == 0
    save_film(tmp_path / "grey.webp", cats[:, :1])
    assert torch.equal(read_frames(tmp_path / "grey.webp", 32, channels=None).pixels, cats[:, :1])


def test_frames_are_resized_as_images_are(tmp_path: Path) -> None:
    pictures = [picture.resize((40, 24)) for picture in plain(3)]
    (tmp_path / "folder").mkdir()
    for k, picture in enumerate(pictures):
        picture.save(tmp_path / "folder" / f"{k}.png")
    saved(tmp_path / "a.png", pictures)
    for fit in ("crop", "stretch"):
        for channels in (1, 3):
            expected = read_folder(tmp_path / "folder", (16, 24), fit=fit, channels=channels).pixels
            assert torch.equal(read_frames(tmp_path / "a.png", (16, 24), fit=fit, channels=channels).pixels, expected)


def overlaid(suffix: str, path: Path, disposal: int) -> Path:
    """Three frames: a red picture, a green corner over it, and a blue corner over what the disposal leaves."""
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    first = Image.new("RGBA", (16, 16), (*RED, 255))
    second, third = clear.copy(), clear.copy()
    second.paste((*GREEN, 255), (0, 0, 8, 8))
    third.paste((*BLUE, 255), (8, 8, 16, 16))
    options = {"disposal": disposal, "blend": 1} if suffix == "png" else {"disposal": disposal, "optimize": False}
    return saved(path, [first, second, third], **options)


@pytest.mark.parametrize(
    ("suffix", "disposal", "corners"),
    [  # of the last frame: what is left of the first and of the second picture, and the third
        ("gif", 1, (GREEN, RED, BLUE)),
        ("gif", 2, (WHITE, WHITE, BLUE)),
        ("png", 0, (GREEN, RED, BLUE)),
        ("png", 1, (WHITE, WHITE, BLUE)),
    ],
)
def test_a_frame_is_drawn_over_what_the_last_one_leaves_and_on_white(
    suffix: str, disposal: int, corners: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    found = frames_of(overlaid(suffix, tmp_path / f"a.{suffix}", disposal))
    assert len(found) == 3
    assert tuple(found[0][0, 0]) == RED
    assert tuple(tuple(found[-1][place]) for place in ((0, 0), (0, 15), (15, 15))) == corners


def test_the_picture_for_viewers_without_animation_is_no_frame(tmp_path: Path) -> None:
    poster = Image.new("RGB", (16, 16), WHITE)
    saved(tmp_path / "a.png", [poster, *plain(4)], default_image=True)
    assert np.array_equal(frames_of(tmp_path / "a.png"), rows(plain(4)))
    saved(tmp_path / "one.png", [poster, *plain(1)], default_image=True)
    with pytest.raises(InputError) as error:
        read_frames(tmp_path / "one.png", 16)
    assert is_one_line(error, "one.png", "one frame")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "jpg", "tif"])
def test_one_frame_is_no_animation(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    plain(1)[0].save(path)
    with pytest.raises(InputError) as error:
        read_frames(path, 16)
    assert is_one_line(error, path, "a single picture", "GIF, WebP or APNG")
    assert not frames.is_animation(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_film_that_is_cut_anywhere_is_refused_or_has_all_its_frames(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(4)]
    data = saved(tmp_path / f"a.{suffix}", pictures, **FORMATS[suffix]).read_bytes()
    whole, path = frames_of(tmp_path / f"a.{suffix}"), tmp_path / f"cut.{suffix}"
    for length in {*range(0, len(data), len(data) // 60), *range(len(data) - 40, len(data))}:
        path.write_bytes(data[:length])
        try:
            found = frames_of(path)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
        else:  # what follows the pixels may be missing: two checksums and the last chunk of a PNG, which says nothing
            assert length >= len(data) - 20
            assert suffix == "png"
            assert np.array_equal(found, whole)


def test_a_gif_that_is_cut_between_two_frames_would_seem_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(tmp_path / "a.gif", plain(6)).read_bytes()
    where = data.rindex(b"!\xf9\x04")  # before the last frame
    (tmp_path / "cut.gif").write_bytes(data[:where])
    with pytest.raises(InputError) as error:
        read_frames(tmp_path / "cut.gif", 16)
    assert is_one_line(error, "cut.gif", "cut off after 5 frames")
    plant(monkeypatch, "anasyn.data.frames:require_whole", {"if not whole": "if False"})
    assert len(read_frames(tmp_path / "cut.gif", 16)) == 5


def test_damage_within_is_refused(tmp_path: Path) -> None:
    data = bytearray(saved(tmp_path / "a.png", plain(5)).read_bytes())
    data[data.rindex(b"fdAT") + 12] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError) as error:
        read_frames(tmp_path / "a.png", 16)
    assert is_one_line(error, "a.png")


def test_too_many_frames_or_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.gif", plain(6))
    monkeypatch.setattr(frames, "MAX_FRAMES", 6)
    assert len(read_frames(path, 16)) == 6
    monkeypatch.setattr(frames, "MAX_FRAMES", 5)
    with pytest.raises(InputError) as error:
        read_frames(path, 16)
    assert is_one_line(error, path, "at most 5 frames")
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)
    monkeypatch.setattr(frames, "MAX_FILM_PIXELS", 6 * 256 - 1)
    with pytest.raises(InputError) as error:
        read_frames(path, 16)
    assert is_one_line(error, path, "1535 pixels in all")


def test_an_animation_that_claims_to_be_long_costs_nothing(tmp_path: Path) -> None:
    """An APNG of two frames that declares 2³¹ − 1 of them."""
    data = saved(tmp_path / "a.png", plain(2)).read_bytes()
    start = data.index(b"acTL")
    claim = b"acTL" + struct.pack(">II", 2**31 - 1, 0)
    data = data[:start] + claim + struct.pack(">I", zlib.crc32(claim)) + data[start + 16 :]
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError) as error:
        read_frames(tmp_path / "a.png", 16)
    assert is_one_line(error, "a.png")


def test_an_animation_where_a_folder_is_expected(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.gif", plain(2))
    with pytest.raises(InputError) as error:
        read_folder(path, 16)
    assert is_one_line(error, path, "is a file; expected a folder", "--frames")
    plain(1)[0].save(tmp_path / "still.gif")
    with pytest.raises(InputError) as error:
        read_folder(tmp_path / "still.gif", 16)
    assert "--frames" not in str(error.value)
