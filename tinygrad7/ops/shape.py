"""Ops that move elements without computing: reshaping, indexing, joining, splitting, repeating, converting."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad7 import tensor as tensor_module
from tinygrad7.backend import Array, device_of, is_array, to_device, writable_array, xp
from tinygrad7.domains import Call, Pick
from tinygrad7.tape import function, own, primitive
from tinygrad7.tensor import NUMPY, Tensor



def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or a number: a plain tuple."""
    return x.shape if hasattr(x, "shape") else np.shape(x)  # type: ignore[no-any-return]


def ndim_of(x: Any) -> int:
    """The number of axes: a plain int."""
    return len(shape_of(x))


def size_of(x: Any, axis: int | None = None) -> int:
    """The number of elements, in all or along ``axis``: a plain int."""
    return math.prod(shape_of(x)) if axis is None else shape_of(x)[axis]


NUMPY[np.shape], NUMPY[np.ndim], NUMPY[np.size] = shape_of, ndim_of, size_of

# ---- the same elements in another shape --------------------------------------------------------------------------


def _reshape_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape), pick.choice([-1, (math.prod(shape),), (1, -1), tuple(reversed(shape))])), {}


@primitive("reshape", domain=_reshape_domain, static=("shape",), method=False)
def _reshape(x: Any, shape: Any) -> Any:
    """The same elements in another shape.   y = reshape(x, shape)      x̄ = reshape(ȳ, shape of x)"""
    return xp(x).reshape(x, shape)


_reshape.vjp(x=lambda g, x_shape: g.reshape(x_shape))


@function()
def reshape(x: Any, *shape: Any) -> Any:
    """The same elements in ``shape``, given as a tuple or as numbers; one of them may be −1.   x̄ = ȳ in x's shape"""
    return _reshape(x, shape[0] if len(shape) == 1 else shape)


def _axes_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 3)
    orders = [None, tuple(range(len(shape))), tuple(range(-1, -len(shape) - 1, -1))]
    return (pick.array(shape), pick.choice(orders)), {}


@primitive("transpose", domain=_axes_domain, method=False)
def _transpose(x: Any, axes: Any = None) -> Any:
    """Permuted axes (None: reversed).   y = transpose(x, axes)      x̄ = ȳ with the axes permuted back"""
    return xp(x).transpose(x, axes)


_transpose.vjp(x=lambda g, axes: g.transpose(axes and tuple(np.argsort([a % len(axes) for a in axes]).tolist())))


@function(numpy=getattr(np, "permute_dims", None))
def transpose(x: Any, *axes: Any) -> Any:
    """The axes permuted: ``transpose(x)`` reverses them, ``transpose(x, (1, 0, 2))`` or ``x.transpose(1, 0, 2)``."""
    order = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)) else axes or None
    return _transpose(x, None if order is None else tuple(order))


Tensor.T = property(transpose)  # type: ignore[assignment]


@function()
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(ndim_of(x)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return _transpose(x, tuple(order))


@function()
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places, the others staying in order."""
    ndim = ndim_of(x)
    sources = _normal_axes(source, ndim, "moveaxis")
    places = _normal_axes(destination, ndim, "moveaxis")
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} source axes but {len(places)} destinations")
    order = [axis for axis in range(ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return _transpose(x, tuple(order))


def _normal_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """One axis or several as a tuple of non-negative numbers; raises for one that is not there or comes twice."""
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(f"{name}: axis {a} is out of bounds for {ndim} dimension(s)")
    normal = tuple([int(a) % ndim for a in axes])
    if len(set(normal)) != len(normal):
        raise ValueError(f"{name}: an axis comes twice in {axes}")
    return normal


@function()
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size 1 at the places ``axis`` of the result."""
    count = len(axis) if isinstance(axis, tuple | list) else 1
    places = _normal_axes(axis, ndim_of(x) + count, "expand_dims")
    sizes = iter(shape_of(x))
    return _reshape(x, tuple([1 if i in places else next(sizes) for i in range(ndim_of(x) + count)]))


@function()
def squeeze(x: Any, axis: Any = None) -> Any:
    """Axes of size 1 left out: all of them, or those named. Raises ``ValueError`` for one of another size."""
    shape = shape_of(x)
    gone = [i for i, n in enumerate(shape) if n == 1] if axis is None else _normal_axes(axis, len(shape), "squeeze")
    if any(shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} is not of size 1")
    return _reshape(x, tuple([n for i, n in enumerate(shape) if i not in gone]))


@function()
def flatten(x: Any) -> Any:
    """All elements in one axis."""
    return _reshape(x, -1)


NUMPY[np.ravel] = Tensor.ravel = flatten  # type: ignore[attr-defined]


def _broadcast_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 3)
    x = pick.array(tuple([pick.choice([n, 1]) for n in shape]))
    return (x, pick.choice([shape, (2, *shape)])), {}


@primitive("broadcast", domain=_broadcast_domain, static=("shape",))
def broadcast_to(x: Any, shape: Any) -> Any:
    """Repeat along axes of size 1 and new leading axes, as a view.   y = x stretched to ``shape``      x̄ = ȳ summed back"""
    return xp(x).broadcast_to(x, shape)


broadcast_to.vjp(x=lambda g: g)  # grad.py sums over what was stretched, as for every op

# ---- parts -------------------------------------------------------------------------------------------------------


def _index_domain(pick: Pick) -> Call:
    x = pick.array((4, 3, 2))
    options: list[Any] = [
        1, -1, slice(1, 3), slice(None, None, -2), (0, 1, 1), (Ellipsis, 0), (None, 2), (slice(None), -1),
        np.array([0, 2, 2]), (np.array([0, 1, 1]), np.array([2, 0, 0])), (slice(None), np.array([[0, 1], [1, 1]])),
        (np.array([1, 1]), slice(None), np.array([0, 1])), x[:, 0, 0] > 0, (slice(None), np.array([True, False, True])), slice(2, 2),
    ]  # fmt: skip
    return (x, pick.choice(options)), {}


@primitive("[ ]", domain=_index_domain, static=("index",), method="__getitem__")
def _getitem(x: Any, index: Any) -> Any:
    """Indexing as in NumPy.   y = x[index]      x̄ = zeros with ȳ added at the index"""
    return x[index]


def _add_at(buffer: Array, g: Array, index: Any) -> None:
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
    _add_at(y, x, index)
    return y


_scatter.vjp(x=lambda g, index: getitem(g, index))
_getitem.vjp(x=lambda g, index, x_shape: _scatter(g, index, x_shape), into={"x": lambda buffer, g, index, x_shape: _add_at(buffer, g, index)})


def _clean_index(index: Any, x: Any) -> Any:
    """An index into x with lists made arrays, tensors unwrapped, and arrays copied to where x is."""
    if isinstance(index, tuple):
        return tuple([_clean_index(part, x) for part in index])
    if isinstance(index, Tensor):
        if index.requires_grad:
            raise TypeError("getitem: an index has no gradient; pass integers, slices or an integer tensor")
        index = index._data
    if isinstance(index, list):
        index = np.asarray(index, dtype=None if index else np.intp)
    if is_array(index) and index.dtype.kind == "f":
        raise IndexError(f"getitem: an index must be integer or boolean, not {index.dtype}")
    data = x._data if isinstance(x, Tensor) else x
    if is_array(index) and index.ndim and is_array(data) and device_of(index) != device_of(data):
        return to_device(index, device_of(data))
    return own(index)


def getitem(x: Any, index: Any) -> Any:
    """``x[index]`` with NumPy's basic and advanced indexing (numbers, slices, None, ..., integer and boolean arrays)."""
    return _getitem(x, index if type(index) in _BASIC else _clean_index(index, x))


_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})
Tensor.__getitem__ = getitem  # type: ignore[attr-defined]


@function(method=True)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Elements at ``indices`` along ``axis`` (None: of the flattened x); repeated indices add up in the gradient."""
    indices = _clean_index(indices if not isinstance(indices, tuple) else list(indices), x)
    if axis is None:
        return _getitem(_reshape(x, -1), indices)
    (axis,) = _normal_axes(axis, ndim_of(x), "take")
    return _getitem(x, (slice(None),) * axis + (indices,))


@function(method=False)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """Elements picked one by one along ``axis``, as ``numpy.take_along_axis``: the companion of argmax and argsort."""
    indices = _clean_index(indices, x)
    if axis is None:
        return _getitem(_reshape(x, -1), indices)
    ndim = ndim_of(x)
    (axis,) = _normal_axes(axis, ndim, "take_along_axis")
    if indices.ndim != ndim:
        raise ValueError(f"take_along_axis: indices have {indices.ndim} dimension(s), x has {ndim}; they must be equal")
    m = xp(indices)
    shape = tuple([1 if i == axis else n for i, n in enumerate(np.broadcast_shapes(
        tuple([1 if i == axis else n for i, n in enumerate(shape_of(x))]),
        tuple([1 if i == axis else n for i, n in enumerate(indices.shape)]),
    ))])  # fmt: skip
    full = m.broadcast_to(indices, tuple([indices.shape[i] if i == axis else n for i, n in enumerate(shape)]))
    grid = [
        full if i == axis else m.arange(shape[i]).reshape([-1 if j == i else 1 for j in range(ndim)])
        for i in range(ndim)
    ]
    return _getitem(x, tuple(grid))


# ---- several into one, one into several --------------------------------------------------------------------------


def _join_domain(pick: Pick) -> Call:
    a, b, c = pick.integer(1, 3), pick.integer(1, 3), pick.integer(1, 2)
    axis = pick.choice([0, 1, -1])
    shapes = [(n, 2) if axis == 0 else (2, n) for n in (a, b, c)]
    return tuple([pick.array(s) for s in shapes]), {"axis": axis}


@primitive("concatenate", domain=_join_domain, method=False)
def _concatenate(*parts: Any, axis: int) -> Any:
    """Joined along an axis.   y = [x₁ … xₙ]      x̄ᵢ = the part of ȳ that came from xᵢ"""
    return _module_of(parts).concatenate(parts, axis=axis)


def _part_of(g: Any, index: int, axis: int, parts_shape: Any) -> Any:
    axis %= len(parts_shape[0])
    start = builtins.sum(shape[axis] for shape in parts_shape[:index])
    return g[(slice(None),) * axis + (slice(start, start + parts_shape[index][axis]),)]


_concatenate.vjp(parts=_part_of)


@function(method=False, numpy=getattr(np, "concat", None))
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Arrays joined along an existing ``axis`` (None: flattened first)."""
    parts = _sequence(arrays, "concatenate")
    return _concatenate(*[_reshape(p, -1) for p in parts], axis=0) if axis is None else _concatenate(*parts, axis=axis)


def _stack_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 2)
    axis = pick.choice([0, -1, len(shape)])
    return tuple([pick.array(shape) for _ in range(pick.integer(1, 3))]), {"axis": axis}


@primitive("stack", domain=_stack_domain, method=False)
def _stack(*parts: Any, axis: int) -> Any:
    """Joined along a new axis.   y = [x₁, …, xₙ]      x̄ᵢ = ȳ[i]"""
    return _module_of(parts).stack(parts, axis=axis)


_stack.vjp(parts=lambda g, index, axis: g[(slice(None),) * (axis % ndim_of(g)) + (index,)])


@function(method=False)
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new ``axis``."""
    return _stack(*_sequence(arrays, "stack"), axis=axis)


def _sequence(arrays: Any, name: str) -> list[Any]:
    parts = list(arrays)
    if not parts:
        raise ValueError(f"{name}: the list is empty; at least one array is needed")
    return parts


def _module_of(parts: Sequence[Any]) -> Any:
    return next((xp(p) for p in parts if xp(p) is not np), np)


def _unstack_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([0, -1])}


@primitive("unstack", domain=_unstack_domain, method=False, outputs=0)
def _unstack(x: Any, axis: int = 0) -> Any:
    """One tensor for each place along an axis.   yᵢ = x[i]      x̄ = [ȳ₁, …, ȳₙ]"""
    rolled = xp(x).moveaxis(x, axis, 0)
    return tuple([rolled[i] for i in range(rolled.shape[0])])


_unstack.vjp(x=lambda g, axis: stack(g, axis))


@function(method=True, numpy=getattr(np, "unstack", None))
def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices along ``axis``, as a tuple: one op however many there are, so the way to walk over time steps."""
    _normal_axes(axis, ndim_of(x), "unstack")
    return _unstack(x, axis) if shape_of(x)[axis] else ()


@function(method=True)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Consecutive parts along ``axis``: so many equal ones, or cut at the given places (as ``numpy.split``)."""
    (axis,) = _normal_axes(axis, ndim_of(x), "split")
    size = shape_of(x)[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections <= 0 or size % indices_or_sections:
            raise ValueError(f"split: an axis of {size} cannot be split into {indices_or_sections} equal parts")
        cuts = list(range(0, size, size // indices_or_sections))[1:] if size else [0] * (indices_or_sections - 1)
    else:
        cuts = [int(c) for c in indices_or_sections]
    parts = zip([0, *cuts], [*cuts, size], strict=True)
    return [getitem(x, (slice(None),) * axis + (slice(a, b),)) for a, b in parts]


# ---- turned, repeated, surrounded --------------------------------------------------------------------------------


@function()
def flip(x: Any, axis: Any = None) -> Any:
    """The order of the elements reversed along ``axis`` (None: along all)."""
    axes = range(ndim_of(x)) if axis is None else _normal_axes(axis, ndim_of(x), "flip")
    return getitem(x, tuple([slice(None, None, -1) if i in axes else slice(None) for i in range(ndim_of(x))]))


def _roll_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"shift": pick.integer(-3, 3), "axis": pick.choice([None, 0, -1])}


@primitive("roll", domain=_roll_domain, static=("shift",))
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Shifted in a circle.   y[i + shift] = x[i]      x̄ = ȳ rolled back"""
    return xp(x).roll(x, shift, axis)


roll.vjp(x=lambda g, shift, axis: roll(g, tuple([-s for s in shift]) if isinstance(shift, tuple | list) else -shift, axis))


@function(method=False)
def tile(x: Any, reps: Any) -> Any:
    """x repeated ``reps`` times along each axis, as ``numpy.tile``; the gradient sums over the copies."""
    counts = (reps,) if isinstance(reps, int | np.integer) else tuple(reps)
    shape = shape_of(x)
    counts = (1,) * (len(shape) - len(counts)) + counts
    shape = (1,) * (len(counts) - len(shape)) + shape
    apart = _reshape(x, tuple([n for size in shape for n in (1, size)]))
    wide = broadcast_to(apart, tuple([n for count, size in zip(counts, shape, strict=True) for n in (count, size)]))
    return _reshape(wide, tuple([count * size for count, size in zip(counts, shape, strict=True)]))


def _pad_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape), tuple([(pick.integer(0, 2), pick.integer(0, 2)) for _ in shape])), {}


@primitive("pad", domain=_pad_domain, static=("widths",), method=False)
def _pad(x: Any, widths: Any, value: float = 0.0) -> Any:
    """Surrounded by a constant.   y = x with ``widths`` elements before and after each axis      x̄ = the middle of ȳ"""
    return xp(x).pad(x, widths, constant_values=value)


_pad.vjp(x=lambda g, widths, x_shape: g[tuple([slice(a, a + n) for (a, _), n in zip(widths, x_shape, strict=True)])])


@function(method=False)
def pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: float = 0.0) -> Any:
    """Surrounded by a constant: ``pad_width`` as in ``numpy.pad`` (a number, a pair, or a pair for each axis)."""
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not there; only 'constant' has a derivative here")
    widths = np.broadcast_to(np.asarray(pad_width), (ndim_of(x), 2))
    return _pad(x, tuple([(int(a), int(b)) for a, b in widths]), float(constant_values))


# ---- dtype and device --------------------------------------------------------------------------------------------


@primitive("astype", domain=lambda pick: ((pick.array(pick.shape()), np.dtype(np.float64)), {}), static=("dtype",), method=False)
def _astype(x: Any, dtype: Any) -> Any:
    """Converted to a floating dtype.   y = x in ``dtype``      x̄ = ȳ in x's dtype"""
    return x.astype(dtype)


_astype.vjp(x=lambda g: g)  # grad.py gives every gradient its tensor's dtype


@function(numpy=getattr(np, "astype", None))
def astype(x: Any, dtype: Any) -> Any:
    """The elements in ``dtype``. An integer or boolean result is a constant: no gradient can reach through it."""
    dtype = tensor_module.check_dtype(dtype)
    if isinstance(x, Tensor) and dtype.kind != "f":
        return Tensor(x._data.astype(dtype))
    return _astype(x, dtype)


@primitive("to", domain=lambda pick: ((pick.array(pick.shape()), "cpu", "cpu"), {}), static=("there", "here"), method=False)
def _transfer(x: Any, there: str, here: str) -> Any:
    """Copied from device ``here`` to device ``there``.   y = x there      x̄ = ȳ here"""
    return to_device(writable_array(x), there)


_transfer.vjp(x=lambda g, there, here: _transfer(g, here, there))
Tensor._transfer = lambda self, there: _transfer(self, there, self.device)  # type: ignore[attr-defined]


@function(method=False)
def copy(x: Any) -> Any:
    """The same value as a new tensor, through which gradients reach x."""
    return _astype(x, x.dtype)
