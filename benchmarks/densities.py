"""Microseconds per transition on densities of two variables: this package, torchebm and blackjax.

Unadjusted Langevin, MALA and HMC (5 leapfrog steps) on N(0, I₂), a mixture of three Gaussians and a 2-64-64-1
network's density, 100 and 10,000 chains. blackjax is compiled as a whole, `jax.jit` over `lax.scan`, and
timed after its compilation, which has its own rows: it shows what compiling gains on such small densities. torchebm
has no MALA. All of them run with malloc's settings of `anasyn learn`.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import timing
from anasyn import mcmc
from anasyn.cli.learn import reused_memory
from timing import Row

try:
    from torchebm.core import BaseModel
    from torchebm.samplers import HamiltonianMonteCarlo, LangevinDynamics
except ImportError:
    LangevinDynamics = None
try:
    import blackjax
    import jax
    import jax.numpy as jnp
except ImportError:
    blackjax = None

MEANS = [[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]]
STEP_SIZES = {"unadjusted Langevin": 0.5, "MALA": 0.5, "HMC": 0.3}
KERNELS: dict[str, mcmc.Kernel] = {
    "unadjusted Langevin": mcmc.Langevin(0.5),
    "MALA": mcmc.MALA(0.5),
    "HMC": mcmc.HMC(0.3, num_leapfrog_steps=5),
}


def rows(fast: bool) -> Iterator[Row]:
    for peer, there in {"torchebm": LangevinDynamics, "blackjax": blackjax}.items():
        if there is None:
            timing.missing(peer)
    reused_memory().__enter__()
    names = ("N(0, I₂)",) if fast else tuple(densities())
    for density in names:
        for kernel in ("MALA",) if fast else KERNELS:
            for num_chains in (100,) if fast else (100, 10_000):
                yield from one(density, kernel, num_chains, 3 if fast else 15)


def one(density: str, kernel: str, num_chains: int, repeats: int) -> Iterator[Row]:
    torch.manual_seed(0)
    steps = 32 if kernel == "HMC" and num_chains > 100 else 256
    log_density = densities()[density]
    start = torch.randn(num_chains, 2)
    name = f"{density}, {kernel}, {num_chains} chains"
    makers = {"anasyn": lambda: own(KERNELS[kernel], log_density, start, steps)}
    if LangevinDynamics is not None and kernel != "MALA":
        makers["torchebm"] = lambda: torchebm(kernel, log_density, start, steps)
    if blackjax is not None:
        makers["blackjax"] = lambda: compiled_blackjax(kernel, density, start, steps)
    functions = {}
    for what, make in makers.items():
        began = time.perf_counter()
        functions[what] = make()
        functions[what]()
        if what == "blackjax":
            yield Row(f"{name}: {what}, seconds to compile", time.perf_counter() - began)
    seconds = timing.interleaved(functions, repeats=repeats)
    for what, of in seconds.items():
        yield Row(f"{name}: {what}, µs a transition", 1e6 * of / steps)
    for peer in seconds.keys() & {"blackjax", "torchebm"}:
        yield Row(f"{name}: times as fast as {peer}", seconds[peer] / seconds["anasyn"])


def densities() -> dict[str, mcmc.LogDensity]:
    means = torch.tensor(MEANS)
    first, second, third = weights()

    def network(x: Tensor) -> Tensor:
        silu = torch.nn.functional.silu
        return silu(silu(x @ first) @ second) @ third - 0.5 * (x**2).sum(1)

    return {
        "N(0, I₂)": lambda x: -0.5 * (x**2).sum(1),
        "2-d mixture": lambda x: torch.logsumexp(-0.5 * ((x[:, None] - means) ** 2).sum(2), 1),
        "2-64-64-1 network": network,
    }


def weights() -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 64, generator=rng) / 2**0.5,
        torch.randn(64, 64, generator=rng) / 8,
        torch.randn(64, generator=rng) / 8,
    )


def own(kernel: mcmc.Kernel, log_density: mcmc.LogDensity, start: Tensor, steps: int) -> Callable[[], object]:
    rng = torch.Generator().manual_seed(0)
    return lambda: mcmc.run(kernel, log_density, start, num_steps=steps, rng=rng)


def torchebm(kernel: str, log_density: mcmc.LogDensity, start: Tensor, steps: int) -> Callable[[], object]:
    class Energy(BaseModel):
        def forward(self, x: Tensor) -> Tensor:
            return -log_density(x)

    delta = STEP_SIZES[kernel]
    if kernel == "HMC":
        sampler = HamiltonianMonteCarlo(Energy(), step_size=delta, n_leapfrog_steps=5)
    else:
        sampler = LangevinDynamics(Energy(), step_size=delta**2 / 2)
    return lambda: sampler.sample(x=start, n_steps=steps)


def compiled_blackjax(kernel: str, density: str, start: Tensor, steps: int) -> Callable[[], object]:
    means = jnp.array(MEANS)
    first, second, third = (jnp.array(weight.numpy()) for weight in weights())
    silu = jax.nn.silu
    log_density = {
        "N(0, I₂)": lambda x: -0.5 * (x**2).sum(),
        "2-d mixture": lambda x: jax.nn.logsumexp(-0.5 * ((x - means) ** 2).sum(1)),
        "2-64-64-1 network": lambda x: silu(silu(x @ first) @ second) @ third - 0.5 * (x**2).sum(),
    }[density]
    delta = STEP_SIZES[kernel]
    position = jnp.array(start.numpy())
    keys = len(start)
    if kernel == "unadjusted Langevin":
        sgld = blackjax.sgld(lambda x, batch: jax.grad(log_density)(x))
        state = position

        def step(state: Any, key: Any) -> Any:
            move = jax.vmap(lambda key, x: sgld.step(key, x, None, delta**2 / 2))
            return move(jax.random.split(key, keys), state), 0.0
    else:
        if kernel == "MALA":
            algorithm = blackjax.mala(log_density, delta**2 / 2)
        else:
            algorithm = blackjax.hmc(log_density, delta, jnp.ones(2), num_integration_steps=5)
        state = jax.vmap(algorithm.init)(position)

        def step(state: Any, key: Any) -> Any:
            state, info = jax.vmap(algorithm.step)(jax.random.split(key, keys), state)
            return state, info.acceptance_rate.mean()

    run = jax.jit(lambda state, key: jax.lax.scan(step, state, jax.random.split(key, steps)))
    key = jax.random.key(0)
    return lambda: jax.block_until_ready(run(state, key))


if __name__ == "__main__":
    timing.main("densities", rows, __doc__)
