"""Comparisons: they have no gradient, so they answer with plain boolean arrays and plain bools."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.arrays import operand
from tinygrad7.backend import device_only, is_array, xp_of
from tinygrad7.declare import function
from tinygrad7.messages import explain, told
from tinygrad7.tensor import NUMPY, Tensor, value_of


def _comparison(name: str) -> Any:
    """NumPy's function ``name`` on the values of tensors."""
    anything = name in ("equal", "not_equal")  # what is no number is equal to none

    def compare(*args: Any) -> Any:
        try:
            values = [v if anything and not isinstance(v, list | tuple) else operand(v) for v in map(value_of, args)]
            return getattr(xp_of(*values), name)(*values)
        except (TypeError, ValueError) as error:
            raise explain(name, args, error) from error

    compare.__name__ = name
    NUMPY[getattr(np, name)] = compare
    return compare


_OPERATORS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
for _name, _function in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _comparison(_function))
for _function in ("isnan", "isfinite", "isinf", "signbit", "logical_not", "logical_and", "logical_or", "logical_xor"):
    _comparison(_function)


@function(method=False)
def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Which elements are equal within a tolerance, |a − b| ≤ atol + rtol |b|: a plain boolean array."""
    return _close("isclose", a, b, rtol, atol, equal_nan)


@function(method=False)
def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are equal within a tolerance, |a − b| ≤ atol + rtol |b|: a plain bool."""
    return bool(_close("allclose", a, b, rtol, atol, equal_nan).all())


def _close(name: str, a: Any, b: Any, rtol: Any, atol: Any, equal_nan: bool) -> Any:
    a, b, rtol, atol = map(value_of, (a, b, rtol, atol))
    m = _of_two(name, a, b)

    def close(a: Any, b: Any, rtol: Any, atol: Any) -> Any:
        return m.isclose(a, b, operand(rtol), operand(atol), equal_nan=equal_nan)

    return told(name, close, a, b, rtol, atol)


@function(method=False)
def array_equal(a: Any, b: Any, equal_nan: bool = False) -> bool:
    """Whether shapes and all elements are equal: a plain bool."""
    a, b = value_of(a), value_of(b)
    m = _of_two("array_equal", a, b)
    if m is not np:
        a, b = (v if is_array(v) else m.asarray(v) for v in (a, b))
    return bool(m.array_equal(a, b, equal_nan=equal_nan))


def _of_two(name: str, a: Any, b: Any) -> Any:
    """The module of both, where they live on one device."""
    try:
        return device_only(a, b)
    except TypeError as error:
        raise explain(name, (a, b), error) from None
