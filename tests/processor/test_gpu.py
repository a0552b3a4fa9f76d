"""Convolutions by Triton are those of PyTorch's own layers: on a GPU in bfloat16, elsewhere by Triton's interpreter."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from anasyn.models import networks
from anasyn.processor import freezing, frozen

gpu = pytest.importorskip("anasyn.processor.gpu", reason="no Triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32  # the interpreter has no bfloat16 products
TOLERANCE, OF_NETWORKS = (0.01, 0.15) if torch.cuda.is_available() else (1e-5, 1e-4)  # as features near 0 change sign

LAYERS: dict[str, tuple[Callable[[], nn.Conv2d | nn.ConvTranspose2d], tuple[int, int]]] = {
    "from images": (lambda: nn.Conv2d(3, 32, 4, 2, 1), (16, 12)),
    "halving": (lambda: nn.Conv2d(32, 64, 4, 2, 1), (8, 6)),
    "odd sides": (lambda: nn.Conv2d(16, 20, 4, 2, 1), (9, 7)),
    "same size": (lambda: nn.Conv2d(32, 20, 3, 1, 1), (5, 7)),
    "without bias": (lambda: nn.Conv2d(6, 8, 5, 3, 2, bias=False), (9, 11)),
    "pixels between": (lambda: nn.Conv2d(4, 4, 2, 3), (8, 9)),
    "one tap": (lambda: nn.Conv2d(8, 4, 1), (3, 3)),
    "to images": (lambda: nn.ConvTranspose2d(32, 3, 4, 2, 1), (5, 6)),
    "output padding": (lambda: nn.ConvTranspose2d(16, 32, 3, 2, output_padding=1), (4, 3)),
    "from one pixel": (lambda: nn.ConvTranspose2d(16, 16, 4, 2, 1), (1, 1)),
    "more columns than a group of threads computes": (lambda: nn.Conv2d(48, 8, 4, 2, 1), (4, 4)),
}


def normal(*shape: int, seed: int) -> Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(DEVICE).contiguous(memory_format=torch.channels_last)


def check(ours: Tensor, truth: Tensor) -> None:
    assert ours.shape == truth.shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert (ours - truth).norm() <= TOLERANCE * truth.norm()


@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("name", LAYERS)
def test_a_convolution_and_its_gradient(name: str, slope: float | None) -> None:
    make, sides = LAYERS[name]
    torch.manual_seed(0)
    layer = make().to(DEVICE)
    v = normal(3, layer.in_channels, *sides, seed=0).requires_grad_()
    x = v if slope is None else functional.leaky_relu(v, slope)
    with torch.backends.cudnn.flags(allow_tf32=False):
        y = layer(x)
        gradient = normal(*y.shape, seed=1)
        (by_v,) = torch.autograd.grad(y, v, gradient)
    convolution = gpu.Convolution(layer, slope, DTYPE)
    ours = convolution.forward(x.detach())
    assert ours.dtype == DTYPE
    check(ours, y.detach() if slope is None else functional.leaky_relu(y.detach(), slope))
    for dtype in (torch.float32, DTYPE):  # images, and features
        found = convolution.backward(gradient.to(DTYPE), x.detach().to(dtype), slope)
        assert found.dtype == dtype
        check(found, by_v)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["descriptor", "generator"])
def test_frozen_networks(kind: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same output and gradient as by PyTorch's layers, the latter in the dtype of the input."""
    torch.manual_seed(0)
    if kind == "descriptor":
        network, x = networks.conv(16, (8, 16, 16), strides=2, channels=channels), normal(3, channels, 16, 16, seed=0)
    else:
        network, x = networks.deconv(4, 16, (16, 8), channels=channels), torch.randn(3, 4, device=DEVICE)
    network, x = network.to(DEVICE), x.requires_grad_()
    means = freezing.Means(gpu.Convolution, lambda layer: True, (DTYPE,), converts=True)
    monkeypatch.setattr(freezing, "means_of", lambda device: means)

    def derivatives() -> tuple[Tensor, Tensor]:
        with torch.autocast(DEVICE.type, DTYPE, enabled=torch.bfloat16 == DTYPE):
            y = network(x).float()
        (gradient,) = torch.autograd.grad(y, x, torch.linspace(1, 2, y.numel(), device=DEVICE).view(y.shape))
        return y.detach(), gradient

    plain = derivatives()
    with monkeypatch.context() as patch:
        patch.setattr(freezing.Convolutions, "as_layers", None)  # which is not called
        with frozen(network):
            found = derivatives()
    for ours, truth in zip(found, plain, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - truth).norm() <= OF_NETWORKS * truth.norm()
