"""The data of a run, given by one word."""

from pathlib import Path

import pytest
import torch

from anasyn.data import read_folder, save_image
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.data.resizing import Fit
from anasyn.data.sources import DRAWN_IMAGES, full, load, named
from anasyn.errors import InputError

from .pictures import side_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = draw_cats(drawn_factors(3), 16)
    for number, image in enumerate(images):
        save_image(tmp_path / f"{number}.png", image[:, :, 2:])  # 14 wide
    return tmp_path


def test_a_drawn_set_is_drawn_at_the_size_asked_for() -> None:
    images = load("drawn-cats", 24)
    assert torch.equal(images.pixels, draw_cats(drawn_factors(DRAWN_IMAGES), 24))
    assert images.names[:2] == ("drawn-cats-00.png", "drawn-cats-01.png")
    assert len(set(images.names)) == len(images) == DRAWN_IMAGES
    assert load("drawn-cats", 24).fingerprint == images.fingerprint != load("drawn-egrets", 24).fingerprint
    assert side_of("drawn-cats") == 64
    assert str(DRAWN_IMAGES) in named()["drawn-cats"]


@pytest.mark.parametrize(("fit", "channels"), [("crop", 1), ("stretch", 3), ("stretch", None)])
def test_a_drawn_set_is_what_a_folder_of_its_images_is(fit: Fit, channels: int | None, tmp_path: Path) -> None:
    for number, image in enumerate(draw_cats(drawn_factors(DRAWN_IMAGES), 24)):
        save_image(tmp_path / f"{number}.png", image)
    for size in ((16, 24), (24, 8)):
        images = load("drawn-cats", size, fit=fit, channels=channels)
        assert images.pixels.shape == (DRAWN_IMAGES, channels or 3, *size)
        assert torch.equal(images.pixels, load(str(tmp_path), size, fit=fit, channels=channels).pixels)
        assert images.labels is None


def test_a_drawn_set_refuses_what_a_folder_refuses() -> None:
    with pytest.raises(InputError, match=r"size: expected .* got \(64, 7\)"):
        load("drawn-cats", (64, 7))
    with pytest.raises(InputError, match="channels: expected 1, 3, or None"):
        load("drawn-cats", 64, channels=2)


def test_classes_and_channels_come_from_the_folder(folder: Path) -> None:
    for number in range(3):
        (folder / str(number)).mkdir()
        (folder / f"{number}.png").rename(folder / str(number) / "a.png")
    images = load(str(folder), (16, 12), channels=1)
    assert images.labels == ("0", "1", "2")
    assert images.pixels.shape == (3, 1, 16, 12)


def test_a_folder_is_read(folder: Path) -> None:
    assert torch.equal(load(str(folder), 16, fit="stretch").pixels, read_folder(folder, 16, fit="stretch").pixels)
    assert not torch.equal(load(str(folder), 16).pixels, load(str(folder), 16, fit="stretch").pixels)
    assert side_of(str(folder)) == 14


def test_a_bad_file_is_skipped_or_refused(folder: Path) -> None:
    (folder / "bad.png").write_text("no image")
    images = load(str(folder), 16)
    assert len(images) == 3
    assert images.skipped[0].startswith("bad.png: ")
    with pytest.raises(InputError, match=r"bad\.png"):
        load(str(folder), 16, strict=True)


def test_published_photographs_are_found_where_they_were_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANASYN_PHOTOGRAPHS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for call in (lambda: load("egret", 16), lambda: side_of("egret")):
        with pytest.raises(InputError, match="run `anasyn data fetch egret`"):
            call()


@pytest.mark.parametrize("word", ["nothing", "drawn-dogs"])
def test_an_unknown_word_is_told_what_there_is(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"data: {word} is neither a folder nor one of drawn-cats, drawn-egrets"):
        load(word, 16)
    with pytest.raises(InputError, match="is not there"):
        load(f"./{word}", 16)


def test_a_set_s_name_is_the_set_and_a_path_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename("drawn-cats")
    assert len(load("drawn-cats", 16)) == DRAWN_IMAGES
    assert len(load("./drawn-cats", 16)) == 3
    assert full("drawn-cats") == "drawn-cats"
    assert full("./drawn-cats") == str(Path("drawn-cats").resolve())
    assert full("elsewhere") == str(Path("elsewhere").resolve())
