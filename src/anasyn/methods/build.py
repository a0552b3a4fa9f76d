"""The parts from which methods build their learners: kernels, optimisers, and networks that the user supplies."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .. import mcmc
from ..errors import InputError
from ..learning import Learner, keep_average
from ..rng import derive
from .method import Method
from .settings import ChainSettings, Settings

__all__ = ["build_learner", "kernel", "load_function", "load_network", "optimizer"]

MISTAKES = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)  # raised by a user's network or its module
NUM_TRIED = 8  # inputs of a user's network: with fewer, dropout might drop the same twice


def build_learner(
    method: Method, settings: Settings, device: torch.device, labels: Sequence[str] | None = None
) -> Learner:
    """The learner of resolved settings, with initial weights that the seed determines.

    ``labels`` are the class names of the training images, or None if these have no classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(settings.seed, "weights").initial_seed())
        return method.build(settings, device, labels) if method.classes else method.build(settings, device)


def kernel(settings: ChainSettings, preconditioner: mcmc.Preconditioner | None = None) -> mcmc.Kernel:
    """The MCMC transition of resolved settings."""
    assert settings.step_size is not None
    match settings.kernel:
        case "langevin":
            return mcmc.Langevin(settings.step_size, settings.temperature, preconditioner)
        case "mala":
            return mcmc.MALA(settings.step_size, preconditioner)
        case "hmc":
            return mcmc.HMC(settings.step_size, settings.leapfrog_steps, preconditioner)
        case "auto":
            raise ValueError("kernel: expected resolved settings, got auto")


def optimizer(settings: ChainSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of the model's weights, which keeps their average if these settings ask for it."""
    assert settings.learning_rate is not None
    chosen: torch.optim.Optimizer
    if settings.optimizer == "adam":
        chosen = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))
    else:
        chosen = torch.optim.SGD(model.parameters(), lr=settings.learning_rate, momentum=settings.beta1)
    keep_average(chosen, settings.average)
    return chosen


def load_function(option: str, name: str, others: str) -> Callable[..., Any]:
    """The user's function named ``package.module:function``; modules are also imported from the current directory.

    Args:
        option: the setting or option that names it, for the messages.
        name: the function.
        others: the values besides a function that the option may have, for the messages.

    Raises:
        InputError: the name has another form, or there is no such function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"{option}: expected {others} or package.module:function, got {name!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return found
    except (ImportError, SyntaxError, *MISTAKES) as cause:
        raise InputError(f"{option}: {name} cannot be imported ({cause})") from cause


def load_network(
    settings: ChainSettings, *, takes: Sequence[int], gives: Sequence[int], option: str = "network"
) -> nn.Module:
    """The network that the user's function, named by the setting ``network``, returns when called with the settings.

    Args:
        settings: resolved settings.
        takes, gives: shapes of one input and of one output.
        option: what the user calls that setting, for the messages.

    Raises:
        InputError: there is no such function, it returns no module, or the module does not map (n, *takes) to
            (n, *gives) row by row: with batch normalisation or dropout there would be no density of a single image.
    """
    make = load_function(option, settings.network, "built-in")
    try:
        network = make(settings)
    except MISTAKES as cause:
        raise InputError(f"{option}: {settings.network} cannot be called with the settings ({cause})") from cause
    if not isinstance(network, nn.Module):
        raise InputError(f"{option}: {settings.network} made a {type(network).__name__}, expected a torch.nn.Module")
    inputs = torch.randn(NUM_TRIED, *takes)
    try:
        with torch.no_grad():
            together, alone = network(inputs), [network(row) for row in inputs.split(1)]
    except MISTAKES as cause:
        raise InputError(f"{option}: {settings.network} cannot take inputs {('n', *takes)} ({cause})") from cause
    if together.shape != (NUM_TRIED, *gives):
        got = f"{settings.network} gives {tuple(together.shape)}"
        raise InputError(f"{option}: expected outputs of shape {(NUM_TRIED, *gives)}, {got}")
    if not torch.allclose(together, torch.cat(alone), rtol=1e-3, atol=1e-4):
        fault = "depend on each other, or on chance; leave out batch normalisation and dropout"
        raise InputError(f"{option}: the rows of {settings.network} {fault}")
    return network
