"""Textures: recovery likelihood learned from patches of one photograph, and sampled at any size."""

import math

import torch
from torch import Tensor

from ..models import DescriptorLadder, OnTorus, StationaryConv
from ..rng import Rng
from .recovery import RecoveryLearner, descend

__all__ = ["TextureLearner"]

AT_ONCE = 512 * 512  # pixels of images whose chains run together


class TextureLearner(RecoveryLearner):
    """Recovery likelihood of a texture: every f(·, t) is a sum over positions, and so has a value at any size.

        f(y, t) = (g_t r_t²/50) Σ_positions v_t · h(y) − ‖y − m_t‖²/2s_t² + const,   m_t the mean colour

    with the features h of `StationaryConv`. It is learned from patches of a photograph. Samples of any size are drawn
    on a torus, where the sum has no border.

    Args:
        model: a ladder whose network is a `StationaryConv`; the rest as for `RecoveryLearner`.

    Source: Gao et al., ICLR 2021, as for `RecoveryLearner`; a sum over positions as in Xie, Lu, Zhu, Wu, *A Theory of
        Generative ConvNet*, ICML 2016, whose textures are learned by descriptors of one level.
    """

    def prepare(self, images: Tensor, held_out: Tensor, *, whole: Tensor) -> None:
        """Fits the mean colour of the texture."""
        self.network.fit(whole)

    @property
    def network(self) -> StationaryConv:
        network = self.model.network
        assert isinstance(network, StationaryConv)
        return network

    def noise(self, like: Tensor, rng: Rng) -> Tensor:
        """x_T ~ N(√ᾱ_T m, (1 − ᾱ_T) I) of an image of the mean colour m, as many as in ``like``, (n, c, H, W).

        Over many pixels, m is seen even in x_T, and an x_T without it would be that of a grey texture.
        """
        alpha_bar = self.model.ladder.alpha_bar(self.model.ladder.levels)
        return math.sqrt(alpha_bar) * self.network.colour + math.sqrt(1 - alpha_bar) * super().noise(like, rng)

    def weave(self, num: int, size: tuple[int, int], *, periodic: bool, rng: torch.Generator) -> Tensor:
        """Ancestral samples of any height and width, (num, c, height, width), as `draw` makes them on tori.

        Those that are not to be periodic are cut out of tori that are larger by more than a position sees.

        Args:
            num: of the samples.
            size: (height, width); multiples of ``network.grid`` for periodic ones.
            periodic: whether opposite borders fit each other.
            rng: on the model's device.
        """
        grid, margin = self.network.grid, 0 if periodic else self.network.halo
        height, width = (-(-(side + margin) // grid) * grid for side in size)
        torus = DescriptorLadder(OnTorus(self.network), self.model.ladder, self.model.precision)
        at_once, woven = max(1, AT_ONCE // (height * width)), []
        for first in range(0, num, at_once):
            shape = min(at_once, num - first), self.shape[0], height, width
            x = self.noise(self.chains.step_sizes.new_empty(shape), rng)
            images = descend(torus, self.fixed_kernel(), self.num_steps, x, rng)
            woven.append(images[..., : size[0], : size[1]])
        return torch.cat(woven)
