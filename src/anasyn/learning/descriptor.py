"""Algorithm 2: learning the descriptor by analysis by synthesis."""

import torch
from torch import Tensor

from .. import mcmc, ranks
from ..models import Descriptor
from ..processor import frozen
from ..rng import Rng, repeated
from .metric import ComponentMetric, metric_of
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["DescriptorLearner", "chain_limits"]

FOLLOWED = 10.0  # nats by which f may tell images from chains that are to stay in equilibrium


class DescriptorLearner:
    """Analysis by synthesis (Algorithm 2): each iteration synthesises images Ỹ by MCMC, then updates θ.

        sampling step:  Ỹ_i ← l transitions under p(Y; θ_t), from the chain's start                             (16)
        learning step:  θ_{t+1} = θ_t + γ_t [ (1/n) Σ_i ∂f(Y_i)/∂θ − (1/ñ) Σ_i ∂f(Ỹ_i)/∂θ ]                 (17)

    Args:
        model: the descriptor.
        kernel: the transition; if it has a target acceptance, each chain's step size is adapted towards it. A
            `ComponentMetric` that is its preconditioner is kept up to date.
        num_steps: l, transitions an iteration.
        chains: where the chains start; None for each image's mean colour.
        chains_per_image: ñ/n.
        most_chains: about the largest number of chains, which images then use in turn; None for no limit.
        data_noise: of the Gaussian noise that every iteration adds to the observed images (`Descriptor.observe`); it
            gives the data a density that f can match.
        optimizer: makes the learning step; None for Adam(3e-4, β₁ = 0.5).

    Source: Xie, Lu, Zhu, Wu, *A Theory of Generative ConvNet*, ICML 2016.
    """

    proposed = False  # chains start where their images do, not at a generator's proposals

    def __init__(
        self,
        model: Descriptor,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 30,
        chains: mcmc.Chains | None = None,
        chains_per_image: int = 1,
        most_chains: int | None = None,
        data_noise: float = 0.0,
        optimizer: torch.optim.Optimizer | None = None,
    ):
        self.model = model
        self.kernel = kernel or mcmc.Langevin(0.01)
        self.metric = metric_of(self.kernel, ComponentMetric)
        self.num_steps = num_steps
        self.chains = chains or mcmc.ColdChains()
        self.chains_per_image = chains_per_image
        self.most_chains = most_chains
        self.data_noise = data_noise
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.5, 0.999))
        self.run = mcmc.Replayed(model)
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Allocates the chains of ``num_images`` images, of which ``images`` is a batch."""
        num_chains = num_images * self.chains_per_image
        if self.most_chains:
            # As many for each place in a batch, so that the images of a process use chains of this process.
            num_chains = min(num_chains, max(self.most_chains // ranks.total_of(len(images)), 1) * len(images))
        self.chains.allocate(num_chains, self.kernel.step_size, like=images, rng=rng)
        if self.metric:
            self.metric.begin()

    def prepare(self, images: Tensor, held_out: Tensor, *, whole: Tensor) -> None:
        """Fits the reference to the images, if it is one that is fitted."""
        if self.model.reference:
            self.model.reference.fit(whole, self.data_noise)
        if self.metric:
            self.metric.begin()

    def step(self, index: Tensor, images: Tensor, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images Y, (b, *event) in [−1, 1], and their indices in the data set, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        # Sampling step: for each i, l transitions of Ỹ_i under p(Y; θ_t)                                       (16)
        chain, begin_at, of_chains = self._chains_of(index, images, rng)
        step_size = self.chains.step_sizes[chain]
        state, info = self.run(
            self.kernel.with_step_size(step_size),
            self.model.log_density,
            self.chains.start(chain, begin_at, of_chains),
            num_steps=self.num_steps,
            rng=of_chains,
        )
        synthesized = state.position

        # Learning step: the gradient of (1/n) Σ_i f(Y_i) − (1/ñ) Σ_i f(Ỹ_i)                                    (17)
        observed = self.model.observe(images, self.data_noise, rng)
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
        record = watch(record)
        if self.model.reference:
            self._slow_down(record.measures["energy_gap"])

        # Both steps are accepted: keep Ỹ_i, θ_{t+1} = θ_t + γ_t × gradient                                     (17)
        self.chains.store(chain, synthesized, mcmc.adapt(self.kernel, step_size, info.acceptance_rate, gain=0.3))
        if self.metric:
            self.metric.update(state.gradient)
        self.optimizer.step()
        return record

    def _slow_down(self, gap: float) -> None:
        """Multiplies γ_t by min(1, (10 nats/d_t)²), where chains are to stay in equilibrium.

        While they are in it, d_t wanders around 0. A large one says that f changes faster than they can follow; every
        step would then make it steeper, and the chains slower still.
        """
        for group in self.optimizer.param_groups:
            group["lr"] *= min(1.0, (FOLLOWED / max(abs(gap), 1e-6)) ** 2)

    def validate(self, index: Tensor, images: Tensor, *, rng: Rng) -> None:
        """Learns nothing from held-out images."""

    def kept(self) -> dict[str, Tensor]:
        """What the metric has measured."""
        return self.metric.kept() if self.metric else {}

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Nothing more."""
        return {}, {}

    def limits(self, images: Tensor) -> dict[str, float]:
        """Those of `chain_limits`."""
        return chain_limits(self.model, self.kernel, self.num_steps, images)

    def stability(self, index: Tensor, images: Tensor, *, rng: Rng) -> mcmc.Stability:
        """λ_max of the energy where the chains of these images start, and the limit of stable step sizes.

        With a preconditioner L it is that of x ↦ E(start + L x).
        """
        with frozen(self.model):
            chain, begin_at, of_chains = self._chains_of(index, images, rng)
            start, move = self.chains.start(chain, begin_at, of_chains), self.kernel.preconditioner
            if move is None:
                return mcmc.stability(self.model.log_density, start, rng=of_chains)
            moved = torch.zeros_like(start)
            return mcmc.stability(lambda x: self.model.log_density(start + move.color(x)), moved, rng=of_chains)

    def first_chains(self, index: Tensor, images: Tensor, rng: Rng) -> tuple[mcmc.Kernel, Tensor]:
        """For the first chain of each of these images: the kernel, with fixed step sizes, and the start."""
        chain = index * self.chains_per_image % len(self.chains.step_sizes)
        kernel = self.kernel.with_step_size(self.chains.step_sizes[chain])
        return kernel, self.chains.start(chain, images, rng)

    def _chains_of(self, index: Tensor, images: Tensor, rng: Rng) -> tuple[Tensor, Tensor, Rng]:
        """The indices of these images' chains, (b · ñ/n,), each chain's image, and its random numbers."""
        m = self.chains_per_image
        replicate = torch.arange(m, device=index.device)
        chain = (index[:, None] * m + replicate).flatten() % len(self.chains.step_sizes)
        return chain, images.repeat_interleave(m, 0) if m > 1 else images, repeated(rng, m)


def chain_limits(model: Descriptor, kernel: mcmc.Kernel, num_steps: int, images: Tensor) -> dict[str, float]:
    """Pixels: five times the range of the data or the reference's s. Energy gap: D · 2/(l δ²).

    A gradient g of f moves a pixel by g · l δ²/2 in l steps. One that moves all D pixels by 1, half the data's
    range, raises f by D · 2/(l δ²) on the way: chains cannot make up for a larger gap. With a fitted reference, the
    unit of δ and of such a move is its own spread; and its chains pass through regions far from the data while f has
    not yet learned that there is nothing.
    """
    step_size = torch.as_tensor(kernel.step_size).mean().item()
    return {
        "pixel_max": 20.0 if model.reference else 5 * max(1.0, model.reference_std),
        "energy_gap": images[0].numel() * 2 / (max(num_steps, 1) * step_size**2),
    }
