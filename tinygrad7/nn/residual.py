"""Skip connections (the lecture's slides "Deep Residual Networks"; He et al., 2015).

Where F is small, a block is nearly the identity, forward and backward: x̄⁽ˡ⁾ = x̄⁽ˡ⁺¹⁾ (I + ∂F/∂x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad7.messages import ShapeError
from tinygrad7.nn import init
from tinygrad7.nn.conv import Conv2d
from tinygrad7.nn.module import Layer, Module, check_array
from tinygrad7.nn.norm import BatchNorm2d
from tinygrad7.nn.parameter import Parameter
from tinygrad7.nn.sequential import Sequential
from tinygrad7.ops.activation import relu
from tinygrad7.ops.elementwise import tanh
from tinygrad7.ops.layers import _linear
from tinygrad7.ops.shape import shape_of
from tinygrad7.random import generator
from tinygrad7.settings import check_whole


class Residual(Module):
    """Any module with a skip.   y = P x + F(x)      x̄ = ȳ P + ȳ ∂F/∂x

    P is the identity unless a ``shortcut`` is given, a module or function of x. Raises ``ShapeError`` where
    F(x) and the skip differ in shape.
    """

    def __init__(self, f: Callable[..., Any], shortcut: Callable[..., Any] | None = None) -> None:
        self.f, self.shortcut = f, shortcut

    def forward(self, x: Any) -> Any:
        y = self.f(x)
        check_array(self, y)
        skip = x if self.shortcut is None else self.shortcut(x)
        if shape_of(y) != shape_of(skip):
            raise ShapeError(
                f"Residual: the skip has shape {shape_of(skip)}, what the module computes {shape_of(y)}; "
                "they are added, so make them equal, or give a shortcut=, such as Linear or Conv2d, that projects x"
            )
        return skip + y


class ResidualBlock(Layer):
    """The lecture's block.   z = W1 x + b1      h = φ(z)      y = x + W2 h

    x (..., D) gives y (..., D); ``W1`` (H, D), ``b1`` (H), ``W2`` (D, H), H being ``hidden`` (D unless given). W1
    starts by Xavier, b1 at 0, W2 uniform in ±1/√H. Raises ``ShapeError`` where x does not end in D.
    """

    numbers = False

    def __init__(
        self, dim: int, hidden: int | None = None, phi: Callable[[Any], Any] = tanh, *, rng: Any = None
    ) -> None:
        check_whole(self, dim=dim, hidden=dim if hidden is None else hidden)
        rng = generator(rng)
        self.dim, self.hidden, self.phi = dim, dim if hidden is None else hidden, phi
        self.W1 = Parameter(init.xavier_uniform((self.hidden, dim), rng=rng))
        self.b1 = Parameter(init.zeros((self.hidden,)))
        self.W2 = Parameter(init.fan_in_uniform((dim, self.hidden), self.hidden, rng=rng))

    def forward(self, x: Any) -> Any:
        h = self.phi(_linear(x, self.W1, self.b1))
        return x + _linear(h, self.W2)

    def extra_repr(self) -> str:
        return f"{self.dim}, φ = {getattr(self.phi, '__name__', type(self.phi).__name__)}"


class ConvResidualBlock(Layer):
    """Two 3 × 3 convolutions with a skip.   y = relu(P x + F(x)),  F = norm · conv · relu · norm · conv

    x (N, C, H, W) gives (N, O, H/stride, W/stride), rounded up; O is ``out_channels`` (C unless given). Where the shape
    changes, P is a 1 × 1 convolution with batch norm (``projection``), else the identity. He et al., 2015.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, stride: int = 1, *, rng: Any = None) -> None:
        rng = generator(rng)
        out = in_channels if out_channels is None else out_channels
        self.conv1 = Conv2d(in_channels, out, 3, stride, 1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(out)
        self.conv2 = Conv2d(out, out, 3, 1, 1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(out)
        self.projection: Module | None = None
        if stride != 1 or out != in_channels:
            self.projection = Sequential(Conv2d(in_channels, out, 1, stride, bias=False, rng=rng), BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        f = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu((x if self.projection is None else self.projection(x)) + f)

    def extra_repr(self) -> str:
        return f"{self.conv1.in_channels} → {self.conv1.out_channels}"
