"""A run: a directory in which learning is recorded, to be resumed, sampled from, evaluated and reported."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import ranks
from ..data import ImageSet
from ..errors import InputError
from ..learning import Guard, Learner, Shard, use_average
from ..memory import release
from ..methods import METHODS, Classes, Latents, Method, Settings
from ..methods.build import build_learner
from ..methods.paths import film
from ..methods.settings import Precision
from ..recipes import RECIPES
from ..rng import derive
from . import checkpoint, listing, metrics, results, saved
from .device import choose_device
from .files import flush, replace
from .listing import Listing
from .removal import outdate, remove

__all__ = ["Run"]

log = logging.getLogger(__name__)

# What a process that is killed at the beginning of a run may leave in its directory.
LEFT_BEHIND = {".lock", *listing.NAMES, *(f"{name}.partial" for name in listing.NAMES), "config.json.partial"}


@dataclass(frozen=True)
class Run:
    """A directory with config.json, data.json, metrics.jsonl, checkpoints/ and figures/.

    Args:
        path: the directory.
        name: the recipe's name.
        settings: of the recipe's method, resolved: no value is open.
    """

    path: Path
    name: str
    settings: Settings

    @classmethod
    def create(
        cls,
        path: Path,
        name: str,
        settings: Settings,
        images: ImageSet,
        held_out: ImageSet | None = None,
        *,
        overwrite: bool = False,
    ) -> Self:
        """Begins a run with these resolved settings, training images and held-out ones in a new or empty directory.

        With ``overwrite`` a run that is already there is deleted, and nothing else.

        Raises:
            InputError: the directory contains something else.
        """
        if overwrite and (path / "config.json").exists():
            cls.open(path)  # raises if it is not a run
            remove(path)
        elif path.exists() and (not path.is_dir() or {file.name for file in path.iterdir()} - LEFT_BEHIND):
            raise InputError(f"{path}: exists and is no run of anasyn; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "recipe": name,
            "settings": dataclasses.asdict(settings),
            "data": {"fingerprint": images.fingerprint, "num_images": len(images)},
            "versions": saved.versions(),
        }
        listing.write(path, images, held_out)
        # Last, since this file makes the directory a run.
        replace(path / "config.json", json.dumps(config, indent=2) + "\n")
        return cls(path, name, settings)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in a directory; raises `InputError` if there is none, or its settings are not of this version."""
        file = path / "config.json"
        if not file.is_file():
            raise InputError(f"{path}: no run here (no config.json); expected a directory that `anasyn learn` wrote")
        try:
            config = json.loads(file.read_text())
            written_by = str(config["versions"]["anasyn"])
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise InputError(f"{file}: not the settings of a run ({cause})") from cause
        try:
            settings = RECIPES[config["recipe"]].method.settings(**config["settings"])
            for field in dataclasses.fields(settings):
                if field.name not in config["settings"]:
                    raise InputError(f"{field.name}: missing")
                if getattr(settings, field.name) is None:
                    raise InputError(f"{field.name}: expected a value, got null")
            return cls(path, config["recipe"], settings)
        except (ValueError, KeyError, TypeError) as cause:  # InputError is a ValueError
            other = saved.another_version(written_by)
            raise InputError(f"{file}: not the settings of a run of this version ({cause}){other}") from cause

    @property
    def method(self) -> Method:
        """The run's method of learning."""
        return RECIPES[self.name].method

    def images(self) -> ImageSet:
        """The training images; raises as `split_images` does."""
        return self.split_images()[0]

    def split_images(self) -> tuple[ImageSet, ImageSet | None]:
        """The training images, and the held-out ones, if any.

        Raises:
            InputError: they are missing or have changed since the run began; the message lists them.
        """
        images, held_out = self._split()
        changes = listing.changes(self.data(), images, held_out, labels=self.settings.uses_labels)
        if changes:
            raise InputError(
                f"{self.settings.data}: the images are not those that {self.path} began with ({changes}); "
                "put them back, or go on with these by --accept-new-data"
            )
        return images, held_out

    def _split(self) -> tuple[ImageSet, ImageSet | None]:
        images = self.load()
        num = self.settings.num_held_out(len(images))
        return images.split(num) if num else (images, None)

    def accept_new_data(self) -> tuple[Self, str]:
        """The run on the present images, and a description of the changes, empty if there are none.

        Images with the content of an earlier one keep their chains. A run whose batch was all of its images still uses
        all of them in every iteration.

        Raises:
            InputError: the run depends on classes, and they are not those that it began with.
        """
        images, held_out = self._split()
        changes = listing.changes(self.data(), images, held_out, labels=self.settings.uses_labels)
        if not changes:
            return self, ""
        began_with, found = ({*(labels or ())} for labels in (self.data().labels, images.labels))
        if self.settings.uses_labels and found != began_with:
            raise InputError(
                f"{self.settings.data}: expected the classes that {self.path} began with, "
                f"{', '.join(sorted(began_with))}; got {', '.join(sorted(found)) or 'none'}"
            )
        before, now = len(self.data().names), len(images)
        assert self.settings.batch_size is not None
        batch_size = now if self.settings.batch_size == before else min(self.settings.batch_size, now)
        run = dataclasses.replace(self, settings=dataclasses.replace(self.settings, batch_size=batch_size))
        run.configure(data={"fingerprint": images.fingerprint, "num_images": now})
        # Last: if the process is killed before, the images still count as changed, and all this is repeated.
        listing.write(self.path, images, held_out)
        return run, changes

    def load(self, data: str | None = None) -> ImageSet:
        """The images of a folder or a named set, by default the run's own, in this run's size and channels."""
        channels, height, width = self.settings.shape
        settings = self.settings.for_data(data) if data else self.settings
        return settings.read((height, width), channels)

    def configure(self, **changes: Any) -> None:
        """Writes the settings, and other changes, to config.json, unless it has them."""
        file, config = self.path / "config.json", self.config()
        text = json.dumps(config | {"settings": dataclasses.asdict(self.settings)} | changes, indent=2) + "\n"
        if text != file.read_text():
            replace(file, text)

    def config(self) -> dict[str, Any]:
        """The content of config.json: the recipe's name, the settings, the data set's fingerprint, the versions."""
        content: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        return content

    def data(self) -> Listing:
        """The names, digests and classes of the training images, in order."""
        return listing.read(self.path)

    def with_settings(self, asked: Settings, name: str) -> Self:
        """The run with the settings, and of the recipe, that are now asked for; `configure` writes them.

        Raises:
            InputError: a setting other than the number of iterations and the device differs; the message names it.
        """
        if name != self.name:
            raise InputError(f"{self.path}: holds a run of {self.name}, not {name}; choose another --out")
        asked = asked.absolute()
        for field in dataclasses.fields(asked):
            then, now = getattr(self.settings, field.name), getattr(asked, field.name)
            if field.name == "batch_size" and now is not None:
                now = min(now, len(self.data().names))
            if field.name not in ("iterations", "device") and now is not None and now != "auto" and now != then:
                raise InputError(
                    f"{field.name}: {self.path} was begun with {then}, got {now}; "
                    "only iterations may change: use the first value, another --out, or --overwrite"
                )
        iterations = max(asked.iterations or self.settings.iterations or 0, self.saved_iteration() or 0)
        settings = dataclasses.replace(self.settings, iterations=iterations, device=asked.device)
        return dataclasses.replace(self, settings=settings)

    def saved_iteration(self) -> int | None:
        """The iteration of the newest checkpoint; None if there is none."""
        found = checkpoint.newest_first(self.path / "checkpoints")
        return int(found[0].name) if found else None

    def resume(self, *, precision: Precision | None = None) -> tuple[Learner, Guard]:
        """The learner and its guard from the newest intact checkpoint; new ones if there is no checkpoint.

        ``precision`` replaces that of the settings. Raises `InputError` if there are checkpoints and none is intact.
        """
        settings = dataclasses.replace(self.settings, precision=precision) if precision else self.settings
        device = choose_device(settings.device)
        images, guard = self.data(), Guard(active=settings.guard == "on")
        learner = build_learner(self.method, settings, device, images.labels)
        shards = self._shards(images)
        like = torch.zeros(shards[0].width, *settings.shape, device=device)
        state = saved.load(self.path / "checkpoints", learner, guard, images, shards, like, settings.seed)
        if state and state["versions"] != saved.versions():
            log.warning("%s: saved by other versions than these; results may differ in the last bits", self.path)
        return learner, guard

    def learned(self, *, precision: Precision | None = None) -> Learner:
        """The learner that `resume` returns, for use: with the average of its weights, if one is kept.

        The inferred z, the chains and a learned σ are those of the last iteration. Raises `InputError` if there is no
        checkpoint yet.
        """
        if self.saved_iteration() is None:
            raise InputError(f"{self.path}: nothing learned yet (no checkpoint); let `anasyn learn {self.name}` go on")
        learner, _ = self.resume(precision=precision)
        use_average(learner)
        return learner

    def require_inference(self) -> None:
        """Raises `InputError` if the run's method has no z to infer."""
        if self.method.infer is None:
            able = ", ".join(method.name for method in METHODS if method.infer)
            raise InputError(f"{self.path}: holds a {self.method.name}, which infers no z; expected a run of {able}")

    def latents_of(self, learner: Learner) -> Latents:
        """The model and the inferred z of this run's learner; raises as `require_inference` does."""
        self.require_inference()
        assert self.method.infer is not None
        return self.method.infer(learner)

    def sample(
        self,
        num: int,
        *,
        seed: int,
        revise: int | None = None,
        of_class: str | None = None,
        size: tuple[int, int] | None = None,
        periodic: bool = False,
    ) -> Tensor:
        """``num`` images from the learned model, (num, c, H, W) in [−1, 1].

        Args:
            num: number of images.
            seed: of the random numbers.
            revise: transitions by which proposals are revised, 0 for the proposals themselves; None for the samples of
                the method.
            of_class: the name of the images' class; None for images of all classes, if the run has classes.
            size: (height, width) of the images in pixels; None for that of the training images.
            periodic: whether the images continue across their borders, so that they can be laid side by side.

        Raises:
            InputError: nothing is learned yet, the training images are needed and are missing or have changed, the
                method has no revision or only one size, or the run has no such class.
        """
        if revise is not None and self.method.revise is None:
            able = ", ".join(method.name for method in METHODS if method.revise)
            raise InputError(
                f"{self.path}: holds a {self.method.name}, which has no revision; expected a run of {able}"
            )
        if (size or periodic) and self.method.weave is None:
            able = ", ".join(method.name for method in METHODS if method.weave)
            raise InputError(
                f"size: {self.path} holds a {self.method.name}, whose images have one size; expected a run of {able}"
            )
        learner = self.learned()
        device = next(learner.model.parameters()).device
        rng = derive(seed, "sample", device=device)
        if (size or periodic) and self.method.weave:
            return self.method.weave(learner, num, size or self.settings.shape[1:], periodic, rng)
        if of_class is not None:
            classes = self._classes_of(learner)
            if of_class not in classes.names:
                raise InputError(f"class: {self.path} has {', '.join(classes.names)}; got {of_class!r}")
            return classes.sample(torch.full((num,), classes.names.index(of_class), device=device), rng)
        if revise is None or self.method.revise is None:
            return self.method.sample(learner, num, self.images, rng)
        return self.method.revise(learner, num, revise, rng)[1]

    def film(self, num: int, *, seed: int) -> Tensor:
        """``num`` images f(z), (num, c, H, W) in [−1, 1], along a smooth path of z.

        The path leads through the inferred z of a film's frames in their order; of other images, it is a random closed
        path whose every point is a draw from the prior of z.

        Raises:
            InputError: the run's method has no z, or nothing is learned yet.
        """
        self.require_inference()
        latents = self.latents_of(self.learned())
        rng = derive(seed, "film", device=latents.z.device)
        return film(latents, num, in_order=self.settings.in_order, rng=rng)

    def _classes_of(self, learner: Learner) -> Classes:
        classes = self.method.classes(learner) if self.method.classes else None
        if classes is None:
            able = ", ".join(method.name for method in METHODS if method.classes)
            raise InputError(
                f"class: {self.path} was learned without classes; expected a run of {able} with --conditional"
            )
        return classes

    def save(self, learner: Learner, guard: Guard) -> None:
        """Writes a checkpoint, after flushing the metrics; raises `Divergence` if something is not finite."""
        if (self.path / "metrics.jsonl").exists():
            flush(self.path / "metrics.jsonl")
        about = {"recipe": self.name, "settings": dataclasses.asdict(self.settings)}
        about |= {"versions": saved.versions()}
        images = self.data()
        saved.save(self.path / "checkpoints", learner, guard, images, self._shards(images), about)

    def shards(self) -> tuple[Shard, Shard]:
        """This process's part of the training images, and of the held-out ones."""
        return self._shards(self.data())

    def _shards(self, images: Listing) -> tuple[Shard, Shard]:
        num_images = len(images.digests)
        return Shard.both(num_images, len(images.held_out), self.settings.batch_size or num_images)

    def require_same(self, images: ImageSet) -> None:
        """Raises `InputError` unless all processes that learn together have these images and this version."""
        about = {"images": images.fingerprint, "settings": str(self.settings), **saved.versions()}
        for number, other in enumerate(ranks.together(about)):
            if differing := [name for name in about if other[name] != about[name]]:
                raise InputError(
                    f"devices: process {number} has other {', '.join(differing)} than process {ranks.rank()}"
                )

    def metrics(self, upto: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, up to iteration ``upto``."""
        return metrics.read(self.path / "metrics.jsonl", upto)

    def diagnosis(self) -> dict[str, Any] | None:
        """The result of `anasyn diagnose`; None if the run has learned since, or was never diagnosed."""
        return results.diagnosis(self.path / "diagnosis.json")

    def evaluation(self) -> dict[str, Any] | None:
        """The result of `anasyn evaluate`: ``iteration``, ``data`` and ``measures``; None as for `diagnosis`."""
        found = results.evaluation(self.path / "evaluation.json")
        return found if found and found["iteration"] == self.saved_iteration() else None

    def save_evaluation(self, iteration: int, measures: Mapping[str, Any], data: str | None = None) -> None:
        """Keeps the measures of the checkpoint of an iteration for `evaluation`.

        ``data`` names the held-out images, if they are other images than the run keeps aside.
        """
        content = {"iteration": iteration, "data": data, "measures": measures}
        replace(self.path / "evaluation.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def outdate(self) -> None:
        """Deletes the report and the results of other commands, since the run is about to learn on."""
        outdate(self.path)

    def restoration(self) -> dict[str, Tensor] | None:
        """Some images of the last `anasyn restore`, uint8 (·, c, H, W) by name; None as for `diagnosis`."""
        return results.restoration(self.path / "restored.safetensors", self.saved_iteration())

    def save_restoration(self, tensors: Mapping[str, Tensor]) -> None:
        """Keeps images restored by the newest checkpoint for `restoration`: those of `results.RESTORED`."""
        kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(kept, self.path / "restored.safetensors", {"iteration": str(self.saved_iteration())})

    def save_latents(self, z: Tensor) -> None:
        """Writes the inferred latent vectors, (n, d), with the images' names in order."""
        names = json.dumps(list(self.data().names))
        save_file({"z": z.detach().cpu().contiguous()}, self.path / "latents.safetensors", {"names": names})
        release()

    def latents(self) -> Tensor:
        """The inferred latent vectors, (n, d)."""
        return load_file(self.path / "latents.safetensors")["z"]
