"""Measures of a learned model, each with its protocol."""

from .coverage import coverage, nearest_training
from .distance import mse, nearest, psnr
from .evaluate import Measure, evenly
from .inference import Inference, infer
from .swd import SlicedWasserstein, sliced_wasserstein, swd_levels

__all__ = [
    "Inference",
    "Measure",
    "SlicedWasserstein",
    "coverage",
    "evenly",
    "infer",
    "mse",
    "nearest",
    "nearest_training",
    "psnr",
    "sliced_wasserstein",
    "swd_levels",
]
