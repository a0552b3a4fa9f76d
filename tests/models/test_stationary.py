"""A sum over positions: the same in tiles and at once, the same at every shift of a torus, and its field of view."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anasyn.models import Ladder, OnTorus, StationaryConv, TextureLadder
from anasyn.models.stationary import field_of_view

from ..planting import plant

LEVEL = 1


def network(scales: int = 2, channels: int = 1) -> StationaryConv:
    torch.manual_seed(0)
    made = StationaryConv(Ladder.geometric(3, 0.1, 10.0), [4] * scales, channels, 0.5).double()
    for biases in (*made.biases, *made.mixed_biases):
        torch.nn.init.normal_(biases)
    for heads in made.heads:
        torch.nn.init.normal_(heads, std=0.05)
    made.gaussian.mean.copy_(torch.linspace(-0.5, 0.3, channels).view(-1, 1, 1))
    return made


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def value_and_gradient(module: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    value = module(images)
    return value.detach(), torch.autograd.grad(value.sum(), images)[0]


def agrees(scales: int, tile: int, channels: int = 3) -> bool:
    images, made = noise(2, channels, 48, 80), network(scales, channels)
    whole, tiled = (value_and_gradient(OnTorus(made, side).at(LEVEL), images) for side in (1024, tile))
    return all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(whole, tiled, strict=True))


@pytest.mark.parametrize(("scales", "tile"), [(1, 16), (2, 16), (2, 32), (3, 8), (3, 24)])
def test_tiles_give_the_sum_and_gradient_of_the_whole(scales: int, tile: int) -> None:
    assert agrees(scales, tile)


def test_large_tori_are_computed_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "anasyn.models.stationary:Tiled.forward", {"value += f.detach()": "value += 2 * f.detach()"})
    assert not agrees(2, 16)


def test_a_halo_that_is_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StationaryConv, "halo", property(lambda self: self.grid))
    assert not agrees(3, 8)


def is_stationary() -> bool:
    """Whether the sum over a torus stays the same when the torus is moved by a multiple of the grid."""
    torus, images = OnTorus(network()).at(LEVEL), noise(1, 1, 32, 48)
    return torch.allclose(torus(images), torus(images.roll((4, 8), (2, 3))), rtol=1e-10)


def test_a_torus_has_no_border() -> None:
    assert is_stationary()


def test_padding_in_one_direction_only_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = {"Wrapped.apply(x)": "functional.pad(functional.pad(x, (1, 1, 0, 0), mode='circular'), (0, 0, 1, 1))"}
    plant(monkeypatch, "anasyn.models.stationary:bordered", fault)
    assert not is_stationary()


def test_wrapping_has_the_right_gradient() -> None:
    assert torch.autograd.gradcheck(OnTorus(network()).at(LEVEL), noise(1, 1, 8, 12).requires_grad_())


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_the_field_of_view_is_what_a_position_sees(scales: int) -> None:
    """The pixels on which the features of one position of the coarsest scale depend."""
    made = network(scales)
    with torch.no_grad():
        for heads in made.heads[:-1]:
            heads.zero_()
    cell, halo = made.grid, made.halo
    images = noise(1, 1, cell + 2 * halo + 2 * cell, cell + 2 * halo + 2 * cell).requires_grad_()
    (gradient,) = torch.autograd.grad(made.sum(images, LEVEL, halo=halo + cell).sum(), images)
    seen = gradient[0, 0].abs().sum(0).nonzero().flatten()
    assert seen[-1] - seen[0] + 1 == field_of_view(scales)
    assert halo >= (field_of_view(scales) - cell) / 2 > halo - cell


def test_sides_that_do_not_fit_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        OnTorus(network()).at(LEVEL)(noise(1, 1, 8, 10))


def error_of_the_mean() -> float:
    """Without its features the network leaves the reference, whose gradient vanishes at the mean colour."""
    made = network(channels=3)
    with torch.no_grad():
        for heads in made.heads:
            heads.zero_()
    level = TextureLadder(made, made.ladder).at(LEVEL)
    _, gradient = value_and_gradient(level.log_density, made.gaussian.mean_of(made.ladder, LEVEL).expand(1, 3, 8, 8))
    return float(gradient.abs().max())


def test_images_without_features_have_the_mean_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert error_of_the_mean() < 1e-10
    plant(
        monkeypatch,
        "anasyn.models.spectrum:StationaryDescriptor.reference_energy",
        {"images - self.gaussian.mean_of(self.ladder, self.level)": "images - self.gaussian.mean"},
    )
    assert error_of_the_mean() > 1e-3
