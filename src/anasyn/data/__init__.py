"""Images: read from a folder or from archives, drawn by the program, or downloaded as published photographs."""

from .decoding import read_image
from .drawn import draw_cats, draw_egrets, drawn_factors
from .folders import load_images, read_folder, smaller_sides
from .frames import read_frames
from .occlusion import occlude, parse_occlusion
from .pixels import ImageSet, as_float, chequered, save_film, save_image, spread, to_float, to_uint8

__all__ = ["ImageSet", "as_float", "chequered", "draw_cats", "draw_egrets", "drawn_factors", "load_images", "occlude",
           "parse_occlusion", "read_folder", "read_frames", "read_image", "save_film", "save_image", "smaller_sides",
           "spread", "to_float", "to_uint8"]  # fmt: skip
