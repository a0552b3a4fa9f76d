"""Whether convolutions can be accelerated here, tested once by computing some: by oneDNN's operators, or by Triton."""

import logging
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from . import onednn
from .onednn import Convolution
from .plain import has_hooks

__all__ = ["dtypes", "has_triton"]

log = logging.getLogger(__name__)
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.05}  # relative to the largest absolute value


def dtypes() -> tuple[torch.dtype, ...]:
    """The dtypes in which convolutions can be accelerated; none where oneDNN is missing or switched off."""
    return probed() if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled else ()


@cache
def probed() -> tuple[torch.dtype, ...]:
    """The dtypes in which the private operators agree with PyTorch's layers; none, and a warning, if one does not."""
    try:
        found = (torch.float32, torch.bfloat16) if onednn.mkldnn._is_mkldnn_bf16_supported() else (torch.float32,)
        wrong = [f"{dtype} differs from PyTorch's own layers" for dtype in found if not agrees(dtype)]
    except (AttributeError, RuntimeError, TypeError) as error:
        wrong = [str(error).partition("\n")[0]]
    if not wrong:
        return found
    log.warning(
        "convolutions are not accelerated, and chains run slower, because PyTorch %s lacks or changed an operator: %s",
        torch.__version__,
        "; ".join(wrong),
    )
    return ()


def has_triton() -> bool:
    """Whether Triton computes convolutions on this GPU; not with the environment variable ``ANASYN_TRITON=off``."""
    return os.environ.get("ANASYN_TRITON") != "off" and triton_works()


@cache
def triton_works() -> bool:
    """Whether Triton computes a small convolution on this GPU; if it is there and does not, a warning says why."""
    if find_spec("triton") is None or torch.cuda.get_device_capability() < (8, 0):  # which bfloat16 needs
        return False
    try:
        from . import gpu

        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cuda", enabled=False):
            layer = skip_init(nn.Conv2d, 16, 16, 1, bias=False, device="cuda")
            layer.weight.fill_(0.5)
            x = torch.ones(1, 16, 4, 4, device="cuda")
            wrong = "" if gpu.Convolution(layer, None, torch.bfloat16).forward(x).eq(8).all() else "a wrong result"
    except Exception as error:  # of Triton, of the compilers it calls, or of the driver
        wrong = f"{type(error).__name__}: {error}".partition("\n")[0]
    if wrong:
        log.warning("convolutions are not accelerated, because Triton does not work on this GPU: %s", wrong)
    return not wrong


def agrees(dtype: torch.dtype) -> bool:
    """Whether small convolutions of every kind, and their gradients, are those of PyTorch's own layers."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        return all(is_close(ours, theirs) for ours, theirs in pairs(dtype))


def is_close(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return bool((ours - theirs).abs().max() <= TOLERANCES[theirs.dtype] * theirs.abs().max())


def pairs(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and gradients by the private operators, each with the one by PyTorch's own layers."""
    rng = torch.Generator().manual_seed(0)  # its own, also for the weights, so that a run's numbers do not change

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, device="cpu", dtype=torch.float32).to(dtype)

    layers = (
        skip_init(nn.Conv2d, 3, 20, 4, stride=2, padding=1, dtype=dtype),
        skip_init(nn.Conv2d, 20, 6, 3, padding=1, dtype=dtype),
        skip_init(nn.ConvTranspose2d, 6, 20, 3, stride=2, output_padding=1, dtype=dtype),
        skip_init(nn.ConvTranspose2d, 20, 3, 4, stride=2, padding=1, dtype=dtype),
    )
    for layer in layers:
        has_hooks(layer)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(normal(*parameter.shape))
        for slope in (None, 0.2):
            v = normal(2, layer.in_channels, 5, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
            x = v if slope is None else nn.functional.leaky_relu(v, slope)
            theirs = layer(x)
            gradient = normal(*theirs.shape).contiguous(memory_format=torch.channels_last)
            (by_v,) = torch.autograd.grad(theirs, v, gradient)
            convolution = Convolution(layer, slope, dtype)
            yield convolution.forward(x.detach()), theirs if slope is None else nn.functional.leaky_relu(theirs, slope)
            yield convolution.backward(gradient, x.detach(), slope), by_v
