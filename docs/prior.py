"""Draws docs/prior.png: the panel of the drawn cats learned plainly, and as the defaults learn it.

anasyn learn drawn-cats --expand off --network docs.prior:plain --out runs/plain
anasyn learn drawn-cats --out runs/expanded
python docs/prior.py
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

from anasyn import networks
from anasyn.data import to_uint8
from anasyn.methods import GeneratorSettings
from anasyn.report import figures
from anasyn.run import Run

TITLES = {
    "plain": "plain: the inferred z fill a part of N(0, I)",
    "expanded": "with parameter expansion, and z squashed into a ball",
}


def plain(settings: GeneratorSettings) -> nn.Module:
    """The built-in network without the two layers that squash z."""
    assert settings.latent_dim is not None
    return networks.deconv(settings.latent_dim)[2:]


def main() -> None:
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    side = torch.linspace(-2, 2, 8)
    z = torch.cartesian_prod(side.flip(0), side).flip(1)  # rows from the top, z₁ to the right
    for ax, (name, title) in zip(figure.subplots(1, 2), TITLES.items(), strict=True):
        run = Run.open(Path("runs", name))
        model, inferred = run.latents_of(run.learned())
        with torch.no_grad():
            figures.draw_panel(ax, to_uint8(model(z)), -2, 2, 8)
        share = (inferred**2).mean().item()
        ax.set_title(f"{title}\nmean square of z: {share:.2f}")
    figure.savefig("docs/prior.png", dpi=80)


if __name__ == "__main__":
    main()
