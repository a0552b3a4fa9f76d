"""Algorithm 2: learning the descriptor by synthesising what it believes in."""

import torch
from torch import Tensor

from .. import mcmc
from ..models import Descriptor
from ..processor import frozen
from ..rng import standard_normal
from .guard import Watch, gradient_norm, require_finite
from .record import Record

__all__ = ["DescriptorLearner"]


class DescriptorLearner:
    """Analysis by synthesis (Algorithm 2): each iteration synthesises images by MCMC, then moves the weights.

        sampling step:  Ỹ_i ← l transitions under p(Y; θ_t), from a cold start                              (16)
        learning step:  θ_{t+1} = θ_t + γ_t [ (1/n) Σ_i ∂f(Y_i)/∂θ − (1/ñ) Σ_i ∂f(Ỹ_i)/∂θ ]                 (17)

    Args:
        model: the descriptor.
        kernel: the transition. One with a target acceptance has its step size adapted, chain by chain.
        num_steps: l, transitions an iteration.
        chains: where the chains start; each from its image's mean colour where none are given.
        chains_per_image: ñ/n.
        data_noise: standard deviation of the Gaussian noise on the observed images, drawn anew each
            iteration; it makes the data's density one that f can match.
        optimizer: makes the learning step; Adam(3e-4, β₁ = 0.5) where none is given.

    Source: Xie, Lu, Zhu, Wu, *A Theory of Generative ConvNet*, ICML 2016.
    """

    def __init__(
        self,
        model: Descriptor,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 30,
        chains: mcmc.Chains | None = None,
        chains_per_image: int = 1,
        data_noise: float = 0.0,
        optimizer: torch.optim.Optimizer | None = None,
    ):
        self.model = model
        self.kernel = kernel or mcmc.Langevin(0.01)
        self.num_steps = num_steps
        self.chains = chains or mcmc.ColdChains()
        self.chains_per_image = chains_per_image
        self.data_noise = data_noise
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.5, 0.999))
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, *, rng: torch.Generator) -> None:
        """Makes room for the chains of ``num_images`` images; ``images`` is any batch of them, for shape and device."""
        num_chains = num_images * self.chains_per_image
        self.chains.allocate(num_chains, self.kernel.step_size, like=images, rng=rng)

    def step(self, index: Tensor, images: Tensor, *, rng: torch.Generator, watch: Watch = require_finite) -> Record:
        """One iteration on a batch.

        Args:
            index: the images' places in the data set, (b,).
            images: Y, (b, *event) in [−1, 1].
            rng: the random generator, on the images' device.
            watch: looks at the record before weights and chains are touched.

        Raises:
            Divergence: what it saw must not be.
        """
        # Sampling step: l transitions of every Ỹ_i under the model as it stands                           (16)
        chain, begin_at = self.keys(index, images)
        step_size = self.chains.step_sizes[chain]
        with frozen(self.model):
            state, info = mcmc.run(
                self.kernel.with_step_size(step_size),
                self.model.log_density,
                self.chains.start(chain, begin_at, rng),
                num_steps=self.num_steps,
                rng=rng,
            )
        synthesized = state.position

        # Learning step: ascend mean f(Y_i) − mean f(Ỹ_i)                                                   (17)
        observed = images + self.data_noise * standard_normal(images, rng)
        f_observed, f_synthesized = self.model(torch.cat([observed, synthesized])).split([len(observed), len(chain)])
        loss = f_synthesized.mean() - f_observed.mean()
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            acceptance_rate=info.acceptance_rate.mean(),
            step_size=step_size.log().mean().exp(),
            divergent=info.divergent.double().mean(),
            energy_gap=-loss,
            pixel_max=synthesized.abs().max(),
            gradient_norm=gradient_norm(self.model.parameters()),
        )
        watch(record)
        self.chains.store(chain, synthesized, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        self.optimizer.step()
        return record

    def limits(self, images: Tensor) -> dict[str, float]:
        """Beyond what a measure is trouble: five times the data's range, or the reference's; and a gap of f too steep.

        A gradient g moves a pixel by g · l δ²/2 in l steps. One that carries all D pixels by 1, half the data's
        range, gains D · 2/(l δ²) in f on the way: chains cannot make up a gap beyond that.
        """
        step_size = torch.as_tensor(self.kernel.step_size).mean().item()
        return {
            "pixel_max": 5 * max(1.0, self.model.reference_std),
            "energy_gap": images[0].numel() * 2 / (max(self.num_steps, 1) * step_size**2),
        }

    def stability(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> mcmc.Stability:
        """λ_max of the energy where the chains of these images start, and the step size that it allows."""
        with frozen(self.model):
            start = self.chains.start(*self.keys(index, images), rng)
            return mcmc.stability(self.model.log_density, start, rng=rng)

    def first_chains(self, index: Tensor, images: Tensor, rng: torch.Generator) -> tuple[mcmc.Kernel, Tensor]:
        """The kernel, with its step sizes frozen, and the start of the first chain of each of these images."""
        chain = index * self.chains_per_image
        kernel = self.kernel.with_step_size(self.chains.step_sizes[chain])
        return kernel, self.chains.start(chain, images, rng)

    def keys(self, index: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """The chains that belong to these images, (b · ñ/n,), and each chain's image."""
        m = self.chains_per_image
        replicate = torch.arange(m, device=index.device)
        return (index[:, None] * m + replicate).flatten(), images.repeat_interleave(m, 0) if m > 1 else images
