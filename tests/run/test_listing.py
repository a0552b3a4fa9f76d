"""The list of a run's images: of few images JSON, of many in little memory, with the same content."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from anasyn.data import ImageSet
from anasyn.errors import InputError
from anasyn.run import listing


def images(first: int, last: int, *, labels: bool = True) -> ImageSet:
    """Images that are their number."""
    numbers = torch.arange(first, last)
    pixels = torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    names = tuple(f"é/{number}.png" for number in numbers.tolist())
    return ImageSet(names, pixels, labels=tuple("ab"[n % 2] for n in numbers.tolist()) if labels else None)


@pytest.fixture(params=["few", "many"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(listing, "MANY", 3 if request.param == "many" else 1000)
    return request.param


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("held_out", [None, images(20, 24)])
def test_what_is_written_is_read(tmp_path: Path, kind: str, labels: bool, held_out: ImageSet | None) -> None:
    listing.write(tmp_path, images(0, 7, labels=labels), held_out)
    (file,) = tmp_path.iterdir()
    assert file.name == ("data.safetensors" if kind == "many" else "data.json")
    found, expected = listing.read(tmp_path), images(0, 7, labels=labels)
    assert tuple(found.names) == expected.names
    assert tuple(found.digests) == expected.digests
    assert (found.labels and tuple(found.labels)) == expected.labels
    assert tuple(found.held_out) == (held_out.digests if held_out else ())


def test_changes_are_named(tmp_path: Path, kind: str) -> None:
    listing.write(tmp_path, images(0, 7), images(20, 24))
    before = listing.read(tmp_path)

    def changes(now: ImageSet, held_out: ImageSet | None, *, labels: bool = False) -> str:
        return listing.changes(before, now, held_out, labels=labels)

    assert changes(images(0, 7), images(20, 24)) == changes(images(0, 7), images(20, 24), labels=True) == ""
    assert changes(images(0, 7), None) == "other held-out images"
    assert changes(images(0, 8), images(20, 24)) == "added é/7.png"
    assert changes(images(1, 7), images(20, 24)) == "gone é/0.png"
    assert changes(images(0, 7).only([1, 0, *range(2, 7)]), images(20, 24)) == "in another order"
    other = ImageSet(images(0, 7).names, images(0, 7).pixels, labels=("b",) * 7)
    assert changes(other, images(20, 24)) == ""
    assert changes(other, images(20, 24), labels=True) == "in other classes é/0.png, é/2.png, é/4.png, é/6.png"


def test_a_set_that_grows_or_shrinks_has_one_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MANY", 5)
    for last in (4, 7, 3):
        listing.write(tmp_path, images(0, last), None)
        assert len(list(tmp_path.iterdir())) == 1
        assert len(listing.read(tmp_path).names) == last


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [cut, lambda content: b"", lambda content: content.replace(b"digests", b"digestz")])
def test_a_damaged_list_is_refused(tmp_path: Path, kind: str, damage: Callable[[bytes], bytes]) -> None:
    listing.write(tmp_path, images(0, 7), None)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="not the list of a run's images") as error:
        listing.read(tmp_path)
    assert str(file) in str(error.value)


def test_few_images_are_json(tmp_path: Path) -> None:
    listing.write(tmp_path, images(0, 2), None)
    content = json.loads((tmp_path / "data.json").read_text())
    assert content == {
        "names": ["é/0.png", "é/1.png"],
        "digests": list(images(0, 2).digests),
        "labels": ["a", "b"],
        "held_out": [],
    }
