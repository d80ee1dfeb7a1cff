"""Ops that reduce along axes: sums, means, extremes, products, norms, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.arrays import floating, from_python, scalar
from tinygrad7.backend import Array, is_array, xp
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick, reduction
from tinygrad7.messages import describe, told
from tinygrad7.ops.axes import normal_axes
from tinygrad7.ops.elementwise import abs as absolute
from tinygrad7.ops.elementwise import exp, where
from tinygrad7.ops.shape import _pad, broadcast_to, flip, indexable, inverse_order
from tinygrad7.tensor import value_of


def _axes(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The axes that a reduction over ``axis`` reduces. (A 0-d array has none, though NumPy takes 0 and −1 for it.)"""
    return tuple(range(len(shape))) if axis is None or not shape else normal_axes(axis, shape, "")


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape that a reduction over ``axis`` leaves with keepdims."""
    axes = _axes(shape, axis)
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def stretch(g: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """A reduced value put back beside every element that it was made from."""
    return broadcast_to(g.reshape(kept_shape(shape, axis)), shape)


def left_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape that a reduction over ``axis`` leaves without keepdims."""
    axes = _axes(shape, axis)
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def _count(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements are reduced to one."""
    return math.prod(shape[i] for i in _axes(shape, axis))


def _array(x: Any) -> Any:
    """A Python number made an array, which has methods."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def _along(x: Any, axis: Any) -> Any:
    """``axis``, but None for the axis 0 or −1 of a 0-d array, which NumPy's reductions take and CuPy's do not."""
    return axis if x.ndim or not isinstance(axis, int | np.integer) or axis not in (0, -1) else None


def wide(x: Any) -> Any:
    """``x``, float16 as float32: sums and squares of it pass 65,504 early, where the result itself would not."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def narrow(y: Any, x: Any) -> Any:
    """``y``, computed from ``wide(x)``, in float16 if that is what x is."""
    return y.astype(np.float16) if x.dtype == np.float16 else y


@primitive("sum", domain=reduction())
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum along axes.   y = Σ x      x̄ = ȳ for every element"""
    x = _array(x)
    return x.sum(axis=_along(x, axis), keepdims=keepdims)


sum.vjp(x=lambda g, axis, x_shape: stretch(g, x_shape, axis))


def _sum_to_domain(pick: Pick) -> Call:
    shape, target = pick.broadcastable(2)
    full = np.broadcast_shapes(shape, target)
    return (pick.array(full), target), {}


@primitive("sum to", domain=_sum_to_domain, static=("shape",), method=False)
def sum_to(x: Any, shape: Any) -> Any:
    """Broadcasting undone: summed over the axes along which ``shape`` was stretched.   x̄ = ȳ stretched"""
    lead = x.ndim - len(shape)
    if lead < 0:
        raise ValueError(f"{x.shape} was not stretched from {shape}")
    if lead:
        x = x.sum(axis=tuple(range(lead)))
    stretched = tuple([i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1])
    return x.sum(axis=stretched, keepdims=True) if stretched else x


sum_to.vjp(x=lambda g, x_shape: broadcast_to(g, x_shape))


@primitive("mean", domain=reduction())
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean along axes.   y = Σ x / n      x̄ = ȳ / n      (n: the number of elements averaged)"""
    return _array(x).mean(axis=axis, keepdims=keepdims)


def _mean_rule(g: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    return stretch(g * (1 / (_count(x_shape, axis) or 1)), x_shape, axis)  # of nothing: no element receives it


mean.vjp(x=_mean_rule)


def _spread_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3, 2)
    axis = pick.choice([None, 0, -1, tuple(range(len(shape)))])
    given = {"axis": axis, "ddof": pick.choice([0, 1]), "keepdims": pick.choice([False, True])}
    return (pick.array(shape, distinct=True),), given


@primitive("var", domain=_spread_domain)
def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Variance along axes.   y = Σ (x − m)² / (n − ddof), m the mean      x̄ = 2 ȳ (x − m) / (n − ddof)"""
    x = _array(x)
    return narrow(wide(x).var(axis=axis, ddof=_freedom(ddof), keepdims=keepdims), x)


def _freedom(ddof: Any) -> float:
    if not isinstance(scalar(ddof), int | float):
        raise TypeError(f"ddof is a number, not {describe(ddof)}")
    return scalar(ddof)  # type: ignore[no-any-return]


def _var_rule(g: Any, x: Any, axis: Any, ddof: float, x_shape: tuple[int, ...]) -> Any:
    count = _count(x_shape, axis) - ddof
    g, x = wide(g), wide(x)
    return stretch(g, x_shape, axis) * ((x - mean(x, axis, True)) * (2 / count if count > 0 else math.nan))


var.vjp(x=_var_rule)


@primitive("std", domain=_spread_domain)
def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Standard deviation along axes.   y = √(Σ (x − m)² / (n − ddof))      x̄ = ȳ (x − m) / ((n − ddof) y)

    m is the mean; where all elements are equal, y = 0 and x̄ = 0 (a subgradient)."""
    x = _array(x)
    return narrow(wide(x).std(axis=axis, ddof=_freedom(ddof), keepdims=keepdims), x)


def _std_rule(g: Any, x: Any, y: Any, axis: Any, ddof: float, x_shape: tuple[int, ...]) -> Any:
    level = stretch(wide(y), x_shape, axis)
    return where(level == 0, 0, _var_rule(g, x, axis, ddof, x_shape) / (2 * where(level == 0, 1, level)))


std.vjp(x=_std_rule)


def _extreme(g: Any, x: Any, y: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    """ȳ to the elements equal to the extreme, shared equally among ties."""
    chosen = (x == stretch(y, x_shape, axis)) | (x != x)  # a NaN is the extreme, and equals nothing
    ties = chosen.sum(axis=_along(chosen, axis), keepdims=True).reshape(kept_shape(x_shape, axis))
    return where(chosen, broadcast_to(g.reshape(ties.shape) / ties.astype(g.dtype), x_shape), 0)


def _extreme_of(name: str, x: Any, axis: Any, keepdims: bool) -> Any:
    x = _array(x)
    if not x.size and not _count(x.shape, axis):
        raise ValueError(f"nothing has no {name}imum: axis {axis} of shape {x.shape} has no elements")
    return getattr(x, name)(axis=_along(x, axis), keepdims=keepdims)


@primitive("max", domain=reduction(distinct=True))
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest element along axes.   y = max x      x̄ = ȳ at the largest, shared equally among ties, else 0"""
    return _extreme_of("max", x, axis, keepdims)


max.vjp(x=_extreme)


@primitive("min", domain=reduction(distinct=True))
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest element along axes.   y = min x      x̄ = ȳ at the smallest, shared equally among ties, else 0"""
    return _extreme_of("min", x, axis, keepdims)


min.vjp(x=_extreme)


@primitive("prod", domain=reduction((-2, 2)))
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product along axes.   y = Π x      x̄ᵢ = ȳ Π_{j≠i} xⱼ      (exact where factors are 0)"""
    x = _array(x)
    return x.prod(axis=_along(x, axis), keepdims=keepdims)


def _prod_rule(g: Any, x: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    """The product of the others is that of those before and those after: no division, so zeros are no trouble."""
    axes = _axes(x_shape, axis)
    order = (*[i for i in range(len(x_shape)) if i not in axes], *axes)
    back = inverse_order(order)
    rest = tuple([x_shape[i] for i in order[: len(order) - len(axes)]])
    count = math.prod(x_shape[i] for i in axes)
    rows = x.transpose(order).reshape((*rest, count))
    others = _exclusive(rows) * flip(_exclusive(flip(rows, -1)), -1)
    return stretch(g, x_shape, axis) * others.reshape(tuple([x_shape[i] for i in order])).transpose(back)


def _exclusive(rows: Any) -> Any:
    """Along the last axis, the product of the elements before each: in steps of 1, 2, 4, ... elements."""
    products, step = _shift(rows, 1), 1
    while step < rows.shape[-1]:
        products, step = products * _shift(products, step), 2 * step
    return products


def _shift(rows: Any, step: int) -> Any:
    """Each element moved ``step`` places on along the last axis, ones in front."""
    return _pad(rows, ((0, 0),) * (len(rows.shape) - 1) + ((step, 0),), 1.0)[..., : rows.shape[-1]]


prod.vjp(x=_prod_rule)


def _cumsum_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([None, 0, -1])}


@primitive("cumsum", domain=_cumsum_domain)
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along an axis (None: of the flattened x).   yᵢ = Σ_{j≤i} xⱼ      x̄ᵢ = Σ_{j≥i} ȳⱼ"""
    x = _array(x)
    return x.cumsum(axis=_along(x, axis))


def _cumsum_rule(g: Any, axis: int | None, x_shape: tuple[int, ...]) -> Any:
    along = 0 if axis is None else axis
    return flip(cumsum(flip(g, along), along), along).reshape(x_shape)


cumsum.vjp(x=_cumsum_rule)


def _total(x: Array, axis: Any) -> Array:
    """Σ x along axes, which stay; of float16 in float32, for 65,505 ones are too many for it."""
    return x.sum(axis=_along(x, axis), keepdims=True, dtype=np.float32 if x.dtype == np.float16 else None)


@primitive("logsumexp", domain=reduction())
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """ln Σ eˣ without overflow.   y = m + ln Σ e^(x − m), m = max x      x̄ = ȳ e^(x − y)"""
    x, m = floating(_array(x)), xp(x)
    top = x.max(axis=_along(x, axis), keepdims=True) if x.size else m.full(kept_shape(x.shape, axis), -np.inf, x.dtype)
    top = m.where(m.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # every x = −∞ gives −∞, as it should
        y = m.log(_total(m.exp(x - top), axis)).astype(x.dtype, copy=False) + top
    return y if keepdims else y.reshape(left_shape(x.shape, axis))


def _logsumexp_rule(g: Any, x: Any, y: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    level = stretch(y, x_shape, axis)
    return stretch(g, x_shape, axis) * exp(x - where(level == -math.inf, 0, level))  # every x = −∞: no element counts


logsumexp.vjp(x=_logsumexp_rule)


def _axis_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([-1, 0])}


def _shifted(x: Array, axis: Any) -> Array:
    return x - x.max(axis=_along(x, axis), keepdims=True) if x.size else x


@primitive("softmax", domain=_axis_domain)
def softmax(x: Any, axis: Any = -1) -> Any:
    """Softmax along an axis.   y = eˣ / Σ eˣ      x̄ = y (ȳ − Σ ȳ y)      (no overflow: the largest x is taken off)"""
    y = xp(x).exp(_shifted(floating(_array(x)), axis))
    return narrow(y / _total(y, axis), y)


softmax.vjp(x=lambda g, y, axis: y * (g - sum(g * y, axis, True)))


@primitive("log softmax", domain=_axis_domain)
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """Logarithm of the softmax.   y = x − ln Σ eˣ      x̄ = ȳ − eʸ Σ ȳ"""
    z, m = _shifted(floating(_array(x)), axis), xp(x)
    return z - m.log(_total(m.exp(z), axis)).astype(z.dtype, copy=False)


log_softmax.vjp(x=lambda g, y, axis: g - exp(y) * sum(wide(g), axis, True))


@function()
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Vector norm along ``axis`` (None: of all elements).   y = (Σ |x|^p)^(1/p), p = ``ord``, 2 unless given

    ``ord``: any number p (with p < 0 a zero gives y = 0), ``inf`` for the largest |x|, ``-inf`` for the smallest, 0 for
    how many are not 0, which has no slope. x̄ = ȳ x / y for p = 2, and 0 where x = 0 (a subgradient); scaled by an
    element first, so that powers neither overflow nor vanish. Raises ``ValueError`` for another ``ord``, for the
    matrix norms that NumPy means by an ``ord`` over two axes, and for the smallest of no elements."""
    x, ord = floating(indexable(x, "norm")), scalar(ord)
    axes = tuple(range(x.ndim)) if axis is None else normal_axes(axis, x.shape, "norm")
    axis = None if axis is None else axes
    if ord is None or (isinstance(ord, str) and ord == "fro" and len(axes) == 2):
        return _norm(x, axis, keepdims)
    if len(axes) != 1:
        kind = "a matrix norm, which is not here" if len(axes) == 2 else "no norm"
        raise ValueError(f"norm: ord={describe(ord)} over {len(axes)} axes is {kind}; give one axis of x {x.shape}")
    if not isinstance(ord, int | float) or ord != ord:
        raise ValueError(f"norm: ord={describe(ord)} is not a vector norm; use a number, inf or -inf")
    if ord == 2:
        return _norm(x, axis, keepdims)
    return narrow(_power_norm(wide(x), float(ord), axes[0], keepdims), x)


def _power_norm(x: Any, p: float, axis: int, keepdims: bool) -> Any:
    """The norm of power p along one axis, in small ops. No slope is taken at x = 0, where it may be infinite."""
    size, value = absolute(x), value_of(x)
    if p == math.inf:
        return max(size, axis, keepdims) if x.shape[axis] else sum(size, axis, keepdims)
    if p == -math.inf:
        if not x.shape[axis]:
            raise ValueError(f"norm: nothing has no smallest element: axis {axis} of x {x.shape} is empty")
        return min(size, axis, keepdims)
    if p == 1:
        return sum(size, axis, keepdims)
    zero = value == 0
    if p == 0:
        return sum(where(False, size, ~zero), axis, keepdims)
    top = _scale_of(value, p, axis)
    total = sum(where(zero, 0, where(zero, 1, size / top) ** p), axis, keepdims)
    gone = (zero.all if p > 0 else zero.any)(axis=axis, keepdims=keepdims) & (total == total)  # but NaN stays
    return where(gone, 0, where(gone, 1, total) ** (1 / p)) * top.reshape(gone.shape)


def _scale_of(x: Array, p: float, axis: int) -> Array:
    """The element that counts most in the norm of power p, kept as an axis; 1 where it is 0 or not finite."""
    m = xp(x)
    if not x.shape[axis]:
        return m.ones(kept_shape(x.shape, axis), x.dtype)
    top = (m.max if p > 0 else m.min)(m.abs(x), axis=axis, keepdims=True)
    return m.where((top > 0) & m.isfinite(top), top, 1).astype(x.dtype, copy=False)


@primitive("norm", domain=reduction(distinct=True), method=False)
def _norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Euclidean norm.   y = √Σ x²      x̄ = ȳ x / y, 0 where y = 0"""
    x, m = _array(x), xp(x)
    if not x.size:
        return m.sqrt(x.sum(axis=axis, keepdims=keepdims))
    top = m.abs(x).max(axis=axis, keepdims=True)
    top = m.where((top > 0) & m.isfinite(top), top, 1).astype(x.dtype)
    y = top * m.sqrt(_total(m.square(x / top), axis)).astype(x.dtype, copy=False)
    return y if keepdims else y.reshape(left_shape(x.shape, axis))


def _norm_rule(g: Any, x: Any, y: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    length = stretch(y, x_shape, axis)
    return where(length == 0, 0, stretch(g, x_shape, axis) * (x / where(length == 0, 1, length)))


_norm.vjp(x=_norm_rule)


@function()
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest element: plain integers, without gradient."""
    return _place_of("argmax", x, axis, keepdims)


@function()
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest element: plain integers, without gradient."""
    return _place_of("argmin", x, axis, keepdims)


def _place_of(name: str, x: Any, axis: int | None, keepdims: bool) -> Any:
    data = value_of(x)
    data = data if is_array(data) else told(name, lambda x: from_python(x, np.float64), data)
    axis = _along(data, axis)
    return told(name, lambda x, axis: getattr(xp(data), name)(x, axis=axis, keepdims=keepdims), data, axis)
