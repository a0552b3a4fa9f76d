"""Measures of a learned model, each with its protocol; one file a measure."""

from .coverage import coverage, nearest_training
from .distance import mse, nearest, psnr
from .evaluate import Measure, evaluate_descriptor, evaluate_generator, evenly
from .inference import Inference, infer
from .swd import SlicedWasserstein, sliced_wasserstein, swd_levels

__all__ = [
    "Inference",
    "Measure",
    "SlicedWasserstein",
    "coverage",
    "evaluate_descriptor",
    "evaluate_generator",
    "evenly",
    "infer",
    "mse",
    "nearest",
    "nearest_training",
    "psnr",
    "sliced_wasserstein",
    "swd_levels",
]
