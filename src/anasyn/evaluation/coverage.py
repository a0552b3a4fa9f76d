"""What of the data a set of samples covers, and how near to the data the samples are."""

from torch import Tensor

from .distance import nearest

__all__ = ["coverage", "nearest_training"]


def coverage(images: Tensor, samples: Tensor) -> Tensor:
    """Recall: of each image the mean squared error of the sample nearest to it, min_j ‖Y_i − Ỹ_j‖²/D.

    An image that no sample resembles keeps a large error: what reconstruction cannot tell, whether z drawn
    from the prior meet the training images, is told here. It falls as samples are added: compare at the same
    number of samples only.

    Args:
        images: (n, 3, H, W), uint8 or float in [−1, 1].
        samples: (m, 3, H, W), likewise.

    Returns the errors, (n,). Memory does not grow with n · m · H · W.
    """
    return nearest(images, samples)[1]


def nearest_training(samples: Tensor, images: Tensor) -> Tensor:
    """Precision's counterpart: of each sample the mean squared error of the nearest training image, (m,).

    Zero means that the training images are repeated; large, that samples resemble none.

    Args:
        samples: (m, 3, H, W), uint8 or float in [−1, 1].
        images: (n, 3, H, W), likewise.
    """
    return nearest(samples, images)[1]
