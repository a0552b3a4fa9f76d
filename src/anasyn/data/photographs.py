"""The photographs of the published examples: downloaded from where they were published, and verified."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch
from rich.console import Console
from rich.progress import track

from ..errors import InputError

__all__ = ["PHOTOGRAPHS", "Photographs", "fetch", "find"]

pooch.get_logger().setLevel("WARNING")  # at its default level it logs every file

# They were published without a licence, so they are downloaded from there and never distributed with the package.
_COMMIT = "e30ec9f4975e0ec891b38dba0d860f258776006a"
_PUBLISHED = f"https://raw.githubusercontent.com/Michelangelo367/CoopNet/{_COMMIT}"


@dataclass(frozen=True)
class Photographs:
    """A published set: its folder, the address it was published at, and the SHA-256 of each file."""

    folder: str
    base_url: str
    digests: Mapping[str, str]


PHOTOGRAPHS = {
    "lion-tiger": Photographs(
        folder="lion_tiger",
        base_url=f"{_PUBLISHED}/GenNet/Image/lion_tiger/",
        digests={
            "1.jpg": "b034a00d21c92f12766c57866875caaebe71047e3ea3fbdfdeda9257d579a1d7",
            "2.jpg": "989263264b7d4997b1c3230f0d4bbab64f2c0452fd3e71263e236b26f1df8d7f",
            "3.jpg": "7a151e28235a8655eec7a3364e0a85acb9fc3f630a2d77eba688e839d9d61f94",
            "4.jpg": "4decae14720be5abcd462b0c5ff5e0a24935e4c8ee3488453dfe1dc959781dee",
            "5.jpg": "0e17470b4efdc9d270e6fa0cbcce8fac0517447b474467c2acf99a624c4f3e92",
            "6.jpg": "ebf41d3012397a67679e71c92442d84c707dd25edf6c2fc32494d0751b99e6c4",
            "A1.jpg": "f37a82a7dfcad51acf7b4940e4a690d426e366cb94595c7667d3685960277350",
            "A2.jpg": "b6d69f18a83120ab63bc1734221a3feac4ddd27f559c0ab0037b7adf537f7f32",
            "A3.jpg": "24c1d7c8383071bb9b300d4aa29f0d89b83c1706a0157d812cd7e7a7b9639130",
            "A4.jpg": "3e57068224aca566fbce262335eae56cc3c061478ca514e9859d0c13d6861d29",
            "A5.jpg": "87f4ef169eaef22cb70ba6204833e5e2a68d4f63c2f4e45613f56a7b86a93307",
        },
    ),
    "egret": Photographs(
        folder="egret",
        base_url=f"{_PUBLISHED}/DesNet/Image/egret/",
        digests={
            "l1.jpg": "4c6e224b11ebdd261154b100a6861eda216d981e04ff2b7d5a23bbf60d8f1f46",
            "l2.jpg": "a0f344c04b7b474d847dc41dcb09b81a8027a55a49ad88b688c736d2331de85c",
            "l3.jpg": "5218734525fbcfbae577d83d6088fcb301505519a408fa33d8d17cddfba429ad",
            "l4.jpg": "4e893136598c8310e2c17ad4c053200c020c76ae304d09f8bccb8eba27d5c417",
            "l5.jpg": "c106097c0cbf80aec446730cefaab5fde65eb3df3c7fc2defcfe942f4a608d2b",
            "l6.jpg": "388e9408cd4a5d989bcee4a5c51da205683a578061a4605c3409f40873d6bf94",
            "l7.jpg": "8e3d3f5a3c7920752a87e4334465263ae18b8692cfe010e6d2fa19b35dde672a",
        },
    ),
}


def fetch(name: str, folder: Path | None = None, *, base_url: str | None = None, progress: bool = False) -> Path:
    """Downloads the missing files of a published set, verifies every file, and returns the folder.

    Existing files are never overwritten: a file that differs from the published one is an error.

    Args:
        name: a key of `PHOTOGRAPHS`.
        folder: where the files are saved; by default the user's cache folder.
        base_url: where the files are downloaded from, if not from where they were published.
        progress: show a progress bar on standard error.

    Raises:
        InputError: the set is unknown, or a file cannot be downloaded or saved, or differs from the published one.
    """
    photographs = _known(name)
    folder = _cache(name) if folder is None else Path(folder)
    base_url = photographs.base_url if base_url is None else base_url.rstrip("/") + "/"
    for file, digest in photographs.digests.items():
        if os.path.lexists(folder / file) and not _is_right(folder / file, digest):
            hint = "move it elsewhere, or choose another folder"
            raise InputError(f"{folder / file}: differs from the published file; {hint}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose another folder") from error

    # Not streamed: the files are small, and pooch leaves the connection of a failed stream open.
    downloader = pooch.HTTPDownloader(stream=False)
    missing = [file for file in photographs.digests if not os.path.lexists(folder / file)]
    bar = Console(stderr=True)
    for file in track(missing, description=name, console=bar, transient=True, disable=not progress):
        url, known = base_url + file, f"sha256:{photographs.digests[file]}"
        try:
            # Pooch downloads to a temporary file and renames it once its digest is verified.
            pooch.retrieve(url, known, fname=file, path=folder, downloader=downloader)
        except OSError as error:  # includes network errors: those of requests are OSErrors
            reason = " ".join(str(error).split())
            hint = f"check the network and the disk, or save the set's files in {folder} yourself"
            raise InputError(f"{url}: cannot be downloaded ({reason}); {hint}") from error
        except ValueError as error:  # how pooch reports a wrong digest
            hint = "it was discarded; check the address, or try again later"
            raise InputError(f"{url}: differs from the published file in its SHA-256; {hint}") from error
    return folder


def find(name: str) -> Path:
    """The folder of a set that is complete on this computer: in $ANASYN_PHOTOGRAPHS, or else where `fetch` saves it.

    Raises:
        InputError: the set is unknown, or neither folder has all its files.
    """
    photographs = _known(name)
    own = os.environ.get("ANASYN_PHOTOGRAPHS")
    folders = ([Path(own, photographs.folder)] if own else []) + [_cache(name)]
    for folder in folders:
        if all(_is_right(folder / file, digest) for file, digest in photographs.digests.items()):
            return folder
    looked = " or ".join(map(str, folders))
    hint = (
        f"run `anasyn data fetch {name}`, or set ANASYN_PHOTOGRAPHS to the folder that contains {photographs.folder}/"
    )
    raise InputError(f"{name}: not all of its photographs are in {looked}; {hint}")


def _known(name: str) -> Photographs:
    if name not in PHOTOGRAPHS:
        raise InputError(f"{name}: no published set has this name; the sets are {', '.join(PHOTOGRAPHS)}")
    return PHOTOGRAPHS[name]


def _cache(name: str) -> Path:
    return Path(pooch.os_cache("anasyn")) / name


def _is_right(path: Path, digest: str) -> bool:
    try:
        return bool(pooch.file_hash(str(path)) == digest)
    except OSError:  # missing, a folder, or not readable
        return False
