"""Pictures whose every corner can be told apart, and folders of them."""

import numpy as np
from PIL import Image

from anasyn.data.sources import load

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def quarters(width=32, height=16):
    """Red and green above blue and white: different in every orientation."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = slice(height // 2), slice(width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    picture[top, left], picture[top, right] = RED, GREEN
    picture[bottom, left], picture[bottom, right] = BLUE, WHITE
    return Image.fromarray(picture)


def stripes():
    """Three squares of 32 pixels side by side: red, green, blue."""
    return Image.fromarray(np.array([[RED, GREEN, BLUE]], dtype=np.uint8)).resize((96, 32), resample=0)


def blocks(width, height):
    """A picture of 16 × 16 smooth blocks of random colour."""
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), 3)


def ramp(top=255, dtype=np.uint8):
    """The 256 grey levels from 0 to ``top``, (16, 16)."""
    return (np.arange(256).reshape(16, 16) * (top // 255)).astype(dtype)


def saved(folder, pictures):
    """The folder, with these pictures in it by name."""
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, **({"quality": 95} if name.endswith("jpg") else {}))
    return folder


def folder_of(folder, *pictures, suffix="png"):
    return saved(folder, {f"{number}.{suffix}": picture for number, picture in enumerate(pictures)})


def assert_near(pixels, expected, tolerance):
    assert np.abs(np.asarray(pixels, dtype=int) - np.asarray(expected, dtype=int)).max() <= tolerance


def side_of(data):
    """The side, in pixels, from which the size of a run's images follows."""
    sides = []
    load(data, lambda side: sides.append(side) or 16)
    return sides[0]


def is_one_line(error, *parts):
    message = str(error.value)
    return message.isprintable() and all(str(part) in message for part in parts)
