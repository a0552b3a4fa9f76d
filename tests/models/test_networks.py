"""The networks: sizes, range, memory format, and rows that do not depend on each other."""

import pytest
import torch
from torch import Tensor, nn

from anasyn.models import networks

SIZES = [8, 16, 23, 32, 47, 64, 100, (16, 24), (47, 20), (9, 64)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sides(size: networks.Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def small_deconv(size: networks.Size, **options) -> nn.Sequential:
    torch.manual_seed(0)
    return networks.deconv(2, size, options.pop("widths", (16, 8) if min(sides(size)) < 16 else (16, 12, 8)), **options)


def small_conv(size: networks.Size, **options) -> nn.Sequential:
    torch.manual_seed(0)
    return networks.conv(size, (8, 12, 16), strides=options.pop("strides", 2), **options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_deconv_makes_images(size, channels):
    """(n, d) → (n, channels, height, width) in [−1, 1], channels-last."""
    images = small_deconv(size, channels=channels)(normal(5, 2))
    assert images.shape == (5, channels, *sides(size))
    assert images.abs().max() <= 1
    assert images.std() > 0.05  # and not grey
    assert images[0].sub(images[1]).abs().max() > 0.05  # they depend on z


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_conv_makes_a_number_each(size, channels):
    images = normal(5, channels, *sides(size))
    f = small_conv(size, channels=channels)(images)
    assert f.shape == (5,)
    assert f.unique().numel() == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_a_square_may_be_given_by_both_its_sides(channels):
    for make, batch in ((small_deconv, normal(3, 2)), (small_conv, normal(3, channels, 24, 24))):
        one, both = make(24, channels=channels), make((24, 24), channels=channels)
        assert one.state_dict().keys() == both.state_dict().keys()
        assert torch.equal(one(batch), both(batch))


def test_height_comes_before_width():
    """Every pixel of a rectangle depends on z, and f on every pixel of it."""
    images = small_deconv((16, 40))(normal(1, 2))
    assert images.shape == (1, 3, 16, 40)
    assert images.std((0, 1)).min() > 0
    images = normal(1, 3, 16, 40).requires_grad_()
    (gradient,) = torch.autograd.grad(small_conv((16, 40))(images), images)
    assert gradient.abs().min() > 0


def test_networks_are_plain_sequences_of_pytorchs_layers():
    """The names of the weights are those in checkpoints on disk."""
    generator, descriptor = small_deconv(16), small_conv(16)
    assert type(generator) is type(descriptor) is nn.Sequential
    assert [*generator.state_dict()] == [f"{at}.{name}" for at in (0, 2, 5, 7, 9) for name in ("weight", "bias")]
    in_many_dimensions = networks.deconv(9, 16, (16, 12, 8)).state_dict()
    assert [*in_many_dimensions] == [f"{at}.{name}" for at in (0, 3, 5, 7) for name in ("weight", "bias")]
    assert [*descriptor.state_dict()] == [f"{at}.{name}" for at in (0, 2, 4) for name in ("weight", "bias")] + [
        "6.weight"
    ]


@pytest.mark.parametrize("size", [32, 64])
def test_default_networks(size):
    assert networks.deconv(3, size)(normal(2, 3)).shape == (2, 3, size, size)
    assert networks.conv(size)(normal(2, 3, size, size)).shape == (2,)


def test_weights_and_activations_are_channels_last():
    last = {"memory_format": torch.channels_last}
    for network in (small_deconv(32), small_conv(32)):
        weights = [m.weight for m in network if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert weights
        assert all(w.is_contiguous(**last) for w in weights)
    assert small_deconv(32)(normal(5, 2)).is_contiguous(**last)


def check_rows_alone(network: nn.Module, batch: Tensor) -> None:
    """A row alone equals the row in its batch (trap 5), in training mode as it is used."""
    whole = network(batch)
    for rows in [torch.arange(len(batch)).flip(0), *torch.arange(len(batch)).split(1)]:
        torch.testing.assert_close(network(batch[rows]), whole[rows], rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_each_other():
    check_rows_alone(small_deconv(24), normal(5, 2))
    check_rows_alone(small_conv(24), normal(5, 3, 24, 24))


def test_planted_batch_norm_is_caught():
    for network, batch in ((small_deconv(24), normal(5, 2)), (small_conv(24), normal(5, 3, 24, 24))):
        at = next(i for i, layer in enumerate(network) if isinstance(layer, nn.LeakyReLU))
        width = 16 if isinstance(network[0], nn.Linear) else 8
        network.insert(at, nn.BatchNorm2d(width))
        with pytest.raises(AssertionError):
            check_rows_alone(network, batch)


def test_the_descriptors_head_has_no_bias():
    """A constant of f cancels in every gradient: it could only drift."""
    assert small_conv(16)[-1].bias is None


def test_the_generators_first_layer_is_no_cone():
    """f(0) is not uniformly grey, and f(z) − f(0) is not odd in z."""
    network = networks.deconv(2, 32)
    z = normal(4, 2)
    assert network(0 * z).std() > 0.02
    odd = (network(z) - network(0 * z)) + (network(-z) - network(0 * z))
    assert odd.std() > 0.02


@pytest.mark.parametrize("latent_dim", [1, 2, 8])
def test_a_latent_vector_of_few_dimensions_is_squashed_into_a_ball(latent_dim):
    """At first u = z; then ‖h‖ = ‖u‖ / √(1 + ‖u‖²/d), in the direction of u. No gradient changes u."""
    network = networks.deconv(latent_dim, 16, (8, 8))
    assert [weight.requires_grad for weight in network.parameters()] == 2 * [False] + 6 * [True]
    z = 3 * normal(50, latent_dim)
    squashed = network[:2](z)
    length = z.norm(dim=1)
    torch.testing.assert_close(squashed.norm(dim=1), length / (1 + length**2 / latent_dim).sqrt())
    torch.testing.assert_close(squashed / squashed.norm(dim=1, keepdim=True), z / length[:, None])


def test_images_far_out_are_those_near_the_rim():
    """In few dimensions f does not exaggerate; in many, where no draw lies far out, its layers are as before."""
    few, many = networks.deconv(2, 16, (8, 8)), networks.deconv(9, 16, (8, 8))
    z = normal(20, 2) + 3
    assert (few(10 * z) - few(1000 * z)).abs().max() < 0.05
    assert (few(z) - few(1000 * z)).abs().max() > 0.01
    z = normal(20, 9) + 3
    assert (many(10 * z) - many(1000 * z)).abs().max() > 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: networks.deconv(2, 7),
        lambda: networks.deconv(2, 0),
        lambda: networks.deconv(2, -64),
        lambda: networks.deconv(2, 16, (8, 8, 8, 8)),
        lambda: networks.conv(7),
        lambda: networks.conv(8, (8, 8, 8), strides=3),
        lambda: networks.conv(0),
        lambda: networks.deconv(2, (7, 64)),
        lambda: networks.conv((64, 7)),
    ],
)
def test_sizes_too_small_are_refused(make):
    with pytest.raises(ValueError, match=r"^size: expected at least \d+ pixels"):
        make()


@pytest.mark.parametrize(
    "make", [lambda: networks.deconv(2, 8, (8, 8)), lambda: networks.conv(8, (8, 8), 2), lambda: networks.conv(16)]
)
def test_the_smallest_sizes_are_taken(make):
    assert list(make().parameters())
