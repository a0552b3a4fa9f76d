"""Records that are read, and judged, some iterations later, as on a GPU: what is learned is the same, and kept safe.

The CPU is told to do as a GPU does. That nothing waits for the GPU is tested on PyTorch's device "meta", whose tensors
have shapes and no values: whoever asks for one fails.
"""

import math
import shutil
from collections.abc import Container, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from anasyn import learn, mcmc
from anasyn.data import ImageSet
from anasyn.learning import Divergence, Guard, Learner, Record, driver, tensors_of
from anasyn.methods import GeneratorSettings
from anasyn.run import Run, advance, session

from ..distributed import cases
from ..planting import plant

LATE = 3
METHODS = ["generator in batches", "generator, σ of all", "generator under masks", "descriptor, persistent",
           "descriptor, fitted", "latent prior", "cooperative", "recovery"]  # fmt: skip
STRETCH = ("anasyn.learning.driver:Loop._advance", "self.guard.due(t)", "False")


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(driver.READ_TOGETHER, "cpu", LATE)


def begun(name: str, num_iterations: int, **options: object) -> tuple[Learner, Iterator[Record]]:
    """A learner of a case, and the records of its learning."""
    case = cases.CASES[name]
    torch.manual_seed(0)
    learner = case.make()
    images = cases.IMAGES.float()
    if case.masked:
        seen = torch.rand(cases.NUM, 1, cases.SIDE, cases.SIDE, generator=torch.Generator().manual_seed(0)) > 0.3
        images = cases.Observed(images, cases.Mask(seen))
    held_out = cases.KEPT_ASIDE.float() if case.held_out else None
    options = {"num_iterations": num_iterations, "batch_size": case.batch_size, "held_out": held_out} | options
    return learner, learn(learner, images, **options)


def copied(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors_of(learner).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- what is learned


@pytest.mark.parametrize("name", METHODS)
def test_the_same_is_learned_to_the_last_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, chains, moments and records, over a number of iterations that is no multiple."""
    found = []
    for together in (LATE, 1):
        monkeypatch.setitem(driver.READ_TOGETHER, "cpu", together)
        learner, records = begun(name, 8)
        found.append(([replace(record, seconds=0.0) for record in records], copied(learner)))
    (late, late_tensors), (prompt, tensors) = found
    assert late == prompt
    assert same(late_tensors, tensors)


def test_the_learner_is_ahead_of_its_records_by_no_more_than_that() -> None:
    learner, records = begun("recovery", 8)
    assert [learner.iteration - record.iteration for record in records] == [2, 1, 0, 2, 1, 0, 1, 0]


def check_kept_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every iteration before a state that is kept has been watched."""
    monkeypatch.setattr("anasyn.learning.guard.ITERATIONS_BETWEEN_GOOD_STATES", 4)
    watched, kept = [], []
    watch, keep = Guard.watch, Guard.keep

    def watching(guard: Guard, record: Record) -> None:
        watched.append(record)
        watch(guard, record)

    def keeping(guard: Guard, learner: Learner) -> None:
        before = guard.good
        keep(guard, learner)
        if guard.good is not before:
            kept.append((learner.iteration, len(watched)))

    monkeypatch.setattr(Guard, "watch", watching)
    monkeypatch.setattr(Guard, "keep", keeping)
    list(begun("recovery", 10)[1])
    assert kept == [(0, 0), (4, 4), (8, 8)]


def test_a_state_is_kept_only_after_all_before_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    check_kept_states(monkeypatch)


def test_planted_a_state_kept_unjudged_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    where, old, new = STRETCH
    plant(monkeypatch, where, {old: new})
    with pytest.raises(AssertionError):
        check_kept_states(monkeypatch)


# ---- divergence


def spoil(learner: Learner, spoiled: Container[int]) -> None:
    """Makes the weights NaN at these calls of the optimiser, counted from 0."""
    step, calls = learner.optimizer.step, count()

    def spoiling() -> None:
        step()
        if next(calls) in spoiled:
            with torch.no_grad():
                for weight in learner.model.parameters():
                    weight.fill_(math.nan)

    learner.optimizer.step = spoiling


@pytest.mark.parametrize("name", METHODS)
def test_what_follows_a_divergence_is_undone(name: str) -> None:
    """The eighth iteration spoils the weights; only the record of the ninth tells."""
    learner, records = begun(name, 12)
    first = next(records)
    spoil(learner, {7 - LATE})  # three iterations are done
    records = [first, *records]
    assert [record.iteration for record in records] == [*range(1, 7), *range(1, 13)]
    assert [record.rolled_back for record in records] == [k == 6 for k in range(18)]
    assert any(event.startswith("rolled back from iteration 9 to 0: loss = nan") for event in records[6].events)
    assert all(math.isfinite(x) for record in records for x in (record.loss, *record.measures.values()))
    assert all(tensor.isfinite().all() for tensor in copied(learner).values())


def test_an_expansion_by_chains_that_are_not_finite_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which without a Metropolis correction they become before their record is read."""
    made = cases.Case(lambda: cases.generator(mcmc.Langevin(0.03), expansion=0.3), 8)
    monkeypatch.setitem(cases.CASES, "expanded", made)
    learner, records = begun("expanded", 6)
    spoil(learner, {2})
    assert [record.rolled_back for record in records] == [True, *[False] * 5]
    assert all(tensor.isfinite().all() for tensor in copied(learner).values())


def test_a_divergence_of_the_last_weights_is_found() -> None:
    learner, records = begun("recovery", 3)
    spoil(learner, {3})  # after the one that primes the optimiser
    records = list(records)
    assert [record.iteration for record in records] == [1, 2, 3]
    assert any("rolled back from iteration 3 to 0: the weights are not finite" in event for event in records[0].events)
    assert all(tensor.isfinite().all() for tensor in copied(learner).values())


def test_a_divergence_that_lasts_is_raised() -> None:
    """In the last good state, and with the record of the iteration that told."""
    learner, records = begun("recovery", 12)
    next(records)
    spoil(learner, range(100))
    with pytest.raises(Divergence, match=r"^iteration 2 diverged: loss = nan.*8 rollbacks did not help$") as trouble:
        list(records)
    assert (trouble.value.record.iteration, learner.iteration) == (2, 0)
    assert ["rolled back" in event for event in trouble.value.record.events] == [True] * 8 + [False]
    assert all(tensor.isfinite().all() for tensor in copied(learner).values())


# ---- runs


def run_of(path: Path, iterations: int = 11) -> tuple[Run, ImageSet]:
    recipe = GeneratorSettings(
        data="drawn-cats", size=16, channels="3", num_steps=2, width=8, batch_size=5, iterations=iterations,
        precision="float32", latent_dim=2, sigma=0.3, hold_out=0.0, average=0.9, precondition="on", step_size=1.0,
    )  # fmt: skip
    images = recipe.read((16, 16), 3)
    return Run.create(path, "generator", recipe, images), images


def outcome(run: Run) -> tuple[list[dict[str, object]], dict[str, Tensor]]:
    """All that a run ends with, clock times aside."""
    lines = [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics()]
    return lines, tensors_of(run.resume()[0])


def finished(run: Run, images: ImageSet) -> tuple[list[dict[str, object]], dict[str, Tensor]]:
    list(advance(run, *run.resume(), images))
    return outcome(run)


@pytest.mark.parametrize("last", range(1, 7))
def test_a_run_that_is_stopped_anywhere_goes_on_bit_for_bit(last: int, tmp_path: Path) -> None:
    """It is saved where the learner stands, with the records of all that the learner has done."""
    whole, images = run_of(tmp_path / "whole")
    stopped, _ = run_of(tmp_path / "stopped")
    records = advance(stopped, *stopped.resume(), images)
    for _ in range(last):
        next(records)
    records.close()
    at = LATE * math.ceil(last / LATE)
    assert stopped.saved_iteration() == at
    assert [line["iteration"] for line in stopped.metrics()] == [*range(1, at + 1)]
    lines, tensors = finished(stopped, images)
    expected, others = finished(whole, images)
    assert lines == expected
    assert same(tensors, others)


def test_a_run_that_is_killed_anywhere_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the disk after each record is what a killed run goes on from."""
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    monkeypatch.setattr(session, "SHARE", math.inf)
    whole, images = run_of(tmp_path / "whole", 7)
    for record in advance(whole, *whole.resume(), images):
        shutil.copytree(whole.path, tmp_path / str(record.iteration))
    expected, tensors = outcome(whole)
    for killed in range(1, 7):
        run = Run.open(tmp_path / str(killed))
        assert (run.saved_iteration() or 0) == killed // LATE * LATE
        lines, others = finished(run, images)
        assert lines == expected
        assert same(tensors, others)


def test_a_signal_stops_a_run_where_the_learner_stands(tmp_path: Path) -> None:
    run, images = run_of(tmp_path / "run")
    stopped: list[int] = []
    records = []
    for record in advance(run, *run.resume(), images, stopped=stopped):
        records.append(record.iteration)
        if record.iteration == 4:
            stopped.append(15)
    assert records == [1, 2, 3, 4, 5, 6]
    assert run.saved_iteration() == 6


def test_no_save_has_a_number_that_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved whenever it may be, while the weights become NaN again and again."""
    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    monkeypatch.setattr(session, "SHARE", math.inf)
    saves = []
    save = Run.save

    def saving(run: Run, learner: Learner, guard: Guard) -> None:
        saves.append(all(tensor.isfinite().all() for tensor in tensors_of(learner).values()))
        save(run, learner, guard)

    monkeypatch.setattr(Run, "save", saving)
    run, images = run_of(tmp_path / "run")
    learner, guard = run.resume()
    records = advance(run, learner, guard, images)
    spoil(learner, {2, 11, 18})
    *_, last = records
    assert len(saves) > 3
    assert all(saves)
    assert guard.rollbacks == 3
    assert math.isfinite(last.loss)
    assert [line["iteration"] for line in run.metrics()] == [*range(1, 12)]


# ---- nothing is waited for


class Copies(TorchDispatchMode):
    """Counts the copies to the device that the CPU would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.overloadpacket.__name__ == "_to_copy" and args[0].device.type == "cpu":
            self.found += torch.device(kwargs.get("device") or "cpu").type == "meta" and not kwargs.get("non_blocking")
        return function(*args, **kwargs)


def unread(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Iterations until a value is asked for, and copies waited for on the way from the first iteration on."""
    monkeypatch.setitem(driver.READ_TOGETHER, "meta", LATE)
    monkeypatch.setattr(driver, "STABILITY_CHECKS", ())  # they read
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())  # there is none for "meta"
    learner, records = begun(name, 6)
    learner.model.to("meta")
    learner.start = "prior"  # as principal components are those of values
    steps, step = [], learner.step

    def counted(*args: object, **options: object) -> Record:
        steps.append(copies.found)
        return step(*args, **options)

    learner.step = counted
    with Copies() as copies, pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        next(records)
    return len(steps), copies.found - steps[0]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "descriptor, fitted"])
def test_iterations_follow_each_other_without_a_look(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unread(name, monkeypatch) == (LATE, 0)


def test_the_rate_of_a_fitted_descriptor_depends_on_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unread("descriptor, fitted", monkeypatch)[0] == 1


@pytest.mark.parametrize(
    ("where", "old", "new"),
    [
        ("anasyn.learning.driver:Loop._watch", "if self.together == 1", "if True"),
        (
            "anasyn.learning.driver:Loop._iterate",
            "update_average(learner)",
            "bool(next(learner.model.parameters()).sum())",
        ),
        ("anasyn.learning.loading:loaded", "non_blocking=True", "non_blocking=False"),
    ],
    ids=["a record read at once", "a weight looked at", "a copy waited for"],
)
def test_planted_looks_are_caught(where: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, where, {old: new})
    assert unread("generator in batches", monkeypatch) != (LATE, 0)
