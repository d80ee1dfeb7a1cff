"""Normalisation: batch norm over the batch, layer norm over the units."""

from __future__ import annotations

import math
from typing import Any

from tinygrad7.messages import ShapeError
from tinygrad7.nn import init
from tinygrad7.nn.module import Layer
from tinygrad7.nn.parameter import Buffer, Parameter
from tinygrad7.ops.elementwise import sqrt
from tinygrad7.ops.layers import _normalise
from tinygrad7.ops.shape import _reshape, shape_of
from tinygrad7.settings import check_number, check_whole
from tinygrad7.tensor import value_of


class _BatchNorm(Layer):
    ranks: dict[int, str]  # the numbers of axes that x may have, and how such a shape reads

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:  # fmt: skip
        check_whole(self, num_features=num_features)
        check_number(self, eps=eps)
        check_number(self, most=1, momentum=momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(init.ones((num_features,))) if affine else None
        self.bias = Parameter(init.zeros((num_features,))) if affine else None
        self.running_mean = Buffer(init.zeros((num_features,))) if track_running_stats else None
        self.running_var = Buffer(init.ones((num_features,))) if track_running_stats else None

    def forward(self, x: Any) -> Any:
        name, shape = type(self).__name__, shape_of(x)
        if len(shape) not in self.ranks or shape[1] != self.num_features:
            wanted = " or ".join(self.ranks.values()).replace("C", str(self.num_features))
            raise ShapeError(f"{name}: x must have shape {wanted}, not {shape}")
        w, b = (self._along(p, len(shape)) for p in (self.weight, self.bias))
        if self.training or self.running_mean is None or self.running_var is None:
            count = math.prod(shape) // self.num_features
            if count < 2:
                raise ValueError(
                    f"{name}: one value a channel in x {shape} has no variance: train on more, or call .eval()"
                )
            y, centre, spread = _normalise(x, w, b, (0, *range(2, len(shape))), self.eps)
            self._follow(value_of(centre), value_of(spread) * (count / (count - 1)))
            return y
        scale = 1 / sqrt(self.running_var + self.eps)
        scale = self._along(scale if self.weight is None else scale * self.weight, len(shape))
        y = (x - self._along(self.running_mean, len(shape))) * scale
        return y if b is None else y + b

    @staticmethod
    def _along(p: Any, ndim: int) -> Any:
        """One number a channel, in a shape that broadcasts against x."""
        return p if p is None or ndim == 2 else _reshape(p, (-1,) + (1,) * (ndim - 2))

    def _follow(self, centre: Any, spread: Any) -> None:
        for running, new in ((self.running_mean, centre), (self.running_var, spread)):
            if running is not None:
                running.assign((1 - self.momentum) * running._value + self.momentum * new.reshape(-1))

    def _convert_torch(self, prefix: str, mapping: dict[str, Any]) -> dict[str, Any]:
        mapping.pop(f"{prefix}num_batches_tracked", None)
        return {}

    def extra_repr(self) -> str:
        return f"{self.num_features}" + ("" if self.weight is not None else ", no scale")


class BatchNorm1d(_BatchNorm):
    """Each channel to mean 0 and variance 1 over the batch.   y = w (x − m) / √(v + ε) + b

    x (N, C) or (N, C, L); ``weight``, ``bias`` (C). In training m and v are the batch's, and ``running_mean`` and
    ``running_var`` (unbiased) move towards them by ``momentum``; in evaluation m and v are those. Raises
    ``ShapeError`` for another shape, ``ValueError`` in training on one value a channel. Ioffe and Szegedy, 2015.
    """

    ranks = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """``BatchNorm1d`` for images: x (N, C, H, W), each channel normalised over batch and places."""

    ranks = {4: "(N, C, H, W)"}


class LayerNorm(Layer):
    """Each example to mean 0 and variance 1 over its last axes.   y = w (x − m) / √(v + ε) + b

    ``normalized_shape``: the sizes of those axes (a number for one); ``weight`` and ``bias`` have that shape. Raises
    ``ShapeError`` where x ends differently. Ba, Kiros and Hinton, 2016.
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, *, affine: bool = True, bias: bool = True) -> None:
        self.shape = tuple(normalized_shape) if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        for size in self.shape:
            check_whole(self, normalized_shape=size)
        check_number(self, eps=eps)
        self.eps = eps
        self.weight = Parameter(init.ones(self.shape)) if affine else None
        self.bias = Parameter(init.zeros(self.shape)) if affine and bias else None

    def forward(self, x: Any) -> Any:
        shape = shape_of(x)
        first = len(shape) - len(self.shape)
        if first < 0 or shape[first:] != self.shape:
            raise ShapeError(f"LayerNorm: the last axes of x must be {self.shape}, x has shape {shape}")
        return _normalise(x, self.weight, self.bias, tuple(range(first, len(shape))), self.eps)[0]

    def extra_repr(self) -> str:
        return " × ".join(str(n) for n in self.shape)
