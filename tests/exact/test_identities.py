"""Identities that hold for any density: Stein's (case 15), and a chain alone in its batch (case 17; traps 1, 5, 6)."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from anasyn import mcmc
from anasyn.mcmc import langevin
from anasyn.models import Descriptor, Generator, networks
from anasyn.processor import frozen

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype=FLOAT) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=rng(seed))


def assert_mean(values: Tensor, expected: float, sigmas: float = 5) -> None:
    error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - expected).abs() <= sigmas * error).all(), (values.mean(0), expected, error)


# ---- case 15: Stein's identities


def funnel_like(x: Tensor) -> Tensor:
    """Two coordinates, the scale of the second set by the first, no Gaussian."""
    return -0.5 * x[:, 0] ** 2 - 0.5 * x[:, 1] ** 2 * (-0.6 * x[:, 0]).exp() - 0.3 * x[:, 0]


def correlated(x: Tensor) -> Tensor:
    """Twenty coordinates, each tied to the next."""
    return -0.5 * (x**2).sum(1) - 0.45 * (x[:, 1:] * x[:, :-1]).sum(1)


def logistic(x: Tensor) -> Tensor:
    return -(x + 2 * nn.functional.softplus(-x)).sum(1)


def curved_posterior(z: Tensor) -> Tensor:
    """The posterior of a generator with a network that is not linear."""
    network = nn.Sequential(nn.Linear(2, 8, dtype=FLOAT), nn.Tanh(), nn.Linear(8, 5, dtype=FLOAT))
    with torch.no_grad():
        for seed, p in enumerate(network.parameters()):
            p.copy_(normal(*p.shape, seed=seed) * 0.5)
    return Generator(network, 2, 0.8).log_joint(z, normal(1, 5, seed=9).expand(len(z), -1))


DENSITIES = {
    "funnel-like": (funnel_like, 2, 0.8),
    "correlated in 20-d": (correlated, 20, 0.7),
    "logistic": (logistic, 3, 1.5),
    "a generator's posterior": (curved_posterior, 2, 0.9),
}


def check_stein(name: str, make: Callable[[float], mcmc.Kernel], density: mcmc.LogDensity | None = None) -> None:
    """Case 15: E[∇log p] = 0 and E[x · ∇log p] = −D under p."""
    log_density, dim, scale = DENSITIES[name]
    state, _ = mcmc.run(make(scale), log_density, normal(6_000, dim), num_steps=100, rng=rng(1))
    gradient = mcmc.init(density or log_density, state.position, 1.0).gradient
    assert_mean(gradient, 0)
    assert_mean((state.position * gradient).sum(1), -dim)


@pytest.mark.parametrize("make", [mcmc.MALA, lambda s: mcmc.HMC(0.6 * s, 3)], ids=["MALA", "HMC"])
@pytest.mark.parametrize("name", DENSITIES)
def test_steins_identities(name, make):
    check_stein(name, make)


def test_planted_unadjusted_kernel_breaks_steins_identities():
    for name in DENSITIES:
        with pytest.raises(AssertionError):
            check_stein(name, mcmc.Langevin)


def test_planted_swapped_proposal_terms_break_steins_identities(monkeypatch):
    propose = langevin.propose

    def swapped(log_density, state, rng, *options):
        proposal, log_alpha = propose(log_density, state, rng, *options)
        return proposal, 2 * (proposal.log_density - state.log_density) - log_alpha

    monkeypatch.setattr(langevin, "propose", swapped)
    for name in ("funnel-like", "logistic"):
        with pytest.raises(AssertionError):
            check_stein(name, mcmc.MALA)


def test_planted_gradient_of_another_density_breaks_steins_identities():
    with pytest.raises(AssertionError):
        check_stein("logistic", mcmc.MALA, lambda x: 1.1 * logistic(x))
    with pytest.raises(AssertionError):
        check_stein("logistic", mcmc.MALA, lambda x: -logistic(x))


# ---- case 17: the z-gradient of image i depends on image i alone


def deconv_generator(kind: type[Generator] = Generator) -> Generator:
    torch.manual_seed(0)
    return kind(networks.deconv(2, 16, (32, 16, 8)), 2, sigma=0.3)


def check_alone(model: Generator) -> None:
    """Case 17: unchanged, to float32 rounding, by batch size, order or neighbours."""
    z, images = normal(11, 2, dtype=torch.float32), normal(11, 3, 16, 16, seed=1, dtype=torch.float32).tanh()

    def gradient(rows: Tensor) -> Tensor:
        return mcmc.init(lambda z: model.log_joint(z, images[rows]), z[rows], 0.1).gradient

    whole = gradient(torch.arange(11))
    orders = [
        torch.randperm(11, generator=rng(2)),
        torch.arange(11).flip(0),
        torch.tensor([3, 3, 3, 0]),
        torch.arange(4),
    ]
    for rows in [*orders, *torch.arange(11).split(1)]:
        torch.testing.assert_close(gradient(rows), whole[rows], rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def test_z_gradient_depends_on_its_own_image_alone():
    check_alone(deconv_generator())


class BatchMean(Generator):
    """Trap 1."""

    def log_likelihood(self, z, images):
        return super().log_likelihood(z, images) / len(z)


def with_batch_norm() -> Generator:
    """Trap 5."""
    model = deconv_generator()
    model.network.insert(6, nn.BatchNorm2d(16))
    return model


@pytest.mark.parametrize("make", [lambda: deconv_generator(BatchMean), with_batch_norm], ids=["trap 1", "trap 5"])
def test_planted_coupling_of_the_batch_is_caught(make):
    with pytest.raises(AssertionError):
        check_alone(make())


def test_an_images_chain_is_the_same_in_any_batch(monkeypatch):
    """Whole inference, not the gradient alone: with the same noise for a row, its chain knows no neighbours."""
    model, images = deconv_generator().double(), normal(6, 3, 16, 16).tanh()
    z, noise = normal(6, 2), normal(6, 2, seed=3)
    ends = []
    for rows in (torch.arange(6), torch.tensor([4, 1])):
        monkeypatch.setattr(langevin, "standard_normal", lambda like, rng, rows=rows: noise[rows])
        state, _ = mcmc.run(
            mcmc.Langevin(0.01), lambda z, y=images[rows]: model.log_joint(z, y), z[rows], num_steps=5, rng=rng()
        )
        ends.append(state.position)
    torch.testing.assert_close(ends[0][[4, 1]], ends[1], rtol=1e-8, atol=1e-10)


# ---- trap 6: sampling fills no weight's gradient


def check_no_weight_gradients(sample: Callable[[mcmc.LogDensity, Tensor], object], model, log_density, start) -> None:
    before = [p.requires_grad for p in model.parameters()]
    assert any(before)
    sample(log_density, start)
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == before


def run_with(kernel: mcmc.Kernel) -> Callable[[mcmc.LogDensity, Tensor], object]:
    return lambda log_density, start: mcmc.run(kernel, log_density, start, num_steps=2, rng=rng())


def by_backward(log_density: mcmc.LogDensity, start: Tensor) -> Tensor:
    """The trap itself."""
    start = start.clone().requires_grad_()
    log_density(start).sum().backward()
    return start + 0.01 * start.grad


SAMPLERS = {
    "Langevin": run_with(mcmc.Langevin(0.01)),
    "MALA": run_with(mcmc.MALA(0.01)),
    "HMC": run_with(mcmc.HMC(0.01, 2)),
    "stability": lambda log_density, start: mcmc.stability(log_density, start, rng=rng()),
    "warm_up": lambda log_density, start: mcmc.warm_up(mcmc.MALA(), log_density, start, num_steps=2, rng=rng()),
}


def models():
    images = normal(3, 3, 16, 16, dtype=torch.float32).tanh()
    generator, descriptor = deconv_generator(), Descriptor(networks.conv(16, (8, 16), strides=2), 0.4)
    yield generator, lambda z: generator.log_joint(z, images), normal(3, 2, dtype=torch.float32)
    yield descriptor, descriptor.log_density, images


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_sampling_fills_no_weight_gradient(sample):
    for model, log_density, start in models():
        check_no_weight_gradients(sample, model, log_density, start)


def test_planted_backward_is_caught():
    for model, log_density, start in models():
        with pytest.raises(AssertionError):
            check_no_weight_gradients(by_backward, model, log_density, start)


def test_sampling_inside_no_grad_and_with_frozen_weights_is_the_same():
    """Bit for bit inside ``no_grad``; to rounding with frozen weights, whose convolutions are computed another way."""
    for model, log_density, start in models():
        learned = [p.requires_grad for p in model.parameters()]
        free = mcmc.run(mcmc.MALA(0.01), log_density, start, num_steps=2, rng=rng())[0]
        with torch.no_grad():
            inside = mcmc.run(mcmc.MALA(0.01), log_density, start, num_steps=2, rng=rng())[0]
        with torch.no_grad(), frozen(model):
            assert not any(p.requires_grad for p in model.parameters())
            still = mcmc.run(mcmc.MALA(0.01), log_density, start, num_steps=2, rng=rng())[0]
        for a, b, c in zip(free, inside, still, strict=True):
            assert torch.equal(a, b)
            torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-5)
            assert not b.requires_grad
            assert not c.requires_grad
        assert [p.requires_grad for p in model.parameters()] == learned
