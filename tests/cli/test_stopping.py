"""A run that is interrupted, killed or diverges: what it leaves, and that it ends as if nothing had happened."""

import json
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import anasyn
from anasyn.learning import Guard
from anasyn.report.live import is_live
from anasyn.run import metrics

from ..commands import Command, assert_same_run, learned
from .small import SMALL


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, signal.Signals], None]:
    """Lets a signal arrive in mid-run, while an iteration is being logged."""
    append = metrics.append

    def at(iteration: int, number: signal.Signals) -> None:
        def append_and_receive(file: Path, record: anasyn.Record) -> None:
            append(file, record)
            if record.iteration == iteration:
                signal.raise_signal(number)

        monkeypatch.setattr(metrics, "append", append_and_receive)

    return at


WAYS = [
    ("generator", "--kernel", "mala"),
    ("generator", "--kernel", "langevin", "--step-size", 0.01),
    ("generator", "--kernel", "hmc", "--step-size", 0.01),
    ("generator", "--kernel", "mala", "--batch-size", 4),
    ("generator", "--kernel", "mala", "--optimizer", "sgd", "--learning-rate", 1e-5, "--schedule", "constant"),
    ("descriptor", "--kernel", "langevin"),
    ("descriptor", "--kernel", "mala", "--start", "reference"),
    ("descriptor", "--kernel", "hmc", "--step-size", 0.002, "--start", "uniform"),
    ("descriptor", "--kernel", "langevin", "--batch-size", 4, "--chains-per-image", 2),
    ("descriptor", "--kernel", "langevin", "--batch-size", 4, "--start", "persistent"),
    ("descriptor", "--kernel", "langevin", "--precision", "bfloat16"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(map(str, way)))
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    way: tuple[object, ...],
    command: Command,
    cats: Path,
    tmp_path: Path,
    no_figures: None,
    interrupt: Callable[[int, signal.Signals], None],
) -> None:
    recipe, *options = way
    learn = ("learn", recipe, "--data", cats, *SMALL, *options, "--iterations", 9, "--quiet", "--out")
    assert command(*learn, tmp_path / "whole").status == 0
    for iteration, number, status in [(4, signal.SIGINT, 130), (5, signal.SIGTERM, 143)]:
        interrupt(iteration, number)
        stopped = command(*learn, tmp_path / "parts")
        assert stopped.status == status
        assert f"stopped and saved at iteration {iteration}" in stopped.err
        assert stopped.out == ""
        assert len(learned(tmp_path / "parts")[1]) == iteration
    assert command(*learn, tmp_path / "parts").status == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    command: Command, cats: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = ("learn", "generator", "--data", cats, *SMALL, "--iterations", 9, "--quiet", "--out")
    command(*learn, tmp_path / "whole")
    append = metrics.append

    class Killed(BaseException):
        pass

    def append_and_die(file: Path, record: anasyn.Record) -> None:
        append(file, record)
        if record.iteration == 6:
            with file.open("a") as opened:
                opened.write('{"iteration": 7, "lo')  # cut off
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("anasyn.run.session.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        patch.setattr("anasyn.run.session.SHARE", math.inf)
        patch.setattr(metrics, "append", append_and_die)
        with pytest.raises(Killed):
            command(*learn, tmp_path / "parts")
    assert [path.name for path in sorted((tmp_path / "parts" / "checkpoints").iterdir())] == ["00000004", "00000005"]
    assert command(*learn, tmp_path / "parts").status == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_signal_while_the_last_iteration_is_saved_is_heard(
    command: Command, cats: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = anasyn.Run.save

    def save_and_receive(run: anasyn.Run, learner: anasyn.GeneratorLearner, guard: Guard) -> None:
        signal.raise_signal(signal.SIGTERM)
        save(run, learner, guard)

    learn = ("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(anasyn.Run, "save", save_and_receive)
        stopped = command(*learn)
    assert (stopped.status, stopped.out) == (143, "")
    assert len(learned(tmp_path / "run")[1]) == 4
    assert command(*learn).out == f"{tmp_path / 'run' / 'figures'}\n"
    assert (tmp_path / "run" / "report.html").exists()


def test_a_run_stopped_while_its_figures_are_drawn_draws_them_later(
    command: Command, cats: Path, descriptor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anasyn.report import figures

    run = shutil.copytree(descriptor, tmp_path / "run")
    shutil.rmtree(run / "figures")
    (run / "report.html").unlink()
    learn = ("learn", "descriptor", "--data", cats, *SMALL, "--out", run)
    with monkeypatch.context() as patch:
        patch.setattr(figures, "save", lambda *_: signal.raise_signal(signal.SIGINT))
        stopped = command(*learn)
    assert stopped.status == 130
    assert stopped.err.splitlines()[-1] == "anasyn: stopped"
    done = command(*learn)
    assert (done.status, done.out) == (0, f"{run / 'figures'}\n")
    assert len(list((run / "figures").iterdir())) == 4


def test_a_stopped_run_leaves_its_report_so_far(
    command: Command, cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the final one is missing the same command draws it, though the last iteration is done."""
    learn = ("learn", "generator", "--data", cats, "--out", tmp_path / "run", *SMALL, "--quiet")
    report = tmp_path / "run" / "report.html"
    with monkeypatch.context() as patch:
        patch.setattr("anasyn.report.live.Pace.is_due", lambda self: True)
        patch.setattr("anasyn.report.gallery.write", lambda *_: signal.raise_signal(signal.SIGINT))
        assert command(*learn, "--iterations", 2).status == 130
    assert is_live(report)
    assert command(*learn, "--iterations", 2).status == 0
    assert is_live(report) is False
    assert (tmp_path / "run" / "figures" / "loss.png").exists()


@pytest.mark.parametrize("recipe", ["generator", "descriptor"])
def test_a_run_with_far_too_large_a_step_is_rolled_back_and_ends(
    recipe: str, command: Command, cats: Path, tmp_path: Path, no_figures: None
) -> None:
    options = ("--kernel", "langevin", "--num-steps", 60, "--step-size", 10, "--quiet")
    done = command("learn", recipe, "--data", cats, "--out", tmp_path, *SMALL, *options)
    assert done.status == 0
    warned, rolled_back, *more = done.err.splitlines()
    assert not any(line.startswith("anasyn: ") for line in more)
    assert warned.startswith("warning: iteration 1: step size 10 is above the stability limit 2/√λ_max = ")
    assert rolled_back.startswith("warning: iteration 1: rolled back from iteration 1 to 0: loss = ")
    assert "step size 10 is above the stability limit 2/√λ_max = " in rolled_back
    assert "; from here step sizes × 0.0" in rolled_back
    tensors, metrics = learned(tmp_path)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert [line["iteration"] for line in metrics] == [1, 2, 3, 4]
    assert [f"warning: iteration 1: {event}" for event in metrics[0]["events"]] == [warned, rolled_back]
    assert all(line["step_size"] < 1 for line in metrics)


@pytest.mark.parametrize("recipe", ["generator", "descriptor"])
def test_a_divergent_run_fails_with_its_cause_and_its_weights(
    recipe: str, command: Command, cats: Path, tmp_path: Path
) -> None:
    learn = ("learn", recipe, "--data", cats, "--out", tmp_path, *SMALL, "--learning-rate", 1e30, "--quiet")
    for _ in range(2):  # the same command again meets the same
        done = command(*learn)
        assert (done.status, done.out) == (1, "")
        last = done.err.splitlines()[-1]
        assert last.startswith("anasyn: iteration 1 diverged: the weights are not finite; 8 rollbacks did not help")
        assert "; 8 rollbacks did not help; the run is saved as it was at iteration 0; begin another run with " in last
        assert last.endswith("a smaller learning rate")
        tensors, _ = learned(tmp_path)
        assert len(tensors) > 4
        assert all(tensor.isfinite().all() for tensor in tensors.values())
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000000"]
        assert "the weights are not finite; 8 rollbacks did not help" in (tmp_path / "report.html").read_text()


def test_guard_off_lets_divergence_run_and_saves_none_of_it(command: Command, cats: Path, tmp_path: Path) -> None:
    """Without a guard the weights turn NaN, which is what they would always do; what is saved is finite still."""
    wild = ("--kernel", "langevin", "--step-size", 40, "--scale", 1, "--reference-std", 0.4, "--num-steps", 40)
    learn = ("learn", "descriptor", "--data", cats, "--out", tmp_path, *SMALL, "--iterations", 12, *wild, "--quiet")
    done = command(*learn, "--guard", "off")
    assert done.status == 1
    assert "is not finite and is not saved" in done.err.splitlines()[-1]
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 12
    assert losses[-1] != losses[-1]  # NaN
    assert not list(tmp_path.glob("checkpoints/*"))
    assert anasyn.Run.open(tmp_path).saved_iteration() is None
