"""The diagnosis of a run, computed in float32 whatever its precision in learning."""

from functools import partial

from ..data import to_float
from ..evaluation import evenly
from ..models import observe
from ..rng import derive
from ..run import Run
from .descriptor import DescriptorDiagnosis, diagnose_descriptor
from .generator import GeneratorDiagnosis, diagnose_generator
from .recovery import RecoveryDiagnosis, diagnose_recovery

__all__ = ["diagnose"]

MAX_IMAGES = 32


def diagnose(run: Run) -> tuple[GeneratorDiagnosis | None, DescriptorDiagnosis | None, RecoveryDiagnosis | None]:
    """The diagnosis of a run's inference of z, of its synthesis of images, and of its recovery of images from noise.

    It is None for what the run's method does not do.

    Raises:
        InputError: nothing is learned yet, the run's images are gone or have changed, or arviz is missing.
    """
    learner, method, images = run.learned(precision="float32"), run.method, run.images()
    device = next(learner.model.parameters()).device
    rng = derive(run.settings.seed, "diagnose", device=device)
    inference = synthesis = recovery = None
    if method.infer:
        model, z = method.infer(learner)
        draw_prior = partial(method.draw_prior, learner) if method.draw_prior else None
        names = tuple(images.names)
        inference = diagnose_generator(model, observe(images), z, names, draw_prior=draw_prior, rng=rng)
    if method.synthesise:
        chains = method.synthesise(learner)
        chosen = evenly(len(images), MAX_IMAGES)
        pixels = to_float(images.take(chosen).to(device))
        kernel, starts = chains.first_chains(chosen.to(device), pixels, rng)
        synthesis = diagnose_descriptor(
            chains.model,
            kernel,
            chains.num_steps,
            starts,
            pixels,
            run.metrics(upto=learner.iteration),
            num_images=len(images),
            names=tuple(images.names[i] for i in chosen.tolist()),
            data_noise=chains.data_noise,
            proposed=chains.proposed,
            rng=rng,
        )
    if method.recover:
        levels = method.recover(learner)
        chosen = evenly(len(images), MAX_IMAGES)
        pixels, labels = to_float(images.take(chosen).to(device)), levels.labels_of(chosen.to(device))
        recovery = diagnose_recovery(
            levels.model, levels.fixed_kernel(), levels.num_steps, pixels, labels=labels, rng=rng
        )
    return inference, synthesis, recovery
