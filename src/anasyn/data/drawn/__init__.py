"""Two drawn image sets with known factors, to compare a learned latent plane with the factors behind the images.

The cats and the egrets are vector drawings, aligned like the published photographs, each a continuous function of
two factors. Every shape is drawn in every image, with zero opacity where it is invisible, so that nothing appears
abruptly between one image and the next.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .canvas import draw
from .cats import paint_cat
from .egrets import paint_egret

__all__ = ["DRAWN", "draw_cats", "draw_egrets", "drawn_factors"]


def draw_cats(factors: Tensor, size: int = 64) -> Tensor:
    """Faces of big cats, from lion to tiger along one factor and turning from left to right along the other.

    Args:
        factors: (n, 2) in [0, 1]: species (0 a lion, 1 a tiger), and direction of the head (0 the viewer's left, 1 the
            right).
        size: height and width in pixels, at least 16.

    Returns the images, uint8 (n, 3, size, size), RGB.

    Raises:
        ValueError: the factors have another shape or lie outside [0, 1], or the size is below 16.
    """
    return draw(paint_cat, factors, size)


def draw_egrets(factors: Tensor, size: int = 64) -> Tensor:
    """A white egret facing left, from one background to the next along one factor, its neck stretching along the other.

    Size, result and errors are those of `draw_cats`.

    Args:
        factors: (n, 2) in [0, 1]: background (0 a lake, 1/3 a meadow, 2/3 a red marsh, 1 a dark shore at dusk), and
            stretch of the neck (0 drawn in, 1 upright).
    """
    return draw(paint_egret, factors, size)


def drawn_factors(num: int, seed: int = 0) -> Tensor:
    """The first ``num`` points of a scrambled Sobol sequence, which fill the unit square evenly, float32 (num, 2).

    A shorter sequence is a prefix of a longer one with the same seed.

    Raises:
        ValueError: the number is below 1.
    """
    if num < 1:
        raise ValueError(f"num: expected at least 1, got {num}")
    return torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(num, dtype=torch.float32)


DRAWN: dict[str, Callable[..., Tensor]] = {"drawn-cats": draw_cats, "drawn-egrets": draw_egrets}
