"""Logs a run's scalars and images to TensorBoard or Weights & Biases, through their own SDKs."""

import json
import os
import time
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np

from ..data import ImageSet
from ..errors import InputError
from ..learning import Learner, Record, non_finite
from ..run import Run
from .live import Pace
from .pictures import Pixels, mosaic, resized
from .snapshot import snapshot

__all__ = ["Log", "Service", "open_log"]

Service = Literal["tensorboard", "wandb"]

SECONDS_BETWEEN_IMAGES = 30.0
LARGEST_SIDE = 128  # pixels of an image in a grid


class Writer(Protocol):
    """A service that numbers and images are logged to: `TensorBoard` or `WandB`."""

    def scalars(self, iteration: int, values: dict[str, float]) -> None: ...

    def image(self, iteration: int, name: str, pixels: Pixels) -> None:
        """Logs one image, uint8 (H, W, c)."""

    def text(self, iteration: int, event: str) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Events in RUN/tensorboard, for ``tensorboard --logdir``; the first is the text of the run's config.json."""

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
    """A run of Weights & Biases for each `anasyn learn`, grouped by directory; WANDB_MODE=offline sends nothing."""

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
    """Logs every iteration to a writer, and from time to time images from the learner.

    Args:
        writer: the service to log to.
        run: the run that is learning.
        images: its training images.
    """

    def __init__(self, writer: Writer, run: Run, images: ImageSet):
        self.writer, self.run, self.images = writer, run, images
        self.pace = Pace(SECONDS_BETWEEN_IMAGES, first_cost=0.5)

    def update(self, learner: Learner, record: Record) -> None:
        """Logs an iteration, to be called after each; images at an interval and within 5 % of the elapsed time."""
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

    def pictures(self, learner: Learner) -> None:
        """Logs a snapshot of the learner, each set of images as one row; nothing if the learner has diverged."""
        if non_finite(learner):
            return
        for title, images in snapshot(self.run, learner, self.images).items():
            row = mosaic(resized(images, LARGEST_SIDE), len(images))
            self.writer.image(learner.iteration, title, np.ascontiguousarray(row))

    def close(self, learner: Learner) -> None:
        """Logs the last images, and waits until everything is written."""
        self.pictures(learner)
        self.writer.close()


def open_log(service: Service, run: Run, images: ImageSet) -> Log:
    """Opens the log of a run with one of the services.

    Raises:
        InputError: the service's package is not installed.
    """
    if find_spec(service) is None:
        raise InputError(f"--log {service}: {service} is not installed; pip install 'anasyn[{service}]'")
    writers: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WandB}
    return Log(writers[service](run), run, images)
