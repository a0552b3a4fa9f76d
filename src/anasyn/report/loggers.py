"""A run's scalars and images in TensorBoard or Weights & Biases, through their own SDKs."""

import json
import os
import time
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np

from ..data import ImageSet
from ..errors import InputError
from ..learning import DescriptorLearner, GeneratorLearner, Record, non_finite
from ..run import Run
from .live import Pace
from .pictures import Pixels, mosaic, resized
from .snapshot import snapshot

__all__ = ["Log", "Service", "TensorBoard", "WandB", "open_log"]

Service = Literal["tensorboard", "wandb"]

SECONDS_BETWEEN_IMAGES = 30.0
LARGEST_SIDE = 128  # pixels of an image in a grid


class Writer(Protocol):
    """Where numbers and pictures go; `TensorBoard` and `WandB` are the two."""

    def scalars(self, iteration: int, values: dict[str, float]) -> None: ...

    def image(self, iteration: int, name: str, pixels: Pixels) -> None:
        """One picture, uint8 (H, W, 3)."""

    def text(self, iteration: int, event: str) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Events in RUN/tensorboard, for ``tensorboard --logdir``.

    Args:
        run: whose numbers they are; its settings are the first text.
    """

    def __init__(self, run: Run):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run.path / "tensorboard"))
        self.writer.add_text("config.json", f"```json\n{(run.path / 'config.json').read_text()}```")

    def scalars(self, iteration: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)

    def image(self, iteration: int, name: str, pixels: Pixels) -> None:
        self.writer.add_image(name, pixels, iteration, dataformats="HWC")

    def text(self, iteration: int, event: str) -> None:
        self.writer.add_text("events", event, iteration)

    def close(self) -> None:
        self.writer.close()


class WandB:
    """A run of Weights & Biases a sitting, grouped by the directory; where ``WANDB_MODE=offline``, nothing is sent.

    Args:
        run: whose numbers they are; its settings are the configuration.
    """

    def __init__(self, run: Run):
        import wandb

        config = json.loads((run.path / "config.json").read_text())
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "anasyn"),
            group=run.path.resolve().name,
            dir=str(run.path),
            config=config,
            settings=wandb.Settings(silent=True),
        )

    def scalars(self, iteration: int, values: dict[str, float]) -> None:
        self.run.log(values, step=iteration)

    def image(self, iteration: int, name: str, pixels: Pixels) -> None:
        import wandb

        self.run.log({name: wandb.Image(pixels)}, step=iteration)

    def text(self, iteration: int, event: str) -> None:
        self.run.alert(title=f"iteration {iteration}", text=event)

    def close(self) -> None:
        self.run.finish()


class Log:
    """Tells a writer of every iteration, and now and then of the images that the learner makes.

    Args:
        writer: where to.
        run: that is learning.
        images: its own.
    """

    def __init__(self, writer: Writer, run: Run, images: ImageSet):
        self.writer, self.run, self.images = writer, run, images
        self.pace = Pace(SECONDS_BETWEEN_IMAGES, first_cost=0.5)

    def update(self, learner: GeneratorLearner | DescriptorLearner, record: Record) -> None:
        """To be called after each iteration; images are logged at an interval and within 5 % of the time."""
        values = {
            "loss": record.loss,
            "acceptance_rate": record.acceptance_rate,
            "step_size": record.step_size,
            "seconds": record.seconds,
            **record.measures,
        }
        self.writer.scalars(record.iteration, values)
        for event in record.events:
            self.writer.text(record.iteration, event)
        if self.pace.is_due():
            began = time.perf_counter()
            self.pictures(learner)
            self.pace.done(began)

    def pictures(self, learner: GeneratorLearner | DescriptorLearner) -> None:
        """Logs what the learner makes now, each kind of image as a row; nothing where it is not finite, unguarded."""
        if non_finite(learner):
            return
        for what, images in snapshot(learner, self.images, self.run.recipe.seed).items():
            row = mosaic(resized(images, LARGEST_SIDE), len(images))
            self.writer.image(learner.iteration, what, np.ascontiguousarray(row))

    def close(self, learner: GeneratorLearner | DescriptorLearner) -> None:
        """Logs the last images, and leaves everything written."""
        self.pictures(learner)
        self.writer.close()


def open_log(service: Service, run: Run, images: ImageSet) -> Log:
    """The log of a run with one of the services.

    Raises:
        InputError: the service's package is not installed.
    """
    if find_spec(service) is None:
        raise InputError(f"--log {service}: {service} is not installed; pip install 'anasyn[{service}]'")
    writers: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WandB}
    return Log(writers[service](run), run, images)
