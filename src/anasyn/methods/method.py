"""A method as the rest of the program sees it: its settings, its learner, and its abilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..data import ImageSet
    from ..learning import Learner
    from ..mcmc import Kernel
    from ..models import Descriptor, DescriptorLadder, Generator, Observed

__all__ = ["Classes", "Latents", "Method", "Recovery", "Restored", "Synthesis"]


class Latents(NamedTuple):
    """A model with a latent vector, and the z that it has inferred."""

    model: "Generator"
    z: "Tensor"  # (n, d), the inferred latent vectors of the training images, in their order


class Synthesis(Protocol):
    """A density of images, with the chains by which learning samples it."""

    @property
    def model(self) -> "Descriptor": ...

    @property
    def num_steps(self) -> int:
        """Transitions of a chain."""

    @property
    def data_noise(self) -> float:
        """Of the noise with which images are learned, as `Descriptor.observe` takes it."""

    @property
    def proposed(self) -> bool:
        """Whether chains start at proposals of a generator, which belong to no image, or each for its image."""

    def first_chains(self, index: "Tensor", images: "Tensor", rng: "torch.Generator") -> "tuple[Kernel, Tensor]":
        """The kernel with fixed step sizes, and the start of a chain for each of these images.

        Args:
            index: the images' places in the data set, (n,).
            images: (n, c, H, W) in [−1, 1].
            rng: on the images' device.
        """


class Recovery(Protocol):
    """Descriptors of images at each level of a ladder of noise, with the chains that recover images from the next."""

    num_steps: int  # transitions of a chain

    @property
    def model(self) -> "DescriptorLadder": ...

    def fixed_kernel(self) -> "Kernel":
        """The kernel with one fixed step size b for all chains, in units of its level's spread."""

    def labels_of(self, index: "Tensor") -> "Tensor | None":
        """The classes of these training images, (n,); None for a model without classes."""


class Restored(NamedTuple):
    """Draws of images given what is seen of them."""

    draws: "Tensor"  # (num_draws, n, c, H, W); values that are seen need not be kept
    noise: float  # standard deviation of the noise that images have and these draws have not


class Classes(NamedTuple):
    """The classes of a model of images given their class."""

    names: tuple[str, ...]
    sample: "Callable[[Tensor, torch.Generator], Tensor]"  # places in ``names``, (n,), rng → images (n, c, H, W)
    restore: "Callable[[Observed, Tensor, int, torch.Generator], Restored]"  # as of a method, with places in ``names``


@dataclass(frozen=True)
class Method:
    """A way of learning a model of images. All differences between models are stated here.

    Commands, figures, the evaluation and the diagnosis ask for abilities (``sample``, ``infer``, …), never
    for the kind of model. An ability that a method lacks is None.

    Args:
        name: of the method and of its general recipe.
        about: a description in one line, for the help.
        settings: the dataclass of its settings.
        build: resolved settings, device → learner before its first iteration. A method with ``classes`` is also given
            the class name of each training image, or None if these have no classes.
        sample: learner, number, function that returns the training images, rng → images (num, c, H, W) in [−1, 1].
        sampled: a description of these images in a few words.
        infer: learner → the model and the inferred z; for methods with a latent vector.
        synthesise: learner → the density and its chains; for methods that sample images by MCMC.
        revise: learner, number, transitions of a revision (None: as many as in learning), rng → proposals, and their
            revisions, (num, c, H, W) each; for methods whose samples are proposed by one model and revised by another.
        recover: learner → the descriptors of a ladder and their chains; for methods that recover images from noise.
        restore: learner, what is seen of images (floats; pixels under a mask), number of draws, rng → draws of the
            images; for methods that sample images by MCMC. A method that infers z restores by that.
        classes: learner → the classes of which it can sample and restore each, or None if it has learned none; for
            methods that can learn a model of images given their class.
        weave: learner, number, (height, width), whether they are to be periodic, rng → images (num, c, height, width);
            for methods whose images can have any size.
        draw_prior: learner, number, rng → z (num, d); for methods whose prior of z is learned.
        likelihood: learner → the generator whose log-likelihood annealed importance sampling bounds.
        remarks: resolved settings, learner → remarks for the user, printed before learning starts.
    """

    name: str
    about: str
    settings: type[Settings]
    build: "Callable[..., Learner]"
    sample: "Callable[[Any, int, Callable[[], ImageSet], torch.Generator], Tensor]"
    sampled: str
    infer: Callable[[Any], Latents] | None = None
    synthesise: Callable[[Any], Synthesis] | None = None
    revise: "Callable[[Any, int, int | None, torch.Generator], tuple[Tensor, Tensor]] | None" = None
    recover: Callable[[Any], Recovery] | None = None
    restore: "Callable[[Any, Observed, int, torch.Generator], Restored] | None" = None
    classes: Callable[[Any], Classes | None] | None = None
    weave: "Callable[[Any, int, tuple[int, int], bool, torch.Generator], Tensor] | None" = None
    draw_prior: "Callable[[Any, int, torch.Generator], Tensor] | None" = None
    likelihood: "Callable[[Any], Generator] | None" = None
    remarks: Callable[[Any, Any], tuple[str, ...]] = lambda settings, learner: ()
