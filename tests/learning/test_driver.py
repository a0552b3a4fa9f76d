"""The one loop: records, resuming bit for bit, seeds, batches, rates, and divergence reported with its cause."""

import math
import re
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, Divergence, GeneratorLearner, learn, mcmc
from anasyn.learning import Guard, Record, Shard, batches, constant, driver, linear_decay
from anasyn.models import Descriptor, Generator, networks


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 7, size: int = 8) -> Tensor:
    coarse = torch.rand(n, 3, 2, 2, generator=rng()) * 1.6 - 0.8
    return nn.functional.interpolate(coarse, size=size, mode="bilinear").contiguous(memory_format=torch.channels_last)


def generator_learner(seed: int = 0, **options) -> GeneratorLearner:
    torch.manual_seed(seed)
    return GeneratorLearner(Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.3), **options)


def descriptor_learner(seed: int = 0, **options) -> DescriptorLearner:
    torch.manual_seed(seed)
    model = Descriptor(networks.conv(8, (6, 8), strides=2), 0.4, scale=100.0)
    options = {"kernel": mcmc.Langevin(0.02), "num_steps": 4, "data_noise": 0.03} | options
    return DescriptorLearner(model, **options)


LEARNERS = {
    "generator": generator_learner,
    "generator, HMC": lambda seed=0: generator_learner(seed, kernel=mcmc.HMC(0.05, 2)),
    "descriptor, cold": descriptor_learner,
    "descriptor, persistent": lambda seed=0: descriptor_learner(
        seed, chains=mcmc.PersistentChains(mcmc.reference_noise(0.4)), chains_per_image=2, kernel=mcmc.MALA(0.01)
    ),
}
learners = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS.keys())


def all_of(learner) -> dict[str, Tensor]:
    """Weights, chains and the optimiser's moments."""
    moments = {
        f"moment.{i}.{name}": value
        for i, state in learner.optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    state = {**learner.model.state_dict(), **learner.chains.state_dict(), **moments}
    return {name: value.clone() for name, value in state.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- records and resuming


@learners
def test_each_iteration_yields_its_record(make):
    records = list(learn(make(), pictures(), num_iterations=5, batch_size=3))
    assert [record.iteration for record in records] == [1, 2, 3, 4, 5]
    for record in records:
        assert record.seconds > 0
        assert 0 <= record.acceptance_rate <= 1
        assert record.step_size > 0
        assert all(math.isfinite(x) for x in (record.loss, *record.measures.values()))
    assert {"gradient_norm", "divergent"} <= records[0].measures.keys()


@learners
def test_learning_goes_on_bit_for_bit_from_where_it_stood(make):
    """8 + 8 iterations of 16, by another call on the same learner, equal 16: weights, chains, moments, records."""
    options = {"num_iterations": 16, "seed": 3, "batch_size": 3}
    whole, parts = make(), make()
    once = list(learn(whole, pictures(), **options))
    twice = list(islice(learn(parts, pictures(), **options), 8))
    assert parts.iteration == 8
    twice += learn(parts, pictures(), **options)
    assert same(all_of(whole), all_of(parts))
    assert [r.loss for r in once] == [r.loss for r in twice]
    assert [r.iteration for r in twice] == list(range(1, 17))
    assert list(learn(parts, pictures(), **options)) == []  # a finished one is left alone


@learners
def test_the_seed_decides_and_nothing_else(make):
    def after(seed: int, ambient: int) -> dict[str, Tensor]:
        learner = make()
        torch.manual_seed(ambient)
        for _ in learn(learner, pictures(), num_iterations=6, seed=seed, batch_size=3):
            torch.rand(3)
        return all_of(learner)

    assert same(after(0, 1), after(0, 2))
    assert not same(after(0, 1), after(1, 1))


def test_uint8_images_are_learned_as_the_floats_they_mean():
    """Both kinds that `learn` takes: uint8, and float32 in [−1, 1]."""
    grey = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8, generator=rng())
    floats = grey.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
    results = []
    for images in (grey, floats):
        learner = generator_learner()
        list(learn(learner, images, num_iterations=3))
        results.append(all_of(learner))
    assert same(*results)


def test_vectors_are_learned_as_images_are():
    """(n, D) events, float64."""
    torch.manual_seed(0)
    model = Generator(nn.Linear(2, 5, dtype=torch.float64), 2, sigma=0.5)
    learner = GeneratorLearner(model)
    records = list(learn(learner, torch.randn(6, 5, dtype=torch.float64, generator=rng()), num_iterations=3))
    assert len(records) == 3
    assert learner.chains.positions.dtype == torch.float64


# ---- batches


def check_batches(order: Callable = batches) -> None:
    """Every image once an epoch, in parts that differ by one at most, each epoch in another order."""
    for num, size in [(10, 3), (11, 11), (7, 2), (900, 100), (5, 8), (6, 1)]:
        parts = math.ceil(num / size)
        drawn = list(islice(order(Shard.own(num, size), 0), 3 * parts))
        epochs = [torch.cat(drawn[k * parts : (k + 1) * parts]) for k in range(3)]
        for epoch in epochs:
            assert epoch.sort().values.tolist() == list(range(num))
        lengths = [len(batch) for batch in drawn]
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= size
        assert num < 7 or parts == 1 or not torch.equal(epochs[0], epochs[1])


def test_every_image_comes_once_an_epoch_in_equal_parts():
    check_batches()


def test_planted_sampling_with_replacement_is_caught():
    def with_replacement(shard, seed, first=0):
        while True:
            yield torch.randint(len(shard), (shard.width,), generator=rng(seed))

    with pytest.raises(AssertionError):
        check_batches(with_replacement)


def test_batches_start_at_any_iteration():
    shard = Shard.own(10, 3)
    whole = list(islice(batches(shard, 5), 20))
    for first in (1, 3, 4, 7, 13):
        for a, b in zip(whole[first:], batches(shard, 5, first), strict=False):
            assert torch.equal(a, b)
    assert not all(torch.equal(a, b) for a, b in zip(whole, batches(shard, 6), strict=False))


# ---- rates


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(linear_decay, [1.0, 0.75, 0.5, 0.25]), (constant, [1.0] * 4)],
    ids=["linear", "constant"],
)
def test_the_schedule_sets_the_optimisers_rates(schedule, expected):
    """γ_t = γ · schedule(t/T), for each group of its own γ, also where learning goes on; or γ, if it does not decay."""
    learner = generator_learner()
    weights = list(learner.model.parameters())
    groups = [
        {"params": weights[:1], "lr": 1e-4},
        {"params": weights[1:2], "lr": 1e-5},
        {"params": weights[2:], "lr": 1e-6, "decays": False},
    ]
    learner.optimizer = torch.optim.SGD(groups)
    rates = []
    for stop in (2, 4):
        for record in learn(learner, pictures(), num_iterations=4, schedule=schedule):
            rates.append([group["lr"] for group in learner.optimizer.param_groups])
            if record.iteration == stop:
                break
    assert rates == [pytest.approx([1e-4 * f, 1e-5 * f, 1e-6]) for f in expected]


def test_the_rate_reaches_the_weights():
    """With a schedule that is 0 the weights stay and the chains move."""
    learner = generator_learner()
    before = [p.clone() for p in learner.model.parameters()]
    list(learn(learner, pictures(), num_iterations=2, schedule=lambda progress: 0.0))
    assert all(torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))


# ---- stability and divergence


def test_too_large_a_fixed_step_is_told_with_its_limit():
    learner = generator_learner(kernel=mcmc.Langevin(0.3))
    learner.optimizer = torch.optim.SGD(learner.model.parameters(), lr=0.0)
    (first,) = islice(learn(learner, pictures(), num_iterations=8), 1)
    (event,) = first.events
    limit = float(event.split("2/√λ_max = ")[1].split(" ")[0])
    assert 0 < limit < 0.3
    assert "step size 0.3 is above the stability limit" in event
    assert event.endswith("; choose a smaller one, or kernel mala or hmc")
    small = generator_learner(kernel=mcmc.Langevin(0.1 * limit))
    small.optimizer = torch.optim.SGD(small.model.parameters(), lr=0.0)
    assert all(record.events == () for record in learn(small, pictures(), num_iterations=20))


def test_an_adapted_kernel_says_that_it_adapts_and_once_only():
    records = list(learn(generator_learner(kernel=mcmc.MALA(5.0)), pictures(), num_iterations=20))
    assert "it is adapted from there" in records[0].events[0]
    assert all(record.events == () for record in records[1:])
    limit = float(records[0].events[0].split("2/√λ_max = ")[1].split(" ")[0])
    for factor, told in ((1.8, 0), (2.2, 1)):  # a little above the limit, adaptation is enough
        learner = generator_learner(kernel=mcmc.MALA(factor * limit))
        (first,) = learn(learner, pictures(), num_iterations=1)
        assert len(first.events) == told


def test_stability_checks_change_no_number(monkeypatch):
    """Stability checks draw from a random stream of their own."""
    told, silent = (generator_learner(kernel=mcmc.Langevin(0.02)) for _ in range(2))
    list(learn(told, pictures(), num_iterations=5))
    monkeypatch.setattr(driver, "STABILITY_CHECKS", ())
    list(learn(silent, pictures(), num_iterations=5))
    assert same(all_of(told), all_of(silent))


class Touchy(nn.Module):
    """A network whose output is multiplied by ``value`` after ``healthy`` learning steps (calls with gradients)."""

    def __init__(self, network: nn.Module, healthy: int, value: float):
        super().__init__()
        self.network, self.healthy, self.value = network, healthy, value

    def forward(self, x):
        y = self.network(x)
        if any(weight.requires_grad for weight in self.parameters()):  # the learning step, not the chains
            self.healthy -= 1
            if self.healthy < 0:
                return y * self.value
        return y


def check_divergence(learner, images: Tensor, good_at: int, smaller_steps: bool = True) -> Divergence:
    """Divergence is raised after eight rollbacks; all but the step sizes is as it was after iteration ``good_at``."""
    states, events = {}, []
    with pytest.raises(Divergence) as caught:  # noqa: PT012
        for record in learn(learner, images, num_iterations=80):
            assert record.iteration not in states, "an iteration after the last good state has succeeded twice"
            states[record.iteration] = all_of(learner)
            events += record.events
    assert learner.iteration == good_at
    good, now = states[good_at], all_of(learner)
    assert all(value.isfinite().all() for value in now.values() if value.is_floating_point())
    if smaller_steps:
        assert (now.pop("step_sizes") <= good.pop("step_sizes") / 2).all()
    assert same(now, good)
    assert not any("rolled back" in event for event in events)  # those are in the record of the error
    assert caught.value.record is not None
    assert ["rolled back" in event for event in caught.value.record.events] == [True] * 8 + [False]
    return caught.value


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("make", [generator_learner, descriptor_learner], ids=["generator", "descriptor"])
def test_divergence_that_lasts_is_raised_with_its_cause_and_leaves_the_last_good_state(make, value):
    """Iterations 1 to 53 succeed and none after that; the last good state is that after 50."""
    learner = make()
    learner.model.network = Touchy(learner.model.network, 53, value)
    trouble = check_divergence(learner, pictures(), 50)
    message = str(trouble)
    assert message.startswith("iteration 51 diverged: loss = ")
    assert "gradient_norm = nan" in message
    assert "stability limit 2/√λ_max = " in message
    assert message.endswith("; 8 rollbacks did not help")
    assert trouble.advice
    assert isinstance(trouble.record, Record)
    assert (trouble.record.iteration, trouble.record.rolled_back) == (51, True)
    assert not math.isfinite(trouble.record.loss)


def test_divergence_from_the_start_leaves_the_learner_as_it_began():
    """Nothing succeeds: weights and optimiser are those of iteration 0."""
    learner = generator_learner()
    before = [weight.detach().clone() for weight in learner.model.parameters()]
    learner.model.network = Touchy(learner.model.network, 0, math.nan)
    with pytest.raises(Divergence, match=r"^iteration 1 diverged: loss = nan.*8 rollbacks did not help$"):
        list(learn(learner, pictures(), num_iterations=3))
    assert learner.iteration == 0
    assert all(torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))
    assert not any(value.any() for name, value in all_of(learner).items() if name.startswith("moment."))


@pytest.mark.parametrize("make", [generator_learner, descriptor_learner], ids=["generator", "descriptor"])
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_step_that_is_refused_touches_neither_weights_nor_chains(make, value):
    """Without a driver or a guard too."""
    learner, images, index = make(), pictures(), torch.arange(7)
    learner.begin(images, 7, rng=rng())
    learner.step(index, images, rng=rng(1))
    before = all_of(learner)
    learner.model.network = Touchy(learner.model.network, 0, value)
    with pytest.raises(Divergence, match=r"loss = .*gradient_norm = nan"):
        learner.step(index, images, rng=rng(2))
    learner.model.network = learner.model.network.network
    assert same(all_of(learner), before)


def test_divergence_of_the_chains_names_the_step_size_and_the_limit_and_is_mended():
    """Unadjusted dynamics far beyond the limit: the event says so, with numbers; below the limit they go on."""
    model = Generator(nn.Linear(2, 5), 2, sigma=0.01)
    learner = GeneratorLearner(model, kernel=mcmc.Langevin(5.0), num_steps=10)
    images = torch.randn(4, 5, generator=rng())
    records = list(learn(learner, images, num_iterations=3, schedule=constant))
    above = r"step size 5 is above the stability limit 2/√λ_max = 0\.0\d+ \(λ_max = [0-9.e+]+\)"
    warned, rolled_back, *_ = records[0].events
    assert re.fullmatch(f"{above}; choose a smaller one, or kernel mala or hmc", warned)
    assert re.fullmatch(rf"rolled back from iteration 1 to 0: .+; {above}; from here step sizes × 0\.0\d+", rolled_back)
    limit = float(rolled_back.split("2/√λ_max = ")[1].split(" ")[0])
    assert (learner.chains.step_sizes < limit).all()
    assert records[0].rolled_back
    assert [record.iteration for record in records if record.iteration > 1][-1] == 3
    assert all(value.isfinite().all() for value in all_of(learner).values())


def test_an_inactive_guard_lets_divergence_run_its_course():
    learner = generator_learner()
    learner.model.network = Touchy(learner.model.network, 3, math.nan)
    records = list(learn(learner, pictures(), num_iterations=6, guard=Guard(active=False)))
    assert [math.isnan(record.loss) for record in records] == [False, False, False, True, True, True]
    assert not any(record.rolled_back for record in records)
    assert not any(weight.isfinite().all() for weight in learner.model.parameters() if weight.requires_grad)


def test_the_weights_are_watched_too(monkeypatch):
    """A step from finite numbers to weights that are not finite is detected before the iteration counts."""
    monkeypatch.setattr(Guard, "watch", lambda self, record: None)
    learner = generator_learner()
    learner.model.network = Touchy(learner.model.network, 53, math.nan)
    trouble = check_divergence(learner, pictures(), 50, smaller_steps=False)
    assert "the weights are not finite" in str(trouble)


def test_planted_silence_about_divergence_is_caught(monkeypatch):
    """Trap 7: without any watching the weights become NaN, and the check notices."""
    monkeypatch.setattr(Guard, "watch", lambda self, record: None)
    monkeypatch.setattr(Guard, "watch_weights", lambda self, model, record: None)
    learner = generator_learner()
    learner.model.network = Touchy(learner.model.network, 53, math.nan)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_divergence(learner, pictures(), 50)


def test_planted_silence_of_a_single_step_is_caught():
    """The same without the driver: with a watch that accepts everything, the weights become NaN."""
    learner, images = generator_learner(), pictures()
    learner.begin(images, 7, rng=rng())
    learner.model.network = Touchy(learner.model.network, 0, math.nan)
    learner.step(torch.arange(7), images, rng=rng(), watch=lambda record: record)
    assert not any(weight.isfinite().all() for weight in learner.model.parameters() if weight.requires_grad)


@learners
def test_a_learner_that_was_begun_by_hand_is_rolled_back_too(make):
    """The optimiser's state is rolled back too, although it was empty when learning began."""
    learner, images = make(), pictures()
    learner.begin(images[:1], len(images), rng=rng())
    learner.model.network = Touchy(learner.model.network, 3, math.nan)
    with pytest.raises(Divergence, match="8 rollbacks did not help"):
        list(learn(learner, images, num_iterations=5))
    assert learner.iteration == 0
    assert not any(value.any() for name, value in all_of(learner).items() if name.startswith("moment."))
