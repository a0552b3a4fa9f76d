"""How well samples cover the data, and how near to the data they are."""

from torch import Tensor

from .distance import nearest

__all__ = ["coverage", "nearest_training"]


def coverage(images: Tensor, samples: Tensor) -> Tensor:
    """Recall: each image's mean squared error to its nearest sample, min_j ‖Y_i − Ỹ_j‖²/D, (n,).

    Large for an image that no sample resembles. Unlike the reconstruction error, it shows whether draws from the prior
    reach the images. It decreases with the number of samples: compare only at the same number.

    Args:
        images: (n, c, H, W), uint8 or float in [−1, 1].
        samples: (m, c, H, W), likewise.
    """
    return nearest(images, samples)[1]


def nearest_training(samples: Tensor, images: Tensor) -> Tensor:
    """Precision: each sample's mean squared error to its nearest training image, (m,).

    Zero for a sample that repeats a training image, large for one that resembles none. Arguments as for `coverage`.
    """
    return nearest(samples, images)[1]
