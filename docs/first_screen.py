"""Draws docs/first_screen.png, the README's figure, from the two runs of ``make demo``."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from anasyn.data import to_float, to_uint8
from anasyn.methods.synthesis import trajectory
from anasyn.report import figures
from anasyn.report.plane import latent_plane, panel
from anasyn.rng import derive
from anasyn.run import Run


def main() -> None:
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    cats, egrets = (Run.open(Path("runs", name)) for name in ("drawn-cats", "drawn-egrets"))

    model, z = cats.latents_of(cats.learned())
    faces = to_uint8(panel(model, latent_plane(z), 8, -1.5, 1.5))
    figures.draw_panel(left, faces, -1.5, 1.5, 8)
    left.set_title("Generator: f(z) over a plane learned from 16 faces")

    assert egrets.method.synthesise is not None
    synthesis = egrets.method.synthesise(egrets.learned())
    index = torch.tensor([0, 3, 4, 6, 9, 13])
    images = to_float(egrets.images().pixels[index])
    frames = trajectory(synthesis, index, images, num_frames=5, rng=derive(0, "first screen"))
    figures.draw_strip(right, to_uint8(frames), [0, 6, 12, 18, 24, 30])
    right.set_title("Descriptor: Langevin chains from mean colours to egrets")
    figure.savefig("docs/first_screen.png", dpi=110)


if __name__ == "__main__":
    main()
