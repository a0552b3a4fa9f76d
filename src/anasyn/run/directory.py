"""A run: the directory that holds a learning run, to be resumed, sampled from, evaluated and reported."""

import dataclasses
import json
import logging
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
from ..data import ImageSet
from ..data.sources import full, load
from ..errors import InputError
from ..learning import Guard, Record
from ..recipes import RECIPES, Precision, Recipe
from . import checkpoint, saved
from .build import build_learner, choose_device
from .files import flush, replace
from .saved import Learner

__all__ = ["Run"]

log = logging.getLogger(__name__)

LEFT_BEHIND = {".lock", "data.json", "data.json.partial", "config.json.partial"}
"""What a process that was killed before it had begun a run may leave in its directory."""

MOST_NAMED = 8
"""Images that a message names."""

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
        elif path.exists() and (not path.is_dir() or {file.name for file in path.iterdir()} - LEFT_BEHIND):
            raise InputError(f"{path}: exists and is no run of anasyn; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "recipe": name,
            "settings": dataclasses.asdict(recipe),
            "data": {"fingerprint": images.fingerprint, "num_images": len(images)},
            "versions": versions(),
        }
        replace(path / "data.json", _listed(images))
        # Last, since a directory is a run from the moment this file is there.
        replace(path / "config.json", json.dumps(config, indent=2) + "\n")
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
                if field.name not in config["settings"]:
                    raise InputError(f"{field.name}: missing")
                if getattr(recipe, field.name) is None:
                    raise InputError(f"{field.name}: expected a value, got null")
            return cls(path, config["recipe"], recipe)
        except (ValueError, KeyError, TypeError, RecursionError) as cause:  # InputError is a ValueError
            raise InputError(f"{file}: not the settings of a run of this version ({cause})") from cause

    @property
    def is_generator(self) -> bool:
        """Whether the run learns a generator, not a descriptor."""
        return hasattr(self.recipe, "latent_dim")

    def images(self) -> ImageSet:
        """The images the run learns from.

        Raises:
            InputError: they are gone or have changed since the run began; the message lists them.
        """
        images = self._images_now()
        changes = self._changes(images)
        if changes:
            raise InputError(
                f"{self.recipe.data}: the images are not those that {self.path} began with ({changes}); "
                "put them back, or go on with these by --accept-new-data"
            )
        return images

    def accept_new_data(self) -> tuple[Self, ImageSet, str]:
        """The run on the images as they are now, those images, and how they have changed, in words.

        Chains of images that are still there, by content, are kept; others begin. A run that took all its
        images at every iteration still does.
        """
        images = self._images_now()
        changes = self._changes(images)
        if not changes:
            return self, images, ""
        before, now = len(self.data()["names"]), len(images)
        assert self.recipe.batch_size is not None
        batch_size = now if self.recipe.batch_size == before else min(self.recipe.batch_size, now)
        run = dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, batch_size=batch_size))
        config = self.config() | {
            "settings": dataclasses.asdict(run.recipe),
            "data": {"fingerprint": images.fingerprint, "num_images": now},
        }
        replace(self.path / "config.json", json.dumps(config, indent=2) + "\n")
        # Last: as long as this list is the old one, the images count as changed and this is done again.
        replace(self.path / "data.json", _listed(images))
        return run, images, changes

    def _images_now(self) -> ImageSet:
        assert self.recipe.data is not None
        assert self.recipe.size is not None
        return load(self.recipe.data, self.recipe.size, fit=self.recipe.fit)

    def _changes(self, images: ImageSet) -> str:
        """How these differ from the images that the run began with, by name; empty where they do not."""
        began_with = self.data()
        if list(images.digests) == began_with["digests"]:
            return ""
        then = dict(zip(began_with["names"], began_with["digests"], strict=True))
        now = dict(zip(images.names, images.digests, strict=True))
        kinds = {
            "added": [name for name in now if name not in then],
            "gone": [name for name in then if name not in now],
            "changed": [name for name in now if name in then and now[name] != then[name]],
        }
        return ", ".join(f"{kind} {_few(names)}" for kind, names in kinds.items() if names) or "in another order"

    def config(self) -> dict[str, Any]:
        """What config.json holds: the recipe's name, settings, the data set's fingerprint, versions."""
        content: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        return content

    def data(self) -> dict[str, list[str]]:
        """The images' names and digests, in the order of their indices."""
        file = self.path / "data.json"
        try:
            content = json.loads(file.read_text())
            data = {name: list(content[name]) for name in ("names", "digests")}
            if {type(x) for x in (*data["names"], *data["digests"])} != {str} or len(data["names"]) != len(
                data["digests"]
            ):
                raise TypeError("expected a name and a digest of each image")
            return data
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as cause:
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
        iterations = max(recipe.iterations or self.recipe.iterations or 0, self.saved_iteration() or 0)
        settled = dataclasses.replace(self.recipe, iterations=iterations, device=recipe.device)
        if settled != self.recipe:
            config = self.config() | {"settings": dataclasses.asdict(settled)}
            replace(self.path / "config.json", json.dumps(config, indent=2) + "\n")
        return dataclasses.replace(self, recipe=settled)

    def saved_iteration(self) -> int | None:
        """The iteration of the newest checkpoint; None where there is none."""
        found = checkpoint.newest_first(self.path / "checkpoints")
        return int(found[0].name) if found else None

    def remove(self) -> None:
        """Deletes the run and nothing else that may lie in its directory."""
        for checkpoints in (self.path / "checkpoints").glob("*"):
            if checkpoints.name.removesuffix(".partial").isdigit():
                shutil.rmtree(checkpoints)
        for written in ("paper", "tensorboard", "wandb"):
            shutil.rmtree(self.path / written, ignore_errors=True)
        # config.json last: what is left by an interrupt is still a run.
        files = ["data.json", "metrics.jsonl", "latents.safetensors", "diagnosis.json", "report.html", "config.json"]
        for name in (*(f"figures/{figure}" for figure in FIGURES), *files):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / "checkpoints", self.path / "figures"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def resume(self, *, precision: Precision | None = None) -> tuple[Learner, Guard]:
        """The learner and its guard as the newest whole checkpoint has them; new ones where there is none.

        Args:
            precision: of the network, where it is to be another than in learning.

        Raises:
            InputError: there are checkpoints and none is whole.
        """
        recipe = dataclasses.replace(self.recipe, precision=precision) if precision else self.recipe
        device = choose_device(recipe.device)
        learner, guard = build_learner(recipe, device), Guard(active=recipe.guard == "on")
        assert recipe.size is not None
        like = torch.zeros(1, 3, recipe.size, recipe.size, device=device)
        digests = self.data()["digests"]
        state = saved.load(self.path / "checkpoints", learner, guard, digests, like, recipe.seed)
        if state and state["versions"] != versions():
            log.warning("%s: other versions than now saved it; what follows may differ in the last bits", self.path)
        return learner, guard

    def learner(self, *, precision: Precision | None = None) -> Learner:
        """The learner of `resume`."""
        return self.resume(precision=precision)[0]

    def learned(self, *, precision: Precision | None = None) -> Learner:
        """The learner of a run that has one: `learner`, but never a new one.

        Raises:
            InputError: the run has no checkpoint yet.
        """
        if self.saved_iteration() is None:
            raise InputError(f"{self.path}: nothing learned yet (no checkpoint); let `anasyn learn {self.name}` go on")
        return self.learner(precision=precision)

    def save(self, learner: Learner, guard: Guard) -> None:
        """Writes a checkpoint of the learner as it stands, after the metrics that lead up to it.

        Raises:
            Divergence: something is not finite; nothing is written.
        """
        metrics = self.path / "metrics.jsonl"
        if metrics.exists():
            flush(metrics)
        about = {
            "recipe": self.name,
            "settings": dataclasses.asdict(self.recipe),
            "data": self.data(),
            "versions": versions(),
        }
        saved.save(self.path / "checkpoints", learner, guard, about)

    def log(self, record: Record) -> None:
        """Writes one iteration's line to metrics.jsonl; lines of it and after it, which a rollback left, go.

        A number that is not one is written as Python's json writes it, NaN or Infinity: it is not hidden.
        """
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
        if record.rolled_back:
            self.rewind(record.iteration - 1)
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self, upto: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, to iteration ``upto``; a last line that was cut off is left out."""
        file = self.path / "metrics.jsonl"
        try:
            lines = file.read_text().splitlines() if file.is_file() else []
            whole = [json.loads(line) for line in lines if line.endswith("}")]
            return [line for line in whole if upto is None or line["iteration"] <= upto]
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise InputError(f"{file}: not one JSON object an iteration ({cause})") from cause

    def diagnosis(self) -> dict[str, Any] | None:
        """What `anasyn diagnose` said of the run; None where it has not been asked since the run last went on."""
        file = self.path / "diagnosis.json"
        if not file.is_file():
            return None
        try:
            told: dict[str, Any] = json.loads(file.read_text())
            if not isinstance(told, dict):
                raise TypeError("expected an object")
            return told
        except (ValueError, TypeError, RecursionError) as cause:
            raise InputError(f"{file}: no diagnosis ({cause}); remove it, and ask anew by `anasyn diagnose`") from cause

    def rewind(self, iteration: int) -> None:
        """Takes back the lines of metrics.jsonl after the iteration that a run goes on from."""
        lines = self.metrics(upto=iteration)
        replace(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def save_latents(self, z: Tensor) -> None:
        """Writes the inferred latent factors, (n, d), with the images' names in order."""
        names = json.dumps(self.data()["names"])
        save_file({"z": z.detach().cpu().contiguous()}, self.path / "latents.safetensors", {"names": names})

    def latents(self) -> Tensor:
        """The inferred latent factors, (n, d)."""
        return load_file(self.path / "latents.safetensors")["z"]


def versions() -> dict[str, str]:
    """Of what decides a run's numbers."""
    return {
        "anasyn": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def _listed(images: ImageSet) -> str:
    return json.dumps({"names": images.names, "digests": images.digests}) + "\n"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
