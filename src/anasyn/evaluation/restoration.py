"""Restoration: what is missing of images, drawn from a run's model given what is seen of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .. import mcmc
from ..data import as_float, to_uint8
from ..errors import InputError, first_names
from ..learning import Learner
from ..methods import METHODS, Restored
from ..models import Generator, Images, Observed, floats, observed
from ..processor import frozen
from ..rng import derive
from ..run import Run
from .bounding import Progress, counted
from .curvature import PosteriorMetric
from .distance import chunks
from .inference import infer, log_posterior, num_evaluations

__all__ = ["Restoration", "posterior_draws", "restore", "restore_latent", "restored"]

WARM_UP, THIN = 60, 20  # transitions before the first draw, and between two
AT_ONCE = 128  # images
WHITE = 0.3  # the spread that is shown as white, in the units of [−1, 1]
Z_80 = 1.2816  # standard deviations to either side of the mean that hold 80 % of a Gaussian


class Restoration(NamedTuple):
    """Images of which something was missing: draws given what is seen, uint8, in which that is as it was."""

    damaged: Tensor  # (n, c, H, W), what is seen; a smaller copy is magnified
    seen: Tensor | None  # which pixels are seen, bool (n, 1, H, W); None if what is seen is not pixels of the image
    draws: Tensor  # (num_draws, n, c, H, W)
    mean: Tensor  # (n, c, H, W), of all draws
    spread: Tensor  # (n, c, H, W), standard deviation of a missing pixel, float in the units of [−1, 1]

    @property
    def shaded(self) -> Tensor:
        """The spread as images, uint8 (n, c, H, W): black for 0, white for `WHITE` and more."""
        return to_uint8(2 * self.spread / WHITE - 1)

    def only(self, places: Tensor) -> "Restoration":
        """That of the images at these places."""
        seen = None if self.seen is None else self.seen[places]
        return Restoration(self.damaged[places], seen, self.draws[:, places], self.mean[places], self.spread[places])

    def without(self, padding: tuple[int, int]) -> "Restoration":
        """That of images without the ``padding`` of an `ImageSet`."""
        height, width = (side - more for side, more in zip(self.mean.shape[-2:], padding, strict=True))
        seen = None if self.seen is None else self.seen[..., :height, :width]
        damaged, draws, mean, spread = (
            each[..., :height, :width] for each in (self.damaged, self.draws, self.mean, self.spread)
        )
        return Restoration(damaged, seen, draws, mean, spread)

    def errors(self, truth: Tensor, known: Tensor | None = None) -> dict[str, float]:
        """How far the restoration is from the truth, uint8 (n, c, H, W), over what is missing, and ``known`` if given.

        ``mse``: of the mean, in [−1, 1]; ``draw_mse``: of a draw; ``within_80``: the share of missing values within the
        80 % interval, mean ± 1.28 standard deviations, which is 0.8 if the spread is right.
        """
        missing = torch.ones_like(truth, dtype=torch.bool)
        if self.seen is not None:
            missing &= ~self.seen
        if known is not None:
            missing &= known
        x, mean = as_float(truth)[missing], as_float(self.mean)[missing]
        of_draws = torch.stack([(as_float(draw)[missing] - x).square().mean() for draw in self.draws])
        return {
            "mse": (mean - x).square().mean().item(),
            "draw_mse": of_draws.mean().item(),
            "within_80": ((mean - x).abs() <= Z_80 * self.spread[missing]).float().mean().item(),
        }


def restore(
    run: Run,
    images: Images,
    *,
    num_draws: int,
    seed: int,
    digests: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Restoration:
    """Draws of whole images from a run's model, given what is seen of them.

    Args:
        run: of a method that infers z or restores.
        images: what is seen, uint8.
        num_draws: draws of each image.
        seed: of the random numbers.
        digests: of the images; the chain of one that the run has learned from starts at the z that learning inferred.
        labels: the class of each image, given which it is restored, if the run has learned classes. Without, each draw
            of it is of the class of a random training image.
        progress: called meanwhile with what is done, and with all that is to be done.

    Raises:
        InputError: nothing is learned yet, the method cannot restore what is missing here, or the run has no such
            class.
    """
    learner, method = run.learned(precision="float32"), run.method
    device = next(learner.model.parameters()).device
    rng = derive(seed, "restore", device=device)
    seen = observed(images)
    batches = torch.arange(len(images)).split(AT_ONCE)
    parts: list[Restored] = []
    if method.infer:
        model, z = method.infer(learner)
        places = {digest: place for place, digest in enumerate(run.data().digests)}
        known = torch.tensor([places.get(digest, -1) for digest in digests or [""] * len(images)])
        tick = counted(sum(_num_evaluations(int((known[index] < 0).sum()), num_draws) for index in batches), progress)
        for index in batches:
            learned = z[known[index].clamp_min(0).to(device)]
            start = torch.where((known[index] >= 0)[:, None].to(device), learned, torch.nan)
            parts.append(restore_latent(model, floats(seen[index].to(device)), start, num_draws, rng, tick))
    elif method.restore:
        if seen.observation.seen is None:
            able = ", ".join(each.name for each in METHODS if each.infer)
            raise InputError(
                f"{run.path}: holds a {method.name}, which fills in missing pixels only; expected a run of {able}"
            )
        draw = _one_draw(run, learner, labels)
        tick = counted(len(batches) * num_draws, progress)
        for index in batches:
            batch, drawn = floats(seen[index].to(device)), []
            for _ in range(num_draws):
                drawn.append(draw(batch, index, rng))
                tick()
            parts.append(Restored(torch.cat([part.draws for part in drawn]), drawn[0].noise))
    else:
        able = ", ".join(each.name for each in METHODS if each.infer or each.restore)
        raise InputError(f"{run.path}: holds a {method.name}, which restores nothing; expected a run of {able}")
    draws, noise = torch.cat([part.draws.cpu() for part in parts], 1), parts[0].noise
    return restored(seen.to("cpu"), draws, noise)


def _one_draw(
    run: Run, learner: Learner, labels: Sequence[str] | None
) -> Callable[[Observed, Tensor, torch.Generator], Restored]:
    """A function of some images, their places among all, and rng, that draws each once, given its class if it has one.

    Raises:
        InputError: the run has learned classes, and this is none of them.
    """
    method = run.method
    assert method.restore is not None
    restore, classes = method.restore, method.classes(learner) if method.classes and labels else None
    if classes is None or not labels:
        return lambda images, index, rng: restore(learner, images, 1, rng)
    given, names = classes.restore, classes.names
    if unknown := sorted({*labels} - {*names}):
        raise InputError(f"class: {run.path} has {', '.join(names)}; got images of {first_names(unknown)}")
    places = torch.tensor([names.index(label) for label in labels])
    return lambda images, index, rng: given(images, places[index].to(images.values.device), 1, rng)


def _num_evaluations(num_new: int, num_draws: int) -> int:
    """How often `restore_latent` evaluates log p(A Y, z), of images of which z is to be inferred for ``num_new``."""
    return num_evaluations(num_new) + 2 * (WARM_UP + 1) + 1 + THIN * num_draws


def restored(images: Observed, draws: Tensor, noise: float) -> Restoration:
    """What is seen, and the draws, floats, where it is not."""
    spread = (draws.var(0, correction=1) + noise**2).sqrt()
    of_draws, mean, mask = torch.stack([to_uint8(draw) for draw in draws]), to_uint8(draws.mean(0)), None
    damaged, (height, width) = images.values, draws.shape[-2:]
    if damaged.shape[-2:] != (height, width):
        damaged = functional.interpolate(damaged, (height, width))
    else:
        mask = images.observation.seen
    if mask is not None:
        of_draws, mean = (torch.where(mask, damaged, each) for each in (of_draws, mean))
        spread = spread * ~mask
    return Restoration(damaged, mask, of_draws, mean, spread)


def restore_latent(
    model: Generator,
    images: Images,
    start: Tensor,
    num_draws: int,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> Restored:
    """f(z) at draws z ~ p(z | A Y).

    Args:
        model: the generator.
        images: what is seen, floats.
        start: where an image's chain starts, (n, d), NaN where z is to be inferred first.
        num_draws: draws of each image.
        rng: on the images' device.
        progress: called at every evaluation of log p(A Y, z) by the chains.
    """
    z, new = start.clone(), start.isnan().any(1)
    if new.any():
        z[new] = infer(model, images[new.nonzero().flatten()], rng=rng, progress=progress).z
    draws = posterior_draws(model, images, z, num_draws, rng, progress)
    with torch.no_grad():
        shown = torch.stack([torch.cat([model(part) for part in chunks(each, AT_ONCE)]) for each in draws])
    return Restored(shown, model.sigma.item())


def posterior_draws(
    model: Generator,
    images: Images,
    z: Tensor,
    num_draws: int,
    rng: torch.Generator,
    progress: Callable[[], None] | None = None,
) -> Tensor:
    """Draws z ~ p(z | A Y) by MALA from ``z``, (n, d) → (num_draws, n, d), preconditioned by the curvature there.

    Chains are first warmed up, preconditioned anew, and warmed up again. ``progress`` is called at every evaluation of
    log p(A Y, z).
    """
    density = log_posterior(model, images, progress)
    with frozen(model):
        for _ in range(2):
            kernel = mcmc.MALA(z.shape[1] ** (-1 / 6), PosteriorMetric.at(model, images, z))
            kernel, state = mcmc.warm_up(kernel, density, z, num_steps=WARM_UP, rng=rng)
            z = state.position
        return mcmc.draws(kernel, density, z, num_draws=num_draws, rng=rng, thin=THIN)
