"""What is said of axes: which ones are meant, and what is given for each of them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad7.messages import OUT_OF_BOUNDS, ShapeError, describe
from tinygrad7.tensor import Tensor


def normal_axes(axis: Any, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """One axis or several as a tuple of non-negative numbers; raises for one that is not there or comes twice.

    ``name``: the op that says so; "" where who calls names it."""
    told = f"{name}: " if name else ""
    try:
        axes = tuple([operator.index(a) for a in (axis if isinstance(axis, tuple | list | range) else (axis,))])
    except TypeError:
        raise TypeError(f"{told}an axis must be a whole number or a tuple of them, not {describe(axis)}") from None
    ndim = len(shape)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(f"{told}{OUT_OF_BOUNDS.format(a, ndim, shape=shape)}")
    normal = tuple([a % ndim for a in axes])
    if len(set(normal)) != len(normal):
        raise ValueError(f"{told}an axis comes twice in {axes} of shape {shape}")
    return normal


def one_axis(axis: Any, name: str) -> int:
    """An axis where there can be only one, as a number; it may not be there."""
    try:
        return operator.index(axis)
    except TypeError:
        if isinstance(axis, Tensor):
            raise TypeError(
                f"{name}: an axis is a number, not a tensor; several tensors are given as a list, [a, b]"
            ) from None
        raise TypeError(f"{name}: an axis must be one whole number, not {describe(axis)}") from None


def normal_axis(axis: Any, shape: tuple[int, ...], name: str) -> int:
    """One axis as a non-negative number; raises for one that is not there."""
    return normal_axes(one_axis(axis, name), shape, name)[0]


def pair_per_axis(value: Any, shape: tuple[int, ...], name: str, kinds: str, what: str) -> tuple[tuple[Any, Any], ...]:
    """A number, a pair (before, after), or a pair for each axis of ``shape``, as the last of these."""
    forms = "give a number, a pair (before, after), or a pair for each axis"
    try:
        found = np.asarray(value)
        pairs = tuple([(a, b) for a, b in np.broadcast_to(found, (len(shape), 2)).tolist()])
    except ValueError:
        raise ShapeError(f"{name}: {what.split()[0]} {value!r} does not fit shape {shape}; {forms}") from None
    if found.dtype.kind not in kinds:
        raise TypeError(f"{name}: {what}, not {value!r}; {forms}")
    return pairs
