"""From the settings of a recipe to models and learners."""

import torch
from torch import nn

from .. import mcmc
from ..errors import InputError
from ..learning import DescriptorLearner, GeneratorLearner
from ..mcmc import chains
from ..models import Descriptor, Generator, networks
from ..recipes import DescriptorRecipe, GeneratorRecipe, Recipe
from ..rng import derive

__all__ = ["build_kernel", "build_learner", "choose_device", "has_bfloat16"]


def build_learner(recipe: Recipe, device: torch.device) -> GeneratorLearner | DescriptorLearner:
    """The learner of a resolved recipe; its first weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "weights").initial_seed())
        if isinstance(recipe, GeneratorRecipe):
            return _generator_learner(recipe, device)
        assert isinstance(recipe, DescriptorRecipe)
        return _descriptor_learner(recipe, device)


def _generator_learner(recipe: GeneratorRecipe, device: torch.device) -> GeneratorLearner:
    assert recipe.latent_dim is not None
    assert recipe.size is not None
    assert recipe.width is not None
    assert recipe.num_steps is not None
    doublings = 4 if recipe.size >= 32 else 3
    widths = [max(recipe.width >> depth, 4) for depth in range(doublings)]
    network = networks.deconv(recipe.latent_dim, recipe.size, widths)
    model = Generator(network, recipe.latent_dim, recipe.sigma, recipe.precision).to(device)
    return GeneratorLearner(
        model, kernel=build_kernel(recipe), num_steps=recipe.num_steps, optimizer=_optimizer(recipe, model)
    )


def _descriptor_learner(recipe: DescriptorRecipe, device: torch.device) -> DescriptorLearner:
    assert recipe.size is not None
    assert recipe.width is not None
    assert recipe.num_steps is not None
    assert recipe.scale is not None
    widths = [max(recipe.width >> halvings, 4) for halvings in (2, 1, 0, 0)]
    network = networks.conv(recipe.size, widths)
    model = Descriptor(network, recipe.reference_std, recipe.scale, recipe.precision).to(device)
    return DescriptorLearner(
        model,
        kernel=build_kernel(recipe),
        num_steps=recipe.num_steps,
        chains=_chains(recipe),
        chains_per_image=recipe.chains_per_image,
        data_noise=recipe.data_noise,
        optimizer=_optimizer(recipe, model),
    )


def build_kernel(recipe: Recipe) -> mcmc.Kernel:
    """The MCMC transition of a recipe."""
    match recipe.kernel:
        case "langevin":
            return mcmc.Langevin(recipe.step_size, recipe.temperature)
        case "mala":
            return mcmc.MALA(recipe.step_size)
        case "hmc":
            return mcmc.HMC(recipe.step_size, recipe.leapfrog_steps)


def _chains(recipe: DescriptorRecipe) -> mcmc.Chains:
    match recipe.start:
        case "auto":
            raise ValueError("start: expected a resolved recipe, got auto")
        case "mean":
            return mcmc.ColdChains(chains.mean_image)
        case "reference":
            return mcmc.ColdChains(chains.reference_noise(recipe.reference_std))
        case "uniform":
            return mcmc.ColdChains(chains.uniform_noise)
        case "data":
            return mcmc.ColdChains(chains.data)
        case "persistent":
            return mcmc.PersistentChains(chains.mean_image)


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, betas=(recipe.beta1, 0.999))
    return torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.beta1)


def choose_device(asked: str) -> torch.device:
    """The device that a recipe's ``device`` stands for.

    Raises:
        InputError: a GPU is asked for and there is none.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda was asked for and there is no GPU here; use --device cpu")
    return torch.device("cuda" if asked == "cuda" or (asked == "auto" and torch.cuda.is_available()) else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 matrices itself, not by way of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())  # AMX implies it; oneDNN would emulate it on any AVX-512
