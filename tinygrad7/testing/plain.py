"""What NumPy alone says: for ops under their registered names, the same function written without this package."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.op import REGISTRY


def sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))


def _scatter(x: Any, index: Any, shape: Any) -> Any:
    y = np.zeros(shape, np.asarray(x).dtype)
    np.add.at(y, index, np.broadcast_to(x, y[index].shape))
    return y


def _sum_to(x: Any, shape: Any) -> Any:
    x = np.asarray(x)
    if x.ndim < len(shape):
        raise ValueError(f"{x.shape} was not stretched from {shape}")
    for _ in range(x.ndim - len(shape)):
        x = x.sum(0)
    for axis, n in enumerate(shape):
        x = x.sum(axis, keepdims=True) if n == 1 else x
    return x


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis=axis, keepdims=True)
    y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else y.reshape(np.sum(x, axis=axis).shape)


def _softmax(x: Any, axis: Any = -1) -> Any:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


_erf = np.vectorize(math.erf, otypes=[np.float64])

PLAIN: dict[str, Callable[..., Any]] = {
    "sigmoid": sigmoid,
    "relu": lambda x: np.where(x > 0, x, 0.0 * x),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1)),
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
    "erf": _erf,
    "gelu": _gelu,
    "getitem": lambda x, index: x[index],
    "scatter": _scatter,
    "concatenate": lambda *parts, axis, cuts: np.concatenate(parts, axis),
    "stack": lambda *parts, axis: np.stack(parts, axis),
    "unstack": lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
    "pad": lambda x, widths, value=0.0: np.pad(x, widths, constant_values=value),
    "astype": lambda x, dtype: np.asarray(x).astype(dtype),
    "transfer": lambda x, there, here: x,
    "sum_to": _sum_to,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": lambda x, axis=-1: np.log(_softmax(x, axis)),
    "norm": lambda x, axis=None, keepdims=False: np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)),
    "einsum": lambda *operands, subscripts: np.einsum(subscripts, *operands),
    "embedding": lambda weight, indices: weight[indices],
}


def plain(name: str) -> Callable[..., Any] | None:
    """The NumPy function for an op's registered name, or None where NumPy has none and none is written here."""
    found = PLAIN.get(name) or getattr(np, name, None)
    return found if name in REGISTRY and callable(found) else None
