"""A convolution by oneDNN, PyTorch's library for CPUs, with its weights converted to oneDNN's layouts beforehand."""

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from .plain import Conv, is_plain

__all__ = ["Convolution", "can_replace"]

mkldnn = torch.ops.mkldnn  # oneDNN's former name
LANES = 16  # numbers in a vector register, part of which fewer channels would leave empty


def can_replace(layer: nn.Module, dtypes: Sequence[torch.dtype]) -> TypeGuard[Conv]:
    """Whether `Convolution` can replace the layer."""
    return is_plain(layer) and layer.weight.device.type == "cpu" and layer.weight.dtype in dtypes


class Convolution:
    """y = LeakyReLU(w ∗ x + b) by oneDNN, and its gradient with respect to x.

    With the same w, (k, c, ·, ·), a convolution's gradient is a transposed convolution, and vice versa:
    `down` maps (n, c, H, W) → (n, k, h, w), and `up` maps (n, k, h, w) → (n, c, H, W), for given H and W.

    oneDNN chooses an algorithm for each shape of the input, and each algorithm has its own layout for w. Weights in
    another one would be converted at every call, which can take forty times as long as the convolution.

    Args:
        layer: the convolution, one that `can_replace` accepts.
        slope: of the LeakyReLU that follows, or None.
        dtype: of the inputs.
    """

    def __init__(self, layer: Conv, slope: float | None, dtype: torch.dtype):
        w = layer.weight.detach().to(dtype)
        self.layer = layer
        self.w = w
        self.channels = w.shape[1]
        self.is_down = isinstance(layer, nn.Conv2d)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self.slope = slope
        assert isinstance(layer.padding, tuple)
        self.kernel, self.stride, self.padding = layer.kernel_size, layer.stride, layer.padding
        self.laid_out: dict[tuple[str, torch.Size], Tensor] = {}  # by direction and shape of the input
        doubles = (self.kernel, self.stride, self.padding) == ((4, 4), (2, 2), (1, 1))
        self.in_squares = doubles and 4 * self.channels <= LANES
        if self.in_squares:
            self.w_squares = padded(weights_of_squares(w))
            if self.bias is not None and not self.is_down:
                self.bias = padded(self.bias.repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.is_down:
            return self.down(x, self.bias, self.slope)
        sides = [least + more for least, more in zip(self.least_sides(x), self.layer.output_padding, strict=True)]
        return self.up(x, sides, self.bias, self.slope)

    def backward(self, gradient: Tensor, x: Tensor, slope: float | None) -> Tensor:
        """The gradient with respect to x, given that of w ∗ x + b; or to v, if x = LeakyReLU(v) with a slope."""
        gradient = self.up(gradient, x.shape[2:]) if self.is_down else self.down(gradient)
        return gradient if slope is None else leaky_gradient(gradient, x, slope)

    def down(self, x: Tensor, bias: Tensor | None = None, slope: float | None = None) -> Tensor:
        w = self.weights("down", x, mkldnn._reorder_convolution_weight, self.w, self.padding, self.stride)
        return convolved(x, w, bias, self.padding, self.stride, slope)

    def up(self, x: Tensor, sides: Sequence[int], bias: Tensor | None = None, slope: float | None = None) -> Tensor:
        if self.in_squares:
            w = self.weights("up", x, mkldnn._reorder_convolution_weight, self.w_squares, (1, 1), (1, 1))
            squares = convolved(x, w, bias, (1, 1), (1, 1), slope)
            return image_of_squares(squares, self.channels)[..., 1 : sides[0] + 1, 1 : sides[1] + 1]
        least = self.least_sides(x)
        output_padding = [sides[0] - least[0], sides[1] - least[1]]
        reorder = mkldnn._reorder_convolution_transpose_weight
        w = self.weights("up", x, reorder, self.w, self.padding, output_padding, self.stride)
        y: Tensor = mkldnn._convolution_transpose_pointwise.default(
            x, w, bias, self.padding, output_padding, self.stride, (1, 1), 1, *activation(slope)
        )
        return y

    def weights(self, direction: str, x: Tensor, reorder: Callable[..., Tensor], *convolution: Any) -> Tensor:
        """The weights in the layout for inputs of x's shape, converted if they have not been yet."""
        if (key := (direction, x.shape)) not in self.laid_out:
            self.laid_out[key] = reorder(*convolution, (1, 1), 1, x.shape)
        return self.laid_out[key]

    def least_sides(self, x: Tensor) -> list[int]:
        """The height and width that `up` computes from x without output padding."""
        return [(x.shape[2 + i] - 1) * self.stride[i] - 2 * self.padding[i] + self.kernel[i] for i in (0, 1)]


def leaky_gradient(gradient: Tensor, y: Tensor, slope: float) -> Tensor:
    """The gradient with respect to v, given that of y = LeakyReLU(v), which is overwritten."""
    return torch.ops.aten.leaky_relu_backward.grad_input(gradient, y, slope, True, grad_input=gradient)


def convolved(
    x: Tensor, w: Tensor, bias: Tensor | None, padding: Sequence[int], stride: Sequence[int], slope: float | None
) -> Tensor:
    """LeakyReLU(w ∗ x + b) in one pass."""
    y: Tensor = mkldnn._convolution_pointwise.default(x, w, bias, padding, stride, (1, 1), 1, *activation(slope))
    return y


def activation(slope: float | None) -> tuple[str, list[float], None]:
    """The last arguments of oneDNN's operators, the function that is applied to the convolution's output."""
    return ("none", [], None) if slope is None else ("leaky_relu", [slope], None)


def weights_of_squares(w: Tensor) -> Tensor:
    """The weights (4c, k, 2, 2) of a convolution equal to the transposed one by w, (k, c, 4, 4), of stride 2.

    Pixel (2i + p, 2j + q), counted from one pixel outside the image, depends only on rows i − 1, i and columns j − 1, j
    of the input. The convolution computes the 2 × 2 pixels of all p, q at once, as channels (p, q, c).
    """
    k, c, _, _ = w.shape
    taps = w.view(k, c, 2, 2, 2, 2).flip(2, 4)  # by input and by pixel, vertically and horizontally
    return taps.permute(3, 5, 1, 0, 2, 4).reshape(4 * c, k, 2, 2)


def image_of_squares(squares: Tensor, channels: int) -> Tensor:
    """A faster `pixel_shuffle`: channels (p, q, c) become 2 × 2 pixels, (n, ≥ 4c, h, w) → (n, c, 2h, 2w)."""
    n, _, h, w = squares.shape
    rows = squares.permute(0, 2, 3, 1)[..., : 4 * channels].unflatten(3, (2, 2 * channels))
    pairs = {4: torch.int64, 2: torch.int32}[squares.element_size()]  # two numbers are copied as one
    image = rows.view(pairs).transpose(2, 3).contiguous().view(squares.dtype)
    return image.view(n, 2 * h, 2 * w, channels).permute(0, 3, 1, 2)


def padded(channels: Tensor) -> Tensor:
    """The channels, followed by zeros that fill a vector register."""
    return torch.cat([channels, channels.new_zeros(LANES - len(channels), *channels.shape[1:])])
