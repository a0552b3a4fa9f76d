"""Transitions compiled into one: they are the kernel's own."""

from contextvars import copy_context

import pytest
import torch
from torch import nn
from torch._inductor import inductor_prims
from torch._inductor.utils import fresh_cache, run_and_get_code
from torch.fx import Graph, Node

from anasyn import mcmc
from anasyn.mcmc.compiled import compiled, gradients_compiled, several, side_by_side
from anasyn.mcmc.graph import ManyChains

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself, at its import

KERNELS = {"Langevin": mcmc.Langevin(0.5), "MALA": mcmc.MALA(0.9), "HMC": mcmc.HMC(0.4, 3)}


def two_modes(x: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(torch.stack([-((x - 2) ** 2).sum(1), -((x + 2) ** 2).sum(1)]), 0)


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_is_the_kernel_on_the_same_numbers(name: str) -> None:
    torch.compiler.reset()
    kernel = mcmc.Compiled(KERNELS[name], num_steps=2)
    position = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    start = mcmc.init(two_modes, position, kernel.step_size)
    state, info = kernel.step(two_modes, start, torch.Generator().manual_seed(1))
    key = torch.randint(-(2**31), 2**31, (2,), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    expected, expected_info = several(KERNELS[name], two_modes, side_by_side(start), key, 2)
    for got, want in zip((*state, *info), (*expected, *expected_info), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def mixture(x: torch.Tensor) -> torch.Tensor:
    means = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
    return torch.logsumexp(-0.5 * ((x[:, None] - means) ** 2).sum(2), 1)


WEIGHTS = [torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 8 for shape in ((2, 64), (64, 64), (64, 1))]


def network(x: torch.Tensor) -> torch.Tensor:
    first, second, third = WEIGHTS
    return ((x @ first).tanh() @ second).tanh().mm(third).squeeze(1) - 0.5 * (x**2).sum(1)


torch.manual_seed(0)
LAYERS = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)).requires_grad_(
    False
)


def layers(x: torch.Tensor) -> torch.Tensor:
    return LAYERS(x).squeeze(1) - 0.5 * (x**2).sum(1)


@pytest.mark.parametrize("density", [mixture, network, layers])
@pytest.mark.parametrize("num_chains", [20, 2000])
def test_a_graph_rewritten_for_many_chains_computes_the_same(density: mcmc.LogDensity, num_chains: int) -> None:
    torch.compiler.reset()
    x = torch.randn(num_chains, 2, generator=torch.Generator().manual_seed(0))
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        got = compiled(mcmc.kernel.evaluate)(density, x)
    for a, b in zip(got, mcmc.kernel.evaluate(density, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def code_of(log_density: mcmc.LogDensity, num_chains: int) -> str:
    """What the compiler makes of a density's value and gradient."""
    torch.compiler.reset()
    x = torch.randn(num_chains, 2).T.contiguous().T
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        _, codes = run_and_get_code(compiled(mcmc.kernel.evaluate), log_density, x)
    return "".join(codes)


def test_short_rows_lie_side_by_side() -> None:
    """Three numbers for each of 2000 chains, in a loop over the chains."""
    code = code_of(mixture, 2000)
    assert "(2000, 3), (1, 2000)" in code
    assert "(2000, 3), (3, 1)" not in code


@pytest.mark.parametrize("name", KERNELS)
def test_the_compiler_writes_no_number_many_times(name: str, monkeypatch) -> None:
    """It writes into an operation all that it reads and that is not held, as often as it reads it."""
    torch.compiler.reset()
    lengths: dict[Node, int] = {}

    def measured(self: ManyChains, graph: Graph) -> None:
        rewrite(self, graph)
        for node in graph.nodes:
            is_held = node.op != "call_function" or node.target is inductor_prims.force_stride_order
            reads = [read for read in node.args if isinstance(read, Node)]
            lengths[node] = 0 if is_held else 1 + sum(lengths[read] for read in reads)

    rewrite = ManyChains.__call__
    monkeypatch.setattr(ManyChains, "__call__", measured)
    x = torch.randn(200, 2).T.contiguous().T
    key = torch.tensor([1, 2], dtype=torch.int32)
    with torch.no_grad(), gradients_compiled(), fresh_cache():
        compiled(several)(KERNELS[name], two_modes, mcmc.init(two_modes, x, 0.5), key, 3)
    assert 10 < max(lengths.values()) < 200


@pytest.mark.parametrize("density", [network, layers])
def test_thin_products_are_sums_and_large_ones_onednns(density: mcmc.LogDensity) -> None:
    code = code_of(density, 2000)
    assert code.count("anasyn.product.default(") == 2
    assert "mm(" not in code
    assert "tmp_acc1_vec +" in code  # the gradient's two sums, in one loop
    assert "std::array<float" not in code  # weights are read sixteen at a time, none one by one


def test_few_chains_through_a_wide_layer_are_a_product() -> None:
    for few in (7, 200):
        assert code_of(network, few).count("extern_kernels.mm(") == 2


def test_an_exponential_is_computed_once() -> None:
    """One a layer, of value and gradient together."""
    assert code_of(layers, 2000).count("exp()") == 2


def test_runs_like_any_kernel() -> None:
    torch.compiler.reset()
    kernel = mcmc.Compiled(mcmc.MALA(0.9), num_steps=2)
    position = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))

    def log_density(x: torch.Tensor) -> torch.Tensor:
        return -0.5 * (x**2).sum(1)

    def draws() -> torch.Tensor:
        rng = torch.Generator().manual_seed(1)
        return mcmc.draws(kernel, log_density, position, num_draws=50, rng=rng)

    x = draws()
    assert torch.equal(x, draws())
    assert x.mean().abs() < 0.03
    assert (x.var() - 1).abs() < 0.04
    assert kernel.with_step_size(0.5).step_size == 0.5


def test_steps_leave_nothing_behind() -> None:
    """The compiler's settings are context variables, and each new patch of one was one more for ever."""
    torch.compiler.reset()
    kernel, rng = mcmc.Compiled(mcmc.Langevin(0.5), num_steps=1), torch.Generator().manual_seed(0)
    state = mcmc.init(two_modes, torch.randn(7, 3, generator=rng), 0.5)
    kept = []
    for _ in range(4):
        state, _ = kernel.step(two_modes, state, rng)
        kept.append(len(copy_context()))
    assert kept[-1] == kept[0]


def test_num_steps_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        mcmc.Compiled(mcmc.MALA(0.5), num_steps=0)
