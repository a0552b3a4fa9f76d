"""The photographs of the published examples: downloaded from where they were published, and verified."""

import json
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


@dataclass(frozen=True)
class Photographs:
    """A published set: the folder of its photographs, where it was published, and the SHA-256 of each file."""

    folder: str
    base_url: str
    digests: Mapping[str, str]


# The photographs have no licence, so they are never distributed with the package.
_PUBLISHED = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
PHOTOGRAPHS = {name: Photographs(**content) for name, content in _PUBLISHED.items()}


def fetch(name: str, folder: Path | None = None, *, base_url: str | None = None, progress: bool = False) -> Path:
    """Downloads the missing files of a published set, verifies every file, and returns the folder.

    Existing files are never overwritten: one that differs from the published file is an error.

    Args:
        name: a key of `PHOTOGRAPHS`.
        folder: where the files are saved; by default the user's cache folder.
        base_url: where the files are downloaded from; by default where they were published.
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
    """The folder of a published set on this computer: in $ANASYN_PHOTOGRAPHS, or else where `fetch` saves it.

    Raises:
        InputError: the set is unknown, or neither folder has all its files.
    """
    photographs = _known(name)
    own = os.environ.get("ANASYN_PHOTOGRAPHS")
    folders = ([Path(own, photographs.folder)] if own else []) + [_cache(name)]
    for folder in folders:
        if all(_is_right(folder / file, digest) for file, digest in photographs.digests.items()):
            return folder
    hint = f"`anasyn data fetch {name}`, or set ANASYN_PHOTOGRAPHS to the folder that contains {photographs.folder}/"
    raise InputError(f"{name}: not all of its photographs are in {' or '.join(map(str, folders))}; run {hint}")


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
