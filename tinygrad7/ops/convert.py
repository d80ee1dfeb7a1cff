"""The same elements in another dtype, on another device, or under a node of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import to_device, writable_array
from tinygrad7.context import check_dtype
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.ops.shape import indexable
from tinygrad7.tensor import Tensor


def _astype_domain(pick: Pick) -> Call:
    return (pick.array(pick.shape()), np.dtype(np.float64)), {}


@primitive("astype", domain=_astype_domain, static=("dtype",), method=False)
def _astype(x: Any, dtype: Any) -> Any:
    """Converted to a floating dtype.   y = x in ``dtype``      x̄ = ȳ in x's dtype"""
    return x.astype(dtype)


_astype.vjp(x=lambda g: g)  # walk.py gives every gradient its tensor's dtype


@function()
def astype(x: Any, dtype: Any) -> Any:
    """The elements in ``dtype``. An integer or boolean result is a constant: no gradient can reach through it."""
    dtype = check_dtype(dtype)
    if isinstance(x, Tensor) and dtype.kind != "f":
        return Tensor(x._value.astype(dtype))
    return _astype(indexable(x), dtype)


def _transfer_domain(pick: Pick) -> Call:
    return (pick.array(pick.shape()), "cpu", "cpu"), {}


@primitive("to", domain=_transfer_domain, static=("there", "here"), method=False)
def _transfer(x: Any, there: str, here: str) -> Any:
    """Copied from device ``here`` to device ``there``.   y = x there      x̄ = ȳ here"""
    return to_device(writable_array(x), there)


_transfer.vjp(x=lambda g, there, here: _transfer(g, here, there))
Tensor._transfer = lambda self, there: _transfer(self, there, self.device)  # type: ignore[attr-defined]


@function(method=False)
def copy(x: Any) -> Any:
    """The same value as a new tensor, through which gradients reach x."""
    x = indexable(x)
    return _astype(x, x.dtype)
