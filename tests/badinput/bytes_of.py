"""Builders: image files, byte by byte where no honest program would write them."""

import gzip
import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff", "GIF": "gif"}


def noise(side: int = 24) -> Image.Image:
    """A picture that no format can shorten much, so that a cut hits its pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def changed(data: bytes, at: int, to: bytes) -> bytes:
    """The same bytes but for those from ``at``, counted from the end where it is negative."""
    at %= len(data)
    return data[:at] + to + data[at + len(to) :]


# ---- PNG

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(head: bytes, pixels: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of this header and these rows, each led by its filter; chunks before and after the pixels."""
    return SIGNATURE + head + before + chunk(b"IDAT", zlib.compress(pixels)) + after + chunk(b"IEND")


def rows(samples: NDArray[np.generic]) -> bytes:
    """The rows of a PNG without filter, (height, …), of samples in network order."""
    return b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)


def grey_png(side: int = 24, **chunks: bytes) -> bytes:
    return png(header(side, side, 8, 0), rows(np.full((side, side), 90, np.uint8)), **chunks)


# ---- TIFF, little-endian, one strip

SHORT, LONG = 3, 4


def tiff(entries: Iterable[tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A TIFF of these entries (tag, type, value), the strip's bytes behind its directory."""
    table = sorted(entries)
    directory = struct.pack("<H", len(table))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in table)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + data


def grey_tiff(side: int = 8, data: bytes | None = None, **tags: int) -> bytes:
    """Grey of 8 bits, with some of its tags changed."""
    values = {
        "width": side,
        "height": side,
        "bits": 8,
        "compression": 1,
        "photometric": 1,
        "offset": 8 + 2 + 10 * 12 + 4,
    }
    values |= {"samples": 1, "rows": side, "count": side * side, "format": 1} | tags
    numbers = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273}
    numbers |= {"samples": 277, "rows": 278, "count": 279, "format": 339}
    kinds = {"bits": SHORT, "compression": SHORT, "photometric": SHORT, "samples": SHORT, "format": SHORT}
    entries = [(numbers[name], kinds.get(name, LONG), value) for name, value in values.items()]
    return tiff(entries, bytes([90]) * (side * side) if data is None else data)


# ---- what is no picture of ours

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) (r) file\nshowpage\n%%EOF\n"
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
ZIP = b"PK\x05\x06" + bytes(18)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
PICKLE = b"\x80\x04cos\nsystem\n(S'false'\ntR."
GZIP = gzip.compress(SVG, mtime=0)
XBM = b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = { 0xff };\n"
