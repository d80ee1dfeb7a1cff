"""NumPy's own argument lists, so that ``np.sum(t, 0, keepdims=True)`` means here what it means there.

One line a function: the parameters in NumPy's order, each followed by ``=ours`` where the op calls it otherwise, or
by ``!`` where it has no counterpart and is refused unless it is left at None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import is_array, to_numpy, xp_of
from tinygrad7.ops import indexing, linalg, reduce, shape
from tinygrad7.ops.convert import astype, copy
from tinygrad7.ops.elementwise import abs, clip, power, where
from tinygrad7.tensor import NUMPY, Tensor, value_of
from tinygrad7.tree import leaves, tree_map

_EXTREME = "a=x axis out! keepdims initial! where!"
_SPREAD = "a=x axis dtype! out! ddof keepdims where! mean! correction=ddof"
_TOTAL = "a=x axis dtype! out! keepdims initial! where!"

_ARGUMENTS: dict[Any, tuple[Callable[..., Any], str]] = {
    np.sum: (reduce.sum, _TOTAL),
    np.prod: (reduce.prod, _TOTAL),
    np.mean: (reduce.mean, "a=x axis dtype! out! keepdims where!"),
    np.var: (reduce.var, _SPREAD),
    np.std: (reduce.std, _SPREAD),
    np.max: (reduce.max, _EXTREME),
    np.min: (reduce.min, _EXTREME),
    np.amax: (reduce.max, _EXTREME),
    np.amin: (reduce.min, _EXTREME),
    np.cumsum: (reduce.cumsum, "a=x axis dtype! out!"),
    np.argmax: (reduce.argmax, "a=x axis out! keepdims"),
    np.argmin: (reduce.argmin, "a=x axis out! keepdims"),
    np.linalg.norm: (reduce.norm, "x ord axis keepdims"),
    np.clip: (clip, "a=x a_min a_max out! min max dtype!"),
    np.where: (where, "condition x=a y=b"),
    np.reshape: (shape.reshape, "a=x shape order! newshape=shape copy!"),
    np.transpose: (shape.transpose, "a=x axes"),
    np.swapaxes: (shape.swapaxes, "a=x axis1 axis2"),
    np.moveaxis: (shape.moveaxis, "a=x source destination"),
    np.expand_dims: (shape.expand_dims, "a=x axis"),
    np.squeeze: (shape.squeeze, "a=x axis"),
    np.ravel: (shape.flatten, "a=x order!"),
    np.broadcast_to: (shape.broadcast_to, "array=x shape subok!"),
    np.concatenate: (shape.concatenate, "arrays axis out! dtype! casting!"),
    np.stack: (shape.stack, "arrays axis out! dtype! casting!"),
    np.split: (shape.split, "ary=x indices_or_sections axis"),
    np.flip: (shape.flip, "m=x axis"),
    np.roll: (shape.roll, "a=x shift axis"),
    np.tile: (shape.tile, "A=x reps"),
    np.pad: (shape.pad, "array=x pad_width mode constant_values stat_length! end_values! reflect_type!"),
    np.take: (indexing.take, "a=x indices axis out! mode!"),
    np.take_along_axis: (indexing.take_along_axis, "arr=x indices axis"),
    np.copy: (copy, "a=x order! subok!"),
    np.outer: (linalg.outer, "a b out!"),
    np.dot: (linalg.dot, "a b out!"),
    np.tensordot: (linalg.tensordot, "a b axes"),
    np.linalg.matmul: (linalg.matmul, "x1=a x2=b"),
    np.linalg.outer: (linalg.outer, "x1=a x2=b"),
    np.linalg.tensordot: (linalg.tensordot, "x1=a x2=b axes"),
}
if hasattr(np, "astype"):  # NumPy 2.1
    _ARGUMENTS[np.astype] = (astype, "x dtype copy! device!")
if hasattr(np, "unstack"):
    _ARGUMENTS[np.unstack] = (shape.unstack, "x axis")


def _with_numpys_arguments(function: Any, ours: Callable[..., Any], text: str) -> Callable[..., Any]:
    names = [word.rstrip("!").partition("=")[0] for word in text.split()]
    means = {word.partition("=")[0]: word.partition("=")[2] or word for word in text.split()}
    called = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"

    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            return ours(args[0])
        if len(args) > len(names):
            raise TypeError(f"{called}: {len(args)} arguments are given, it takes {len(names)}")
        given = {}
        for name, value in [*zip(names, args, strict=False), *kwargs.items()]:
            if name in means:
                given[means[name]] = value
            elif value is not None:
                known = f"{name}=" if name in names else f"an argument {name!r}"
                raise TypeError(
                    f"{called}: {known} has no counterpart on tensors; leave it out, or work on t.numpy() if no "
                    "gradient is meant"
                )
        return ours(**given)

    return call


def _einsum(subscripts: Any, *operands: Any, optimize: Any = None, **other: Any) -> Any:
    if any(value is not None for value in other.values()):
        raise TypeError(f"np.einsum: {', '.join(other)}= has no counterpart on tensors; leave it out")
    return linalg.einsum(subscripts, *operands)


def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Of all elements, or of those along one or several axes, as one vector."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    last = shape.moveaxis(x, axes, tuple(range(-len(axes), 0)))
    y = reduce.norm(shape.reshape(last, (*last.shape[: x.ndim - len(axes)], -1)), ord, -1)
    return shape.expand_dims(y, axes) if keepdims else y


def _cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Any:
    for name, given in (("dtype", dtype), ("out", out), ("include_initial", include_initial or None)):
        if given is not None:
            raise TypeError(f"np.cumulative_sum: {name}= has no counterpart on tensors; leave it out")
    if axis is None and x.ndim != 1:
        raise ValueError(f"np.cumulative_sum: say along which axis of {x.shape}: axis=...")
    return reduce.cumsum(x, axis)


def _matrix_transpose(x: Any, /) -> Any:
    return shape.swapaxes(x, -1, -2)


def _float_power(a: Any, b: Any) -> Any:
    """In float64, whatever comes in."""
    return power(*[v if isinstance(v, int | float) else astype(v, np.float64) for v in (a, b)])


def _question(function: Any) -> Callable[..., Any]:
    """NumPy's function on the values of tensors, where they live: its answer has no derivative that could be lost."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        found = tree_map(value_of, (args, kwargs))
        module = xp_of(*leaves(found))
        if module is np or not hasattr(module, function.__name__):  # NumPy's own, of the values on the host
            found = tree_map(lambda v: to_numpy(v) if is_array(v) else v, found)
        else:
            return getattr(module, function.__name__)(*found[0], **found[1])
        return function(*found[0], **found[1])

    answer.__name__ = function.__name__
    return answer


_QUESTIONS = """
    all any argpartition argsort argwhere array_equiv count_nonzero digitize flatnonzero isin iscomplex iscomplexobj
    isneginf isposinf isreal isrealobj lexsort may_share_memory nonzero searchsorted shares_memory
"""
for _name in _QUESTIONS.split():
    NUMPY[getattr(np, _name)] = _question(getattr(np, _name))
for _function in (np.result_type, np.can_cast):  # of dtypes alone
    NUMPY[_function] = lambda *args, f=_function, **kwargs: f(
        *tree_map(lambda v: v.dtype if isinstance(v, Tensor) else v, args), **kwargs
    )
for _function, (_ours, _text) in _ARGUMENTS.items():
    NUMPY[_function] = _with_numpys_arguments(_function, _ours, _text)
NUMPY[np.einsum], NUMPY[np.fabs], NUMPY[np.float_power] = _einsum, abs, _float_power
NUMPY[np.linalg.vector_norm] = _vector_norm
NUMPY[np.matrix_transpose] = NUMPY[np.linalg.matrix_transpose] = _matrix_transpose
if hasattr(np, "cumulative_sum"):  # NumPy 2.1
    NUMPY[np.cumulative_sum] = _cumulative_sum
