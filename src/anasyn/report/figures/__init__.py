"""Figures: ``draw_…`` functions put plain numbers on an Axes, ``…_figure`` functions compose a whole Figure.

Nothing here knows a run or a model, and nothing is global: figures are made without pyplot.
"""

from .curves import draw_curves, draw_energies, draw_events
from .images import draw_grid, draw_panel, draw_rows, draw_strip
from .latents import draw_latents, draw_path
from .style import class_colors, save
from .whole import (
    class_grid_figure,
    grid_figure,
    interpolation_figure,
    latents_figure,
    loss_figure,
    path_figure,
    reconstructions_figure,
    restorations_figure,
    revisions_figure,
    strip_figure,
    synthesis_figure,
)

__all__ = [
    "class_colors",
    "class_grid_figure",
    "draw_curves",
    "draw_energies",
    "draw_events",
    "draw_grid",
    "draw_latents",
    "draw_panel",
    "draw_path",
    "draw_rows",
    "draw_strip",
    "grid_figure",
    "interpolation_figure",
    "latents_figure",
    "loss_figure",
    "path_figure",
    "reconstructions_figure",
    "restorations_figure",
    "revisions_figure",
    "save",
    "strip_figure",
    "synthesis_figure",
]
