"""``anasyn data``: named image sets, drawn by the program or downloaded, and the cache of decoded images."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from .console import Parser, natural, positive, require_empty

__all__ = ["add"]


def add(commands: Any) -> None:
    """Adds the command to the program's commands."""
    summary = "named image sets, drawn by the program or downloaded, and the cache of decoded images"
    data = commands.add_parser("data", help=summary, description=summary, allow_abbrev=False)
    actions = data.add_subparsers(title="actions", required=True, metavar="ACTION", parser_class=Parser)
    listing = actions.add_parser("list", help="the named sets", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=list_sets)
    drawing = actions.add_parser("draw", help="draw a set, as PNG files", allow_abbrev=False)
    drawing.add_argument("name", metavar="NAME", help="drawn-cats or drawn-egrets")
    drawing.add_argument("dir", metavar="DIR", type=Path, help="a new or empty directory to write to")
    drawing.add_argument("--num", type=positive, default=25, metavar="N", help="number of images (25)")
    drawing.add_argument("--size", type=positive, default=64, metavar="PIXELS", help="side of an image (64)")
    drawing.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the factors (0)")
    drawing.set_defaults(command=draw)
    fetching = actions.add_parser("fetch", help="download and verify published photographs", allow_abbrev=False)
    fetching.add_argument("name", metavar="NAME", help="lion-tiger or egret")
    fetching.add_argument("dir", metavar="DIR", type=Path, nargs="?", help="directory to write to (the user's cache)")
    fetching.set_defaults(command=fetch)
    caching = actions.add_parser("cache", help="the large sets that were decoded, and are kept", allow_abbrev=False)
    caching.add_argument("--json", action="store_true", help="as JSON")
    caching.add_argument("--delete", metavar="KEY|all", help="delete this cache, or all of them")
    caching.set_defaults(command=cache)


def list_sets(arguments: argparse.Namespace) -> int:
    """Lists the named sets, as a table or as JSON."""
    from ..data.sources import named

    if arguments.json:
        print(json.dumps(named(), indent=2))
    else:
        for name, description in named().items():
            print(f"{name:14} {description}")
    return 0


def draw(arguments: argparse.Namespace) -> int:
    """Writes a drawn set as PNG files."""
    from ..data import save_image
    from ..data.drawn import DRAWN, drawn_factors

    if arguments.name not in DRAWN:
        raise InputError(f"data draw: expected one of {', '.join(DRAWN)}, got {arguments.name}")
    require_empty(arguments.dir)
    if not 16 <= arguments.size <= 1024:
        raise InputError(f"--size: expected 16 to 1024 pixels, got {arguments.size}")
    if arguments.seed >= 2**63:
        raise InputError(f"--seed: expected less than 2^63, got {arguments.seed}")
    factors = drawn_factors(arguments.num, arguments.seed)
    arguments.dir.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(factors):
        (image,) = DRAWN[arguments.name](row[None], arguments.size)
        save_image(arguments.dir / f"{arguments.name}-{number:05d}.png", image)
    print(arguments.dir)
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Downloads and verifies published photographs."""
    from ..data.photographs import fetch

    print(fetch(arguments.name, arguments.dir, progress=sys.stderr.isatty()))
    return 0


def cache(arguments: argparse.Namespace) -> int:
    """Lists the caches of decoded images, as a table or as JSON, or deletes them."""
    from ..data.cache import delete, entries, root

    found = entries()
    if arguments.delete is not None:
        keys = [entry.key for entry in found if arguments.delete in ("all", entry.key)]
        if not keys and arguments.delete != "all":
            raise InputError(f"--delete: no cache in {root()} has this key; `anasyn data cache` shows them")
        for key in keys:
            delete(key)
        freed = sum(entry.mebibytes for entry in found if entry.key in keys)
        print(f"{len(keys)} deleted, {freed:.1f} MiB")
    elif arguments.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    else:
        for entry in found:
            state = f"used {entry.last_used}" if entry.complete else "not complete"
            sizes = f"{entry.size:>9} {entry.images:>9} images {entry.mebibytes:>9.1f} MiB"
            print(f"{entry.key} {sizes}  {state:24}  {entry.source}")
    return 0
