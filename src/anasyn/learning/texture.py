"""Textures: recovery likelihood learned from patches of one photograph, and sampled at any size."""

import torch
from torch import Tensor

from ..models import OnTorus, StationaryConv, TextureLadder
from .recovery import RecoveryLearner, descend

__all__ = ["TextureLearner"]

AT_ONCE = 512 * 512  # pixels of images whose chains run together


class TextureLearner(RecoveryLearner):
    """Recovery likelihood of a texture: every f(·, t) is a sum over positions, and so has a value at any size.

        f(y, t) = (g_t r_t²/50) Σ_positions v_t · h(y) − (y − m_t)ᵀ C_t⁻¹ (y − m_t)/2

    with the features h of `StationaryConv`, and the mean colour and short correlations of y_t in N(m_t, C_t), as
    `TextureLadder` has them. A level's chains start with draws from their conditional density under N(m_t, C_t), whose
    covariance is their preconditioner. It is learned from patches of a photograph, the inside of each given its
    border. Samples of any size are drawn on a torus, where the sum has no border, from x_T of the reference down, and
    have the variance of the texture's y_t at each level (`TextureLadder.corrected`).

    Args:
        model: the rest is as for `RecoveryLearner`.

    Source: Gao et al., ICLR 2021, as for `RecoveryLearner`; a sum over positions as in Xie, Lu, Zhu, Wu, *A Theory of
        Generative ConvNet*, ICML 2016, whose textures are learned by descriptors of one level.
    """

    model: TextureLadder

    @property
    def network(self) -> StationaryConv:
        network = self.model.network
        assert isinstance(network, StationaryConv)
        return network

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
        torus = TextureLadder(OnTorus(self.network), self.model.ladder, self.model.precision)
        at_once, woven = max(1, AT_ONCE // (height * width)), []
        for first in range(0, num, at_once):
            shape = min(at_once, num - first), self.shape[0], height, width
            x = torus.noisiest(self.chains.step_sizes.new_empty(shape), rng)
            images = descend(torus, self.fixed_kernel(), self.num_steps, x, rng)
            woven.append(images[..., : size[0], : size[1]])
        return torch.cat(woven)
