"""Large sets: what is read by way of the cache is what is read into memory, whatever happens to the cache."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.numpy import load_file

from anasyn.data import ImageSet, building, cache, occlude, occlusion, read_folder, reading, spread
from anasyn.data.folders import Folder
from anasyn.data.rowfile import RowFile
from anasyn.data.source import Form, Rows, Source
from anasyn.errors import InputError

from ..planting import plant
from .pictures import is_one_line


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and chunks of three images."""
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "CHUNK_IMAGES", 3)
    return tmp_path / "cache"


def cached(folder: Path, size: int = 12, **options: object) -> ImageSet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LEAST_CACHED", 0)
        images = read_folder(folder, size, **options)
    assert images.stored is not None
    return images


def in_memory(folder: Path, size: int = 12, **options: object) -> ImageSet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "find", lambda key: None)
        images = read_folder(folder, size, **options)
    assert images.stored is None
    return images


def picture(rng: np.random.Generator, *, holes: bool = False, grey: bool = False) -> Image.Image:
    values = rng.integers(0, 256, (14, 20, 1 if grey else 3), dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(values, (14, 20, 3)))
    if holes:
        alpha = np.full((14, 20), 255, dtype=np.uint8)
        alpha[4:9, 6:12] = 0
        image.putalpha(Image.fromarray(alpha))
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images of two classes, of which the second has a hole and the sixth is damaged."""
    rng = np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / "faces" / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(rng, holes=number == 1).save(path)
    (tmp_path / "faces/b/5.png").write_bytes((tmp_path / "faces/b/3.png").read_bytes()[:100])
    return tmp_path / "faces"


def assert_same(stored: ImageSet, images: ImageSet) -> None:
    """The same set, however it is read."""
    assert stored.stored is not None
    assert stored.names == images.names
    assert stored.digests == images.digests
    assert (stored.fingerprint, stored.skipped, len(stored)) == (images.fingerprint, images.skipped, len(images))
    assert (stored.labels is None) == (images.labels is None)
    assert stored.labels is None or stored.labels == images.labels
    assert stored.shape == tuple(images.pixels.shape)
    index = torch.tensor([len(images) - 1, 0, 0, -2])
    for rows in (index, slice(None), slice(1, 4), torch.arange(len(images)) % 2 == 0):
        pixels, masks = stored.stored.read(rows)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(pixels, images.pixels[rows])
        assert (masks is None) == (images.masks is None)
        assert masks is None or torch.equal(masks, images.masks[rows])
    assert torch.equal(stored.pixels, images.pixels)
    assert (stored.masks is None) == (images.masks is None)
    assert stored.masks is None or torch.equal(stored.masks, images.masks)


FORMS = {
    "as it is": {},
    "hidden": {"transparent": "hidden"},
    "stretched": {"fit": "stretch", "channels": None},
    "grey": {"channels": 1, "transparent": "hidden"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_cached_set_is_the_set_in_memory(folder: Path, form: str) -> None:
    stored, images = cached(folder, **FORMS[form]), in_memory(folder, **FORMS[form])
    assert len(images) == 7
    assert (images.masks is not None) == ("transparent" in FORMS[form])
    assert_same(stored, images)
    assert_same(cached(folder, **FORMS[form]), images)  # from the cache that is there
    assert spread(stored) == spread(images)
    for part, other in zip(stored.split(3), images.split(3), strict=True):
        assert_same(part, other)
    assert_same(stored.only([4, 0, 2]), images.only([4, 0, 2]))
    assert_same(stored.split(3)[0].only([3, 1]), images.split(3)[0].only([3, 1]))


def test_masks_are_cached(folder: Path, tmp_path: Path) -> None:
    (folder / "b/5.png").unlink()
    for file in folder.rglob("*.png"):
        mask = np.full((14, 20), 255, dtype=np.uint8)
        mask[: int(file.stem)] = 0
        (tmp_path / "masks" / file.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / file.parent.name / file.name)
    options = {"masks": tmp_path / "masks", "transparent": "hidden"}
    stored = cached(folder, **options)
    assert_same(stored, in_memory(folder, **options))
    Image.new("L", (20, 14), 255).save(tmp_path / "masks/b/7.png")
    assert cached(folder, **options).fingerprint != stored.fingerprint


@pytest.mark.parametrize("text", ["salt:.5", "salt:0.001", "square:5", "half"])
@pytest.mark.parametrize("form", ["as it is", "hidden"])
def test_an_occluded_cached_set_is_the_one_in_memory(folder: Path, form: str, text: str) -> None:
    stored, images = (occlude(read(folder, **FORMS[form]), text) for read in (cached, in_memory))
    assert_same(stored, images)
    assert torch.equal(stored.hidden_shares(), images.hidden_shares())
    for part, other in zip(stored.split(3), images.split(3), strict=True):
        assert part.names == other.names
        assert torch.equal(part.pixels, other.pixels)
    assert_same(occlude(stored, "square:3"), occlude(images, "square:3"))


def test_images_are_occluded_and_their_hidden_pixels_counted_a_few_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.glob("*/*.png"):
        picture(np.random.default_rng(), holes=True).save(path)
    images, read = cached(folder, transparent="hidden"), []
    monkeypatch.setattr(cache, "AT_ONCE", 2)
    monkeypatch.setattr(occlusion, "AT_ONCE", 2)

    def counted(file: RowFile, places: np.ndarray, read_rows: Callable = RowFile.read) -> np.ndarray:
        read.append(len(places))
        return read_rows(file, places)

    monkeypatch.setattr(RowFile, "read", counted)
    assert images.hides
    assert read == []
    images.hidden_shares()
    assert sum(read) == 2 * len(images)  # of pixels, and of masks
    occlude(images, "square:2").hidden_shares()
    assert sum(read) == 4 * len(images)
    assert max(read) == 2


@pytest.mark.parametrize("holes", [False, True])
def test_grey_images_are_cached_with_one_channel(tmp_path: Path, holes: bool, own_cache: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "grey").mkdir()
    for number in range(5):
        picture(rng, grey=True, holes=holes and number == 3).save(tmp_path / f"grey/{number}.png")
    options = {"channels": None, "transparent": "hidden"}
    stored = cached(tmp_path / "grey", **options)
    assert stored.shape[1] == 1
    images = in_memory(tmp_path / "grey", **options)
    assert_same(stored, images)
    # The run that is begun with these images asks for one channel: it finds the same cache.
    assert_same(read_folder(tmp_path / "grey", 12, channels=1, transparent="hidden"), images)
    (entry,) = own_cache.iterdir()
    assert {file.name for file in entry.iterdir()} - {".lock"} == {
        "manifest.json", "index.safetensors", "grey.safetensors", *(["masks.safetensors"] if holes else []),
    }  # fmt: skip
    assert cached(tmp_path / "grey", channels=3, transparent="hidden").shape[1] == 3


def test_the_files_are_safetensors(folder: Path, own_cache: Path) -> None:
    images = cached(folder, transparent="hidden")
    (entry,) = own_cache.iterdir()
    tensors = load_file(entry / "pixels.safetensors") | load_file(entry / "masks.safetensors")
    kept = [0, 1, 2, 3, 4, 5, 7]  # a/0, a/2, …, b/7 without b/5, which is damaged
    assert torch.equal(torch.from_numpy(tensors["pixels"])[kept].permute(0, 3, 1, 2), images.pixels)
    assert torch.equal(torch.from_numpy(tensors["masks"])[kept], images.masks)


def test_pixels_are_mapped_and_private(folder: Path) -> None:
    (folder / "b/5.png").unlink()
    first = cached(folder)
    before = first.pixels.clone()
    first.pixels.zero_()  # in memory alone
    assert torch.equal(cached(folder).pixels, before)
    assert torch.equal(first.stored[:], before)


def test_a_small_set_is_read_into_memory(folder: Path, own_cache: Path) -> None:
    assert read_folder(folder, 12).stored is None
    assert not own_cache.exists()


def test_a_strict_reader_refuses_what_a_cache_has_skipped(folder: Path) -> None:
    with pytest.raises(InputError) as error:
        cached(folder, strict=True)
    assert is_one_line(error, folder / "b/5.png", "repair or remove")
    cached(folder)
    with pytest.raises(InputError) as again:
        cached(folder, strict=True)
    assert str(again.value) == str(error.value)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    picture(np.random.default_rng(0)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_text("")
    with pytest.raises(InputError, match="only 1 usable image"):
        cached(tmp_path)


def test_images_that_changed_make_another_cache_and_the_old_one_is_deleted(folder: Path, own_cache: Path) -> None:
    before, other_form = cached(folder), cached(folder, 16)
    picture(np.random.default_rng(9)).save(folder / "a/0.png")
    after = cached(folder)
    assert before.digests[0] != after.digests[0]
    assert before.digests[1:] == after.digests[1:]
    assert_same(after, in_memory(folder))
    assert len(list(own_cache.iterdir())) == 2  # that of the other form is of the earlier images, too, and stays
    assert torch.equal(before.stored[:1], before.stored[:1])  # one that is open can still be read
    assert len(other_form.stored[:]) == 7


# ---- damage


def entry_of(own_cache: Path) -> Path:
    (entry,) = own_cache.iterdir()
    return entry


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("file", ["pixels.safetensors", "masks.safetensors"])
def test_a_flipped_bit_is_found_when_its_image_is_read(folder: Path, own_cache: Path, file: str) -> None:
    cached(folder, transparent="hidden")
    per_image = 12 * 12 * (3 if file.startswith("pixels") else 1)
    # The last byte of the fifth of eight, which has a hole: its mask counts for its digest.
    flip(entry_of(own_cache) / file, -3 * per_image - 1)
    images = cached(folder, transparent="hidden")
    images.stored[:4]
    with pytest.raises(InputError) as error:
        images.stored[torch.tensor([0, 4])]
    key = entry_of(own_cache).name
    assert is_one_line(error, own_cache / key, "damaged", "b/1.png", f"anasyn data cache --delete {key}")
    cache.delete(key)
    assert_same(cached(folder, transparent="hidden"), in_memory(folder, transparent="hidden"))


def test_an_unverified_digest_would_be_noticed(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(
        monkeypatch,
        "anasyn.data.cache:StoredPixels.read",
        {"if found !=": "if False and found !="},
    )
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_flipped_bit_is_found_when_its_image_is_read(folder, own_cache, "pixels.safetensors")


def cut(name: str) -> Callable[[Path], None]:
    return lambda entry: os.truncate(entry / name, (entry / name).stat().st_size - 5)


DAMAGE = {
    "pixels cut": cut("pixels.safetensors"),
    "masks cut": cut("masks.safetensors"),
    "pixels gone": lambda entry: (entry / "pixels.safetensors").unlink(),
    "masks gone": lambda entry: (entry / "masks.safetensors").unlink(),
    "a bit of the header": lambda entry: flip(entry / "pixels.safetensors", 30),
    "a bit of the index": lambda entry: flip(entry / "index.safetensors", -1),
    "index cut": cut("index.safetensors"),
    "index gone": lambda entry: (entry / "index.safetensors").unlink(),
    "manifest cut": cut("manifest.json"),
    "manifest of nothing": lambda entry: (entry / "manifest.json").write_text("{}"),
    "manifest of a number": lambda entry: (entry / "manifest.json").write_text("7"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_cache_is_refused_in_one_line(folder: Path, own_cache: Path, how: str) -> None:
    cached(folder, transparent="hidden")
    DAMAGE[how](entry_of(own_cache))
    with pytest.raises(InputError) as error:
        cached(folder, transparent="hidden")
    key = entry_of(own_cache).name
    assert is_one_line(error, own_cache / key, "damaged", f"anasyn data cache --delete {key}")
    assert [entry.key for entry in cache.entries()] == [key]


def test_a_cache_that_is_cut_while_it_is_read(folder: Path, own_cache: Path) -> None:
    images = cached(folder)
    os.truncate(entry_of(own_cache) / "pixels.safetensors", 5000)
    with pytest.raises(InputError) as error:
        images.stored[:]
    assert is_one_line(error, "damaged", "ends early")


# ---- interruptions


def test_a_full_disk_keeps_what_is_done(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = os.pwrite, []

    def full(*arguments: object) -> int:
        calls.append(arguments)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left on device; free some space, or set ANASYN_CACHE"):
        cached(folder)
    monkeypatch.setattr(os, "pwrite", write)
    assert 1 <= len((entry_of(own_cache) / "journal.jsonl").read_text().splitlines()) < 3
    assert_same(cached(folder), in_memory(folder))


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_decoded(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(building, "decode_rows", None)
    with pytest.raises(OSError, match="No space left on device"):
        cached(folder)
    assert (entry_of(own_cache) / "pixels.safetensors").stat().st_size == 0
    monkeypatch.undo()
    monkeypatch.setenv("ANASYN_CACHE", str(own_cache))
    assert_same(cached(folder), in_memory(folder))


CHILD = """
import sys, time
from anasyn.data import building, decoding, read_folder, reading, source
reading.LEAST_CACHED, building.CHUNK_IMAGES = 0, 3
decode = source.decode
def slow(*arguments, **options):
    time.sleep(float(sys.argv[2]))
    return decode(*arguments, **options)
source.decode = slow
images = read_folder(sys.argv[1], 12)
print(len(images), images.fingerprint)
"""


def child(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def many(tmp_path: Path, num: int) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "many").mkdir()
    for number in range(num):
        picture(rng).save(tmp_path / f"many/{number}.png")
    return tmp_path / "many"


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_build_goes_on(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path, 60)
    with child(folder, 0.02) as process:
        until(lambda: any(journal.read_text().count("\n") >= 4 for journal in own_cache.glob("*/journal.jsonl")))
        process.kill()
    lines = (entry_of(own_cache) / "journal.jsonl").read_text().splitlines()
    done = {json.loads(line)["first"] for line in lines if line.endswith("}")}
    assert 4 <= len(done) < 20
    assert cache.entries()[0].complete is False
    began, decode_rows = [], building.decode_rows

    def spy(source: Source, places: range, form: Form) -> Rows:
        began.append(places.start)
        return decode_rows(source, places, form)

    monkeypatch.setattr(building, "decode_rows", spy)
    images = cached(folder)
    assert {*began} == {*range(0, 60, 3)} - done
    assert_same(images, in_memory(folder))


def test_a_line_of_the_journal_that_was_cut_is_not_believed(folder: Path, own_cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building._Building, "_complete", lambda self: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            cached(folder)
    os.truncate(entry_of(own_cache) / "journal.jsonl", (entry_of(own_cache) / "journal.jsonl").stat().st_size - 3)
    assert_same(cached(folder), in_memory(folder))


class Disk:
    """A disk that loses what was not flushed when the power fails."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.kept: dict[int, list[tuple[bytes, int]]] = {}
        self.write, self.flush, self.lock = os.pwrite, os.fdatasync, threading.Lock()
        patch.setattr(os, "pwrite", self.hold)
        patch.setattr(os, "fdatasync", self.keep)

    def hold(self, descriptor: int, content: bytes, offset: int) -> int:
        with self.lock:
            self.kept.setdefault(descriptor, []).append((bytes(content), offset))
        return len(content)

    def keep(self, descriptor: int) -> None:
        with self.lock:
            for content, offset in self.kept.pop(descriptor, []):
                self.write(descriptor, content, offset)
        self.flush(descriptor)


def power_fails(folder: Path, own_cache: Path) -> None:
    """Two chunks are done; then the process and the disk stop, whatever the process was about to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
        Disk(patch)
        flush, flushed = RowFile.flush, []

        def stop(file: RowFile) -> None:
            flushed.append(file)
            if len(flushed) > 6:
                raise RuntimeError("the power fails")
            flush(file)

        patch.setattr(RowFile, "flush", stop)
        with pytest.raises(RuntimeError, match="power"):
            cached(folder)


def test_what_the_journal_names_is_on_the_disk(tmp_path: Path, own_cache: Path) -> None:
    folder = many(tmp_path, 12)
    power_fails(folder, own_cache)
    assert len((entry_of(own_cache) / "journal.jsonl").read_text().splitlines()) == 2
    assert_same(cached(folder), in_memory(folder))


def test_a_journal_ahead_of_the_disk_would_be_noticed(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushing = "    for file in (self.pixels, self.masks, self.records):\n        file.flush()\n"
    last = "        self.skipped |= rows.skipped\n"
    plant(monkeypatch, "anasyn.data.building:_Building._chunk", {flushing: "", last: last + flushing})
    with pytest.raises((AssertionError, InputError)):
        test_what_the_journal_names_is_on_the_disk(tmp_path, own_cache)


def test_a_second_process_waits_for_the_first_and_uses_its_cache(folder: Path, own_cache: Path) -> None:
    source, form = Folder(folder), Form(12, 12)
    entry = own_cache / building.key_of(source, form, 3)
    with child(folder, 1000) as process:  # it would take hours to decode them itself
        with cache.locked(entry):
            assert process.stderr.readline() == f"waiting for another process, which is caching {folder}\n"
            building._Building(entry, source, form, {}).run()
        outcome = process.communicate(timeout=120)
    assert outcome == (f"7 {in_memory(folder).fingerprint}\n", "")


def test_a_cache_that_is_being_built_is_not_deleted(folder: Path, own_cache: Path) -> None:
    cached(folder)
    entry = entry_of(own_cache)
    with FileLock(entry / ".lock"), pytest.raises(InputError) as error:
        cache.delete(entry.name)
    assert is_one_line(error, entry, "another process")
    assert_same(cached(folder), in_memory(folder))


def test_memory_holds_no_more_than_a_hundred_bytes_an_image(tmp_path: Path) -> None:
    stored = cached(many(tmp_path, 30)).stored
    assert stored is not None
    held = sum(array.nbytes for array in stored.index.values()) + stored.places.nbytes
    assert held < 100 * 30
