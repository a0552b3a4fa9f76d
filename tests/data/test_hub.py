"""Data sets of Hugging Face, from folders: nothing is downloaded."""

import sys
from pathlib import Path

import pytest
import torch

from anasyn.data import read_folder, reading
from anasyn.data.sources import full, load
from anasyn.errors import InputError

from .pictures import blocks, is_one_line, quarters, saved, side_of


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = {
        "a/1.png": quarters(),
        "a/2.png": blocks(20, 16),
        "b/1.png": quarters(16, 16),
        "b/2.png": blocks(40, 30),
    }
    return saved(tmp_path / "faces", pictures)


@pytest.fixture
def saved_set(folder: Path, tmp_path: Path) -> Path:
    """The folder as a data set that was saved, in two splits."""
    datasets = pytest.importorskip("datasets")
    whole = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    datasets.DatasetDict(train=whole, test=whole.select([1, 2])).save_to_disk(tmp_path / "saved")
    whole.save_to_disk(tmp_path / "one")
    return tmp_path / "saved"


def test_a_saved_set_is_the_folder(
    saved_set: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = read_folder(folder, 12)
    for least in (reading.LEAST_CACHED, 0):
        monkeypatch.setattr(reading, "LEAST_CACHED", least)
        for name in (f"hf:{saved_set}", f"hf:{saved_set}:train", f"hf:{tmp_path / 'one'}"):
            found = load(name, 12)
            assert (found.stored is None) == (least > 0)
            assert found.fingerprint == images.fingerprint
            assert tuple(found.labels) == images.labels == ("a", "a", "b", "b")
            assert torch.equal(found.pixels, images.pixels)
            assert side_of(name) == 16
        assert load(f"hf:{saved_set}:test", 12).digests == images.digests[1:3]
    monkeypatch.chdir(tmp_path)
    assert full("hf:saved") == f"hf:{saved_set}:train"
    assert full("hf:owner/name:test") == "hf:owner/name:test"


def test_a_folder_is_read_by_the_package(folder: Path) -> None:
    pytest.importorskip("datasets")
    found = load(f"hf:{folder}", 12)
    assert sorted(found.digests) == sorted(read_folder(folder, 12).digests)
    assert found.labels is not None


def test_sets_that_cannot_be_used_are_refused_in_one_line(saved_set: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "words.txt").write_text("a\nb\n")
    words = datasets.load_dataset("text", data_files=str(tmp_path / "words.txt"), split="train")
    words.save_to_disk(tmp_path / "words")
    cases = {f"hf:{saved_set}:other": "other", f"hf:{tmp_path / 'words'}": "no column of images",
             f"hf:{tmp_path / 'nothing'}": "nothing"}  # fmt: skip
    for name, said in cases.items():
        with pytest.raises(InputError) as error:
            load(name, 12)
        assert is_one_line(error, said)
    with pytest.raises(InputError, match="no folder"):
        load(f"hf:{saved_set}", 12, masks=str(tmp_path))


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError) as error:
        load("hf:owner/name", 12)
    assert is_one_line(error, "hf:owner/name:train", "pip install 'anasyn[huggingface]'")
