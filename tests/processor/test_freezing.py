"""Networks while they are frozen: the same function with the same derivatives, computed another way."""

import pytest
import torch
from torch import Tensor, nn

from anasyn.models import networks
from anasyn.processor import freezing, frozen

SIZES = [8, 16, 23, 32, 47, 64]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(value: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference, in units of the truth's."""
    scale = truth.square().mean().sqrt().item()
    return (value - truth).square().mean().sqrt().item() / scale if scale else value.abs().max().item()


def derivatives(network: nn.Module, x: Tensor, precision: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """y, the gradient by x of a random direction of y, and the gradient of that gradient's squared length."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        y = network(x)
    direction = normal(*y.shape, seed=1).to(y.dtype)
    (first,) = torch.autograd.grad(y, x, direction, retain_graph=True)
    (again,) = torch.autograd.grad(y, x, direction, create_graph=True)
    (second,) = torch.autograd.grad((again**2).sum(), x, materialize_grads=True) if again.requires_grad else (0 * x,)
    assert error(again.detach(), first) < (1e-5 if precision == torch.float32 else 0.1)
    return y.detach().float(), first, second


def check_same(network: nn.Module, x: Tensor) -> None:
    """In float32 the same to rounding; in bfloat16 about as far from float32 as PyTorch's own layers are.

    About: a feature near zero may fall on either side of LeakyReLU's kink, and its gradient changes fivefold.
    """
    plain = derivatives(network, x, torch.float32)
    rounded = derivatives(network, x, torch.bfloat16)
    with frozen(network):
        fast = derivatives(network, x, torch.float32)
        fast_rounded = derivatives(network, x, torch.bfloat16)
    for truth, value, theirs, ours in zip(plain, fast, rounded, fast_rounded, strict=True):
        assert value.shape == truth.shape
        assert error(value, truth) < 1e-5
        assert error(ours, truth) <= 2 * error(theirs, truth) + 0.1


@pytest.fixture
def never_plain(monkeypatch):
    """PyTorch's own layers are not called but for second derivatives."""
    as_layers = freezing.Convolutions.as_layers

    def only_differentiated(self, x):
        assert torch.is_grad_enabled()
        return as_layers(self, x)

    monkeypatch.setattr(freezing.Convolutions, "as_layers", only_differentiated)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("never_plain")
def test_the_two_networks(size, channels):
    torch.manual_seed(0)
    images = normal(3, channels, size, size).contiguous(memory_format=torch.channels_last)
    check_same(networks.conv(size, (8, 12, 16), strides=2, channels=channels), images)
    widths = (16, 8) if size < 16 else (16, 12, 8)
    check_same(networks.deconv(2, size, widths, channels=channels), normal(3, 2))


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param(lambda: [nn.Conv2d(3, 8, 3, bias=False)], id="no bias"),
        pytest.param(lambda: [nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.LeakyReLU(0.5)], id="two activations"),
        pytest.param(lambda: [nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.0)], id="ReLU"),
        pytest.param(lambda: [nn.LeakyReLU(0.2), nn.Conv2d(3, 8, 3), nn.Tanh()], id="activation first"),
        pytest.param(lambda: [nn.Conv2d(3, 8, 5, stride=3, padding=2), nn.Conv2d(8, 8, 1)], id="stride 3"),
        pytest.param(lambda: [nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(0, 2))], id="not square"),
        pytest.param(lambda: [nn.Conv2d(3, 6, 3, groups=3), nn.LeakyReLU(0.2), nn.Conv2d(6, 4, 3)], id="groups"),
        pytest.param(lambda: [nn.Conv2d(3, 6, 3, dilation=2), nn.LeakyReLU(0.2), nn.Conv2d(6, 4, 3)], id="dilation"),
        pytest.param(lambda: [nn.Conv2d(3, 6, 3, padding="same"), nn.LeakyReLU(0.2)], id="padding by name"),
        pytest.param(lambda: [nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")], id="circular"),
        pytest.param(lambda: [nn.ConvTranspose2d(3, 8, 3, stride=2, output_padding=1), nn.LeakyReLU(0.2)], id="more"),
        pytest.param(lambda: [nn.ConvTranspose2d(3, 2, 4, 2, 1, output_padding=1), nn.LeakyReLU(0.2)], id="more, few"),
        pytest.param(lambda: [nn.ConvTranspose2d(3, 4, 4, 2, 1, bias=False), nn.Conv2d(4, 3, 3)], id="up and down"),
        pytest.param(lambda: [nn.Flatten(), nn.Linear(3 * 9 * 12, 2)], id="no convolution"),
    ],
)
def test_layers_of_every_kind(layers):
    torch.manual_seed(0)
    check_same(nn.Sequential(*layers()), normal(3, 3, 9, 12))


@pytest.mark.parametrize("channels", [(3, 8), (3, 32), (8, 12), (64, 128)])
@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
def test_bfloat16_rounds_as_pytorch_does(make, channels):
    """One convolution without a kink: its error and its gradient's are PyTorch's own."""
    torch.manual_seed(0)
    narrow, wide = channels
    layer = make(*(channels if make is nn.Conv2d else (wide, narrow)), 4, stride=2, padding=1)
    check = nn.Sequential(layer)
    x = normal(3, layer.in_channels, 12, 12).bfloat16().float().contiguous(memory_format=torch.channels_last)
    for parameter in check.parameters():
        parameter.data = parameter.data.bfloat16().float()
    truth = derivatives(check, x, torch.float32)[:2]
    theirs = derivatives(check, x, torch.bfloat16)[:2]
    with frozen(check):
        ours = derivatives(check, x, torch.bfloat16)[:2]
    for exact, rounded, fast in zip(truth, theirs, ours, strict=True):
        assert 0 < error(fast, exact) < 1.05 * error(rounded, exact)


def test_float64_and_other_memory_formats():
    torch.manual_seed(0)
    network = networks.conv(16, (8, 12), strides=1)
    plain = derivatives(network, normal(3, 3, 16, 16), torch.float32)
    with frozen(network):
        for value, truth in zip(derivatives(network, normal(3, 3, 16, 16), torch.float32), plain, strict=True):
            assert error(value, truth) < 1e-5
    network.double()
    exact = network(normal(3, 3, 16, 16).double())
    with frozen(network):
        assert torch.equal(network(normal(3, 3, 16, 16).double()), exact)


def test_each_freezing_sees_the_weights_of_its_time():
    torch.manual_seed(0)
    network = networks.conv(16, (8, 12), strides=1)
    images = normal(3, 3, 16, 16)
    for _ in range(2):
        expected = network(images)
        with frozen(network):
            torch.testing.assert_close(network(images), expected)
        torch.testing.assert_close(network(images), expected)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(-1.5)


def test_weights_come_back_as_they_were():
    network = networks.conv(16, (8, 12), strides=1)
    fixed = network[0].weight.requires_grad_(False)
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
    with pytest.raises(RuntimeError), frozen(network):
        network(normal(1, 5))  # not images: an error while frozen
    assert not fixed.requires_grad
    assert all(p.requires_grad for p in network.parameters() if p is not fixed)
    assert "forward" not in vars(network)
