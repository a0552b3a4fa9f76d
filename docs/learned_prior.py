"""Draws docs/learned_prior.png: 2,000 drawn cats learned by latent-prior, f(z) at z ~ N(0, I) and at z ~ p_α(z).

python docs/learned_prior.py    # eight minutes on two cores
"""

import torch
from matplotlib.figure import Figure

from anasyn.data import ImageSet, draw_cats, drawn_factors, spread, to_uint8
from anasyn.learning import LatentPriorLearner, learn
from anasyn.methods import Scale
from anasyn.methods.build import build_learner
from anasyn.methods.latent_prior import LATENT_PRIOR, LatentPriorSettings
from anasyn.report import figures
from anasyn.rng import derive

NUM, SIDE, SHOWN = 2000, 64, 6  # images, their pixels, and rows of each panel
TITLES = ("z ~ N(0, I)", "z from the learned prior")


def learned() -> LatentPriorLearner:
    """The learner of generator and prior, by the default settings but for a fifth of the cats held out."""
    cats = ImageSet(tuple(map(str, range(NUM))), draw_cats(drawn_factors(NUM), SIDE))
    settings = LatentPriorSettings(data="drawn cats", hold_out=0.2, size=SIDE)
    settings = settings.resolve(Scale(NUM, SIDE, False, spread=spread(cats)))
    assert settings.iterations is not None
    training, held_out = (part.pixels for part in cats.split(settings.num_held_out(NUM)))
    learner = build_learner(LATENT_PRIOR, settings, torch.device("cpu"))
    iterations, batch = settings.iterations, settings.batch_size
    for _ in learn(learner, training, held_out=held_out, num_iterations=iterations, batch_size=batch):
        pass
    assert isinstance(learner, LatentPriorLearner)
    return learner


def draw(learner: LatentPriorLearner) -> None:
    model, rng = learner.model, derive(0, "picture")
    z = torch.randn(SHOWN**2, model.latent_dim, generator=rng), learner.draw(SHOWN**2, rng)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    for ax, positions, title in zip(figure.subplots(1, 2), z, TITLES, strict=True):
        with torch.no_grad():
            figures.draw_grid(ax, to_uint8(model(positions)), SHOWN)
        ax.set_title(title)
    figure.savefig("docs/learned_prior.png", dpi=80)


if __name__ == "__main__":
    draw(learned())
