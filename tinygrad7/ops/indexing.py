"""Indexing: parts of a tensor, and their way back into zeros."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad7.arrays import own
from tinygrad7.backend import Array, device_of, is_array, to_device, xp
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError, describe, told
from tinygrad7.ops.axes import normal_axis
from tinygrad7.ops.shape import _reshape, broadcast_to, ndim_of, shape_of
from tinygrad7.tensor import Tensor, value_of


def _index_domain(pick: Pick) -> Call:
    x = pick.array((4, 3, 2))
    options: list[Any] = [
        1, -1, slice(1, 3), slice(None, None, -2), (0, 1, 1), (Ellipsis, 0), (None, 2), (slice(None), -1),
        np.array([0, 2, 2]), (np.array([0, 1, 1]), np.array([2, 0, 0])), (slice(None), np.array([[0, 1], [1, 1]])),
        (np.array([1, 1]), slice(None), np.array([0, 1])), x[:, 0, 0] > 0, (slice(None), np.array([True, False, True])),
        slice(2, 2),
    ]  # fmt: skip
    return (x, pick.choice(options)), {}


@primitive("[ ]", domain=_index_domain, static=("index",), method=False)
def _getitem(x: Any, index: Any) -> Any:
    """Indexing as in NumPy.   y = x[index]      x̄ = zeros with ȳ added at the index"""
    return x[index]


def add_at(buffer: Array, g: Array, index: Any) -> None:
    """buffer[index] += g, counting repeated indices as often as they occur."""
    if _is_basic(index):
        buffer[index] += g
    else:
        xp(buffer).add.at(buffer, index, g)


def _is_basic(index: Any) -> bool:
    """Whether an index cannot name an element twice: numbers, slices, None, ..., and boolean arrays."""
    if isinstance(index, tuple):
        return all(_is_basic(part) for part in index)
    return not is_array(index) or index.dtype.kind == "b" or (isinstance(index, np.generic))


def _scatter_domain(pick: Pick) -> Call:
    (x, index), _ = _index_domain(pick)
    return (pick.array(x[index].shape), index, x.shape), {}


@primitive("scatter", domain=_scatter_domain, static=("index", "shape"), method=False)
def _scatter(x: Any, index: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with x added at the index.   y[index] += x      x̄ = ȳ[index]"""
    y = xp(x).zeros(shape, x.dtype)
    add_at(y, xp(x).broadcast_to(x, y[index].shape), index)  # add.at itself crashes on values that do not fit
    return y


_scatter.vjp(x=lambda g, index: g[index])
_getitem.vjp(
    x=lambda g, index, x_shape: _scatter(g, index, x_shape),
    into={"x": lambda buffer, g, index, x_shape: add_at(buffer, g, index)},
)


def clean_index(index: Any, x: Any) -> Any:
    """An index into x with lists made arrays, tensors unwrapped, and arrays copied to where x is."""
    return _placed(_plain_index(index), x)


def _plain_index(index: Any, name: str = "getitem") -> Any:
    """An index with lists made arrays and tensors unwrapped."""
    if isinstance(index, tuple):
        return tuple([_plain_index(list(part) if isinstance(part, tuple) else part, name) for part in index])
    if isinstance(index, Tensor):
        if index.requires_grad:
            raise TypeError(f"{name}: an index has no gradient; pass integers, slices or an integer tensor")
        index = index._value
    if not (isinstance(index, _SINGLE) or is_array(index) or hasattr(index, "__index__")):
        index, given = listed(index, name), index
        if index.dtype.kind == "O":
            raise IndexError(f"{name}: an index is made of integers or booleans, not of {describe(given)}")
    if is_array(index) and index.dtype.kind not in "iub":
        raise IndexError(f"{name}: an index must be integer or boolean, not {index.dtype}")
    return index if is_array(index) or isinstance(index, _SINGLE) else operator.index(index)


def listed(indices: Any, name: str) -> Any:
    """A list, a range, ... as an array, an empty one of integers."""
    found = told(name, np.asarray, indices)
    return found if found.size else found.astype(np.intp)


def _placed(index: Any, x: Any) -> Any:
    """A plain index copied to where x is, which CuPy would read modulo the axis: so what is beyond raises before."""
    data = value_of(x)
    if not is_array(data):
        return own(index)
    place, parts = device_of(data), index if isinstance(index, tuple) else (index,)
    if place != "cpu":
        told("getitem", lambda x: _check_reach(parts, x.shape), data)
    moved = tuple([_part_placed(part, place) for part in parts])
    return moved if isinstance(index, tuple) else moved[0]


def _part_placed(part: Any, place: str) -> Any:
    if not is_array(part) or device_of(part) == place:
        return own(part)
    return to_device(part, place) if part.ndim else part.item()


def _check_reach(parts: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Raise as NumPy does where an integer array on the host names a place that is not there."""
    widths = [0 if p is None or p is Ellipsis else p.ndim if is_array(p) and p.dtype.kind == "b" else 1 for p in parts]
    axis = 0
    for part, width in zip(parts, widths, strict=True):
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu" and part.size and axis < len(shape):
            low, high, size = int(part.min()), int(part.max()), shape[axis]
            if low < -size or high >= size:
                found = high if high >= size else low
                raise IndexError(f"index {found} is out of bounds for axis {axis} with size {size}")
        axis += len(shape) - sum(widths) if part is Ellipsis else width


@function(method="__getitem__")
def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, NumPy's basic and advanced indexing (numbers, slices, None, ..., integer and boolean arrays)."""
    return _getitem(x, index if type(index) in _BASIC else clean_index(index, x))


_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})
_SINGLE = (*_BASIC, str)  # what an array cannot be made of; NumPy says what is wrong with a string


@function()
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Elements at ``indices`` along ``axis`` (None: of the flattened x); repeated indices add up in the gradient."""
    indices = _integers(indices, "take")
    if axis is None:
        return _picked("take", _reshape(x, -1), indices)
    axis = normal_axis(axis, shape_of(x), "take")
    return _picked("take", x, (slice(None),) * axis + (indices,))


@function(method=False)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """Elements picked one by one along ``axis``, as ``numpy.take_along_axis``: the companion of argmax and argsort."""
    indices = _integers(indices, "take_along_axis")
    indices = indices if is_array(indices) else np.asarray(indices)
    if axis is None:
        if indices.ndim != 1:
            raise ShapeError(
                f"take_along_axis: with axis=None x is flattened, and indices are one list; theirs is {indices.shape}. "
                "Name an axis, or use tg.take"
            )
        return _picked("take_along_axis", _reshape(x, -1), indices)
    ndim = ndim_of(x)
    axis = normal_axis(axis, shape_of(x), "take_along_axis")
    if indices.ndim != ndim:
        raise ValueError(f"take_along_axis: indices have {indices.ndim} dimension(s), x has {ndim}; they must be equal")
    rest = [_without(shape_of(x), axis), _without(indices.shape, axis)]
    try:
        shape = np.broadcast_shapes(*rest)
    except ValueError:
        raise ShapeError(
            f"take_along_axis: shapes {shape_of(x)} and {indices.shape} (of the indices) must broadcast "
            f"in every axis but {axis}"
        ) from None
    indices = _named("take_along_axis", _placed, (slice(None),) * axis + (indices,), x)[axis]
    full = broadcast_to(indices, (*shape[:axis], indices.shape[axis], *shape[axis + 1 :]))
    m = xp(indices)
    places = [m.arange(n).reshape([-1 if j == i else 1 for j in range(ndim)]) for i, n in enumerate(shape)]
    places = [
        p % n if n == 1 else p for p, n in zip(places, shape_of(x), strict=True)
    ]  # a stretched axis has one place
    places[axis] = full
    return _picked("take_along_axis", x, tuple(places))


def _integers(indices: Any, name: str) -> Any:
    """What can only be integers: a number or an array of them."""
    indices = _plain_index(list(indices) if isinstance(indices, tuple) else indices, name)
    if is_array(indices) and indices.dtype.kind == "b":
        raise IndexError(f"{name}: indices are integers, not booleans; x[mask] chooses by a mask")
    if isinstance(indices, _SINGLE) and type(indices) is not int:
        raise TypeError(f"{name}: indices are integers, in a list or an array, not {indices!r}; x[...] takes slices")
    return indices


def _picked(name: str, x: Any, index: Any) -> Any:
    """``x[index]`` for the op ``name``, which an error then names."""
    return _named(name, lambda: _getitem(x, _placed(index, x)))


def _named(name: str, f: Any, *args: Any) -> Any:
    try:
        return f(*args)
    except IndexError as error:
        error.args = (str(error).replace("getitem", name, 1),)
        raise


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])
