"""Folders that cannot be used, and odd files and names in them: refused, or skipped by name."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from anasyn.data import read_folder

from ..commands import Command, refused, tree, warned
from .bytes_of import encoded, noise
from .small import SMALL

PNG = encoded(noise(16), "PNG")


def only(name: str, content: bytes) -> Callable[[Path], None]:
    """A folder with this one file in it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_bytes(content)

    return make


def two_damaged(folder: Path) -> None:
    only("a.png", PNG[:20])(folder)
    (folder / "b.jpg").write_bytes(b"")


def hidden(folder: Path) -> None:
    only(".a.png", PNG)(folder)
    (folder / ".trash").mkdir()
    (folder / ".trash" / "b.png").write_bytes(PNG)


def loop(folder: Path) -> None:
    """A folder of nothing but links to folders, which are not followed."""
    folder.mkdir()
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "up").symlink_to("..", target_is_directory=True)


def link_to_itself(folder: Path) -> None:
    folder.symlink_to(folder)


def too_deep(folder: Path) -> None:
    """Folders in folders until the path is longer than the system takes."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        here, above = os.open("d" * 250, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)


# name: how the folder is made, and what the message must contain
BAD: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "not there": (lambda folder: None, ("is not there", "expected a folder with at least 2 images")),
    "a file": (lambda folder: folder.write_bytes(PNG), ("is a file", "expected a folder")),
    "a pipe": (os.mkfifo, ("is a file", "expected a folder")),
    "a link to nowhere": (lambda folder: folder.symlink_to("nowhere"), ("is not there", "expected a folder")),
    "a link to itself": (link_to_itself, ("is not there", "expected a folder")),
    "empty": (Path.mkdir, ("no images in it; at least 2 are needed",)),
    "no image among its files": (only("README.md", b"# Faces"), ("no images in it; at least 2 are needed",)),
    "only hidden images": (hidden, ("no images in it; at least 2 are needed",)),
    "links to itself": (loop, ("no images in it; at least 2 are needed",)),
    "one image": (only("a.png", PNG), ("only 1 usable image; at least 2 are needed",)),
    "damaged images only": (two_damaged, ("no usable image (2 skipped: a.png: ", "at least 2 are needed")),
    "deeper than a path may be": (too_deep, ("cannot be listed (File name too long)",)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_that_cannot_be_learned_from_is_refused(name: str, command: Command, tmp_path: Path) -> None:
    make, said = BAD[name]
    data = tmp_path / "data"
    make(data)
    for recipe in ("generator", "descriptor"):
        refused(command("learn", recipe, "--data", data, "--out", tmp_path / "run", *SMALL), data, *said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", BAD)
def test_held_out_images_are_refused_alike(name: str, command: Command, generator: Path, tmp_path: Path) -> None:
    make, said = BAD[name]
    data = tmp_path / "data"
    make(data)
    before = tree(generator)
    for word in ("reconstruct", "evaluate"):
        refused(command(word, generator, "--data", data), data, *said)
    assert tree(generator) == before


@pytest.mark.parametrize("inner", [False, True])
def test_a_folder_that_may_not_be_listed_is_refused(inner: bool, command: Command, folder: Path) -> None:
    closed = folder / "closed" if inner else folder
    closed.mkdir(exist_ok=True)
    closed.chmod(0o300)
    if os.access(closed, os.R_OK):
        pytest.skip("nothing is forbidden to root")
    try:
        refused(
            command("learn", "generator", "--data", folder, "--out", folder.parent / "run", *SMALL), closed, "readable"
        )
    finally:
        closed.chmod(0o700)


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere.png")


def self_link(path: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    # A socket's own path may have 107 bytes, and a temporary one is longer.
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


# name: the file's name, how it is made, and what the message must contain
NO_FILE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a link to nowhere": ("a.png", broken_link, "No such file"),
    "a link to itself": ("a.png", self_link, "symbolic links"),
    "a pipe, which would be waited for": ("a.png", pipe, "not a regular file"),
    "a device without end": ("a.png", endless, "not a regular file"),
    "a socket": ("a.png", listener, "not a regular file"),
}


@pytest.mark.parametrize("name", NO_FILE)
def test_what_has_an_image_s_name_and_is_no_file_is_skipped(
    name: str, command: Command, folder: Path, tmp_path: Path, no_figures: None
) -> None:
    file, make, said = NO_FILE[name]
    make(folder / file)
    learn = ("learn", "generator", "--data", folder, "--out", tmp_path / "run", *SMALL)
    refused(command(*learn, "--strict"), folder / file, said)
    warned(command(*learn), f"warning: {file}: ", said, "skipped")


LONG = "x" * 251 + ".png"  # 255 bytes, the most a name may have

# name: the names of the files in it, all of them good images, and how each is shown
NAMES: dict[str, dict[str | bytes, str]] = {
    "bytes that are not text": {b"a\xff\xfe.png": r"a\udcff\udcfe.png", b"\x80.png": r"\udc80.png"},
    "what such bytes are shown as": {b"a\xff.png": r"a\udcff.png", b"a\\udcff.png": r"a\\udcff.png"},
    "names of 255 bytes": {LONG: LONG, "y" + LONG[1:]: "y" + LONG[1:]},
    "line breaks": {"a\nb.png": r"a\nb.png", "a\r.png": r"a\r.png"},
    "what a terminal obeys": {"\x1b[31mred\x07.png": r"\x1b[31mred\x07.png", "\u202egnp.png": r"\u202egnp.png"},
    "what a shell obeys": {"$(reboot);*.png": "$(reboot);*.png", "--strict.png": "--strict.png", " .png": " .png"},
    "markup": {"<script>&amp;.png": "<script>&amp;.png", "%s{0}.png": "%s{0}.png"},
    "the same stem twice": {"cat.png": "cat.png", "cat.jpg": "cat.jpg", "cat.webp": "cat.webp"},
    "the same name but for case": {"CAT.png": "CAT.png", "cat.PNG": "cat.PNG", "Cat.Png": "Cat.Png"},
    "the same letters, composed and not": {"\u00e9.png": "\u00e9.png", "e\u0301.png": "e\u0301.png"},
    "numbers beyond any integer": {"9" * 200 + ".png": "9" * 200 + ".png", "\u0663.png": "\u0663.png"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_s_oddity_loses_no_image(name: str, command: Command, tmp_path: Path, no_figures: None) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    for number, file in enumerate(NAMES[name]):
        path = os.path.join(os.fsencode(data), file if isinstance(file, bytes) else file.encode())
        with open(path, "wb") as out:
            out.write(encoded(noise(16).rotate(90 * number), "PNG"))
    images = read_folder(data, 16)
    assert set(images.names) == set(NAMES[name].values())
    assert len(set(images.digests)) == len(NAMES[name])
    done = command("learn", "generator", "--data", data, "--out", run, *SMALL)
    assert (done.status, done.err) == (0, "")
    assert command("learn", "generator", "--data", data, "--out", run, *SMALL).status == 0  # they are still the same


def test_thousands_of_files_are_all_read_in_order(tmp_path: Path) -> None:
    # Links to 256 files, which cost the disk nothing; more files than a process may have open.
    for level in range(256):
        Image.new("L", (8, 8), level).save(tmp_path / f"{level}.bmp")
    for number in range(256, 3000):
        os.link(tmp_path / f"{number % 256}.bmp", tmp_path / f"{number}.bmp")
    images = read_folder(tmp_path, 8)
    assert images.names == tuple(f"{number}.bmp" for number in range(3000))
    assert images.skipped == ()
    assert torch.equal(images.pixels, (torch.arange(3000) % 256).byte().view(-1, 1, 1, 1).expand(-1, 3, 8, 8))


def test_each_of_a_thousand_damaged_files_is_named_once(folder: Path, tmp_path: Path) -> None:
    for number in range(1000):
        (folder / f"{number}.png").write_bytes(PNG[: number % 40])
    images = read_folder(folder, 8)
    assert len(images) == 2
    assert [line.split(":")[0] for line in images.skipped] == [f"{number}.png" for number in range(1000)]
