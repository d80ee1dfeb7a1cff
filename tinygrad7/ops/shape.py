"""Ops that move elements without computing: reshaping, joining, splitting, repeating, padding."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad7.arrays import operand, scalar
from tinygrad7.backend import xp, xp_of
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError, told
from tinygrad7.ops.axes import normal_axes, normal_axis, one_axis, pair_per_axis
from tinygrad7.tensor import NUMPY, Tensor, value_of


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or a number: a plain tuple."""
    return x.shape if hasattr(x, "shape") else np.shape(x)


def ndim_of(x: Any) -> int:
    """The number of axes: a plain int."""
    return len(shape_of(x))


def size_of(x: Any, axis: int | None = None) -> int:
    """The number of elements, in all or along ``axis``: a plain int."""
    return math.prod(shape_of(x)) if axis is None else shape_of(x)[normal_axis(axis, shape_of(x), "size")]


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
def reshape(x: Any, *sizes: Any, shape: Any = None) -> Any:
    """The same elements in ``shape``, given as a tuple or as numbers; one of them may be −1.   x̄ = ȳ in x's shape"""
    given = shape if not sizes else sizes[0] if len(sizes) == 1 else sizes
    if given is None or (sizes and shape is not None):
        raise TypeError("reshape: give the new shape once, as in reshape(x, (2, 3)) or x.reshape(2, 3)")
    return _reshape(x, given)


def _axes_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 3)
    orders = [None, tuple(range(len(shape))), tuple(range(-1, -len(shape) - 1, -1))]
    return (pick.array(shape), pick.choice(orders)), {}


@primitive("transpose", domain=_axes_domain, method=False)
def _transpose(x: Any, axes: Any = None) -> Any:
    """Permuted axes (None: reversed).   y = transpose(x, axes)      x̄ = ȳ with the axes permuted back"""
    return xp(x).transpose(x, axes)


def inverse_order(axes: Any) -> Any:
    """The permutation that undoes ``axes``."""
    return axes and tuple(sorted(range(len(axes)), key=lambda i: axes[i] % len(axes)))


_transpose.vjp(x=lambda g, axes: g.transpose(inverse_order(axes)))


@function()
def transpose(x: Any, *order: Any, axes: Any = None) -> Any:
    """The axes permuted: ``transpose(x)`` reverses them, ``transpose(x, (1, 0, 2))`` or ``x.transpose(1, 0, 2)``."""
    if order:
        axes = order[0] if len(order) == 1 and isinstance(order[0], tuple | list | range | None) else order
    axes = None if axes is None else normal_axes(axes, shape_of(x), "transpose")
    if axes is not None and len(axes) != ndim_of(x):
        raise ShapeError(
            f"transpose: {len(axes)} axes {axes} for a shape {shape_of(x)} of {ndim_of(x)}; name every axis"
        )
    return _transpose(x, axes)


def _reversed(x: Tensor) -> Any:
    """The axes in reverse order: for a matrix, its transpose."""
    return _transpose(x)


Tensor.T = property(_reversed)  # type: ignore[assignment]


@function()
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(ndim_of(x)))
    first, second = (normal_axis(axis, shape_of(x), "swapaxes") for axis in (axis1, axis2))
    order[first], order[second] = second, first
    return _transpose(x, tuple(order))


@function()
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places, the others staying in order."""
    shape = shape_of(x)
    sources = normal_axes(source, shape, "moveaxis")
    places = normal_axes(destination, shape, "moveaxis")
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} source axes but {len(places)} destinations for shape {shape}")
    order = [axis for axis in range(len(shape)) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return _transpose(x, tuple(order))


@function()
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size 1 at the places ``axis`` of the result."""
    count = len(axis) if isinstance(axis, tuple | list) else 1
    wider = (*shape_of(x), *(1,) * count)
    places = normal_axes(axis, wider, "expand_dims")
    sizes = iter(shape_of(x))
    return _reshape(x, tuple([1 if i in places else next(sizes) for i in range(len(wider))]))


@function()
def squeeze(x: Any, axis: Any = None) -> Any:
    """Axes of size 1 left out: all of them, or those named. Raises ``ValueError`` for one of another size."""
    shape = shape_of(x)
    if not shape and hasattr(axis, "__index__") and axis in (0, -1):  # NumPy lets a number pass for a list of one
        axis = None
    gone = [i for i, n in enumerate(shape) if n == 1] if axis is None else normal_axes(axis, shape, "squeeze")
    if any(shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} is not of size 1")
    return _reshape(x, tuple([n for i, n in enumerate(shape) if i not in gone]))


@function()
def flatten(x: Any) -> Any:
    """All elements in one axis."""
    return _reshape(x, -1)


Tensor.ravel = flatten  # type: ignore[method-assign]


def _broadcast_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 3)
    x = pick.array(tuple([pick.choice([n, 1]) for n in shape]))
    return (x, pick.choice([shape, (2, *shape)])), {}


@primitive("broadcast", domain=_broadcast_domain, static=("shape",))
def broadcast_to(x: Any, shape: Any) -> Any:
    """Repeated along axes of size 1 and new leading axes, as a view.   y = x stretched      x̄ = ȳ summed back"""
    return xp(x).broadcast_to(x, shape)


broadcast_to.vjp(x=lambda g: g)  # walk.py sums over what was stretched, as for every op

# ---- several into one, one into several --------------------------------------------------------------------------


def _join_domain(pick: Pick) -> Call:
    a, b, c = pick.integer(1, 3), pick.integer(1, 3), pick.integer(1, 2)
    axis = pick.choice([0, 1, -1])
    shapes = [(n, 2) if axis == 0 else (2, n) for n in (a, b, c)]
    return tuple([pick.array(s) for s in shapes]), {"axis": axis, "cuts": _cuts(shapes, axis)}


@primitive("concatenate", domain=_join_domain, method=False)
def _concatenate(*parts: Any, axis: int, cuts: tuple[int, ...]) -> Any:
    """Joined along an axis, at the places ``cuts``.   y = [x₁ … xₙ]      x̄ᵢ = the part of ȳ that came from xᵢ"""
    return xp_of(*parts).concatenate(parts, axis=axis)


def _part_of(g: Any, index: int, axis: int, cuts: tuple[int, ...]) -> Any:
    return g[(slice(None),) * (axis % ndim_of(g)) + (slice(cuts[index], cuts[index + 1]),)]


def _cuts(shapes: Any, axis: Any) -> tuple[int, ...]:
    """Where each part begins along the axis, and the end: counted once, since each part's rule needs two of them."""
    try:
        return tuple(itertools.accumulate([shape[axis] for shape in shapes], initial=0))
    except (IndexError, TypeError):  # the forward function says what is wrong
        return ()


_concatenate.vjp(parts=_part_of)


@function(method=False)
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Arrays joined along an existing ``axis`` (None: flattened first)."""
    parts = _sequence(arrays, "concatenate")
    if axis is None:
        parts, axis = [_reshape(p, -1) for p in parts], 0
    axis = one_axis(axis, "concatenate")
    return _concatenate(*parts, axis=axis, cuts=_cuts(map(shape_of, parts), axis))


def _stack_domain(pick: Pick) -> Call:
    shape = pick.shape(0, 2)
    axis = pick.choice([0, -1, len(shape)])
    return tuple([pick.array(shape) for _ in range(pick.integer(1, 3))]), {"axis": axis}


@primitive("stack", domain=_stack_domain, method=False)
def _stack(*parts: Any, axis: int) -> Any:
    """Joined along a new axis.   y = [x₁, …, xₙ]      x̄ᵢ = ȳ[i]"""
    return xp_of(*parts).stack(parts, axis=axis)


_stack.vjp(parts=lambda g, index, axis: g[(slice(None),) * (axis % ndim_of(g)) + (index,)])


@function(method=False)
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new ``axis``."""
    return _stack(*_sequence(arrays, "stack"), axis=one_axis(axis, "stack"))


def _sequence(arrays: Any, name: str) -> list[Any]:
    parts: list[Any]
    if isinstance(arrays, dict):
        raise TypeError(f"{name}: give what is to be joined as a list, [a, b], not as a dict")
    parts = told(name, lambda arrays: [x if isinstance(x, Tensor) else operand(x) for x in arrays], arrays)
    if not parts:
        raise ValueError(f"{name}: the list is empty; at least one array is needed")
    if any(hasattr(x, "dtype") for x in parts):  # numbers beside arrays do not change the dtype
        dtype = np.result_type(*[x.dtype if hasattr(x, "dtype") else x for x in parts])
        m = xp_of(*map(value_of, parts))
        parts = [x if hasattr(x, "dtype") else dtype.type(x) for x in parts]
        if m is not np:  # which joins nothing but its own arrays
            parts = [m.full((), x, x.dtype) if isinstance(x, np.generic) else x for x in parts]
    return parts


def _unstack_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"axis": pick.choice([0, -1])}


@primitive("unstack", domain=_unstack_domain, method=False, outputs=0)
def _unstack(x: Any, axis: int = 0) -> Any:
    """One tensor for each place along an axis.   yᵢ = x[i]      x̄ = [ȳ₁, …, ȳₙ]"""
    rolled = xp(x).moveaxis(x, axis, 0)
    return tuple([rolled[i] for i in range(rolled.shape[0])])


_unstack.vjp(x=lambda g, axis: stack(g, axis))


@function()
def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices along ``axis``, as a tuple: one op however many there are, so the way to walk over time steps."""
    axis = normal_axis(axis, shape_of(x), "unstack")
    return _unstack(x, axis) if shape_of(x)[axis] else ()


@function()
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Consecutive parts along ``axis``: so many equal ones, or cut at the given places (as ``numpy.split``)."""
    shape, indices_or_sections = shape_of(x), scalar(indices_or_sections)
    axis = normal_axis(axis, shape, "split")
    size = shape[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections <= 0 or size % indices_or_sections:
            raise ValueError(
                f"split: axis {axis} of shape {shape} cannot be split into {indices_or_sections} equal parts; give a "
                f"number that divides {size}, or a list of places to cut at"
            )
        cuts = list(range(0, size, size // indices_or_sections))[1:] if size else [0] * (indices_or_sections - 1)
    else:
        try:
            cuts = [operator.index(c) for c in indices_or_sections]
        except TypeError:
            raise TypeError(
                "split: what to split into is a number of equal parts or a list of places to cut at, in whole numbers, "
                f"not {indices_or_sections!r}"
            ) from None
    parts = zip([0, *cuts], [*cuts, size], strict=True)
    x = indexable(x, "split")
    return [x[(slice(None),) * axis + (slice(a, b),)] for a, b in parts]


def indexable(x: Any, name: str = "") -> Any:
    if isinstance(x, Tensor):
        return x
    return np.asarray(x) if isinstance(x, int | float) else told(name, operand, x) if name else operand(x)


# ---- turned, repeated, surrounded --------------------------------------------------------------------------------


@function()
def flip(x: Any, axis: Any = None) -> Any:
    """The order of the elements reversed along ``axis`` (None: along all)."""
    axes = range(ndim_of(x)) if axis is None else normal_axes(axis, shape_of(x), "flip")
    return indexable(x, "flip")[tuple([slice(None, None, -1) if i in axes else slice(None) for i in range(ndim_of(x))])]


def _roll_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    return (pick.array(shape),), {"shift": pick.integer(-3, 3), "axis": pick.choice([None, 0, -1])}


@primitive("roll", domain=_roll_domain, static=("shift",))
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Shifted in a circle.   y[i + shift] = x[i]      x̄ = ȳ rolled back"""
    return xp(x).roll(x, _whole(shift), axis)


def _whole(shift: Any) -> Any:
    """Shifts as Python integers, which have negatives (unsigned ones have none)."""
    return tuple([_whole(s) for s in shift]) if np.ndim(shift) else operator.index(shift)


def _roll_back(g: Any, shift: Any, axis: Any) -> Any:
    return roll(g, tuple([-s for s in _whole(shift)]) if np.ndim(shift) else -_whole(shift), axis)


roll.vjp(x=_roll_back)


@function(method=False)
def tile(x: Any, reps: Any) -> Any:
    """x repeated ``reps`` times along each axis, as ``numpy.tile``; the gradient sums over the copies."""
    shape, counts = shape_of(x), tuple(told("tile", np.atleast_1d, reps).tolist())
    if not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError(f"tile: reps is a number of copies for each axis, integers from 0 on, not {reps!r}")
    counts = (1,) * (len(shape) - len(counts)) + counts
    shape = (1,) * (len(counts) - len(shape)) + shape
    apart = _reshape(x, tuple([n for size in shape for n in (1, size)]))
    wide = broadcast_to(apart, tuple([n for count, size in zip(counts, shape, strict=True) for n in (count, size)]))
    return _reshape(wide, tuple([count * size for count, size in zip(counts, shape, strict=True)]))


def _pad_domain(pick: Pick) -> Call:
    shape = pick.shape(1, 3)
    widths = tuple([(pick.integer(0, 2), pick.integer(0, 2)) for _ in shape])
    return (pick.array(shape), widths, pick.choice([0.0, ((1.0, -2.0),) * len(shape)])), {}


@primitive("pad", domain=_pad_domain, static=("widths",), method=False)
def _pad(x: Any, widths: Any, value: Any = 0.0) -> Any:
    """Surrounded by a constant.   y = x with ``widths`` elements before and after each axis      x̄ = the middle of ȳ"""
    return xp(x).pad(x, widths, constant_values=value)


_pad.vjp(x=lambda g, widths, x_shape: g[tuple([slice(a, a + n) for (a, _), n in zip(widths, x_shape, strict=True)])])


@function(method=False)
def pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0.0) -> Any:
    """Surrounded: ``pad_width`` as in ``numpy.pad`` (a number, a pair (before, after), or a pair for each axis).

    With ``mode="constant"`` by ``constant_values`` (given likewise); with "edge", "reflect", "symmetric" or "wrap" by
    elements of x, whose gradients add up. Raises ``ValueError`` for another mode, ``ShapeError`` for widths of
    another form and for elements of an axis that has none."""
    shape = shape_of(x)
    widths = pair_per_axis(pad_width, shape, "pad", "iu", "pad_width counts elements, in integers")
    if any(n < 0 for pair in widths for n in pair):
        raise ValueError(f"pad: pad_width {pad_width!r} is negative; cut with a slice instead")
    if not shape:
        if np.any(pad_width):
            raise ShapeError("pad: a 0-d tensor has no axis to pad; x.reshape(1) has one")
        return _reshape(x, ())
    if mode == "constant":
        values = pair_per_axis(constant_values, shape, "pad", "fiub", "constant_values are numbers")
        return _pad(x, widths, values if np.ndim(constant_values) else float(constant_values))
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f"pad: mode {mode!r} has no derivative here; use constant, edge, reflect, symmetric or wrap")
    x = indexable(x)
    for axis, (n, pair) in enumerate(zip(shape, widths, strict=True)):
        if pair != (0, 0):
            if not n:
                raise ShapeError(
                    f"pad: mode {mode!r} repeats elements, and axis {axis} of shape {shape} has none; use 'constant'"
                )
            x = x[(slice(None),) * axis + (np.pad(np.arange(n), pair, mode=mode),)]  # type: ignore[call-overload]
    return x
