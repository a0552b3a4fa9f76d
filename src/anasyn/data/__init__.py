"""Images: a folder's, drawn by the program, or the published photographs."""

from .drawn import draw_cats, draw_egrets, drawn_factors
from .images import ImageSet, load_images, read_folder, save_image, to_float, to_uint8

__all__ = [
    "ImageSet",
    "draw_cats",
    "draw_egrets",
    "drawn_factors",
    "load_images",
    "read_folder",
    "save_image",
    "to_float",
    "to_uint8",
]
