"""The average of the weights: closed forms, its part in a learner's state, and that what is shown is made with it."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from anasyn import GeneratorLearner, learn, mcmc
from anasyn.cli import main
from anasyn.learning import (
    Divergence,
    Guard,
    LearnedNoise,
    Record,
    averaged,
    constant,
    expand,
    expandable_layer,
    keep_average,
    prime,
    tensors_of,
    use_average,
)
from anasyn.learning.averaging import average_decay, begin_average
from anasyn.models import Generator, networks
from anasyn.report import gallery
from anasyn.report.snapshot import snapshot
from anasyn.run import Run

from ..commands import assert_same_run, learned, without_figures
from ..planting import plant

FLOAT = torch.float64
NAME = "optimizer.weight.average"


class Weight(nn.Module):
    """One weight, and a buffer that every step changes."""

    def __init__(self, start: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([start], dtype=FLOAT))
        self.register_buffer("steps", torch.zeros(1, dtype=FLOAT))


class Descent:
    """Gradient descent with a loss of one weight; the iterations in ``fails`` diverge, each once."""

    kernel = None

    def __init__(self, loss, *, start: float, rate: float, decay: float, iteration: int = 0, fails: tuple = ()):
        self.model, self.loss, self.iteration, self.fails = Weight(start), loss, iteration, list(fails)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        keep_average(self.optimizer, decay)
        self.chains = mcmc.ColdChains()

    def begin(self, images, num_images, num_held_out=0, *, rng) -> None:
        self.chains.allocate(num_images, 1.0, images, rng)

    def prepare(self, images, held_out, *, whole) -> None:
        pass

    def step(self, index, images, *, rng, watch) -> Record:
        if self.iteration in self.fails:
            self.fails.remove(self.iteration)
            raise Divergence("as planned", updated=True)
        self.optimizer.zero_grad()
        loss = self.loss(self.model.weight).sum()
        loss.backward()
        record = Record.of(loss=loss, acceptance_rate=torch.ones(()), step_size=torch.ones(()))
        record = watch(record)
        self.optimizer.step()
        self.model.steps += 1
        return record

    def validate(self, index, images, *, rng) -> None:
        pass

    def kept(self) -> dict[str, Tensor]:
        return {}

    def kept_of_images(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {}, {}

    def limits(self, images) -> dict[str, float]:
        return {}

    def stability(self, index, images, *, rng) -> None:
        return None


def after(learner: Descent, num: int, **options) -> Iterator[tuple[Record, float]]:
    """Learns ``num`` more iterations: each record, and the average after it."""
    images = torch.zeros(2, 1, 2, 2)
    for record in learn(learner, images, num_iterations=learner.iteration + num, schedule=constant, **options):
        yield record, tensors_of(learner)[NAME].item()


def uniform(**options) -> Descent:
    """A weight that is t after t iterations at the rate of 1."""
    return Descent(lambda weight: -weight, start=0.0, rate=1.0, **options)


# ---- closed forms


def check_constant_decay() -> None:
    """On w²/2 the weight is r^t, r = 1 − γ: θ̄_k = β^k + (1 − β) r (r^k − β^k) / (r − β), k steps after the warm-up."""
    beta, r, begun = 0.9, 0.7, 10_000
    learner = Descent(lambda w: w**2 / 2, start=1.0, rate=1 - r, decay=beta, iteration=begun)
    for record, average in after(learner, 25):
        k = record.iteration - begun
        assert average == pytest.approx(beta**k + (1 - beta) * r * (r**k - beta**k) / (r - beta), rel=1e-12)


def check_warm_up() -> None:
    """A weight that moves at a constant speed has an average nine tenths of the way, until the decay is β."""
    for record, average in after(uniform(decay=0.9999), 300):
        assert average == pytest.approx(0.9 * record.iteration, rel=1e-12)


def check_initial_share() -> None:
    """A weight that is 1 at first and 0 after the first step: its average is 1/C(t + 9, 9), below 10⁻⁴ from t = 10."""
    learner = Descent(lambda weight: weight**2 / 2, start=1.0, rate=1.0, decay=0.9999)
    for record, average in after(learner, 30):
        assert average == pytest.approx(1 / math.comb(record.iteration + 9, 9), rel=1e-12)


def test_the_average_has_its_closed_form():
    check_constant_decay()
    check_warm_up()
    check_initial_share()


def test_the_decay_is_reached():
    """At t = 9/(1 − β) − 10, which is 890 for 0.99, and it stays there."""
    assert average_decay(0.99, 889) == 890 / 899 < 0.99
    assert average_decay(0.99, 890) == average_decay(0.99, 10**9) == 0.99
    assert average_decay(0.05, 0) == 0.05


@pytest.mark.parametrize("check", [check_constant_decay, check_warm_up], ids=["constant", "warm-up"])
def test_the_weights_before_the_step_are_caught(check, monkeypatch):
    edits = {
        "    update_average(learner)\n": "",
        "    watch = partial(": "    update_average(learner)\n    watch = partial(",
    }
    plant(monkeypatch, "anasyn.learning.driver:Loop._iterate", edits)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(
    ("edits", "check"),
    [
        ({"min(decay, (1 + iteration) / (10 + iteration))": "decay"}, check_warm_up),
        ({"(1 + iteration)": "iteration"}, check_initial_share),
        ({"min(": "max("}, check_constant_decay),
    ],
    ids=["no warm-up", "an iteration late", "more than the decay"],
)
def test_another_warm_up_is_caught(edits, check, monkeypatch):
    plant(monkeypatch, "anasyn.learning.averaging:average_decay", edits)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_out_of_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay: expected at least 0 and below 1"):
        uniform(decay=decay)


def test_without_an_average_nothing_is_kept_and_nothing_changes():
    with_it, without = uniform(decay=0.9), uniform(decay=0.0)
    list(after(with_it, 5))
    list(learn(without, torch.zeros(2, 1, 2, 2), num_iterations=5, schedule=constant))
    assert tensors_of(with_it).keys() - tensors_of(without).keys() == {NAME}
    assert torch.equal(with_it.model.weight, without.model.weight)
    before = without.model.weight.item()
    use_average(without)
    with averaged(without):
        assert without.model.weight.item() == before


# ---- the learner's state


def check_rollback() -> None:
    """Iteration 58 fails: back to iteration 50, where the average is 45, and on at half the rate."""
    learner, seen = uniform(decay=0.9999, fails=(57,)), []
    for record, average in after(learner, 60, guard=Guard()):
        seen.append(record.iteration)
        if record.rolled_back:
            share = average_decay(0.9999, 50)
            assert learner.model.weight.item() == 50.5
            assert average == pytest.approx(share * 45 + (1 - share) * 50.5, rel=1e-12)
    assert seen == [*range(1, 58), *range(51, 61)]


def test_a_rollback_restores_the_average():
    check_rollback()


def test_an_average_that_is_not_rolled_back_is_caught(monkeypatch):
    edits = {"part.copy_(source)": "name.endswith('average') or part.copy_(source)"}
    plant(monkeypatch, "anasyn.learning.state:restore", edits)
    with pytest.raises(AssertionError):
        check_rollback()


def check_buffers() -> None:
    """A buffer has its current value beside the average of the weights, and σ, learned, is the current σ."""
    learner = uniform(decay=0.9)
    list(after(learner, 20))
    use_average(learner)
    assert learner.model.weight.item() != 20
    assert learner.model.steps.item() == 20
    torch.manual_seed(0)
    images = torch.rand(6, 3, 8, 8, generator=rng()) * 2 - 1
    model = Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.5)
    generator = GeneratorLearner(model, noise=LearnedNoise(0.01))
    keep_average(generator.optimizer, 0.9)
    list(learn(generator, images, num_iterations=30))
    with averaged(generator):
        assert abs(model.sigma.item() - 0.5) > 0.01
        assert model.sigma.item() == pytest.approx(generator.noise.residuals.mean().sqrt().item(), rel=1e-6)


def test_buffers_are_not_averaged():
    check_buffers()


def test_averaged_buffers_are_caught(monkeypatch):
    """Such as the average of a buffer and its value at the beginning, when it was nothing."""
    edits = {"weight.copy_(average)": "weight.copy_(average); [b.mul_(0.9) for b in learner.model.buffers()]"}
    plant(monkeypatch, "anasyn.learning.averaging:use_average", edits)
    with pytest.raises(AssertionError):
        check_buffers()


def test_the_context_gives_the_weights_back():
    """Bit for bit, after an exception too; and a learner whose average is in use already is left as it is."""
    learner = uniform(decay=0.9)
    list(after(learner, 7))
    before = {name: tensor.clone() for name, tensor in tensors_of(learner).items()}

    def use() -> None:
        with averaged(learner):
            raise KeyError(learner.model.weight.item())

    with pytest.raises(KeyError, match=str(before[NAME].item())):
        use()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(learner).items())
    use_average(learner)
    with averaged(learner):
        assert torch.equal(learner.model.weight, before[NAME])
    assert torch.equal(learner.model.weight, before[NAME])


# ---- parameter expansion


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_expansion() -> None:
    """The averaged network makes of the transformed z what it made of the z before."""
    torch.manual_seed(0)
    network = networks.deconv(9, 16, (32, 16)).to(FLOAT)
    average = networks.deconv(9, 16, (32, 16)).to(FLOAT)
    optimizer = torch.optim.Adam(network.parameters())
    keep_average(optimizer, 0.9)
    prime(optimizer)
    slots = [optimizer.state[weight]["average"] for weight in network.parameters()]
    with torch.no_grad():
        for slot, weight in zip(slots, average.parameters(), strict=True):
            slot.copy_(weight)
    chains = mcmc.WarmChains(9)
    chains.allocate(40, 0.1, like=torch.zeros((), dtype=FLOAT), rng=rng())
    chains.positions = 0.5 + 0.3 * chains.positions
    before, start = average(chains.positions), chains.positions.clone()
    layer = expandable_layer(network, 9)
    assert layer is not None
    expand([layer], optimizer, chains, strength=0.7)
    assert (chains.positions - start).abs().max() > 0.1
    with torch.no_grad():
        for slot, weight in zip(slots, average.parameters(), strict=True):
            weight.copy_(slot)
    torch.testing.assert_close(average(chains.positions), before, rtol=0, atol=1e-9)


def test_the_average_is_expanded_as_the_weights_are():
    check_expansion()


@pytest.mark.parametrize("edits", [{", *average]": "]"}, {"bias.add_(": "bias.add_(0 * "}], ids=["left", "no mean"])
def test_an_average_in_other_coordinates_is_caught(edits, monkeypatch):
    plant(monkeypatch, "anasyn.learning.expansion:expand", edits)
    with pytest.raises(AssertionError):
        check_expansion()


# ---- runs

SMALL = ("--size=16", "--width=8", "--num-steps=2", "--precision=float32", "--batch-size=4", "--schedule=constant",
         "--data=drawn-cats", "--quiet", "--average=0.9", "--learning-rate=0.01")  # fmt: skip
METHODS = {
    "generator": ("generator", "--hold-out=0.2", "--sigma=learned"),
    "descriptor": ("descriptor", "--kernel=mala", "--start=persistent"),
    "generator, sgd": ("generator", "--optimizer=sgd", "--learning-rate=1e-5"),
    "latent prior": ("latent-prior", "--prior-width=8", "--prior-steps=2"),
}


def learn_run(out: Path, method: tuple[str, ...], iterations: int) -> Run:
    words = ["learn", method[0], *SMALL, *method[1:], f"--iterations={iterations}", f"--out={out}"]
    assert main(words) == 0
    return Run.open(out)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_resuming_is_exact(method, tmp_path, no_figures):
    """All tensors of the checkpoint, and the average among them, of each weight of every network."""
    whole = learn_run(tmp_path / "whole", method, 12)
    learn_run(tmp_path / "parts", method, 5)
    learn_run(tmp_path / "parts", method, 12)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    tensors, _ = learned(whole.path)
    raw, _ = whole.resume()
    names = [name for name, weight in raw.model.named_parameters() if weight.requires_grad]
    assert {name for name in tensors if name.endswith(".average") and not name.startswith("good.")} == {
        f"optimizer.{name}.average" for name in names
    }
    in_use = dict(whole.learned().model.named_parameters())
    for name, weight in raw.model.named_parameters():
        assert torch.equal(weight, tensors[f"model.{name}"])
    for name in names:
        assert torch.equal(in_use[name], tensors[f"optimizer.{name}.average"])
    assert not all(torch.equal(in_use[name], weight) for name, weight in raw.model.named_parameters())


@pytest.mark.parametrize("method", [METHODS["generator"], METHODS["descriptor"]], ids=["generator", "descriptor"])
def test_all_images_are_made_with_the_average(method, tmp_path, monkeypatch):
    """By commands, in snapshots while the run learns, and in the figures at its end; learning goes on without it."""
    drawn: list[dict[str, Tensor]] = []
    without_figures(monkeypatch)

    def write(run, learner, images):
        drawn.append({name: weight.detach().clone() for name, weight in learner.model.named_parameters()})

    monkeypatch.setattr(gallery, "write", write)
    run = learn_run(tmp_path / "run", method, 6)
    check_images(run, drawn[0])


def check_images(run: Run, drawn: dict[str, Tensor]) -> None:
    in_use, (raw, _) = run.learned(), run.resume()
    assert all(torch.equal(drawn[name], weight) for name, weight in in_use.model.named_parameters())
    images, method = run.images(), run.method
    expected = method.sample(in_use, 3, lambda: images, rng(0))
    assert not torch.equal(expected, method.sample(raw, 3, lambda: images, rng(0)))
    of_average, of_run = snapshot(run, in_use, images), snapshot(run, raw, images)
    assert all(torch.equal(made, of_run[title]) for title, made in of_average.items())
    assert not all(torch.equal(weight, drawn[name]) for name, weight in raw.model.named_parameters())


@pytest.mark.parametrize(
    ("where", "edits"),
    [
        ("anasyn.run.directory:Run.learned", {"use_average(learner)": "pass"}),
        ("anasyn.report.snapshot:snapshot", {"with averaged(learner):": "if True:"}),
        ("anasyn.cli.learn:learn_in", {"with averaged(learner):": "if True:"}),
        ("anasyn.learning.averaging:averaged", {"weight.copy_(value)": "pass"}),
    ],
    ids=["commands", "snapshots", "figures", "weights not given back"],
)
def test_images_made_with_the_weights_themselves_are_caught(where, edits, tmp_path, monkeypatch):
    plant(monkeypatch, where, edits)
    with pytest.raises(AssertionError):
        test_all_images_are_made_with_the_average(METHODS["generator"], tmp_path, monkeypatch)


def test_a_learner_that_was_interrupted_goes_on_with_its_average():
    """The average begins at the weights at hand, once, and is not begun again."""
    learner = uniform(decay=0.9999)
    list(islice(after(learner, 10), 4))
    assert [average for _, average in after(learner, 3)] == pytest.approx([4.5, 5.4, 6.3])
    begin_average(learner.optimizer)
    assert tensors_of(learner)[NAME].item() == 7
