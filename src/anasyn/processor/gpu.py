"""A convolution, its LeakyReLU and its gradient by one Triton kernel, in bfloat16, on a GPU.

PyTorch's own layers pass over the features three times: convolution, bias, LeakyReLU. And the library that they call
takes longer for the first convolution of a small network, from three channels, than for all that follow.
"""

from collections.abc import Sequence
from typing import TypeGuard

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from .plain import Conv, is_plain

__all__ = ["Convolution", "can_replace"]

# What a group of threads computes of a product of matrices; measured on an H200.
MOST_COLUMNS = 128
MOST_DEPTH = 64  # terms that are added at a time
WARPS = 4
STAGES = 3  # of reading ahead


def can_replace(layer: nn.Module) -> TypeGuard[Conv]:
    """Whether `Convolution` can replace the layer, whose input is converted to bfloat16."""
    if not is_plain(layer) or layer.weight.device.type != "cuda" or layer.weight.dtype != torch.float32:
        return False
    return all(of[0] == of[1] for of in (layer.kernel_size, layer.stride, layer.padding))


class Convolution:
    """y = LeakyReLU(w ∗ x + b), and its gradient with respect to x.

    With the same w, (k, c, ·, ·), a convolution's gradient is a transposed convolution, and vice versa:
    `down` maps (n, c, H, W) → (n, k, h, w), and `up` maps (n, k, h, w) → (n, c, H, W), for given H and W.

    With stride s, `up` computes squares of s × s pixels at once. With p rows of padding, pixel i of a column is pixel r
    of square j, i + p = s j + r, and it is the sum over e ≥ 0 of w_{r + s e} times the input at j − e. So both maps are
    products of matrices: for each place, the pixels that it reaches times weights.

    Args:
        layer: the convolution, one that `can_replace` accepts.
        slope: of the LeakyReLU that follows, or None.
        dtype: bfloat16.
    """

    def __init__(self, layer: Conv, slope: float | None, dtype: torch.dtype):
        w = layer.weight.detach()
        self.layer = layer
        self.is_down = isinstance(layer, nn.Conv2d)
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.slope = slope
        self.taps, self.stride, self.padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        self.k, self.c = w.shape[:2]
        self.w_down = w.permute(2, 3, 1, 0).reshape(-1, self.k).to(dtype).contiguous()
        self.squares = -(-self.taps // self.stride)  # that a pixel of the input reaches, in each direction
        missing = self.squares * self.stride - self.taps
        parts = nn.functional.pad(w, (0, missing, 0, missing)).unflatten(3, (self.squares, self.stride))
        parts = parts.unflatten(2, (self.squares, self.stride))  # (k, c, e, r, e, r)
        self.w_up = parts.permute(2, 4, 0, 3, 5, 1).reshape(-1, self.stride**2 * self.c).to(dtype).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        if self.is_down:
            return self.down(x, self.w_down.dtype, self.bias, None, self.slope)
        more = self.layer.output_padding
        sides = [(x.shape[2 + i] - 1) * self.stride - 2 * self.padding + self.taps + more[i] for i in (0, 1)]
        return self.up(x, sides, self.w_up.dtype, self.bias, None, self.slope)

    def backward(self, gradient: Tensor, x: Tensor, slope: float | None) -> Tensor:
        """The gradient with respect to x, given that of w ∗ x + b; or to v, if x = LeakyReLU(v) with a slope."""
        below = None if slope is None else x
        if self.is_down:
            return self.up(gradient, x.shape[2:], x.dtype, None, below, slope)
        return self.down(gradient, x.dtype, None, below, slope)

    def down(
        self, x: Tensor, dtype: torch.dtype, bias: Tensor | None, below: Tensor | None, slope: float | None
    ) -> Tensor:
        h, w = ((side + 2 * self.padding - self.taps) // self.stride + 1 for side in x.shape[2:])
        y = empty(len(x), self.k, h, w, dtype, x)
        launch(x, self.w_down, bias, below, y, slope, (h, w), (self.stride, -self.padding, 1, self.taps), (1, 0))
        return y

    def up(
        self,
        x: Tensor,
        sides: Sequence[int],
        dtype: torch.dtype,
        bias: Tensor | None,
        below: Tensor | None,
        slope: float | None,
    ) -> Tensor:
        y = empty(len(x), self.c, sides[0], sides[1], dtype, x)
        first = self.padding // self.stride  # square in which the first pixel is
        places = tuple((side - 1 + self.padding) // self.stride - first + 1 for side in sides)
        shift = self.stride * first - self.padding
        launch(x, self.w_up, bias, below, y, slope, places, (1, first, -1, self.squares), (self.stride, shift))
        return y


def empty(n: int, c: int, h: int, w: int, dtype: torch.dtype, like: Tensor) -> Tensor:
    return torch.empty((n, c, h, w), dtype=dtype, device=like.device, memory_format=torch.channels_last)


def launch(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    below: Tensor | None,
    y: Tensor,
    slope: float | None,
    places: Sequence[int],
    reading: tuple[int, int, int, int],
    writing: tuple[int, int],
) -> None:
    """Computes y; all images are channels-last.

    Args:
        x: the input, (n, c, H, W).
        w: the weights of each tap's channels, (t² c, s² k).
        bias: of the output's channels, (k,).
        below: in the shape of y: where it is not positive, y is multiplied by the slope.
        y: the output, (n, k, H', W').
        slope: of LeakyReLU, or, with ``below``, of its derivative.
        places: rows and columns of the squares of s × s pixels that are computed at once.
        reading: the row of x that is read for tap t and square j is j · step + first + t · direction, t < taps.
        writing: the row of y at which row r of square j is written is s j + shift + r: s and shift.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    rows, columns, channels = len(x) * places[0] * places[1], w.shape[1], x.shape[1]
    high = 128 if writing[0] == 1 else 64
    wide = min(MOST_COLUMNS, max(16, triton.next_power_of_2(columns)))
    few = min(MOST_DEPTH, max(16, triton.next_power_of_2(len(w))))
    deep = next((d for d in (MOST_DEPTH, 32, 16) if channels % d == 0), few)
    product[triton.cdiv(rows, high), triton.cdiv(columns, wide)](
        *(x, w, bias, below, y, rows, *x.shape[1:], *places, *reading, *writing, *y.shape[1:]),
        SLOPE=1.0 if slope is None else slope,
        ROWS=high,
        WIDE=wide,
        DEEP=deep,
        LARGE=max(x.numel(), y.numel()) >= 2**31,
        num_warps=WARPS,
        num_stages=STAGES,
    )


@triton.jit
def product(
    x, w, bias, below, y, rows,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    PLACES_H: tl.constexpr, PLACES_W: tl.constexpr,
    STEP: tl.constexpr, FIRST: tl.constexpr, DIRECTION: tl.constexpr, TAPS: tl.constexpr,
    SQUARE: tl.constexpr, SHIFT: tl.constexpr,
    K: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr, LARGE: tl.constexpr,
):  # fmt: skip
    """What `launch` does: `ROWS` squares' places by `WIDE` of their numbers."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    n = row // (PLACES_H * PLACES_W)
    if LARGE:  # places in memory are beyond 32 bits
        n = n.to(tl.int64)
    i, j = row // PLACES_W % PLACES_H, row % PLACES_W
    columns: tl.constexpr = SQUARE * SQUARE * K
    total: tl.constexpr = TAPS * TAPS * C
    weights = w + tl.arange(0, DEEP)[:, None] * columns + column[None, :]
    sums = tl.zeros((ROWS, WIDE), tl.float32)
    for start in range(0, total, DEEP):
        if C % DEEP == 0:  # one tap at a time
            tap = start // C
            channel = start % C + tl.arange(0, DEEP)
            h, v = i * STEP + FIRST + DIRECTION * (tap // TAPS), j * STEP + FIRST + DIRECTION * (tap % TAPS)
            inside = (row < rows) & (h >= 0) & (h < H) & (v >= 0) & (v < W)
            a = tl.load(x + (((n * H + h) * W + v) * C)[:, None] + channel[None, :], mask=inside[:, None], other=0.0)
        else:
            term = start + tl.arange(0, DEEP)
            tap = term // C
            h = (i * STEP + FIRST)[:, None] + DIRECTION * (tap // TAPS)[None, :]
            v = (j * STEP + FIRST)[:, None] + DIRECTION * (tap % TAPS)[None, :]
            inside = (row < rows)[:, None] & (term < total)[None, :] & (h >= 0) & (h < H) & (v >= 0) & (v < W)
            a = tl.load(x + ((n[:, None] * H + h) * W + v) * C + (term % C)[None, :], mask=inside, other=0.0)
        if total % DEEP == 0 and columns % WIDE == 0:
            b = tl.load(weights + start * columns)
        else:
            known = (start + tl.arange(0, DEEP) < total)[:, None] & (column < columns)[None, :]
            b = tl.load(weights + start * columns, mask=known, other=0.0)
        sums = tl.dot(a.to(b.dtype), b, sums)
    r, q, k = column // (SQUARE * K), column // K % SQUARE, column % K
    if bias is not None:
        sums += tl.load(bias + k)[None, :]
    if below is None:
        sums = tl.where(sums > 0, sums, SLOPE * sums)
    h, v = (i * SQUARE + SHIFT)[:, None] + r[None, :], (j * SQUARE + SHIFT)[:, None] + q[None, :]
    inside = (row < rows)[:, None] & (column < columns)[None, :] & (h >= 0) & (h < HEIGHT) & (v >= 0) & (v < WIDTH)
    at = ((n[:, None] * HEIGHT + h) * WIDTH + v) * K + k[None, :]
    if below is not None:
        sums = tl.where(tl.load(below + at, mask=inside, other=1.0) > 0, sums, SLOPE * sums)
    tl.store(y + at, sums, mask=inside)
