"""A run: the directory that holds a learning run, to be resumed, sampled from, evaluated and reported."""

import dataclasses
import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import __version__
from ..data.images import ImageSet
from ..data.sources import full, load
from ..errors import InputError
from ..learning import DescriptorLearner, GeneratorLearner, Record
from ..recipes import RECIPES, Precision, Recipe
from . import checkpoint
from .build import build_learner, choose_device

__all__ = ["Run"]

Learner = GeneratorLearner | DescriptorLearner

FIGURES = (
    "training.png", "loss.png",
    "reconstructions.png", "samples.png", "interpolation.png", "latents.png",
    "synthesis.png", "chains.png", "long_run.png",
)  # fmt: skip
"""What is drawn into RUN/figures."""


@dataclass(frozen=True)
class Run:
    """A directory with config.json, data.json, metrics.jsonl, checkpoints/, and what is drawn from them.

    Args:
        path: the directory.
        name: the recipe's name.
        recipe: every setting, none left open.
    """

    path: Path
    name: str
    recipe: Recipe

    @classmethod
    def create(cls, path: Path, name: str, recipe: Recipe, images: ImageSet, *, overwrite: bool = False) -> Self:
        """Begins a run in a directory that is new or empty.

        Args:
            path: the directory.
            name: the recipe's.
            recipe: every setting, none left open.
            images: what is learned from.
            overwrite: whether a run that is there is deleted, and only that.

        Raises:
            InputError: the directory holds something else.
        """
        if overwrite and (path / "config.json").exists():
            cls.open(path).remove()
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path}: exists and is no run of anasyn; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "recipe": name,
            "settings": dataclasses.asdict(recipe),
            "data": {"fingerprint": images.fingerprint, "num_images": len(images)},
            "versions": {
                "anasyn": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "pillow": PIL.__version__,
            },
        }
        (path / "data.json").write_text(json.dumps({"names": images.names, "digests": images.digests}))
        # Last, since a directory is a run from the moment this file is there.
        _write_config(path, config)
        return cls(path, name, recipe)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in a directory.

        Raises:
            InputError: there is none, or its config.json is not one that this version writes.
        """
        file = path / "config.json"
        if not file.is_file():
            raise InputError(f"{path}: no run here (no config.json); expected a directory that `anasyn learn` wrote")
        try:
            config = json.loads(file.read_text())
            kind = type(RECIPES[config["recipe"]])
            recipe = kind(**config["settings"])
            for field in dataclasses.fields(recipe):
                if getattr(recipe, field.name) is None:
                    raise InputError(f"{field.name}: expected a value, got null")
            return cls(path, config["recipe"], recipe)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, InputError) as cause:
            raise InputError(f"{file}: not the settings of a run of this version ({cause})") from cause

    @property
    def is_generator(self) -> bool:
        """Whether the run learns a generator, not a descriptor."""
        return hasattr(self.recipe, "latent_dim")

    def images(self) -> ImageSet:
        """The images the run learns from.

        Raises:
            InputError: they are gone or have changed since the run began.
        """
        recipe = self.recipe
        assert recipe.data is not None
        assert recipe.size is not None
        images = load(recipe.data, recipe.size, fit=recipe.fit)
        began_with = self.data()
        if list(images.digests) != began_with["digests"]:
            now, then = set(images.digests), set(began_with["digests"])
            raise InputError(
                f"{recipe.data}: the images are not those that {self.path} began with "
                f"({len(now - then)} new, {len(then - now)} gone or changed); put them back or begin another run"
            )
        return images

    def data(self) -> dict[str, list[str]]:
        """The images' names and digests, in the order of their indices."""
        file = self.path / "data.json"
        try:
            content = json.loads(file.read_text())
            return {name: list(content[name]) for name in ("names", "digests")}
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as cause:
            raise InputError(f"{file}: not the list of a run's images ({cause})") from cause

    def settle(self, recipe: Recipe, name: str) -> Self:
        """The run with the settings asked for now, of which only the number of iterations may differ.

        Raises:
            InputError: another setting differs; the message names it.
        """
        if name != self.name:
            raise InputError(f"{self.path}: holds a run of {self.name}, not {name}; choose another --out")
        for field in dataclasses.fields(recipe):
            then, now = getattr(self.recipe, field.name), getattr(recipe, field.name)
            if field.name == "data" and now is not None:
                now = full(now)
            if field.name == "batch_size" and now is not None:
                now = min(now, len(self.data()["names"]))
            if field.name not in ("iterations", "device") and now is not None and now != "auto" and now != then:
                raise InputError(
                    f"{field.name}: {self.path} was begun with {then}, got {now}; "
                    "only iterations may change: use the first value, another --out, or --overwrite"
                )
        found = checkpoint.latest(self.path / "checkpoints")
        done = int(found.name) if found else 0
        iterations = max(recipe.iterations or self.recipe.iterations or 0, done)
        settled = dataclasses.replace(self.recipe, iterations=iterations, device=recipe.device)
        if settled != self.recipe:
            config = json.loads((self.path / "config.json").read_text())
            _write_config(self.path, config | {"settings": dataclasses.asdict(settled)})
        return dataclasses.replace(self, recipe=settled)

    def remove(self) -> None:
        """Deletes the run and nothing else that may lie in its directory."""
        for checkpoints in (self.path / "checkpoints").glob("*"):
            if checkpoints.name.removesuffix(".partial").isdigit():
                shutil.rmtree(checkpoints)
        # config.json last: what is left by an interrupt is still a run.
        files = ["data.json", "metrics.jsonl", "latents.safetensors", "diagnosis.json", "report.html", "config.json"]
        for name in (*(f"figures/{figure}" for figure in FIGURES), *files):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / "checkpoints", self.path / "figures"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def learner(self, *, precision: Precision | None = None) -> Learner:
        """The learner as its last checkpoint has it; a new one where there is none.

        Args:
            precision: of the network, where it is to be another than in learning.
        """
        recipe = dataclasses.replace(self.recipe, precision=precision) if precision else self.recipe
        device = choose_device(recipe.device)
        learner = build_learner(recipe, device)
        found = checkpoint.latest(self.path / "checkpoints")
        if found:
            tensors, state = checkpoint.read(found)
            try:
                _restore(learner, {name: tensor.to(device) for name, tensor in tensors.items()}, state)
            except (RuntimeError, ValueError, KeyError) as cause:
                raise InputError(f"{found}: not a checkpoint of the settings in {self.path}/config.json") from cause
        return learner

    def learned(self, *, precision: Precision | None = None) -> Learner:
        """The learner of a run that has one: `learner`, but never a new one.

        Raises:
            InputError: the run has no checkpoint yet.
        """
        if checkpoint.latest(self.path / "checkpoints") is None:
            raise InputError(f"{self.path}: nothing learned yet (no checkpoint); let `anasyn learn {self.name}` go on")
        return self.learner(precision=precision)

    def save(self, learner: Learner) -> None:
        """Writes a checkpoint of the learner as it stands."""
        state = {"iteration": learner.iteration}
        checkpoint.write(self.path / "checkpoints", learner.iteration, _tensors(learner), state)

    def log(self, record: Record) -> None:
        """Appends one iteration's line to metrics.jsonl."""
        line: dict[str, Any] = {
            "iteration": record.iteration,
            "loss": record.loss,
            "seconds": record.seconds,
            "acceptance_rate": record.acceptance_rate,
            "step_size": record.step_size,
            **record.measures,
        }
        if record.events:
            line["events"] = list(record.events)
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self, upto: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, to iteration ``upto``; a last line that was cut off is left out."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.is_file() else []
        try:
            whole = [json.loads(line) for line in lines if line.endswith("}")]
            return [line for line in whole if upto is None or line["iteration"] <= upto]
        except (json.JSONDecodeError, KeyError, TypeError) as cause:
            raise InputError(f"{file}: not one JSON object an iteration ({cause})") from cause

    def diagnosis(self) -> dict[str, Any] | None:
        """What `anasyn diagnose` said of the run; None where it has not been asked since the run last went on."""
        file = self.path / "diagnosis.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def rewind(self, iteration: int) -> None:
        """Takes back the lines of metrics.jsonl after the iteration that a run goes on from."""
        lines = self.metrics(upto=iteration)
        partial = self.path / "metrics.jsonl.partial"
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        partial.rename(self.path / "metrics.jsonl")

    def save_latents(self, z: Tensor) -> None:
        """Writes the inferred latent factors, (n, d), with the images' names in order."""
        names = json.dumps(self.data()["names"])
        save_file({"z": z.detach().cpu().contiguous()}, self.path / "latents.safetensors", {"names": names})

    def latents(self) -> Tensor:
        """The inferred latent factors, (n, d)."""
        return load_file(self.path / "latents.safetensors")["z"]


def _write_config(path: Path, config: dict[str, Any]) -> None:
    """config.json, whole or not at all."""
    partial = path / "config.json.partial"
    partial.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    partial.rename(path / "config.json")


def _tensors(learner: Learner) -> dict[str, Tensor]:
    """All that a learner is, by name: the weights, what the optimiser keeps of each, and the chains."""
    tensors = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    for number, slots in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{slot}": tensor for slot, tensor in slots.items() if tensor is not None}
    return tensors | {f"chains.{name}": tensor for name, tensor in learner.chains.state_dict().items()}


def _restore(learner: Learner, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """The inverse of `_tensors`."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    learner.model.load_state_dict(under("model."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under("optimizer.").items():
        number, slot = name.split(".")
        slots.setdefault(int(number), {})[slot] = tensor
    learner.optimizer.load_state_dict(learner.optimizer.state_dict() | {"state": slots})
    learner.chains.load_state_dict(under("chains."))
    learner.iteration = state["iteration"]
