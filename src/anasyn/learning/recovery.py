"""Recovery likelihood: learning a ladder of descriptors, each of which recovers images from more noise."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import mcmc
from ..mcmc.kernel import inner
from ..models import Descriptor, DescriptorLadder, Observed
from ..models.ladder import Conditional
from ..processor import frozen
from ..rng import Rng, standard_normal
from .record import Record, Watch, gradient_norm, require_finite

__all__ = ["RecoveryLearner", "chains_given", "descend", "recover", "with_held"]

PRODUCTS = 8  # with the Hessian, to find a curvature to some tens of per cent
SETTLING = 10  # training lengths of chains at the lowest level, given the pixels that are seen


class RecoveryLearner:
    """Diffusion recovery likelihood (Algorithm 1 of Gao et al.): each level learns to undo one step of noise.

        x_t = √ᾱ_t x + √(1 − ᾱ_t) ε,   y_t = √(1 − σ²_{t+1}) x_t,   x_{t+1} = y_t + σ_{t+1} ε
        p(y_t | x_{t+1}) ∝ exp[f(y_t, t) − ‖x_{t+1} − y_t‖²/2σ²_{t+1}],   t = 0, …, T − 1

        sampling step:  ỹ_t ← K transitions under p(y_t | x_{t+1}), from x_{t+1}    (`chains_given`)
        learning step:  θ ← θ + γ w_t [ (1/n) Σ_i ∂f(y_{t,i}, t)/∂θ − (1/n) Σ_i ∂f(ỹ_{t,i}, t)/∂θ ]

    At its maximum exp f(·, t) is the density of y_t, up to a factor, and the conditional that of the diffused data.
    It has one mode where the noise is small, so that short chains can sample it. The levels take turns, one an
    iteration. A weight w_t, which does not move a level's maximum, is 1/g_t: the levels' networks, f without its
    scale g_t, count alike.

    With classes, all densities are those of an image of a class k: f(y, t, k) in place of f(y, t). Each image has its
    own in both steps.

    The step size of a chain at level t is δ_t = b × (the least standard deviation of y_t given x_{t+1} in any
    direction); the paper has b σ_{t+1}. The kernel's, and those that the chains keep, are b. Where the ladder has
    fitted references, chains start with a draw from the Gaussian p₀(y_t | x_{t+1}), its covariance is L Lᵀ of their
    preconditioner L, and δ_t = b. By unadjusted Langevin dynamics of the temperature 1 − b²/4 they leave it as it is.

    Args:
        model: the descriptors of a ladder.
        kernel: the transition, whose step size is b; if it has a target acceptance, each image's b is adapted.
        num_steps: K, transitions an iteration at each level.
        optimizer: makes the learning step; None for Adam(3e-4, β₁ = 0.9).
        labels: the name of each image's class, in the order of the data set, for a model of classes; None for one
            without. Of several processes, each gives those of its images.
        classes: the names of all classes, if not all of them need be among the labels.

    Source: Gao, Song, Poole, Wu, Kingma, *Learning energy-based models by diffusion recovery likelihood*, ICLR 2021;
        for the temperature, Cotter, Roberts, Stuart, White, *MCMC methods for functions*, Statistical Science 2013.
    """

    def __init__(
        self,
        model: DescriptorLadder,
        *,
        kernel: mcmc.Kernel | None = None,
        num_steps: int = 20,
        optimizer: torch.optim.Optimizer | None = None,
        labels: Sequence[str] | None = None,
        classes: Sequence[str] = (),
    ):
        self.model = model
        self.kernel = kernel or mcmc.Langevin(0.8)
        self.num_steps = num_steps
        self.chains = mcmc.ColdChains(mcmc.chains.data)
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=3e-4)
        self.shape = torch.Size()  # of an image
        self.classes = tuple(sorted({*(labels or ()), *classes}))
        place = {name: k for k, name in enumerate(self.classes)}
        device = next(model.parameters()).device
        self.labels = torch.tensor([place[name] for name in labels], device=device) if labels else None  # (n,)
        self.iteration = 0

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: Rng) -> None:
        """Allocates the step sizes b of ``num_images`` images; ``images`` is any batch of them, for its device."""
        self.chains.allocate(num_images, self.kernel.step_size, like=images, rng=rng)
        self.shape = images.shape[1:]

    def prepare(self, images: Tensor, held_out: Tensor, *, whole: Tensor) -> None:
        """Fits the reference of the ladder to the images of all processes."""
        self.model.fit(whole)

    def step(self, index: Tensor, images: Tensor, *, rng: Rng, watch: Watch = require_finite) -> Record:
        """One iteration on a batch: images, (b, *event) in [−1, 1], and their indices in the data set, (b,).

        Raises:
            Divergence: ``watch``, which inspects the record before weights and chains change, does not accept it.
        """
        ladder, b = self.model.ladder, self.chains.step_sizes[index]
        t = self.iteration % ladder.levels

        # y_t and x_{t+1} of each image, and its class if it has one
        labels = self.labels_of(index)
        y, x_next = ladder.diffuse(images, t, rng, self.model.noise)

        # Sampling step: K transitions of ỹ_t under p(y_t | x_{t+1}), from x_{t+1}
        kernel, held = self.kernel.with_step_size(b), self.model.held(y)
        recovered, info = recover(self.model, t, kernel, x_next, self.num_steps, rng, labels, held)

        # Learning step: the gradient of w_t [ (1/n) Σ_i f(y_{t,i}, t) − (1/n) Σ_i f(ỹ_{t,i}, t) ]
        descriptor = self.model.at(t, None if labels is None else labels.repeat(2))
        f_data, f_recovered = descriptor(torch.cat([y, recovered])).chunk(2)
        gap = f_data.mean() - f_recovered.mean()
        loss = -gap / descriptor.scale
        self.optimizer.zero_grad()
        loss.backward()
        record = Record.of(
            loss=loss,
            acceptance_rate=info.acceptance_rate.mean(),
            step_size=b.log().mean().exp(),
            divergent=info.divergent.double().mean(),
            energy_gap=gap,
            pixel_max=recovered.abs().max(),
            gradient_norm=gradient_norm(self.model.parameters()),
            **{f"energy_gap_{t}": gap},
        )
        record = watch(record)

        # Both steps are accepted: θ ← θ + γ × gradient, for the weights of this level
        self.chains.store(index, recovered, mcmc.adapt(self.kernel, b, info.acceptance_rate, gain=0.3))
        self.optimizer.step()
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
        """Pixels: 15, three times what those of x_{t+1} reach. Energy gap: D/s_0², where s_0 is the noise in y_0.

        A learned network's part of f has the gradient E[m | y_t]/s_t², at most 1/s_t² a pixel (`DescriptorLadder`).
        Chains that are wrong by 1, half the data's range, in all D pixels make the gap D/s_t²; most at level 0.
        """
        return {"pixel_max": 15.0, "energy_gap": images[0].numel() / self.model.ladder.spread(0) ** 2}

    def stability(self, index: Tensor, images: Tensor, *, rng: Rng) -> mcmc.Stability:
        """λ_max where this iteration's chains start, and the limit of b.

        λ_max is that of the energy as a function of y_t / (the least standard deviation of y_t), or of L⁻¹ y_t.
        """
        t = self.iteration % self.model.ladder.levels
        y, x_next = self.model.ladder.diffuse(images, t, rng, self.model.noise)
        chains = chains_given(self.model, t, self.kernel, x_next, rng, self.labels_of(index), self.model.held(y))
        with frozen(chains.descriptor):
            found = mcmc.stability(chains.log_density, chains.start, chains.kernel.preconditioner, rng=rng)
        return mcmc.Stability(found.lambda_max * chains.unit**2, found.limit / chains.unit)

    def fixed_kernel(self) -> mcmc.Kernel:
        """The kernel with one fixed b: the geometric mean of the images'."""
        return self.kernel.with_step_size(self.chains.step_sizes.log().mean().exp())

    def labels_of(self, index: Tensor) -> Tensor | None:
        """The classes of the images with these indices, (b,), as places in ``classes``; None for a model without."""
        return None if self.labels is None else self.labels[index]

    def draw(
        self, num: int, *, rng: torch.Generator, labels: Tensor | None = None, seen: Observed | None = None
    ) -> Tensor:
        """Images by ancestral sampling (Algorithm 2 of Gao et al.), (num, *event): from x_T, mostly noise, to x_0,

            y_t ← K transitions under p(y_t | x_{t+1}), from x_{t+1};   x_t = y_t / √(1 − σ²_{t+1}),   t = T − 1, …, 0

        and, since x_0 still has noise of its own, to the mean of the images that it may come from (Tweedie's formula):

            E[x | x_0] = [x_0 + (1 − ᾱ_0) Cov(ε) ∂ log p(x_0)/∂x_0] / √ᾱ_0

        Nothing is clamped. ``labels``, (num,), are their classes; None for those of training images at random, so that
        the samples are draws from Σ_k p(k) p(x | k).

        With ``seen``, pixels of ``num`` images under a mask, the images are drawn given these: on the way down, seen
        pixels are held at x_0, …, x_T of a diffusion of the seen images, and the chains move the others. Since y_t is
        then drawn without regard to the seen pixels below level t, this is a start only: chains of `SETTLING` times K
        transitions under p(y_0), with the seen pixels held, follow.
        """
        if self.labels is not None and labels is None:
            labels = self.labels[torch.randint(len(self.labels), (num,), generator=rng, device=rng.device)]
        like = self.chains.step_sizes.new_empty(num, *(seen.values.shape[1:] if seen else self.shape))
        x = self.model.noisiest(like, rng, labels)
        return descend(self.model, self.fixed_kernel(), self.num_steps, x, rng, labels, seen)


def descend(
    model: DescriptorLadder,
    kernel: mcmc.Kernel,
    num_steps: int,
    x: Tensor,
    rng: Rng,
    labels: Tensor | None = None,
    seen: Observed | None = None,
) -> Tensor:
    """Ancestral sampling from x_T, (n, *event), as `RecoveryLearner.draw` says."""
    ladder = model.ladder
    path = ladder.path(seen.values, rng, model.noise) if seen else None
    mask = seen.observation.seen if seen else None
    held: tuple[Tensor, Tensor] | None = None
    for t in reversed(range(ladder.levels)):
        if path and mask is not None:
            x, held = torch.where(mask, path[t + 1], x), (mask, ladder.shrinkage(t) * path[t])
        y, _ = recover(model, t, kernel, x, num_steps, rng, labels, held)
        x = model.corrected(t, y) / ladder.shrinkage(t)
    bottom, y = model.at(0, labels), ladder.shrinkage(0) * x
    with frozen(bottom):
        if held:
            settling = moving(model, 0, kernel, model.posterior(0, y, labels))
            density = mcmc.hold(bottom.log_density, *held)
            if model.whitened:
                settling = steady(settling, density, y, rng)
            settled, _ = mcmc.run(settling, density, y, num_steps=SETTLING * num_steps, rng=rng)
            y = with_held(settled.position, held)
            x = y / ladder.shrinkage(0)
        state = mcmc.init(bottom.log_density, y, 1.0)
    alpha_bar = ladder.alpha_bar(0)
    gradient = model.noise_covariance(ladder.shrinkage(0) * state.gradient)  # with respect to x_0
    return (x + (1 - alpha_bar) * gradient) / math.sqrt(alpha_bar)


def recover(
    model: DescriptorLadder,
    t: int,
    kernel: mcmc.Kernel,
    x_next: Tensor,
    num_steps: int,
    rng: Rng,
    labels: Tensor | None = None,
    held: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, mcmc.Info]:
    """K transitions of ỹ_t under p(y_t | x_{t+1}): where the chains end, (n, *event), and what they did.

    If `chains_given` are chains with a preconditioner L and the reference's conditional density is exactly N(μ, L Lᵀ),
    these are the same transitions of u, ỹ_t = μ + L u, which are cheaper: p(u) ∝ exp[g_t network_t(μ + L u) − ‖u‖²/2].

    Args:
        model: the descriptors.
        t: the level.
        kernel: the transition, with step size b, a number or one for each chain.
        x_next: x_{t+1}, (n, *event).
        num_steps: K.
        rng: on the device of ``x_next``.
        labels: the class of each chain, (n,); None for a model without classes.
        held: a mask of pixels of y_t that are known, bool, and their values, (n, *event), which the ends have.
    """
    posterior = model.posterior(t, x_next, labels) if model.whitened and held is None else None
    if posterior:
        descriptor = model.at(t, labels)

        def log_density(u: Tensor) -> Tensor:
            return descriptor(posterior.mean + posterior.color(u)) - inner(u, u) / 2

        with frozen(descriptor):
            state, info = mcmc.run(kernel, log_density, standard_normal(x_next, rng), num_steps=num_steps, rng=rng)
        return posterior.mean + posterior.color(state.position), info
    chains = chains_given(model, t, kernel, x_next, rng, labels, held)
    with frozen(chains.descriptor):
        kernel = chains.kernel
        if model.whitened:
            kernel = steady(kernel, chains.log_density, chains.start, rng)
        state, info = mcmc.run(kernel, chains.log_density, chains.start, num_steps=num_steps, rng=rng)
    return with_held(state.position, held), info


def steady(kernel: mcmc.Kernel, log_density: mcmc.LogDensity, start: Tensor, rng: Rng) -> mcmc.Kernel:
    """The kernel with step sizes of at most b/√λ_max, λ_max the curvature in its units where chains start.

    In the units of a reference, the curvature is near 1. But given neighbours that are held, a pixel of smooth images
    has much less room than without: where the density is steepest, the curvature may be hundreds.
    """
    found = mcmc.stability(log_density, start, kernel.preconditioner, rng=rng, num_iterations=PRODUCTS)
    return kernel.with_step_size(kernel.step_size / found.lambda_max.clamp_min(1).sqrt())


def with_held(y: Tensor, held: tuple[Tensor, Tensor] | None) -> Tensor:
    """y_t, (n, *event), with the pixels that are held, as in `recover`, at their values."""
    return torch.where(*held, y) if held else y


class ChainsGiven(NamedTuple):
    """Chains of y_t given x_{t+1}: what they sample, how they move, and where they start."""

    descriptor: Descriptor  # of y_t
    log_density: mcmc.LogDensity  # log p(y_t | x_{t+1}), with the held pixels at their values
    kernel: mcmc.Kernel  # with the step size δ_t
    unit: float  # δ_t/b
    start: Tensor  # (n, *event)


def chains_given(
    model: DescriptorLadder,
    t: int,
    kernel: mcmc.Kernel,
    x_next: Tensor,
    rng: Rng,
    labels: Tensor | None,
    held: tuple[Tensor, Tensor] | None,
) -> ChainsGiven:
    """The chains that `recover` runs; its arguments are these.

    They start from x_{t+1}. If a Gaussian near p(y_t | x_{t+1}) is known, they start with a draw from it, and its
    covariance is L Lᵀ of their preconditioner L, in whose units δ_t = b.
    """
    descriptor = model.at(t, labels)
    log_density = conditional(model, t, descriptor, x_next)
    if held:
        log_density = mcmc.hold(log_density, *held)
    posterior = model.posterior(t, x_next, labels)
    moved = moving(model, t, kernel, posterior)
    if posterior:
        return ChainsGiven(descriptor, log_density, moved, 1.0, posterior.draw(x_next, rng))
    return ChainsGiven(descriptor, log_density, moved, model.ladder.narrowest(t), x_next)


def moving(model: DescriptorLadder, t: int, kernel: mcmc.Kernel, posterior: Conditional | None) -> mcmc.Kernel:
    """The kernel of step size b in the units of level t: those of ``posterior``, or the level's narrowest spread."""
    if posterior:
        return kernel.with_preconditioner(posterior)
    return kernel.with_step_size(model.ladder.narrowest(t) * torch.as_tensor(kernel.step_size))


def conditional(model: DescriptorLadder, t: int, descriptor: Descriptor, x_next: Tensor) -> mcmc.LogDensity:
    """log p(y_t | x_{t+1}) = f(y_t, t) − ‖x_{t+1} − y_t‖²/2σ²_{t+1}, up to a constant, as a function of y_t.

    With noise of a covariance N, it is the norm in the metric of N⁻¹ (`DescriptorLadder.noise_energy`).

    Args:
        model: the ladder's.
        t: the level.
        descriptor: of y_t.
        x_next: x_{t+1}, one for each chain, (n, *event).
    """
    sigma = model.ladder.sigma(t + 1)

    def log_density(y: Tensor) -> Tensor:
        return descriptor.log_density(y) - model.noise_energy(x_next - y) / sigma**2

    return log_density
