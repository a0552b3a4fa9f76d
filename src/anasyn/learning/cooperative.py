"""Cooperative learning of a generator and a descriptor by MCMC teaching."""

import torch
from torch import Tensor

from .. import mcmc
from ..models import Cooperative, Generator
from ..processor import frozen
from ..rng import Rng, rows_of, standard_normal
from .descriptor import chain_limits
from .inference import infer
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["CooperativeLearner"]

IMAGE_STEPS = 3  # transitions of an image's own z when the image is in the batch


class CooperativeLearner:
    """Cooperative learning: in each iteration, for as many i as there are images in the batch,

        proposal:  ẑ_i ~ N(0, I_d),  Ŷ_i = f_g(ẑ_i; W_t)
        revision:  Ỹ_i ← l_d transitions under the descriptor p(Y; θ_t), from Ŷ_i
        recall:    z̃_i ← l_g transitions under the generator's p(z | Ỹ_i; W_t), from ẑ_i
        learning:  θ_{t+1} = θ_t + γ_t [ (1/n) Σ_i ∂f(Y_i)/∂θ − (1/n) Σ_i ∂f(Ỹ_i)/∂θ ]                     (17)
                   W_{t+1} = W_t + γ'_t (1/n) Σ_i ∂/∂W log p(Ỹ_i, z̃_i; W_t)                               (10)

    The descriptor learns from the images and from the revisions; the generator learns from the revisions alone, never
    from the images. In a sound run the energy gap d_t = mean f(Y) − mean f(Ỹ) wanders about 0, and the distance from
    Ŷ to Ỹ shrinks towards that of the kernel's noise: the generator proposes what the descriptor would synthesise.

    A proposal is without the pixel noise ε, as all samples of a generator are: the revision adds its own.

    Without recall, l_g = 0, the generator learns to answer ẑ by wherever the descriptor has led its image. Where that
    is far, images from the same neighbourhood of ẑ end in different places, whose mean, a blur, the generator learns.
    Likewise, a generator that learns faster than the descriptor, or from revisions that are too short to lead anywhere,
    may lose the variety of its proposals: they all follow the same gradient of f.

    Not a part of the algorithm: after each iteration, the z of each image in the batch moves `IMAGE_STEPS` transitions
    under p(z | Y_i; W), so that a user has the images' z. Nothing is learned from them.

    Args:
        model: the generator and the descriptor.
        kernel: the transition of revisions; if it has a target acceptance, each step size is adapted towards it.
        num_steps: l_d.
        recall_kernel: the transition of recalls and of the images' z, likewise.
        recall_steps: l_g, which may be 0: z̃ = ẑ.
        data_noise: standard deviation of the noise on observed images, as for `DescriptorLearner`.
        optimizer: makes the learning step; None for Adam(5e-4, β₁ = 0.5) on θ and W.

    Source: Xie, Lu, Gao, Zhu, Wu, *Cooperative learning of energy-based model and latent variable model via MCMC
        teaching*, AAAI 2018.
    """

    def __init__(
        self,
        model: Cooperative,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 30,
        recall_kernel: mcmc.Kernel | None = None,
        recall_steps: int = 3,
        data_noise: float = 0.0,
        optimizer: torch.optim.Optimizer | None = None,
    ):
        self.model = model
        self.kernel = kernel or mcmc.Langevin(0.01)
        self.num_steps = num_steps
        self.recall_kernel = recall_kernel or mcmc.MALA(0.03)
        self.recall_steps = recall_steps
        self.data_noise = data_noise
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.5, 0.999))
        self.chains = CooperativeChains(model.generator, self.recall_kernel.step_size)
        self.run = mcmc.Replayed(model)
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Allocates the step sizes, and draws every image's z ~ N(0, I_d); ``images`` is any batch of them."""
        self.chains.allocate(num_images, self.kernel.step_size, like=images, rng=rows_of(rng, slice(num_images)))

    def prepare(self, images: Tensor, held_out: Tensor, *, whole: Tensor) -> None:
        """Nothing depends on all images at once."""

    def step(self, index: Tensor, images: Tensor, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], and their indices in the data set, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        generator, descriptor = self.model.generator, self.model.descriptor

        # Proposal: ẑ_i ~ N(0, I_d), Ŷ_i = f_g(ẑ_i; W_t)
        z = standard_normal(images.new_empty(len(images), generator.latent_dim), rng)
        with torch.no_grad():
            proposed = generator(z)

        # Revision: Ỹ_i ← l_d transitions under p(Y; θ_t), from Ŷ_i
        step_size = self.chains.step_sizes[index]
        kernel = self.kernel.with_step_size(step_size)
        state, info = self.run(kernel, descriptor.log_density, proposed, num_steps=self.num_steps, rng=rng)
        revised = state.position

        # Recall: z̃_i ← l_g transitions under p(z | Ỹ_i; W_t), from ẑ_i
        recall_step_size = self.chains.recall_step_sizes[index]
        kernel = self.recall_kernel.with_step_size(recall_step_size)
        recalled, recall_info = self.run(
            kernel, generator.log_joint, z, num_steps=self.recall_steps, rng=rng, given=(revised,)
        )

        # Learning: θ by (1/n) Σ_i f(Y_i) − (1/n) Σ_i f(Ỹ_i)                                                      (17)
        observed = descriptor.observe(images, self.data_noise, rng)
        f_observed, f_revised = descriptor(torch.cat([observed, revised])).chunk(2)
        gap = f_observed.mean() - f_revised.mean()
        # W by (1/n) Σ_i log p(Ỹ_i, z̃_i; W), whose only term in W is −‖Ỹ − f_g(z̃)‖²/2σ²                          (10)
        squares = (generator(recalled.position) - revised) ** 2
        loss = squares.sum() / len(images) / (2 * generator.sigma**2) - gap
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            acceptance_rate=info.acceptance_rate.mean(),
            step_size=step_size.log().mean().exp(),
            divergent=info.divergent.double().mean(),
            energy_gap=gap,
            revision=(revised - proposed).square().mean().sqrt(),
            generator_mse=squares.mean(),
            z_mean_square=(recalled.position**2).mean(),
            recall_acceptance_rate=recall_info.acceptance_rate.mean(),
            pixel_max=revised.abs().max(),
            gradient_norm=gradient_norm(self.model.parameters()),
        )
        record = watch(record)

        # All is accepted: keep the step sizes, and update θ and W
        self.chains.store(index, revised, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        if self.recall_steps:
            adapted = mcmc.adapt(self.recall_kernel, recall_step_size, recall_info.acceptance_rate, gain=0.3)
            self.chains.recall_step_sizes.fill_(mcmc.geometric_mean(adapted))
        self.optimizer.step()

        # For the user: the images' own z; last, so that the algorithm's random numbers do not depend on it
        latents = self.chains.latents
        own, own_size, info = infer(self.run, generator, self.recall_kernel, latents, index, images, IMAGE_STEPS, rng)
        latents.store(index, own, mcmc.adapt(self.recall_kernel, own_size, info.acceptance_rate, gain=0.3))
        return record

    def validate(self, index: Tensor, images: Tensor, *, rng: Rng) -> None:
        """Learns nothing from held-out images."""

    def kept(self) -> dict[str, Tensor]:
        """Nothing more."""
        return {}

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Nothing more."""
        return {}, {}

    def limits(self, images: Tensor) -> dict[str, float]:
        """Those of the descriptor's chains; and z² has mean 1 under its prior, as for `GeneratorLearner`."""
        limits = chain_limits(self.model.descriptor, self.kernel, self.num_steps, images)
        return limits | {"z_mean_square": 25.0}

    def stability(self, index: Tensor, images: Tensor, *, rng: Rng) -> mcmc.Stability:
        """λ_max of the descriptor's energy at proposals, and the limit of stable step sizes of revisions."""
        with frozen(self.model.descriptor):
            return mcmc.stability(self.model.descriptor.log_density, self.chains.start(index, images, rng), rng=rng)

    def first_chains(self, index: Tensor, images: Tensor, rng: Rng) -> tuple[mcmc.Kernel, Tensor]:
        """For as many revisions as there are images: the kernel, with fixed step sizes, and the proposals."""
        return self.kernel.with_step_size(self.chains.step_sizes[index]), self.chains.start(index, images, rng)


class CooperativeChains:
    """The step sizes of revisions and recalls, and each image's own chain of z.

    Revisions and recalls belong to no image: their step sizes are the same for all n.

    Args:
        generator: proposes where revisions start.
        recall_step_size: δ of recalls and of the images' z; the initial value if it is adapted.
    """

    def __init__(self, generator: Generator, recall_step_size: float | Tensor):
        self.generator = generator
        self.recall_step_size = recall_step_size
        self.step_sizes, self.recall_step_sizes = torch.empty(0), torch.empty(0)  # (n,) each
        self.latents = mcmc.WarmChains(generator.latent_dim)

    def allocate(self, num_chains: int, step_size: float | Tensor, like: Tensor, rng: Rng) -> None:
        self.latents.allocate(num_chains, self.recall_step_size, like, rng)
        self.recall_step_sizes = self.latents.step_sizes.clone()
        self.step_sizes = torch.as_tensor(step_size).to(self.recall_step_sizes).expand(num_chains).clone()

    def start(self, index: Tensor, images: Tensor, rng: Rng) -> Tensor:
        """New proposals, as many as there are images, (b, *event)."""
        return self.generator.sample(len(images), rng=rng)

    def store(self, index: Tensor, position: Tensor, step_size: Tensor) -> None:
        """Gives all revisions the geometric mean of these step sizes."""
        self.step_sizes.fill_(mcmc.geometric_mean(step_size))

    def state_dict(self) -> dict[str, Tensor]:
        latents = {"positions": self.latents.positions, "position_step_sizes": self.latents.step_sizes}
        return {"step_sizes": self.step_sizes, "recall_step_sizes": self.recall_step_sizes, **latents}
