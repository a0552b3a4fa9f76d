"""Measures of a learned model, each with its protocol."""

from .bounding import evaluate_likelihood
from .coverage import coverage, nearest_training
from .distance import mse, nearest, psnr
from .evaluate import Measure, evenly
from .inference import Inference, infer
from .likelihood import Bracket, LowerBound, bits_per_dimension, bracket, dequantise, log_likelihood, log_normalizer
from .swd import SlicedWasserstein, sliced_wasserstein, swd_levels

__all__ = [
    "Bracket",
    "Inference",
    "LowerBound",
    "Measure",
    "SlicedWasserstein",
    "bits_per_dimension",
    "bracket",
    "coverage",
    "dequantise",
    "evaluate_likelihood",
    "evenly",
    "infer",
    "log_likelihood",
    "log_normalizer",
    "mse",
    "nearest",
    "nearest_training",
    "psnr",
    "sliced_wasserstein",
    "swd_levels",
]
