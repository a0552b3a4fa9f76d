"""A third method, as small as one can be: probabilistic PCA learned by the EM algorithm.

It shows what a method consists of: its settings, its algorithm, and a `Method` that names its abilities. Nothing in
`src/` knows of it; `RECIPES["ppca"] = RECIPE` is all that the commands need.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.learning import Record, Watch, require_finite
from anasyn.methods import Latents, Method, Scale, Settings
from anasyn.methods.settings import setting
from anasyn.models import Generator
from anasyn.recipes import Recipe


@dataclass(frozen=True)
class PPCASettings(Settings):
    """The settings of `anasyn learn ppca`."""

    latent_dim: int | None = setting(None, "d, the dimension of z", "model", least=1)
    sigma: float = setting(0.3, "σ, the standard deviation of a pixel's noise", "model", above=0)

    def resolve(self, scale: Scale) -> Self:
        n = scale.num_images
        return self.filled(scale, batch_size=n, latent_dim=min(4, n - 1), iterations=50)


class PPCALearner:
    """EM for Y = W z + b + ε,   z ~ N(0, I_d),   ε ~ N(0, σ² I), with σ known.

        E step:  E[z_i] = M⁻¹ Wᵀ (Y_i − b),   Cov[z_i] = σ² M⁻¹,   M = Wᵀ W + σ² I
        M step:  b ← mean_i Y_i;   W ← Σ_i (Y_i − b) E[z_i]ᵀ (Σ_i E[z_i z_iᵀ])⁻¹

    The chains hold the posterior means E[z_i]; nothing is sampled, so there is no kernel, and no optimiser either.

    Source: Tipping and Bishop 1999, *Probabilistic principal component analysis*.
    """

    kernel = None
    optimizer = None

    def __init__(self, model: Generator):
        self.model = model
        self.chains = mcmc.WarmChains(model.latent_dim)
        self.iteration = 0
        self.linear = next(module for module in model.modules() if isinstance(module, nn.Linear))

    def begin(self, images: Tensor, num_images: int, num_held_out: int = 0, *, rng: torch.Generator) -> None:
        self.chains.allocate(num_images, 1.0, like=images, rng=rng)

    def prepare(self, images: Tensor, held_out: Tensor, *, whole: Tensor) -> None:
        pass

    @torch.no_grad()
    def step(self, index: Tensor, images: Tensor, *, rng: torch.Generator, watch: Watch = require_finite) -> Record:
        y, w, b = images.flatten(1), self.linear.weight, self.linear.bias
        variance = self.model.sigma**2

        # E step
        inverse = torch.linalg.inv(w.T @ w + variance * torch.eye(w.shape[1]))
        z = (y - b) @ w @ inverse
        moment = z.T @ z + len(y) * variance * inverse

        squares = (y - z @ w.T - b) ** 2
        nothing = torch.zeros(())
        record = Record.of(
            loss=squares.sum() / len(y) / (2 * variance),
            acceptance_rate=nothing + 1,
            step_size=nothing,
            mse=squares.mean(),
        )
        record = watch(record)

        # M step
        b.copy_(y.mean(0))
        w.copy_((y - b).T @ z @ torch.linalg.inv(moment))
        self.chains.store(index, z, torch.ones(len(y)))
        return record

    def validate(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> None:
        pass

    def kept(self) -> dict[str, Tensor]:
        return {}

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {}, {}

    def limits(self, images: Tensor) -> dict[str, float]:
        return {}

    def stability(self, index: Tensor, images: Tensor, *, rng: torch.Generator) -> None:
        return None


def build(settings: PPCASettings, device: torch.device) -> PPCALearner:
    assert settings.latent_dim is not None
    c, h, w = settings.shape
    network = nn.Sequential(nn.Linear(settings.latent_dim, c * h * w), nn.Unflatten(1, (c, h, w)))
    return PPCALearner(Generator(network, settings.latent_dim, settings.sigma).to(device))


PPCA = Method(
    name="ppca",
    about="probabilistic PCA, learned by the EM algorithm",
    settings=PPCASettings,
    build=build,
    sample=lambda learner, num, images, rng: learner.model.sample(num, rng=rng),
    sampled="W z + b at random z ~ N(0, I)",
    infer=lambda learner: Latents(learner.model, learner.chains.positions),
)

RECIPE = Recipe(PPCA, PPCA.about, PPCASettings())
