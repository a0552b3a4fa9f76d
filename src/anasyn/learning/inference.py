"""The inference step of the methods with a latent vector."""

from torch import Tensor

from .. import mcmc
from ..models import Generator, Images, observed
from ..rng import Rng

__all__ = ["infer"]


def infer(
    run: mcmc.Replayed,
    model: Generator,
    kernel: mcmc.Kernel,
    chains: mcmc.WarmChains,
    index: Tensor,
    images: Images,
    num_steps: int,
    rng: Rng,
) -> tuple[Tensor, Tensor, mcmc.Info]:
    """For each image, transitions of its z under p(z | Y; W), from where its chain is; the chains stay unchanged.

    Args:
        run: of this model.
        model: the generator, whose weights stay unchanged.
        kernel: the transition; the step sizes are the chains'.
        chains: of the data set.
        index: the images' places in the data set, (b,).
        images: Y, (b, *event), or what is seen of them.
        num_steps: l, transitions.
        rng: on the images' device.

    Returns:
        z at the end, (b, d); the step sizes, (b,); and what the chains did.
    """
    step_size = chains.step_sizes[index]
    state, info = run(
        kernel.with_step_size(step_size),
        model.log_joint,
        chains.start(index, observed(images).values, rng),
        num_steps=num_steps,
        rng=rng,
        given=(images,),
    )
    return state.position, step_size, info
