"""Ops that work element by element: choice, arithmetic, powers and logarithms, limits.

ȳ is the cotangent of y, the derivative of the loss with respect to it (the lecture's bar). Broadcasting is undone in
``walk``, so no rule mentions it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.arrays import operand
from tinygrad7.backend import Array, xp, xp_of
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick, apart, broadcastable, elementwise
from tinygrad7.messages import told
from tinygrad7.tensor import NUMPY, Tensor

# ---- choice, which other rules use -------------------------------------------------------------------------------


def _where_domain(pick: Pick) -> Call:
    c, s, t = pick.broadcastable(3)
    return (pick.integers(c, 0, 1).astype(bool), pick.array(s), pick.array(t)), {}


@primitive("where", domain=_where_domain, method=False)
def where(condition: Any, a: Any, b: Any) -> Any:
    """Choice.   y = a where the condition holds, else b      ā = ȳ where it holds, else 0      b̄ the other way round

    The zeros are exact: an infinite ȳ is not multiplied by 0. But a and b are computed, and go backward, whole: in
    ``where(x > 0, sqrt(x), 0)`` the slope of sqrt is infinite at 0, and 0 times it is NaN. Choose before:
    ``where(x > 0, sqrt(where(x > 0, x, 1)), 0)``."""
    if type(b) is int and b == 0 and type(a) is np.ndarray and type(condition) is np.ndarray and a.size > 1000:
        if a.dtype.char in "efd" and condition.dtype == np.bool_ and a.shape == condition.shape:
            return _kept(condition, a)
    if type(condition) is not np.ndarray or condition.dtype is not _BOOL:
        condition = operand(condition)
    m = xp_of(condition, a, b)
    if m is not np and type(condition) is bool:  # CuPy's conditions are arrays
        condition = m.full((), condition)
    return m.where(condition, a, b)


_BOOL = np.dtype(bool)


def _kept(condition: Array, a: Array) -> Array:
    """``np.where(condition, a, 0)`` on the bits: NumPy branches at every element, which takes 20 times as long."""
    word = np.dtype(f"i{a.dtype.itemsize}")
    bits = condition.astype(word)  # 1 for any byte but 0: a condition that is a view of others' bytes has 255 for True
    np.negative(bits, out=bits)
    bits &= a.view(word)
    return bits.view(a.dtype)


where.vjp(a=lambda g, condition: where(condition, g, 0), b=lambda g, condition: where(condition, 0, g))

# ---- arithmetic --------------------------------------------------------------------------------------------------


@primitive("+", method="__add__", domain=broadcastable())
def add(a: Any, b: Any) -> Any:
    """Sum.   y = a + b      ā = ȳ      b̄ = ȳ"""
    return a + b


add.vjp(a=lambda g: g, b=lambda g: g)


@primitive("-", method="__sub__", domain=broadcastable())
def subtract(a: Any, b: Any) -> Any:
    """Difference.   y = a − b      ā = ȳ      b̄ = −ȳ"""
    return a - b


subtract.vjp(a=lambda g: g, b=lambda g: -g)


@primitive("×", method="__mul__", domain=broadcastable())
def multiply(a: Any, b: Any) -> Any:
    """Product.   y = a b      ā = ȳ b      b̄ = ȳ a"""
    return a * b


multiply.vjp(a=lambda g, b: g * b, b=lambda g, a: g * a)


@primitive("÷", method="__truediv__", domain=broadcastable(b=(0.5, 3)))
def divide(a: Any, b: Any) -> Any:
    """Quotient.   y = a / b      ā = ȳ / b      b̄ = −ȳ y / b"""
    return a / b


divide.vjp(a=lambda g, b: g / b, b=lambda g, y, b: -(g * y) / b)


@primitive("negate", method="__neg__", domain=elementwise())
def negative(x: Any) -> Any:
    """Negation.   y = −x      x̄ = −ȳ"""
    return -x


negative.vjp(x=lambda g: -g)


@primitive("x²", domain=elementwise())
def square(x: Any) -> Any:
    """Square.   y = x²      x̄ = 2 ȳ x"""
    return xp(x).square(x)


square.vjp(x=lambda g, x: 2 * g * x)


@primitive("√", domain=elementwise((0.3, 4)))
def sqrt(x: Any) -> Any:
    """Square root.   y = √x      x̄ = ȳ / (2 y)      (infinite at 0: for lengths use ``norm``, which has 0 there)"""
    return xp(x).sqrt(x)


sqrt.vjp(x=lambda g, y: g / (2 * y))


@primitive("sign", domain=elementwise(away=(0.0,)))
def sign(x: Any) -> Any:
    """Sign: −1, 0 or 1.   x̄ = 0"""
    return xp(x).sign(x)


sign.vjp(x=lambda g: where(False, g, 0))


@primitive("abs", domain=elementwise(away=(0.0,)))
def abs(x: Any) -> Any:
    """Absolute value.   y = |x|      x̄ = ȳ sign x      (0 at the kink)"""
    return xp(x).abs(x)


abs.vjp(x=lambda g, x: g * sign(x))

# ---- exponentials, logarithms, powers ------------------------------------------------------------------------------


@primitive("exp", domain=elementwise())
def exp(x: Any) -> Any:
    """Exponential.   y = eˣ      x̄ = ȳ y"""
    return xp(x).exp(x)


exp.vjp(x=lambda g, y: g * y)


@primitive("expm1", domain=elementwise())
def expm1(x: Any) -> Any:
    """eˣ − 1, accurate near 0.   y = eˣ − 1      x̄ = ȳ (y + 1)"""
    return xp(x).expm1(x)


expm1.vjp(x=lambda g, y: g * (y + 1))


@primitive("log", domain=elementwise((0.2, 4)))
def log(x: Any) -> Any:
    """Natural logarithm.   y = ln x      x̄ = ȳ / x"""
    return xp(x).log(x)


log.vjp(x=lambda g, x: g / x)


@primitive("log1p", domain=elementwise((-0.6, 3)))
def log1p(x: Any) -> Any:
    """ln(1 + x), accurate near 0.   y = ln(1 + x)      x̄ = ȳ / (1 + x)"""
    return xp(x).log1p(x)


log1p.vjp(x=lambda g, x: g / (1 + x))


@primitive("^", method="__pow__", domain=broadcastable(a=(0.3, 3)), ufunc=False)  # x**2 and x**0.5 have quicker ways
def power(a: Any, b: Any) -> Any:
    """Power.   y = aᵇ      ā = ȳ b aᵇ⁻¹      b̄ = ȳ y ln a      (exactly: at b = 0, ā = 0; at a = 0, b̄ = 0)"""
    return a**b


def _power_base(g: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):
        return g * b if b == 1 else where(False, g, 0) if b == 0 else g * (b * a ** (b - 1))
    b = b.astype(g.dtype) if b.dtype.kind != "f" else b  # b − 1 of an unsigned 0 is large
    over = (b == 0) & ~(abs(a) > np.finfo(a.dtype).tiny)  # where b aᵇ⁻¹ is 0 but aᵇ⁻¹ is no number
    return where(over, 0, g * b * power(where(over, 1, a), b - 1))


def _power_exponent(g: Any, y: Any, a: Any) -> Any:
    if isinstance(a, int | float):  # it must stay a weak number
        return where(False, g, 0) if a == 0 else g * y * (math.log(a) if a > 0 else math.nan)
    a = a.astype(g.dtype) if a.dtype.kind != "f" else a
    return where(a == 0, 0, g * y * log(where(a == 0, 1, a)))


power.vjp(a=_power_base, b=_power_exponent)


@primitive("tanh", domain=elementwise())
def tanh(x: Any) -> Any:
    """Hyperbolic tangent.   y = tanh x      x̄ = ȳ (1 − y²)"""
    return xp(x).tanh(x)


tanh.vjp(x=lambda g, y: g - g * y * y)

# ---- limits -----------------------------------------------------------------------------------------------------


def _shared(g: Any, mine: Any, other: Any) -> Any:
    """The cotangent where ``mine`` is the extreme, half of it where ``other`` is too, exact zeros elsewhere."""
    return where(mine, where(other, 0.5 * g, g), 0)


def _largest(x: Any, y: Any) -> Any:
    """Where x is the larger of the two, or as large. NaN is larger than any number, for ``maximum`` gives it."""
    return (x >= y) | (x != x)


def _smallest(x: Any, y: Any) -> Any:
    """Where x is the smaller of the two, or as small. NaN is smaller than any number, for ``minimum`` gives it."""
    return (x <= y) | (x != x)


@primitive("max", domain=apart())
def maximum(a: Any, b: Any) -> Any:
    """Larger of two.   y = max(a, b)      ā = ȳ [a > b]      b̄ = ȳ [b > a]      (ȳ / 2 each at a tie)

    A NaN is the larger, as in ``max``: y is NaN, and ȳ goes to it."""
    return xp_of(a, b).maximum(a, b)


maximum.vjp(
    a=lambda g, a, b: _shared(g, _largest(a, b), _largest(b, a)),
    b=lambda g, a, b: _shared(g, _largest(b, a), _largest(a, b)),
)


@primitive("min", domain=apart())
def minimum(a: Any, b: Any) -> Any:
    """Smaller of two.   y = min(a, b)      ā = ȳ [a < b]      b̄ = ȳ [b < a]      (ȳ / 2 each at a tie)

    A NaN is the smaller, as in ``min``: y is NaN, and ȳ goes to it."""
    return xp_of(a, b).minimum(a, b)


minimum.vjp(
    a=lambda g, a, b: _shared(g, _smallest(a, b), _smallest(b, a)),
    b=lambda g, a, b: _shared(g, _smallest(b, a), _smallest(a, b)),
)


def _clip_domain(pick: Pick) -> Call:
    return (pick.array(pick.shape(), away=(-1.0, 1.5)), *pick.choice([(-1.0, 1.5), (None, 1.5), (-1.0, None)])), {}


@primitive("clip", domain=_clip_domain, static=("a_min", "a_max"), method=False)
def _clip(x: Any, a_min: Any, a_max: Any) -> Any:
    """Limited to [a_min, a_max] (None: no limit).   y = min(max(x, a_min), a_max)      x̄ = ȳ [a_min ≤ x ≤ a_max]"""
    if a_min is None and a_max is None:  # which NumPy 2.0 refuses
        return xp(x).array(x)
    return xp(x).clip(x, a_min, a_max)


def _clip_rule(g: Any, x: Any, a_min: Any, a_max: Any) -> Any:
    inside = x == x if a_min is None else x >= a_min
    return where(inside if a_max is None else inside & (x <= a_max), g, 0)


_clip.vjp(x=_clip_rule)


@function()
def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Limited to [a_min, a_max], also called ``min`` and ``max`` (None: no limit).   x̄ = ȳ [a_min ≤ x ≤ a_max]"""
    if (a_min is not None and min is not None) or (a_max is not None and max is not None):
        raise TypeError("clip: a limit is given twice; use a_min and a_max, or min= and max=")
    return _clip(x, _limit(a_min if min is None else min), _limit(a_max if max is None else max))


def _limit(value: Any) -> Any:
    return value if value is None or isinstance(value, Tensor) else told("clip", operand, value)


# ---- operators ---------------------------------------------------------------------------------------------------


def _reflected(op: Any) -> Any:
    """The operator with the tensor on its right."""
    return lambda self, other: op(other, self)


def _numpy_says(function: Any) -> Any:
    """The operator as NumPy's function: for constants its plain answer, else that there is no derivative here."""

    def call(self: Any, other: Any) -> float | Any:
        return function(self, other)

    return call


def _rounded(self: Any, digits: int | None = None) -> float | Any:
    return np.round(self, digits or 0)


for _name, _op in {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": power}.items():
    setattr(Tensor, f"__r{_name}__", _reflected(_op))
for _op in (add, subtract, multiply, divide, power, negative):
    setattr(Tensor, _op.__name__, _op)
for _name, _function in {"__abs__": abs, "__pos__": lambda x: x}.items():
    setattr(Tensor, _name, _function)
for _name, _numpys in {"mod": np.remainder, "floordiv": np.floor_divide}.items():  # which have no rule here
    setattr(Tensor, f"__{_name}__", _numpy_says(_numpys))
    setattr(Tensor, f"__r{_name}__", _numpy_says(lambda a, b, f=_numpys: f(b, a)))
Tensor.__round__ = _rounded  # type: ignore[method-assign]
NUMPY[np.positive] = lambda x: x
