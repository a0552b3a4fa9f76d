"""Measures of a learned model, each with its protocol."""

from .bounding import evaluate_likelihood
from .coverage import coverage, nearest_training
from .descriptor_likelihood import evaluate_descriptor_likelihood
from .distance import mse, nearest, psnr, saturated_share
from .evaluate import Measure, evenly
from .features import FeatureSpace, PixelFeatures, RandomFeatures, feature_space, features
from .inference import Inference, infer
from .kernel_distance import KernelDistance, kernel_distance
from .likelihood import Bracket, LowerBound, bits_per_dimension, bracket, dequantise, log_likelihood
from .manifold import DensityCoverage, PrecisionRecall, density_coverage, expected_coverage, precision_recall
from .memorisation import Memorisation, memorisation
from .normalizer import NormalizerBracket, bracket_normalizer, log_normalizer
from .swd import SlicedWasserstein, sliced_wasserstein, swd_levels
from .two_sample import same_distribution

__all__ = [
    "Bracket",
    "DensityCoverage",
    "FeatureSpace",
    "Inference",
    "KernelDistance",
    "LowerBound",
    "Measure",
    "Memorisation",
    "NormalizerBracket",
    "PixelFeatures",
    "PrecisionRecall",
    "RandomFeatures",
    "SlicedWasserstein",
    "bits_per_dimension",
    "bracket",
    "bracket_normalizer",
    "coverage",
    "density_coverage",
    "dequantise",
    "evaluate_descriptor_likelihood",
    "evaluate_likelihood",
    "evenly",
    "expected_coverage",
    "feature_space",
    "features",
    "infer",
    "kernel_distance",
    "log_likelihood",
    "log_normalizer",
    "memorisation",
    "mse",
    "nearest",
    "nearest_training",
    "precision_recall",
    "psnr",
    "same_distribution",
    "saturated_share",
    "sliced_wasserstein",
    "swd_levels",
]
