"""Networks while they are frozen: the same function with the same derivatives, computed another way."""

import pytest
import torch
from torch import Tensor, nn

from anasyn.models import networks
from anasyn.processor import freezing, frozen

SIZES = [8, 16, 23, 32, 47, 64, (16, 24), (47, 20)]


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
    sides = (size, size) if isinstance(size, int) else size
    images = normal(3, channels, *sides).contiguous(memory_format=torch.channels_last)
    check_same(networks.conv(size, (8, 12, 16), strides=2, channels=channels), images)
    widths = (16, 8) if min(sides) < 16 else (16, 12, 8)
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


class Doubled(nn.Module):
    """Changes its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class Reversed(nn.Sequential):
    """A Sequential with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in reversed(self):
            x = layer(x)
        return x


class TwiceAsMuch(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class OnesOwn(nn.Module):
    """Sequentials within a Sequential, beside a layer that belongs to none, and what changes its input in place."""

    def __init__(self):
        super().__init__()
        inner = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.LeakyReLU(0.1))
        odd = Reversed(nn.LeakyReLU(0.3), nn.Conv2d(6, 6, 3))
        self.body = nn.Sequential(inner, nn.ReLU(inplace=True), odd, nn.Conv2d(6, 4, (1, 3)), nn.LeakyReLU(0.2))
        self.shared = self.body
        self.skip = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.shared(x)
        y += self.skip(x)[..., :-2]
        return y


def accelerated(model: nn.Module) -> list[nn.Module]:
    """The parts of a frozen model whose forward is replaced."""
    with frozen(model):
        return [module for module in model.modules() if "forward" in vars(module)]


def test_ones_own_network_is_accelerated():
    torch.manual_seed(0)
    network = OnesOwn()
    names = list(network.state_dict())
    assert accelerated(network) == [network.body, network.body[0]]
    check_same(network, normal(3, 1, 9, 14))
    with frozen(network):
        assert list(network.state_dict()) == names
    assert accelerated(nn.Sequential(TwiceAsMuch(1, 1, 3), nn.Linear(3, 3))) == []
    assert accelerated(nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 1, 3)))) == []


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param(lambda: [nn.Conv2d(1, 8, 3), nn.LeakyReLU(0.2), Doubled()], id="after LeakyReLU"),
        pytest.param(lambda: [nn.Conv2d(1, 8, 3), nn.ReLU(inplace=True)], id="after a convolution"),
        pytest.param(lambda: [nn.ConvTranspose2d(1, 3, 4, 2, 1), nn.ReLU(inplace=True)], id="after a view"),
        pytest.param(lambda: [nn.ConvTranspose2d(1, 3, 4, 2, 1), nn.LeakyReLU(0.2), Doubled()], id="after both"),
        pytest.param(lambda: [nn.Conv2d(1, 8, 3), nn.LeakyReLU(0.2, inplace=True)], id="LeakyReLU itself"),
    ],
)
def test_what_follows_may_change_its_input_in_place(layers):
    torch.manual_seed(0)
    network = nn.Sequential(*layers())
    assert accelerated(network)
    check_same(network, normal(3, 1, 9, 14))


HOOKS = {
    "forward": lambda layer, seen: layer.register_forward_hook(lambda *_: seen.append(1)),
    "before forward": lambda layer, seen: layer.register_forward_pre_hook(lambda *_: seen.append(1)),
    "backward": lambda layer, seen: layer.register_full_backward_hook(lambda *_: seen.append(1)),
    "before backward": lambda layer, seen: layer.register_full_backward_pre_hook(lambda *_: seen.append(1)),
    "all modules": lambda _, seen: nn.modules.module.register_module_forward_hook(lambda *_: seen.append(1)),
}


@pytest.mark.parametrize("of", [0, 1], ids=["convolution", "LeakyReLU"])
@pytest.mark.parametrize("kind", HOOKS)
def test_a_layers_hooks_are_run(kind, of):
    """As often frozen as not: the Sequential that holds the layer is not accelerated, another one is."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(1, 6, 3), nn.LeakyReLU(0.1))
    network = nn.Sequential(inner, nn.Conv2d(6, 2, 3))
    seen: list[int] = []
    handle = HOOKS[kind](inner[of], seen)
    x = normal(2, 1, 8, 8).requires_grad_()
    try:
        network(x).sum().backward()
        plain = len(seen)
        assert accelerated(network) == ([] if kind == "all modules" else [network])
        with frozen(network):
            network(x).sum().backward()
        assert len(seen) == 2 * plain > 0
    finally:
        handle.remove()
    assert accelerated(network) == [network, inner]


def test_a_sequentials_own_hooks_are_run():
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.LeakyReLU(0.1))
    seen: list[int] = []
    network.register_forward_hook(lambda *_: seen.append(1))
    assert accelerated(network) == [network]
    with frozen(network):
        network(normal(2, 1, 8, 8))
    assert seen == [1]


@pytest.mark.parametrize("shape", [(6, 6, 9), (0, 6, 8, 9)], ids=["no batch", "none"])
def test_one_image_without_a_batch_and_a_batch_without_an_image(shape):
    network, x = nn.Sequential(nn.Conv2d(6, 6, 5), nn.LeakyReLU(0.1)), normal(*shape).requires_grad_()
    expected = network(x)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    with frozen(network):
        y = network(input=x)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], gradient)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (2, 9)], ids=["other channels", "vectors"])
def test_what_is_no_image_is_refused_as_by_pytorch(shape):
    network = nn.Sequential(nn.Conv2d(6, 6, 5), nn.LeakyReLU(0.1))
    with pytest.raises(RuntimeError) as theirs:
        network(normal(*shape))
    with pytest.raises(RuntimeError) as ours, frozen(network):
        network(normal(*shape))
    assert str(ours.value) == str(theirs.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself, at its import
def test_a_compiler_sees_pytorchs_own_layers():
    torch.manual_seed(0)
    network, x = networks.conv(16, (8, 12), strides=1), normal(2, 3, 16, 16)
    expected = network(x)
    with frozen(network):
        torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(x), expected)


def test_freezing_what_is_frozen_changes_nothing():
    network = networks.conv(16, (8, 12), strides=1)
    with frozen(network):
        replaced = vars(network)["forward"]
        with frozen(network):
            assert vars(network)["forward"] is replaced
        assert vars(network)["forward"] is replaced
        assert not any(p.requires_grad for p in network.parameters())
    assert "forward" not in vars(network)
    assert all(p.requires_grad for p in network.parameters())


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


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("network", [networks.deconv(5, 32), networks.conv(32, (32, 64, 128, 256))])
def test_weights_are_converted_once_for_each_shape(network, batch, capfd):
    """oneDNN reports every conversion; those at each call would take several times as long as the convolutions."""
    x = normal(batch, 5) if isinstance(network[0], nn.Linear) else normal(batch, 3, 32, 32)
    x = (x if x.dim() == 2 else x.contiguous(memory_format=torch.channels_last)).requires_grad_()
    conversions = []
    with frozen(network), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        for _ in range(2):
            capfd.readouterr()
            torch.autograd.grad(network(x).sum(), x)
            conversions.append(capfd.readouterr().out.count(",reorder,"))
    assert conversions[0] > 0
    assert conversions[1] == 0
