"""The guard detects each kind of trouble before the weights change, rolls back, and lowers rates or step sizes."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from anasyn import CooperativeLearner, DescriptorLearner, Divergence, GeneratorLearner, learn, mcmc
from anasyn.cli import main
from anasyn.learning import Guard, Record, constant, non_finite, tensors_of
from anasyn.learning.guard import ITERATIONS_BETWEEN_GOOD_STATES, MAX_ROLLBACKS, PATIENCE
from anasyn.models import Cooperative, Descriptor, Generator, networks
from anasyn.run import Run

NORMAL = {
    "generator": Record(100.0, 0.5, 0.1, {"mse": 0.1, "z_mean_square": 1.0, "z_max": 2.0}),
    "descriptor": Record(-5.0, 0.5, 0.1, {"energy_gap": 5.0, "pixel_max": 1.5}),
    "cooperative": Record(-5.0, 0.5, 0.1, {"energy_gap": 5.0, "pixel_max": 1.5, "z_mean_square": 1.0}),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, size: int = 8) -> Tensor:
    coarse = torch.rand(n, 3, 2, 2, generator=rng()) * 1.6 - 0.8
    return nn.functional.interpolate(coarse, size=size, mode="bilinear").contiguous(memory_format=torch.channels_last)


def generator_learner(**options) -> GeneratorLearner:
    torch.manual_seed(0)
    return GeneratorLearner(Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.3), **options)


def descriptor_learner(**options) -> DescriptorLearner:
    torch.manual_seed(0)
    model = Descriptor(networks.conv(8, (6, 8), strides=2), 0.4, scale=5000.0)
    return DescriptorLearner(model, **{"kernel": mcmc.Langevin(0.02), "num_steps": 5, "data_noise": 0.03} | options)


def cooperative_learner(**options) -> CooperativeLearner:
    model = Cooperative(generator_learner().model, descriptor_learner().model)
    return CooperativeLearner(model, **{"kernel": mcmc.Langevin(0.02), "num_steps": 5, "data_noise": 0.03} | options)


LEARNERS = {"generator": generator_learner, "descriptor": descriptor_learner, "cooperative": cooperative_learner}
each = pytest.mark.parametrize("kind", LEARNERS)


def guard_of(kind: str) -> Guard:
    guard = Guard()
    kernel = {"kernel": mcmc.MALA(0.02)}
    guard.begin(LEARNERS[kind](**kernel), pictures(), batch_size=3)
    return guard


# ---- each kind of trouble


@each
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("what", ["loss", "step_size", "gradient_norm", "position"])
def test_what_is_not_finite_is_trouble_at_once(kind: str, what: str, value: float) -> None:
    normal, name = NORMAL[kind], what
    if what == "position":
        name = "z_max" if kind == "generator" else "pixel_max"
    known = name in ("loss", "step_size")
    record = replace(normal, **{name: value}) if known else replace(normal, measures=normal.measures | {name: value})
    with pytest.raises(Divergence, match=f"{name} = {value}"):
        guard_of(kind).watch(record)


def test_z_that_has_left_its_prior_is_trouble_at_once() -> None:
    normal = NORMAL["generator"]
    with pytest.raises(Divergence, match=r"z_mean_square = 26 is above 25: z has left its prior"):
        guard_of("generator").watch(replace(normal, measures=normal.measures | {"z_mean_square": 26.0}))


def test_chains_outside_the_data_s_range_are_trouble_at_once() -> None:
    normal = NORMAL["descriptor"]
    with pytest.raises(Divergence, match=r"pixel_max = 5.1 is above 5: the chains have left the data's range"):
        guard_of("descriptor").watch(replace(normal, measures=normal.measures | {"pixel_max": 5.1}))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_energy_gap_is_trouble_when_it_is_one_signed_and_too_large(sign: int) -> None:
    """D = 192 pixels, l = 5, δ = 0.02: the limit is D · 2/(l δ²) = 192,000."""
    guard = guard_of("descriptor")

    def after(gap: float) -> None:
        guard.watch(replace(NORMAL["descriptor"], measures={"energy_gap": sign * gap, "pixel_max": 1.5}))

    for number in range(200):
        after(2e5 * (-1) ** number)  # it changes its sign: tolerated up to ten times the limit
    for _ in range(200):
        after(1.9e5)
    for _ in range(PATIENCE - 1):
        after(-3e5)  # the sign has changed: the count starts again
    with pytest.raises(Divergence, match=r"energy_gap = 3e\+05 is above 1.92e\+05: grown past"):
        after(-3e5)
    with pytest.raises(Divergence, match=r"energy_gap = 2e\+06"):  # more than ten times the limit is never tolerated
        guard_of("descriptor").watch(
            replace(NORMAL["descriptor"], measures={"energy_gap": sign * 2e6, "pixel_max": 1.5})
        )


@each
def test_nothing_accepted_is_trouble_after_some_visits_of_every_chain(kind: str) -> None:
    """6 images in batches of 3: 20 visits are 40 iterations. An unadjusted kernel rejects nothing."""
    refused = replace(NORMAL[kind], acceptance_rate=0.001)
    guard = guard_of(kind)
    for number in range(200):
        guard.watch(refused if number % 39 else NORMAL[kind])
    guard.watch(NORMAL[kind])
    for _ in range(2 * PATIENCE - 1):
        guard.watch(refused)
    with pytest.raises(Divergence, match=r"acceptance_rate below 0\.01 for 40 iterations"):
        guard.watch(refused)
    unadjusted = Guard()
    unadjusted.begin(LEARNERS[kind](kernel=mcmc.Langevin(0.01)), pictures(), batch_size=3)
    for _ in range(3 * PATIENCE):
        unadjusted.watch(refused)


def test_a_generator_that_gets_worse_is_trouble() -> None:
    normal, guard = NORMAL["generator"], guard_of("generator")
    worse = replace(normal, measures=normal.measures | {"mse": 0.16})
    guard.watch(normal)
    for _ in range(PATIENCE - 1):
        guard.watch(worse)
    with pytest.raises(Divergence, match=r"mse = 0.16 is above 1.5 times its first value, 0.1, for 20 iterations"):
        guard.watch(worse)


def test_weights_that_overflow_are_trouble() -> None:
    learner, guard = generator_learner(), Guard()
    guard.watch_weights(learner.model, NORMAL["generator"])
    next(learner.model.parameters()).data[0] = math.inf
    with pytest.raises(Divergence, match="weights are not finite"):
        guard.watch_weights(learner.model, NORMAL["generator"])
    Guard(active=False).watch_weights(learner.model, NORMAL["generator"])


def test_weights_that_overflow_are_answered_by_a_smaller_rate() -> None:
    """In any iteration: the step sizes are not the cause."""
    learner, guard = generator_learner(kernel=mcmc.MALA(0.02)), Guard()
    learner.optimizer = torch.optim.SGD(learner.model.parameters(), lr=1e38)
    with pytest.raises(Divergence, match="the weights are not finite; 8 rollbacks did not help") as caught:
        list(learn(learner, pictures(), num_iterations=3, guard=guard))
    assert guard.rate_factor == 0.5**8
    assert caught.value.record is not None
    assert torch.equal(learner.chains.step_sizes, torch.full((6,), 0.02))


@each
def test_an_inactive_guard_sees_nothing(kind: str) -> None:
    guard = Guard(active=False)
    guard.begin(LEARNERS[kind](), pictures(), batch_size=3)
    guard.watch(replace(NORMAL[kind], loss=math.nan))
    guard.keep(LEARNERS[kind]())
    assert guard.good == {}


# ---- rolling back


class Poisoned(nn.Module):
    """A network whose output is NaN in the learning step of iteration ``at``, the first ``times`` times."""

    def __init__(self, network: nn.Module, at: int, times: int):
        super().__init__()
        self.network, self.at, self.times = network, at, times
        self.learner: list = []

    def forward(self, x: Tensor) -> Tensor:
        y = self.network(x)
        if (
            self.training
            and torch.is_grad_enabled()
            and any(weight.requires_grad for weight in self.parameters())
            and self.learner[0].iteration == self.at
            and self.times
        ):
            self.times -= 1
            return y * math.nan
        return y


def poisoned(kind: str, at: int, times: int):
    learner = LEARNERS[kind](kernel=mcmc.MALA(0.02))
    model = learner.model.generator if kind == "cooperative" else learner.model
    model.network = Poisoned(model.network, at, times)
    model.network.learner = [learner]
    learner.optimizer = torch.optim.Adam(learner.model.parameters(), lr=0.001)
    return learner


@each
def test_a_rollback_takes_everything_back_to_the_last_good_state(kind: str) -> None:
    learner, guard = poisoned(kind, at=57, times=1), Guard()
    at_50, iterations, rolled_back = {}, [], None
    for record in learn(learner, pictures(), num_iterations=60, batch_size=3, guard=guard, schedule=constant):
        iterations.append(record.iteration)
        if record.iteration == 50 and not at_50:
            at_50 = {name: tensor.clone() for name, tensor in tensors_of(learner).items()}
        if record.rolled_back:
            rolled_back = record
    assert iterations == [*range(1, 58), *range(51, 61)]
    assert rolled_back is not None
    assert rolled_back.iteration == 51
    assert "rolled back from iteration 58 to 50: loss = nan" in rolled_back.events[0]
    assert "stability limit 2/√λ_max = " in rolled_back.events[0]
    assert "learning rate × 0.5" in rolled_back.events[0]
    assert (guard.rollbacks, guard.rate_factor, guard.good_iteration) == (1, 0.5, 50)
    assert guard.good.keys() == at_50.keys()
    assert all(torch.equal(guard.good[name], tensor) for name, tensor in at_50.items())
    assert learner.optimizer.param_groups[0]["lr"] == 0.0005


@each
def test_rates_and_step_sizes_are_lowered_in_turn(kind: str) -> None:
    learner, guard = poisoned(kind, at=53, times=4), Guard()
    events = [record.events for record in learn(learner, pictures(), num_iterations=60, guard=guard, schedule=constant)]
    changes = [event.split("from here ")[1] for each in events for event in each if "rolled back" in event]
    assert [change.split(" × ")[0] for change in changes] == [
        "learning rate",
        "step sizes",
        "learning rate",
        "step sizes",
    ]
    assert guard.rate_factor == 0.25


@each
def test_in_the_first_iteration_after_a_good_state_only_a_smaller_step_can_help(kind: str) -> None:
    learner, guard = poisoned(kind, at=50, times=3), Guard()
    events = [event for record in learn(learner, pictures(), num_iterations=52, guard=guard) for event in record.events]
    changes = [event.split("from here ")[1] for event in events if "rolled back" in event]
    assert [change.split(" × ")[0] for change in changes] == ["step sizes"] * 3
    assert guard.rate_factor == 1


def test_an_unstable_step_is_cut_below_the_stability_limit() -> None:
    learner = generator_learner(kernel=mcmc.Langevin(3.0), num_steps=10)
    first = next(iter(learn(learner, pictures(), num_iterations=3)))
    told = next(event for event in first.events if "rolled back" in event)
    limit = float(told.split("2/√λ_max = ")[1].split(" ")[0])
    assert first.step_size == pytest.approx(0.9 * limit, rel=0.01)


@each
def test_after_eight_rollbacks_it_stops_at_the_last_good_state(kind: str) -> None:
    learner = poisoned(kind, at=57, times=99)
    with pytest.raises(Divergence, match=r"iteration 58 diverged: loss = nan.*; 8 rollbacks did not help") as caught:
        list(learn(learner, pictures(), num_iterations=60))
    assert learner.iteration == ITERATIONS_BETWEEN_GOOD_STATES
    assert non_finite(learner) is None
    assert caught.value.advice
    assert caught.value.record is not None
    assert caught.value.record.iteration == 58
    assert MAX_ROLLBACKS == 8


def test_a_state_in_trouble_is_no_good_state() -> None:
    """Above half a limit a state is not kept: it may be too late to roll back to it once the limit is exceeded."""
    guard, learner = Guard(), generator_learner()
    list(learn(learner, pictures(), num_iterations=10, guard=guard))
    assert guard.good_iteration == 0
    record = NORMAL["generator"]
    guard.watch(replace(record, measures=record.measures | {"z_mean_square": 13.0}))
    learner.iteration = 50
    guard.keep(learner)
    assert guard.good_iteration == 0
    guard.watch(record)
    guard.keep(learner)
    assert guard.good_iteration == 50


# ---- no false alarms, no missed ones


@pytest.mark.parametrize("recipe", ["generator", "descriptor"])
@pytest.mark.parametrize("kernel", ["langevin", "mala", "hmc"])
def test_learning_that_goes_well_is_left_alone(recipe: str, kernel: str, tmp_path: Path, no_figures: None) -> None:
    step = ["--step-size", "0.003"] if (recipe, kernel) == ("generator", "langevin") else []
    small = ["--size=16", "--width=8", "--iterations=70", "--num-steps=5", "--precision=float32", "--quiet"]
    out = str(tmp_path / "run")
    assert main(["learn", recipe, "--data=drawn-cats", "--out", out, "--kernel", kernel, *step, *small]) == 0
    assert not any("rolled back" in event for line in Run.open(Path(out)).metrics() for event in line.get("events", []))


def test_a_descriptor_that_runs_away_is_stopped_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture, no_figures: None
) -> None:
    """An adjusted kernel started far from the data: f grows steeper without bound, and its steps vanish."""
    arguments = ["--data=drawn-egrets", "--kernel=mala", "--start=mean", "--learning-rate=0.003", "--iterations=400"]
    small = ["--size=16", "--width=16", "--num-steps=10", "--precision=float32", "--quiet", "--schedule=constant"]
    out = tmp_path / "run"
    status = main(["learn", "descriptor", "--out", str(out), *arguments, *small])
    events = [event for line in Run.open(out).metrics() for event in line.get("events", [])]
    assert any("energy_gap = " in event or "acceptance_rate below" in event for event in events), capsys.readouterr()
    assert status in (0, 1)
