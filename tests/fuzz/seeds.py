"""Writes the first files of the kept corpus: drawn pictures in every format, and checkpoints. What the fuzzer
finds is added to them by hand. `python tests/fuzz/seeds.py`
"""

import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save
from targets import CORPUS, EXPECTED


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """Small files that between them reach most of what a decoder does."""
    grey = np.indices((6, 8)).sum(0).astype(np.uint8) * 20
    colour = Image.fromarray(np.stack([grey, grey.T.reshape(6, 8), 255 - grey], -1))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    palette = colour.quantize(4)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [colour.rotate(180)]}
    return {
        "rgb.png": encoded(colour, "PNG"),
        "rgba.png": encoded(colour.convert("RGBA"), "PNG"),
        "grey-16.png": encoded(deep, "PNG"),
        "palette.png": encoded(palette, "PNG", transparency=1),
        "animated.png": encoded(colour, "PNG", **frames),
        "rotated.jpg": encoded(colour, "JPEG", exif=exif),
        "progressive.jpg": encoded(colour, "JPEG", progressive=True, optimize=True),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        "lossy.webp": encoded(colour, "WEBP"),
        "lossless.webp": encoded(colour, "WEBP", lossless=True),
        "animated.webp": encoded(colour, "WEBP", **frames),
        "rgb.bmp": encoded(colour, "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "lzw.tif": encoded(colour, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(colour, "TIFF", compression="jpeg"),
        "grey-16.tif": encoded(deep, "TIFF"),
        "float.tif": encoded(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"),
        "animated.gif": encoded(colour, "GIF", **frames),
    }


def films() -> dict[str, bytes]:
    """Three frames of which the last one is transparent in part."""
    frames = []
    for angle in (0, 90, 180):
        frame = Image.new("RGBA", (8, 8), (angle, 80, 200, 255))
        frame.paste((255, 200, 0, 0 if angle == 180 else 255), (angle // 60, 2, angle // 60 + 4, 6))
        frames.append(frame)
    options = {"save_all": True, "append_images": frames[1:], "duration": 40}
    poster = encoded(frames[0], "PNG", default_image=True, **options)
    return {
        "walk.gif": encoded(frames[0], "GIF", disposal=2, **options),
        "walk.png": encoded(frames[0], "PNG", **options),
        "poster.png": poster,
        "walk.webp": encoded(frames[0], "WEBP", lossless=True, **options),
        "lossy.webp": encoded(frames[0], "WEBP", **options),
    }


def checkpoints() -> dict[str, bytes]:
    """A whole one, and the same with a manifest of its own."""
    state = json.dumps({"iteration": 2, "guard": {}, "data": {"digests": []}}).encode()
    digests = b'{"tensors.safetensors": "0", "state.json": "0"}'
    packed = {"whole": b"", "own-manifest": digests}
    return {
        name: struct.pack("<HH", len(manifest), len(state)) + manifest + state + save(EXPECTED)
        for name, manifest in packed.items()
    }


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write(CORPUS / "images", pictures())
    write(CORPUS / "films", films())
    write(CORPUS / "checkpoints", checkpoints())
