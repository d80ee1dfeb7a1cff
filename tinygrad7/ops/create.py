"""Tensors made from nothing: constants, ranges, random ones. Shape first; they live on the default device."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.arrays import operand
from tinygrad7.context import STATE, check_dtype
from tinygrad7.messages import describe, told
from tinygrad7.random import generator
from tinygrad7.tensor import NUMPY, Tensor, tensor


def _made(array: Any, dtype: Any, requires_grad: bool, name: str | None, device: str | None) -> Tensor:
    wanted = STATE.get().dtype if dtype is None else check_dtype(dtype)
    return tensor(array.astype(wanted, copy=False), requires_grad=requires_grad, name=name, device=device)


def zeros(
    shape: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None, device: str | None = None
) -> Tensor:
    """Zeros of ``shape``, in the default dtype unless ``dtype`` is given."""
    return _made(told("zeros", np.zeros, shape), dtype, requires_grad, name, device)


def ones(
    shape: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None, device: str | None = None
) -> Tensor:
    """Ones of ``shape``, in the default dtype unless ``dtype`` is given."""
    return _made(told("ones", np.ones, shape), dtype, requires_grad, name, device)


def full(
    shape: Any,
    value: float,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Tensor:
    """``value`` everywhere, in the default dtype unless ``dtype`` is given."""
    return _made(told("full", _full, shape, value), dtype, requires_grad, name, device)


def _full(shape: Any, value: Any) -> Any:
    if not isinstance(value, Tensor):
        operand(value)  # says what is no number: NumPy makes NaN of None, and years of dates
    return np.full(shape, value)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Tensor:
    """The numbers from ``start`` (0 if only one is given) up to but without ``stop``; integers give an int64 tensor."""
    if stop is None:
        start, stop = 0, start
    for given in (start, stop, step):
        if np.ndim(given) or np.asarray(given).dtype.kind not in "fiub":
            raise TypeError(f"arange: start, stop and step are numbers, not {describe(given)}")
    if step == 0:
        raise ValueError(f"arange: a step of 0 does not get from {start} to {stop}")
    array = told("arange", np.arange, start, stop, step)
    wanted = (
        dtype if dtype is not None else STATE.get().dtype if array.dtype.kind == "f" or requires_grad else array.dtype
    )
    return _made(array, wanted, requires_grad, name, device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Tensor:
    """The identity matrix, ``n`` by ``n`` (or ``n`` by ``m``)."""
    return _made(told("eye", np.eye, n, m), dtype, requires_grad, name, device)


def zeros_like(t: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """Zeros with the shape, dtype and device of ``t``."""
    return _like(np.zeros, t, dtype, requires_grad, name)


def ones_like(t: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """Ones with the shape, dtype and device of ``t``."""
    return _like(np.ones, t, dtype, requires_grad, name)


def _like(make: Any, t: Any, dtype: Any, requires_grad: bool, name: str | None) -> Tensor:
    t = t if isinstance(t, Tensor) else tensor(t)
    return tensor(make(t.shape, dtype or t.dtype), requires_grad=requires_grad, name=name, device=t.device)


NUMPY[np.zeros_like], NUMPY[np.ones_like] = zeros_like, ones_like


def normal(
    shape: Any = (),
    mean: float = 0.0,
    std: float = 1.0,
    *,
    rng: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Tensor:
    """Normally distributed numbers. Drawn on the host in float64: the same seed gives the same numbers everywhere."""
    return _made(
        np.asarray(told("normal", generator(rng).normal, mean, std, shape)), dtype, requires_grad, name, device
    )


def uniform(
    shape: Any = (),
    low: float = 0.0,
    high: float = 1.0,
    *,
    rng: Any = None,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    device: str | None = None,
) -> Tensor:
    """Numbers uniform in [low, high). Drawn on the host in float64, like ``normal``."""
    return _made(
        np.asarray(told("uniform", generator(rng).uniform, low, high, shape)), dtype, requires_grad, name, device
    )
