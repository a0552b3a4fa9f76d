"""TensorBoard and Weights & Biases are told what metrics.jsonl is told, and shown images."""

import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from anasyn.data.sources import load
from anasyn.errors import InputError
from anasyn.learning import Record
from anasyn.methods import GeneratorSettings, Scale
from anasyn.report import loggers
from anasyn.run import Run, advance


def logged(path: Path, service: loggers.Service) -> Run:
    recipe = GeneratorSettings(
        data="drawn-cats", size=16, width=8, iterations=3, num_steps=2, latent_dim=2, precision="float32"
    ).resolve(Scale(16, 16, False))
    images = load("drawn-cats", 16)
    run = Run.create(path, "generator", recipe, images)
    learner, guard = run.resume()
    log = loggers.open_log(service, run, images)
    for record in advance(run, learner, guard, images):
        log.update(learner, record)
    log.update(learner, Record(1.0, 0.5, 0.1, {}, 4, events=("rolled back",)))
    log.close(learner)
    return run


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'anasyn[tensorboard]' to have this test run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = logged(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    lines = run.metrics()
    for name in ("loss", "mse", "acceptance_rate"):
        told = [(event.step, event.value) for event in events.Scalars(name)][:3]
        assert told == [(line["iteration"], pytest.approx(line[name], rel=1e-6)) for line in lines]
    assert len(events.Tags()["images"]) == 3
    assert events.Images(events.Tags()["images"][0])[0].width == 8 * 16
    assert events.Tensors("events/text_summary")[0].tensor_proto.string_val == [b"rolled back"]


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="pip install 'anasyn[wandb]' to have this test run")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    run = logged(tmp_path / "run", "wandb")
    (folder,) = (run.path / "wandb").glob("offline-run-*")
    assert len(list(folder.rglob("*.png"))) == 3
    assert wandb.run is None
    (log,) = folder.glob("*.wandb")
    numbers = [line[name] for line in run.metrics() for name in ("loss", "mse", "acceptance_rate")]
    deadline = time.monotonic() + 60
    while not all(f"{number:.10g}"[:9].encode() in records(log) for number in numbers):
        assert time.monotonic() < deadline  # wandb's own process writes the file, also after `finish` has returned
        time.sleep(0.1)


def records(log: Path) -> bytes:
    """The content of a log of wandb without the headers of its blocks of 32 KiB, which may divide a number."""
    blocks = log.read_bytes()
    return b"".join(blocks[at + (7 if at else 0) : at + 2**15] for at in range(0, len(blocks), 2**15))


def test_a_service_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    nothing: Any = None
    with pytest.raises(InputError, match=r"--log wandb: wandb is not installed; pip install 'anasyn\[wandb\]'"):
        loggers.open_log("wandb", nothing, nothing)
