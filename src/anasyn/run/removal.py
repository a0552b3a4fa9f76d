"""The deletion of a run, or of what is outdated in it: its own files, and nothing else in its directory."""

import shutil
from pathlib import Path

from .listing import NAMES

__all__ = ["outdate", "remove"]

FIGURES = (
    "training.png", "classes.png", "loss.png",
    "reconstructions.png", "samples.png", "interpolation.png", "latents.png",
    "synthesis.png", "chains.png", "revisions.png",
)  # fmt: skip
SHOWN = ("figures/path.png", "figures/long_run.png")  # in the report, which shows what it finds of them
# Of the run as it was then.
RESULTS = ("report.html", "diagnosis.json", "evaluation.json", "restored.safetensors", *SHOWN)


def outdate(path: Path) -> None:
    """Deletes what was found out about the run in this directory, which is about to learn on."""
    for name in RESULTS:
        (path / name).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Deletes the run in this directory."""
    for checkpoints in (path / "checkpoints").glob("*"):
        if checkpoints.name.removesuffix(".partial").isdigit():
            shutil.rmtree(checkpoints)
    for written in ("paper", "tensorboard", "wandb"):
        shutil.rmtree(path / written, ignore_errors=True)
    # config.json last, so that an interrupted deletion leaves a directory that still counts as a run.
    outdate(path)
    figures = [f"figures/{figure}" for figure in FIGURES]
    for name in (*figures, "latents.safetensors", *NAMES, "metrics.jsonl", "config.json"):
        (path / name).unlink(missing_ok=True)
    for folder in (path / "checkpoints", path / "figures"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
