"""Convolution and pooling as layers."""

from __future__ import annotations

import math
from typing import Any

from tinygrad7.nn import init
from tinygrad7.nn.module import Layer
from tinygrad7.nn.parameter import Parameter
from tinygrad7.ops.conv import avg_pool2d, conv1d, conv2d, max_pool2d
from tinygrad7.random import generator
from tinygrad7.settings import check_whole


def _times(size: Any) -> str:
    return f"{size}" if isinstance(size, int) else " × ".join(str(n) for n in size)


class _Conv(Layer):
    axes: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, *, bias: bool = True, rng: Any = None,
    ) -> None:  # fmt: skip
        check_whole(self, in_channels=in_channels, out_channels=out_channels)
        rng = generator(rng)
        window = (kernel_size,) * self.axes if isinstance(kernel_size, int) else tuple(kernel_size)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, window
        self.stride, self.padding, self.dilation = stride, padding, dilation
        fan_in = in_channels * math.prod(window)
        self.weight = Parameter(init.fan_in_uniform((out_channels, in_channels, *window), fan_in, rng=rng))
        self.bias = Parameter(init.fan_in_uniform((out_channels,), fan_in, rng=rng)) if bias else None

    def extra_repr(self) -> str:
        text = f"{self.in_channels} → {self.out_channels}, {_times(self.kernel_size)}"
        for name, value, usual in (
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            text += f", {name} {_times(value)}" if value != usual else ""
        return text + ("" if self.bias is not None else ", no bias")


class Conv2d(_Conv):
    """Convolution of images.   y[n,o] = Σ over c of weight[o,c] ⋆ x[n,c] + bias[o]

    x (N, C, H, W) gives (N, O, H′, W′); ``weight`` (O, C, h, w), ``bias`` (O). Starts uniform in ±1/√(C h w).
    """

    axes = 2

    def forward(self, x: Any) -> Any:
        return conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation)


class Conv1d(_Conv):
    """Convolution of sequences.   y[n,o] = Σ over c of weight[o,c] ⋆ x[n,c] + bias[o]

    x (N, C, W) gives (N, O, W′); ``weight`` (O, C, w), ``bias`` (O). Starts uniform in ±1/√(C w).
    """

    axes = 1

    def forward(self, x: Any) -> Any:
        return conv1d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation)


class _Pool(Layer):
    def __init__(self, size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def extra_repr(self) -> str:
        text = _times(self.size)
        text += "" if self.stride is None else f", stride {_times(self.stride)}"
        return text + (f", padding {_times(self.padding)}" if self.padding != 0 else "")


class MaxPool2d(_Pool):
    """Largest value in each window: (N, C, H, W) gives (N, C, H′, W′). Ties share the cotangent equally."""

    def forward(self, x: Any) -> Any:
        return max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """Mean of each window, zeros of the border included: (N, C, H, W) gives (N, C, H′, W′)."""

    def forward(self, x: Any) -> Any:
        return avg_pool2d(x, self.size, self.stride, self.padding)
