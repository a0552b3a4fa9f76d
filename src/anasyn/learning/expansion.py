"""Parameter expansion: the generator's first layer absorbs the mean and the covariance of the inferred z."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import ranks
from ..mcmc import WarmChains
from ..memory import parts
from .averaging import AVERAGE
from .metric import SharedMetric

__all__ = ["expand", "expandable_layer", "expansion_interval", "expansion_strength", "shrunk_moments"]

FEW = 2048  # images, of as many of which all z are expanded in every iteration


def expandable_layer(network: nn.Module, latent_dim: int) -> nn.Linear | None:
    """The layer h = A z + b that alone reads z, if the network begins with one; None for any other network.

    Whether it alone reads z is tried out: with A, b and z changed together as `expand` does, f(z) must stay the same.
    """
    layer = next((module for module in network.modules() if not list(module.children())), None)
    if not isinstance(layer, nn.Linear) or layer.in_features != latent_dim or layer.bias is None:
        return None
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(4, latent_dim, generator=rng).to(layer.weight)
    mean = torch.randn(latent_dim, generator=rng).to(layer.weight)
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    with torch.no_grad():
        images = network(z)
        layer.bias.add_(layer.weight @ mean)
        layer.weight.div_(2)
        moved = network(2 * (z - mean))
        layer.weight.copy_(before[0])
        layer.bias.copy_(before[1])
    scale = float(images.abs().max())
    return layer if torch.allclose(images, moved, rtol=1e-3, atol=1e-3 * scale) else None


def shrunk_moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of z, (d,), and its covariance, shrunk towards a multiple of I, (d, d), in float64.

        S = (1/n) Σ (z_i − μ)(z_i − μ)ᵀ,   m = tr(S)/d,   Σ = (1 − ρ) S + ρ m I
        ρ = min(1, [(1 − 2/d) tr(S²) + tr(S)²] / (n + 1 − 2/d) ‖S − m I‖²)

    For Gaussian z, ρ is about the share that minimises the expected squared error of Σ; it vanishes as n grows. Ledoit
    and Wolf's estimate of that share does not suppose that z is Gaussian, but it is 0 for two z, and Σ then singular.
    The scale m, a mean over n · d numbers, is not shrunk.

    Args:
        z: (n, d).

    Source: Chen, Wiesel, Eldar and Hero 2010, *Shrinkage algorithms for MMSE covariance estimation*, equation 23.
    """
    d = z.shape[1]
    sums = torch.zeros(d, dtype=torch.float64, device=z.device)
    for part in parts(z):
        sums += part.sum(0, dtype=torch.float64)
    sums, n = ranks.total(sums, torch.full_like(sums[0], len(z)))
    mean = sums / n
    products = torch.zeros(d, d, dtype=torch.float64, device=z.device)
    for part in parts(z):
        centred = part.double() - mean
        products += centred.T @ centred
    covariance = ranks.total(products)[0] / n
    target = covariance.trace() / d * torch.eye(d, dtype=covariance.dtype, device=z.device)
    distance = ((covariance - target) ** 2).sum()
    scatter = (1 - 2 / d) * (covariance**2).sum() + covariance.trace() ** 2
    share = (scatter / ((n + 1 - 2 / d) * distance)).nan_to_num(1.0).clamp(max=1)  # 1 where S is m I already
    return mean, (1 - share) * covariance + share * target


def expansion_interval(num_images: int) -> int:
    """Every how many iterations all z are expanded, given the images of this process: one costs O(n d²)."""
    return max(ranks.total_of(num_images) // FEW, 1)


def expansion_strength(strength: float, batch: int, num_images: int) -> float:
    """1 − (1 − κ)^{b/n}: of an expansion after b of n images, if an epoch is to have the strength κ.

    b and n are this process's part of them.
    """
    b, n = ranks.total(torch.tensor([batch, num_images]))[0].tolist()
    return 1 - (1 - strength) ** (b / n)


@torch.no_grad()
def expand(
    layers: Sequence[nn.Linear],
    optimizer: torch.optim.Optimizer,
    chains: WarmChains,
    others: Sequence[WarmChains] = (),
    metric: SharedMetric | None = None,
    *,
    strength: float,
) -> None:
    """Replaces the prior N(0, I) by the N(μ, Σ) of the inferred z for a moment, and returns to N(0, I) by the layer.

        A ← A Σ^{κ/2},   b ← b + κ A μ (the old A),   z_i ← Σ^{−κ/2} (z_i − κ μ)

    f(z_i) stays the same for every image. Learning goes on as if it had always been in these coordinates: the metric
    follows z, or, without one, step sizes are scaled by the geometric mean of Σ^{−κ/2}; and the optimiser's moments
    follow the gradient of A, which becomes (G − κ g μᵀ) Σ^{−κ/2}, g being that of b. An average of A and b, if one is
    kept, is changed as A and b are.

    Args:
        layers: of `expandable_layer`, for every network that reads z.
        optimizer: of the layers' weights.
        chains: of all training images; μ and Σ are the shrunk moments of their positions.
        others: chains whose positions are transformed too.
        metric: the preconditioner of all these chains, if they have one.
        strength: κ, 1 for the whole way to N(0, I), less for a part of it.

    Source: Liu, Rubin and Wu 1998, *Parameter expansion to accelerate EM: the PX-EM algorithm*.
    """
    mean, covariance = shrunk_moments(chains.positions)
    covariance = covariance.where(covariance.isfinite(), 0)  # eigh refuses NaN, which the guard may still have to find
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values ** (strength / 2)) @ vectors.T  # Σ^{κ/2}, symmetric
    inverse = (vectors * values ** (-strength / 2)) @ vectors.T
    mean = strength * mean
    for each in (chains, *others):
        for part in parts(each.positions):
            part.copy_((part.double() - mean) @ inverse)
        if not metric:
            each.step_sizes *= (-strength / 2 * values.log().mean()).exp().to(each.step_sizes)
    if metric:
        metric.expand(root)
    for layer in layers:
        slots, of_bias = (optimizer.state.get(each, {}) for each in (layer.weight, layer.bias))
        average = [(slots[AVERAGE], of_bias[AVERAGE])] if AVERAGE in slots else []
        for matrix, bias in [(layer.weight, layer.bias), *average]:
            weight = matrix.double()
            bias.add_((weight @ mean).to(bias))
            matrix.copy_(weight @ root)
        for name in ("exp_avg", "momentum_buffer"):
            if isinstance(slots.get(name), Tensor):
                moment = slots[name].double() - torch.outer(of_bias[name].double(), mean)
                slots[name].copy_(moment @ inverse)
        if isinstance(slots.get("exp_avg_sq"), Tensor):  # the square of a sum of terms taken as independent
            square = slots["exp_avg_sq"].double() + torch.outer(of_bias["exp_avg_sq"].double(), mean**2)
            slots["exp_avg_sq"].copy_(square @ inverse**2)
