"""The diagnosis of a run, in float32 whatever it was learned in."""

from ..data import to_float
from ..evaluation import evenly
from ..learning import GeneratorLearner
from ..rng import derive
from ..run import Run
from .descriptor import DescriptorDiagnosis, diagnose_descriptor
from .generator import GeneratorDiagnosis, diagnose_generator

__all__ = ["diagnose"]

MOST_IMAGES = 16  # of a descriptor's, two chains each


def diagnose(run: Run) -> GeneratorDiagnosis | DescriptorDiagnosis:
    """What a run's chains say of what was learned: a verdict in words, with its reasons.

    Raises:
        InputError: nothing is learned yet, the run's images are gone or have changed, or arviz is missing.
    """
    learner = run.learned(precision="float32")
    images = run.images()
    device = next(learner.model.parameters()).device
    rng = derive(run.recipe.seed, "diagnose", device=device)
    if isinstance(learner, GeneratorLearner):
        z, names = learner.chains.positions, tuple(images.names)
        return diagnose_generator(learner.model, images.pixels, z, names, rng=rng)
    chosen = evenly(len(images), MOST_IMAGES)
    pixels = to_float(images.pixels[chosen].to(device))
    kernel, starts = learner.first_chains(chosen.to(device), pixels, rng)
    return diagnose_descriptor(
        learner.model,
        kernel,
        learner.num_steps,
        starts,
        pixels,
        run.metrics(upto=learner.iteration),
        num_images=len(images),
        names=tuple(images.names[i] for i in chosen.tolist()),
        data_noise=learner.data_noise,
        rng=rng,
    )
