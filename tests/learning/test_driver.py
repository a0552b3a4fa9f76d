"""The one loop: records, resuming bit for bit, seeds, batches, rates, and divergence told with its cause."""

import math
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, Divergence, GeneratorLearner, learn, mcmc
from anasyn.learning import constant, driver, linear_decay
from anasyn.learning.driver import batches
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
    """20 + 20 iterations of 40, by another call on the same learner, equal 40: weights, chains, moments, records."""
    options = {"num_iterations": 40, "seed": 3, "batch_size": 3}
    whole, parts = make(), make()
    once = list(learn(whole, pictures(), **options))
    twice = list(islice(learn(parts, pictures(), **options), 20))
    assert parts.iteration == 20
    twice += learn(parts, pictures(), **options)
    assert same(all_of(whole), all_of(parts))
    assert [r.loss for r in once] == [r.loss for r in twice]
    assert [r.iteration for r in twice] == list(range(1, 41))
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
        drawn = list(islice(order(num, size, 0), 3 * parts))
        epochs = [torch.cat(drawn[k * parts : (k + 1) * parts]) for k in range(3)]
        for epoch in epochs:
            assert epoch.sort().values.tolist() == list(range(num))
        lengths = [len(batch) for batch in drawn]
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= size
        assert num < 7 or not torch.equal(epochs[0], epochs[1])


def test_every_image_comes_once_an_epoch_in_equal_parts():
    check_batches()


def test_planted_sampling_with_replacement_is_caught():
    def with_replacement(num, size, seed, first=0):
        while True:
            yield torch.randint(num, (min(num, size),), generator=rng(seed))

    with pytest.raises(AssertionError):
        check_batches(with_replacement)


def test_batches_start_at_any_iteration():
    whole = list(islice(batches(10, 3, 5), 20))
    for first in (1, 3, 4, 7, 13):
        for a, b in zip(whole[first:], batches(10, 3, 5, first), strict=False):
            assert torch.equal(a, b)
    assert not all(torch.equal(a, b) for a, b in zip(whole, batches(10, 3, 6), strict=False))


# ---- rates


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(linear_decay, [1.0, 0.75, 0.5, 0.25]), (constant, [1.0] * 4)],
    ids=["linear", "constant"],
)
def test_the_schedule_sets_the_optimisers_rates(schedule, expected):
    """γ_t = γ · schedule(t/T), for each group of its own γ, also where learning goes on."""
    learner = generator_learner()
    weights = list(learner.model.parameters())
    learner.optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 1e-4}, {"params": weights[1:], "lr": 1e-5}])
    rates = []
    for stop in (2, 4):
        for record in learn(learner, pictures(), num_iterations=4, schedule=schedule):
            rates.append([group["lr"] for group in learner.optimizer.param_groups])
            if record.iteration == stop:
                break
    assert rates == [pytest.approx([1e-4 * f, 1e-5 * f]) for f in expected]


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
    assert "choose a smaller one, or an adjusted kernel" in event
    small = generator_learner(kernel=mcmc.Langevin(0.1 * limit))
    small.optimizer = torch.optim.SGD(small.model.parameters(), lr=0.0)
    assert all(record.events == () for record in learn(small, pictures(), num_iterations=20))


def test_an_adapted_kernel_says_that_it_adapts_and_once_only():
    records = list(learn(generator_learner(kernel=mcmc.MALA(5.0)), pictures(), num_iterations=20))
    assert "it is adapted from there" in records[0].events[0]
    assert all(record.events == () for record in records[1:])


def test_stability_checks_change_no_number(monkeypatch):
    """What is told to the user draws from a stream of its own."""
    told, silent = (generator_learner(kernel=mcmc.Langevin(0.02)) for _ in range(2))
    list(learn(told, pictures(), num_iterations=5))
    monkeypatch.setattr(driver, "STABILITY_CHECKS", ())
    list(learn(silent, pictures(), num_iterations=5))
    assert same(all_of(told), all_of(silent))


class Touchy(nn.Module):
    """A network whose output is not a number from its ``calls``-th call in learning (with gradients by weight) on."""

    def __init__(self, network: nn.Module, healthy: int, value: float):
        super().__init__()
        self.network, self.healthy, self.value = network, healthy, value

    def forward(self, x):
        y = self.network(x)
        if next(self.parameters()).requires_grad:  # the learning step, not the chains
            self.healthy -= 1
            if self.healthy < 0:
                return y * self.value
        return y


def check_divergence(learner, images: Tensor, healthy: int) -> str:
    """Divergence is raised; neither weights nor chains are other than after the last good iteration."""
    good = None
    with pytest.raises(Divergence) as caught:  # noqa: PT012
        for _ in learn(learner, images, num_iterations=50):
            good = all_of(learner)
    assert learner.iteration == healthy
    assert good is not None
    assert same(all_of(learner), good)
    assert all(value.isfinite().all() for value in good.values() if value.is_floating_point())
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("make", [generator_learner, descriptor_learner], ids=["generator", "descriptor"])
def test_divergence_of_the_loss_is_raised_with_its_cause_and_touches_nothing(make, value):
    learner = make()
    learner.model.network = Touchy(learner.model.network, 3, value)
    message = check_divergence(learner, pictures(), 3)
    assert message.startswith("iteration 4 diverged: loss = ")
    assert "gradient_norm = nan" in message
    assert "stability limit 2/√λ_max = " in message


def test_divergence_of_the_chains_names_the_step_size_and_the_limit():
    """Unadjusted dynamics far beyond the limit: the message says so, with numbers."""
    model = Generator(nn.Linear(2, 5), 2, sigma=0.01)
    learner = GeneratorLearner(model, kernel=mcmc.Langevin(5.0), num_steps=10)
    images = torch.randn(4, 5, generator=rng())
    learner.begin(images, 4, rng=rng())
    before = all_of(learner)
    with pytest.raises(Divergence, match=r"step size 5 is above the stability limit 2/√λ_max = 0\.0\d+ \(λ_max = "):
        list(learn(learner, images, num_iterations=3, schedule=constant))
    for name, value in learner.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert learner.chains.positions.isfinite().all()


def test_planted_silence_about_divergence_is_caught(monkeypatch):
    """Trap 7: without `require_finite` the weights turn NaN, and the check sees it."""
    monkeypatch.setattr("anasyn.learning.generator.require_finite", lambda record: None)
    learner = generator_learner()
    learner.model.network = Touchy(learner.model.network, 3, math.nan)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_divergence(learner, pictures(), 3)
