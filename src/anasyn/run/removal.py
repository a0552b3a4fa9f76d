"""The deletion of a run: its own files, and nothing else in its directory."""

import shutil
from pathlib import Path

__all__ = ["remove"]

FIGURES = (
    "training.png", "classes.png", "loss.png",
    "reconstructions.png", "samples.png", "interpolation.png", "latents.png", "path.png",
    "synthesis.png", "chains.png", "revisions.png", "long_run.png",
)  # fmt: skip


def remove(path: Path) -> None:
    """Deletes the run in this directory."""
    for checkpoints in (path / "checkpoints").glob("*"):
        if checkpoints.name.removesuffix(".partial").isdigit():
            shutil.rmtree(checkpoints)
    for written in ("paper", "tensorboard", "wandb"):
        shutil.rmtree(path / written, ignore_errors=True)
    # config.json last, so that an interrupted deletion leaves a directory that still counts as a run.
    results = ["latents.safetensors", "diagnosis.json", "evaluation.json", "report.html"]
    for name in (*(f"figures/{figure}" for figure in FIGURES), *results, "data.json", "metrics.jsonl", "config.json"):
        (path / name).unlink(missing_ok=True)
    for folder in (path / "checkpoints", path / "figures"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
