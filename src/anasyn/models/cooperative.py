"""A generator and a descriptor of the same images."""

from torch import nn

from .descriptor import Descriptor
from .generator import Generator

__all__ = ["Cooperative"]


class Cooperative(nn.Module):
    """Two models of the same images that learn from each other: the generator samples, the descriptor has the density.

    Args:
        generator: f_g, from z to images.
        descriptor: p_θ, of images.

    Raises:
        ValueError: the generator's prior is learned; its proposals start from N(0, I).

    Source: Xie, Lu, Gao, Zhu, Wu, *Cooperative learning of energy-based model and latent variable model via MCMC
        teaching*, AAAI 2018.
    """

    def __init__(self, generator: Generator, descriptor: Descriptor):
        super().__init__()
        if generator.prior is not None:
            raise ValueError("generator: expected one with N(0, I), got one with a LatentPrior")
        self.generator = generator
        self.descriptor = descriptor
