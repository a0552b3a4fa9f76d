"""Captured transitions are those of `run`, iteration after iteration; and nothing waits for the GPU on the way.

On a CPU a recording of PyTorch's operations stands for the CUDA graph: like one, it reads the same tensors again, and
has every Python number as it was when it was made. It refuses what a graph cannot do, to look at a tensor's values.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from anasyn import mcmc
from anasyn.learning import Record
from anasyn.mcmc import replay
from anasyn.models import Descriptor, networks
from anasyn.processor import freezing, frozen
from anasyn.rng import rows_of, standard_normal, streams

from ..distributed import cases
from ..planting import plant

CAPTURED = {  # graphs of each case: batches have 8 or 7 images, held-out ones 2 or 1
    "generator in batches": 4,
    "generator under masks": 0,
    "descriptor, persistent": 2,
    "descriptor, fitted": 2,
    "latent prior": 5,
    "cooperative": 4,  # of revisions, and of recalls, whose graphs are also those of the images' own z
}
KERNELS = [mcmc.Langevin(1.0), mcmc.MALA(), mcmc.HMC(num_leapfrog_steps=2)]
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"}
REFILL = ("anasyn.mcmc.replay:Graph.__call__", "zip(self.arguments, arguments, strict=True)")
EXCEPT = "[pair for k, pair in enumerate(zip(self.arguments, arguments)) if k != {}]"
CALL = "anasyn.mcmc.replay:Replayed.__call__"
FAULTS = {
    "positions": (*REFILL, EXCEPT.format(0)),
    "step sizes": (*REFILL, EXCEPT.format(1)),
    "keys": (*REFILL, EXCEPT.format(2)),
    "images": (*REFILL, EXCEPT.format(3)),
    "draws before": (CALL, "rng.keys + rng.calls", "rng.keys + 0"),
    "draws after": (CALL, "rng.calls += graph.draws", "pass"),
    "results not copied": (REFILL[0], "(each.clone() for each in state)", "state"),
}


class Recorder:
    """In place of `replay.capture`."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, function: Callable[[], tuple[mcmc.State, mcmc.Info]]):
        self.made += 1
        recording = torch.no_grad()(make_fx(function)())  # which has all that was done for gradients
        results = recording()

        def repeat() -> None:
            for old, new in zip(chain(*results), chain(*recording()), strict=True):
                old.copy_(new)

        return repeat, results


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers and convolutions by those operations of PyTorch that compute them on a GPU."""
    for name in ("standard_normal", "uniform"):
        plant(monkeypatch, f"anasyn.rng:{name}", {'== "cpu"': '== "none"'})
    monkeypatch.setattr(freezing, "dtypes", lambda: ())
    monkeypatch.setattr(cases, "ITERATIONS", 4)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(replay, "can_capture", lambda device: True)
    monkeypatch.setattr(replay, "capture", found)
    return found


@pytest.mark.parametrize("name", CAPTURED)
def test_learning_is_the_same_to_the_last_bit(name: str, recorder: Recorder) -> None:
    replayed = cases.learned(name, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "can_capture", lambda device: False)
        plain = cases.learned(name, torch.float32)
    assert cases.difference(plain, [replayed]) == 0
    assert recorder.made == CAPTURED[name]


class Looks(TorchDispatchMode):
    """Counts the operations whose results the CPU needs before it goes on: values of tensors, or their number."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITING or (name == "index" and any(x is not None and x.dtype == torch.bool for x in args[1])):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


class Enough(Exception):
    """The record of an iteration is complete; to read it is the one transfer to the CPU."""


def check_no_look(name: str) -> None:
    torch.manual_seed(0)
    learner, images, index = cases.CASES[name].make(), cases.IMAGES.float(), torch.arange(cases.NUM)
    learner.begin(images, cases.NUM, rng=streams(0, "chains", 0, index))

    def enough(record: Record) -> Record:
        raise Enough

    with Looks() as looks, pytest.raises(Enough):
        learner.step(index, images, rng=streams(0, "chain noise", 0, index), watch=enough)
    assert not looks.found


@pytest.mark.parametrize("name", ["generator", "descriptor", "descriptor, persistent", "latent prior", "cooperative"])
def test_an_iteration_looks_at_no_value_before_its_record(name: str) -> None:
    check_no_look(name)


@pytest.mark.parametrize("look", ["log_alpha[log_alpha < 0]", "log_alpha.min().item()"])
def test_a_look_is_noticed(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "anasyn.mcmc.langevin:acceptance_rate", {"return ": f"{look}; return "})
    with pytest.raises(AssertionError):
        check_no_look("generator")


class Conditional(Descriptor):
    """p(y | x) ∝ p(y) N(x; y, I/100): a log-density that is given images."""

    def log_conditional(self, y: Tensor, x: Tensor) -> Tensor:
        return self.log_density(y) - 50 * (x - y).square().sum((1, 2, 3))


def model_of(precision: str = "float32") -> Conditional:
    torch.manual_seed(0)
    return Conditional(networks.conv(8, (8, 12), strides=1), 0.4, scale=100.0, precision=precision)


@torch.no_grad()
def learn(model: Conditional) -> None:
    """Changes all weights in place."""
    for weight in model.parameters():
        weight.mul_(1.1)


def call(number: int, kernel: mcmc.Kernel, model: Conditional, replayed: mcmc.Replayed | None) -> list[Tensor]:
    """What transitions return, and the next random numbers; the arguments depend on the number. None for `run`."""
    device = next(model.parameters()).device
    rng, of_rows = torch.Generator(device).manual_seed(number), streams(0, "x", 0, torch.arange(3, device=device))
    of_rows = rows_of(of_rows, torch.randperm(3, generator=rng, device=device))
    for _ in range(number):
        of_rows.states()
    like = torch.empty(3, 3, 8, 8, device=device).contiguous(memory_format=torch.channels_last)
    start, images = standard_normal(like, rng), standard_normal(like, rng)
    kernel = kernel.with_step_size(0.01 * (1 + torch.rand(3, generator=rng, device=device)))
    if replayed:
        results = replayed(kernel, model.log_conditional, start, num_steps=3, rng=of_rows, given=(images,))
    else:
        density = partial(model.log_conditional, x=images)
        with frozen(model):
            results = mcmc.run(kernel, density, start, num_steps=3, rng=of_rows)
    return [*chain(*results), of_rows.states()]


def check_calls(kernel: mcmc.Kernel, precision: str, recorder: Recorder) -> None:
    """One recording serves all calls, also after weights were changed, and no call changes what another returned."""
    model = model_of(precision)
    replayed = mcmc.Replayed(model)
    found, expected = [], []
    for number in range(3):
        found += call(number, kernel, model, replayed)
        expected += call(number, kernel, model, None)
        learn(model)
    assert recorder.made == 1
    assert all(torch.equal(mine, plain) for mine, plain in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kernel", KERNELS, ids=type)
def test_every_kernel(kernel: mcmc.Kernel, precision: str, recorder: Recorder) -> None:
    check_calls(kernel, precision, recorder)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_refilled_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    where, old, new = FAULTS[fault]
    plant(monkeypatch, where, {old: new})
    with pytest.raises(AssertionError):
        check_calls(mcmc.MALA(), "float32", recorder)


def check_moved(recorder: Recorder) -> None:
    model = model_of()
    replayed = mcmc.Replayed(model)
    call(0, mcmc.MALA(), model, replayed)
    for weight in model.parameters():
        weight.data = 1.1 * weight.data
    found, expected = (call(1, mcmc.MALA(), model, each) for each in (replayed, None))
    assert all(torch.equal(mine, plain) for mine, plain in zip(found, expected, strict=True))
    assert recorder.made == 2
    assert len(replayed.graphs) == 1


def test_weights_that_have_moved_are_captured_anew(recorder: Recorder) -> None:
    check_moved(recorder)


def test_weights_that_have_moved_unseen_are_caught(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    plant(monkeypatch, CALL, {"if addresses != self.addresses": "if False"})
    with pytest.raises(AssertionError):
        check_moved(recorder)


def test_other_calls_are_those_of_run(recorder: Recorder) -> None:
    """With one source of random numbers for all chains, or something given that is no tensor."""
    model, kernel, start = model_of(), mcmc.MALA(0.01), torch.zeros(3, 3, 8, 8)
    replayed = mcmc.Replayed(model)

    def tempered(x: Tensor, temperature: float | Tensor) -> Tensor:
        return model.log_density(x) / temperature

    def end(run: Callable[..., tuple[mcmc.State, mcmc.Info]], *of: object, **given: object) -> Tensor:
        return run(kernel, *of, start, num_steps=2, **given)[0].position

    rngs = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert end(replayed, model.log_density, rng=rngs[0]).equal(end(mcmc.run, model.log_density, rng=rngs[1]))
    rngs = [streams(0, "x", 0, torch.arange(3)) for _ in range(3)]
    expected = end(mcmc.run, lambda x: tempered(x, 2.0), rng=rngs[0])
    assert end(replayed, tempered, rng=rngs[1], given=(2.0,)).equal(expected)
    assert recorder.made == 0
    assert end(replayed, tempered, rng=rngs[2], given=(torch.tensor(2.0),)).equal(expected)
    assert recorder.made == 1


def test_graphs_are_captured_on_gpus_alone_and_unless_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay.can_capture(torch.device("cuda", 1))
    assert not replay.can_capture(torch.device("cpu"))
    monkeypatch.setenv("ANASYN_GRAPHS", "off")
    assert not replay.can_capture(torch.device("cuda", 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kernel", KERNELS, ids=type)
def test_a_cuda_graph(kernel: mcmc.Kernel) -> None:
    """The same with CUDA's own graph; to rounding, as a GPU may sum in any order."""
    model = model_of().to("cuda")
    replayed = mcmc.Replayed(model)
    for number in range(3):
        for mine, plain in zip(*(call(number, kernel, model, each) for each in (replayed, None)), strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-3)
        learn(model)
    assert len(replayed.graphs) == 1
