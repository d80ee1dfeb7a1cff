"""Ops that reduce along axes: sums, means, extremes, products, norms, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.backend import Array, xp
from tinygrad7.domains import Call, Pick, reduction
from tinygrad7.ops.elementwise import _plain, exp, sqrt, where
from tinygrad7.ops.shape import _normal_axes, broadcast_to, flip, shape_of, stack
from tinygrad7.tape import function, primitive
from tinygrad7.tensor import Tensor


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape that a reduction over ``axis`` leaves with keepdims."""
    if axis is None:
        return (1,) * len(shape)
    axes = _normal_axes(axis, len(shape), "reduction")
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def stretch(g: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """A reduced value put back beside every element that it was made from."""
    return broadcast_to(g.reshape(kept_shape(shape, axis)), shape)


def _count(shape: tuple[int, ...], axis: Any) -> int:
    kept = kept_shape(shape, axis)
    return math.prod(n for n, k in zip(shape, kept, strict=True) if k == 1 and n != 1) if 0 not in shape else 0


@primitive("sum", domain=reduction(), numpy=np.sum)
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Sum along axes.   y = Σ x      x̄ = ȳ for every element"""
    return x.sum(axis=axis, keepdims=keepdims)


sum.vjp(x=lambda g, axis, x_shape: stretch(g, x_shape, axis))


def _sum_to_domain(pick: Pick) -> Call:
    shape, target = pick.broadcastable(2)
    full = np.broadcast_shapes(shape, target)
    return (pick.array(full), target), {}


@primitive("sum to", domain=_sum_to_domain, static=("shape",), method=False)
def sum_to(x: Any, shape: Any) -> Any:
    """Broadcasting undone: summed over the axes along which ``shape`` was stretched.   x̄ = ȳ stretched"""
    lead = x.ndim - len(shape)
    if lead:
        x = x.sum(axis=tuple(range(lead)))
    stretched = tuple([i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1])
    return x.sum(axis=stretched, keepdims=True) if stretched else x


sum_to.vjp(x=lambda g, x_shape: broadcast_to(g, x_shape))


@primitive("mean", domain=reduction())
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean along axes.   y = Σ x / n      x̄ = ȳ / n      (n: the number of elements averaged)"""
    return x.mean(axis=axis, keepdims=keepdims)


mean.vjp(x=lambda g, axis, x_shape: stretch(g * (1 / _count(x_shape, axis)), x_shape, axis))


def _spread_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3, 2)
    axis = pick.choice([None, 0, -1, tuple(range(len(shape)))])
    return (pick.array(shape, distinct=True),), {"axis": axis, "ddof": pick.choice([0, 1]), "keepdims": pick.choice([False, True])}


@primitive("var", domain=_spread_domain)
def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Variance along axes.   y = Σ (x − m)² / (n − ddof), m the mean      x̄ = 2 ȳ (x − m) / (n − ddof)"""
    return x.var(axis=axis, ddof=ddof, keepdims=keepdims)


var.vjp(
    x=lambda g, x, axis, ddof, x_shape: stretch(g, x_shape, axis)
    * ((x - mean(x, axis, True)) * (2 / (_count(x_shape, axis) - ddof)))
)


@function()
def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Standard deviation along axes.   y = √var(x)      (the gradient is infinite where all elements are equal)"""
    return sqrt(var(x, axis=axis, ddof=ddof, keepdims=keepdims))


def _extreme(g: Any, x: Any, y: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    """ȳ to the elements equal to the extreme, shared equally among ties."""
    chosen = x == stretch(y, x_shape, axis)
    ties = chosen.sum(axis=axis, keepdims=True).reshape(kept_shape(x_shape, axis))
    return where(chosen, broadcast_to(g.reshape(ties.shape) / ties.astype(g.dtype), x_shape), 0)


@primitive("max", domain=reduction(distinct=True), numpy=np.amax)
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Largest element along axes.   y = max x      x̄ = ȳ at the largest, shared equally among ties, else 0"""
    return x.max(axis=axis, keepdims=keepdims)


max.vjp(x=_extreme)


@primitive("min", domain=reduction(distinct=True), numpy=np.amin)
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Smallest element along axes.   y = min x      x̄ = ȳ at the smallest, shared equally among ties, else 0"""
    return x.min(axis=axis, keepdims=keepdims)


min.vjp(x=_extreme)


@primitive("prod", domain=reduction((-2, 2)))
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product along axes.   y = Π x      x̄ᵢ = ȳ Π_{j≠i} xⱼ      (exact where factors are 0)"""
    return x.prod(axis=axis, keepdims=keepdims)


def _prod_rule(g: Any, x: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    """The product of the others is that of those before and those after: no division, so zeros are no trouble."""
    axes = tuple(range(len(x_shape))) if axis is None else _normal_axes(axis, len(x_shape), "prod")
    order = (*[i for i in range(len(x_shape)) if i not in axes], *axes)
    back = tuple(np.argsort(order).tolist())
    rest = tuple([x_shape[i] for i in order[: len(order) - len(axes)]])
    count = math.prod(x_shape[i] for i in axes)
    rows = x.transpose(order).reshape((*rest, count))
    others = _exclusive(rows) * flip(_exclusive(flip(rows, -1)), -1)
    return stretch(g, x_shape, axis) * others.reshape(tuple([x_shape[i] for i in order])).transpose(back)


def _exclusive(rows: Any) -> Any:
    """Along the last axis, the product of the elements before each."""
    count = rows.shape[-1]
    if count == 0:
        return rows
    products: list[Any] = [rows[..., 0] * 0 + 1]
    for i in range(count - 1):
        products.append(products[-1] * rows[..., i])
    return stack(products, -1)


prod.vjp(x=_prod_rule)


def _cumsum_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([None, 0, -1])}


@primitive("cumsum", domain=_cumsum_domain)
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along an axis (None: of the flattened x).   yᵢ = Σ_{j≤i} xⱼ      x̄ᵢ = Σ_{j≥i} ȳⱼ"""
    return x.cumsum(axis=axis)


def _cumsum_rule(g: Any, axis: int | None, x_shape: tuple[int, ...]) -> Any:
    along = 0 if axis is None else axis
    return flip(cumsum(flip(g, along), along), along).reshape(x_shape)


cumsum.vjp(x=_cumsum_rule)


@primitive("logsumexp", domain=reduction())
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """ln Σ eˣ without overflow.   y = m + ln Σ e^(x − m), m = max x      x̄ = ȳ e^(x − y)"""
    m = xp(x)
    top = x.max(axis=axis, keepdims=True) if x.size else m.full(kept_shape(x.shape, axis), -np.inf, x.dtype)
    top = m.where(m.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # every x = −∞ gives −∞, as it should
        y = m.log(m.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return y if keepdims else y.reshape(tuple([n for i, n in enumerate(x.shape) if not _reduced(i, axis, x.ndim)]))


def _reduced(i: int, axis: Any, ndim: int) -> bool:
    return axis is None or i in _normal_axes(axis, ndim, "logsumexp")


logsumexp.vjp(x=lambda g, x, y, axis, x_shape: stretch(g, x_shape, axis) * exp(x - stretch(y, x_shape, axis)))


def _axis_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([-1, 0])}


def _shifted(x: Array, axis: Any) -> Array:
    return x - x.max(axis=axis, keepdims=True) if x.size else x


@primitive("softmax", domain=_axis_domain)
def softmax(x: Any, axis: Any = -1) -> Any:
    """Softmax along an axis.   y = eˣ / Σ eˣ      x̄ = y (ȳ − Σ ȳ y)      (no overflow: the maximum is taken off first)"""
    y = xp(x).exp(_shifted(x, axis))
    return y / y.sum(axis=axis, keepdims=True)


softmax.vjp(x=lambda g, y, axis: y * (g - sum(g * y, axis, True)))


@primitive("log softmax", domain=_axis_domain)
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """Logarithm of the softmax.   y = x − ln Σ eˣ      x̄ = ȳ − eʸ Σ ȳ"""
    z = _shifted(x, axis)
    return z - xp(x).log(xp(x).exp(z).sum(axis=axis, keepdims=True))


log_softmax.vjp(x=lambda g, y, axis: g - exp(y) * sum(g, axis, True))


def _norm_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    axis = pick.choice([None, 0, -1])
    x = pick.array(shape, away=(0.0,), distinct=True)
    return (x,), {"ord": pick.choice([None, 2, 1, 3, np.inf]), "axis": axis, "keepdims": pick.choice([False, True])}


@function(numpy=np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """Vector norm along ``axis`` (None: of all elements).   y = (Σ |x|^p)^(1/p), p = ``ord``, 2 unless given

    ``ord`` may be any p ≥ 1, or ``inf``. x̄ = ȳ x / y for p = 2, and 0 where x = 0 (a subgradient); scaled by the
    largest element first, so that squares neither overflow nor vanish. Raises ``ValueError`` for another ``ord``."""
    if ord is None or ord == 2:
        return _norm(x, axis, keepdims)
    size = Tensor.__abs__(x) if isinstance(x, Tensor) else xp(x).abs(x)  # type: ignore[attr-defined]
    if ord == np.inf:
        return max(size, axis, keepdims)
    if ord == 1:
        return sum(size, axis, keepdims)
    if not isinstance(ord, int | float) or ord < 1:
        raise ValueError(f"norm: ord={ord!r} is not a vector norm here; use a number ≥ 1 or inf")
    top = max(_plain(size), axis, True) if _plain(size).size else np.ones(kept_shape(shape_of(x), axis))
    top = where(top == 0, 1, top)
    total = sum((size / top) ** ord, axis, keepdims)
    zero = _plain(total) == 0
    return where(zero, 0, where(zero, 1, total) ** (1 / ord)) * top.reshape(shape_of(total))


def _norm2_domain(pick: Pick) -> Call:
    return reduction(distinct=True)(pick)


@primitive("norm", domain=_norm2_domain, method=False)
def _norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Euclidean norm.   y = √Σ x²      x̄ = ȳ x / y, 0 where y = 0"""
    m = xp(x)
    if not x.size:
        return m.sqrt(x.sum(axis=axis, keepdims=keepdims))
    top = m.abs(x).max(axis=axis, keepdims=True)
    top = m.where((top > 0) & m.isfinite(top), top, 1).astype(x.dtype)
    y = top * m.sqrt(m.square(x / top).sum(axis=axis, keepdims=True))
    return y if keepdims else y.reshape(tuple([n for i, n in enumerate(x.shape) if not _reduced(i, axis, x.ndim)]))


def _norm_rule(g: Any, x: Any, y: Any, axis: Any, x_shape: tuple[int, ...]) -> Any:
    length = stretch(y, x_shape, axis)
    return where(length == 0, 0, stretch(g, x_shape, axis) * (x / where(length == 0, 1, length)))


_norm.vjp(x=_norm_rule)


@function(method=True)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest element: plain integers, without gradient."""
    return xp(_plain(x)).argmax(_plain(x), axis=axis, keepdims=keepdims)


@function(method=True)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest element: plain integers, without gradient."""
    return xp(_plain(x)).argmin(_plain(x), axis=axis, keepdims=keepdims)

