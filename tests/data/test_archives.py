"""Tar archives of images, and what is refused."""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from anasyn.data import cache, read_folder, reading
from anasyn.data.archives import is_archives
from anasyn.data.sources import full, load
from anasyn.errors import InputError

from .pictures import blocks, folder_of, is_one_line, quarters, side_of


def png(width: int = 20, height: int = 14) -> bytes:
    content = io.BytesIO()
    blocks(width, height).save(content, "PNG")
    return content.getvalue()


def tarred(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "faces").mkdir()
    return folder_of(tmp_path / "faces", quarters(), blocks(20, 16), quarters(16, 16), blocks(40, 30))


def test_a_tar_of_a_folder_is_the_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_folder(folder, 12)
    file = tarred(tmp_path / "a.tar", {name: (folder / name).read_bytes() for name in images.names})
    for least in (reading.LEAST_CACHED, 0):
        monkeypatch.setattr(reading, "LEAST_CACHED", least)
        found = load(str(file), 12)
        assert (found.stored is None) == (least > 0)
        assert (found.names, found.fingerprint, found.labels) == (images.names, images.fingerprint, None)
        assert torch.equal(found.pixels, images.pixels)
    assert side_of(str(file)) == 16
    monkeypatch.chdir(tmp_path)
    assert full("a.tar") == str(file)


def test_several_archives_are_one_set_with_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        members = {
            "train/one.two.png": png(20 + number),
            "train/one.cls": b"7\n",
            "train/one.json": b"{}",
            "train/._three.png": b"hidden",
            "train/three.cls": b"cat",
            "train/three.png": png(30 + number),
        }
        tarred(tmp_path / f"shard-{number:02}.tar", members)
    images = load(str(tmp_path / "shard-{00..02}.tar"), 12)
    assert images.names[:3] == ("shard-00.tar/train/one.two.png", "shard-00.tar/train/three.png",
                                "shard-01.tar/train/one.two.png")  # fmt: skip
    assert images.labels == ("7", "cat") * 3
    assert is_archives(str(tmp_path))
    assert load(str(tmp_path), 12).digests == images.digests
    assert load(str(tmp_path / "shard-{01..02}.tar"), 12).digests == images.digests[2:]
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)
    stored = load(str(tmp_path / "shard-{00..02}.tar"), 12)
    assert stored.labels == images.labels
    before = stored.digests[0]
    os.utime(tmp_path / "shard-00.tar", (0, 0))
    assert load(str(tmp_path / "shard-{00..02}.tar"), 12).digests[0] == before
    assert len(cache.entries()) == 1  # the archive may have changed: it was read again


def test_a_folder_of_images_is_no_archive(folder: Path) -> None:
    tarred(folder / "backup.tar", {"a.png": png()})
    assert not is_archives(str(folder))
    assert len(load(str(folder), 12)) == 4


def test_bad_members_are_skipped(tmp_path: Path) -> None:
    whole = png()
    members = {"a.png": whole, "b.png": whole[:80], "c.png": b"<html>", "d.png": whole, "e\n.png": b""}
    images = load(str(tarred(tmp_path / "a.tar", members)), 12)
    assert images.names == ("a.png", "d.png")
    assert [line.split(":")[0] for line in images.skipped] == ["b.png", "c.png", "e\\n.png"]
    with pytest.raises(InputError) as error:
        load(str(tmp_path / "a.tar"), 12, strict=True)
    assert is_one_line(error, tmp_path / "a.tar", "b.png")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


BAD = {
    "gone": (Path.unlink, "is not there"),
    "empty": (lambda path: path.write_bytes(b""), "expected a tar file"),
    "text": (lambda path: path.write_text("no archive" * 1000), "expected a tar file"),
    "cut": (cut, "expected a tar file"),
    "compressed": (lambda path: tarred(path, {"a.png": png()}, "w:gz"), "not compressed"),
    "no images": (lambda path: tarred(path, {"a.txt": b"text"}), "no images"),
    "one image": (lambda path: tarred(path, {"a.png": png()}), "only 1 usable image"),
}


@pytest.mark.parametrize("how", BAD)
def test_an_archive_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    file = tarred(tmp_path / "a.tar", {f"{number}.png": png(64, 64) for number in range(4)})
    damage, words = BAD[how]
    damage(file)
    for read in (lambda: load(str(file), 12), lambda: side_of(str(file))):
        with pytest.raises(InputError) as error:
            read()
        assert is_one_line(error, file, words)


def test_ranges_and_masks_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ascends"):
        load(str(tmp_path / "a-{3..1}.tar"), 12)
    with pytest.raises(InputError, match=r"a-2\.tar: is not there"):
        load(str(tmp_path / "a-{2..3}.tar"), 12)
    file = tarred(tmp_path / "a.tar", {"a.png": png(), "b.png": png()})
    with pytest.raises(InputError, match="no folder"):
        load(str(file), 12, masks=str(tmp_path))
