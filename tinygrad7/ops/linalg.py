"""Products of matrices and tensors, and looking rows up."""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from tinygrad7.backend import device_of, device_only, is_array, numbers, to_device
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError
from tinygrad7.ops.axes import normal_axes
from tinygrad7.ops.elementwise import multiply
from tinygrad7.ops.indexing import _scatter, add_at, clean_index, listed
from tinygrad7.ops.reduce import sum_to
from tinygrad7.ops.shape import (
    _reshape,
    _transpose,
    broadcast_to,
    expand_dims,
    indexable,
    ndim_of,
    shape_of,
    swapaxes,
)
from tinygrad7.tensor import Tensor, value_of


def _matrices(pick: Pick) -> Call:
    n, k, m, b = (pick.integer(1, 3) for _ in range(4))
    left, right = pick.choice(
        [((n, k), (k, m)), ((k,), (k, m)), ((n, k), (k,)), ((k,), (k,)), ((b, n, k), (k, m)), ((b, n, k), (b, k, m)),
         ((n, k), (b, k, m)), ((b, n, k), (k,)), ((k,), (b, k, m)), ((1, n, k), (b, k, m))]
    )  # fmt: skip
    return (pick.array(left), pick.array(right)), {}


@primitive("@", method="__matmul__", domain=_matrices)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product (over the last two axes; vectors as in NumPy).   Y = A B      Ā = Ȳ Bᵀ      B̄ = Aᵀ Ȳ"""
    if a.ndim > 2 and b.ndim == 2 and a.shape[-1] == b.shape[0]:  # one product over all rows, not one a matrix
        return (a.reshape((math.prod(a.shape[:-1]), a.shape[-1])) @ b).reshape((*a.shape[:-1], b.shape[1]))
    return a @ b


def _matmul_a(g: Any, b: Any, a_shape: tuple[int, ...]) -> Any:
    if len(a_shape) == 2 and b.ndim == 2:
        return g @ b.T
    if b.ndim == 1:
        return expand_dims(g, -1) * b
    if len(a_shape) == 1:
        return (b @ expand_dims(g, -1))[..., 0]
    if b.ndim == 2:
        return _reshape(_reshape(g, (math.prod(a_shape[:-1]), g.shape[-1])) @ b.T, a_shape)
    return g @ swapaxes(b, -1, -2)


def _matmul_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if a.ndim == 2 and len(b_shape) == 2:
        return a.T @ g
    if len(b_shape) == 1:
        return (swapaxes(a, -1, -2) @ expand_dims(g, -1))[..., 0] if a.ndim > 1 else a * g
    if a.ndim == 1:
        return expand_dims(a, -1) * expand_dims(g, -2)
    if len(b_shape) == 2:  # one product over all rows, not one for each matrix of the batch
        rows = math.prod(a.shape[:-1])
        return a.reshape((rows, a.shape[-1])).T @ g.reshape((rows, g.shape[-1]))
    return swapaxes(a, -1, -2) @ g


matmul.vjp(a=_matmul_a, b=_matmul_b)
Tensor.__rmatmul__ = lambda self, other: matmul(other, self)  # type: ignore[method-assign]


@function()
def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: the product with a number, else the sum over the last axis of a and the second to last of b."""
    if not ndim_of(a) or not ndim_of(b):
        return multiply(a, b)
    return matmul(a, b) if ndim_of(b) <= 2 else tensordot(a, b, (-1, -2))


@function(method=False)
def outer(a: Any, b: Any) -> Any:
    """Outer product of two vectors (others are flattened).   yᵢⱼ = aᵢ bⱼ"""
    return _reshape(a, (-1, 1)) * _reshape(b, (1, -1))


@function(method=False)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over ``axes`` of both: a number of axes, or a pair of lists, as ``numpy.tensordot``."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    axes = axes.tolist() if hasattr(axes, "tolist") else axes
    if isinstance(axes, int) and axes >= 0:
        axes = (range(-axes, 0), range(axes))
    if not isinstance(axes, tuple | list) or len(axes) != 2:
        raise TypeError(
            "tensordot: axes is how many axes to sum over, or those of a and those of b, axes=([...], [...]), "
            f"not {axes!r}"
        )
    left, right = normal_axes(axes[0], a_shape, "tensordot"), normal_axes(axes[1], b_shape, "tensordot")
    if [a_shape[i] for i in left] != [b_shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: axes {left} of a {a_shape} must have the sizes of axes {right} of b {b_shape}; "
            "name the axes to sum over, axes=([...], [...])"
        )
    free_a = [i for i in range(len(a_shape)) if i not in left]
    free_b = [i for i in range(len(b_shape)) if i not in right]
    inner = math.prod(a_shape[i] for i in left)
    out = tuple([a_shape[i] for i in free_a] + [b_shape[i] for i in free_b])
    rows = math.prod(a_shape[i] for i in free_a)
    columns = math.prod(b_shape[i] for i in free_b)
    left_matrix = _reshape(_transpose(a, (*free_a, *left)), (rows, inner))
    right_matrix = _reshape(_transpose(b, (*right, *free_b)), (inner, columns))
    return _reshape(matmul(left_matrix, right_matrix), out)


def _einsum_domain(pick: Pick) -> Call:
    n, k, m = (pick.integer(1, 3) for _ in range(3))
    spec, *shapes = pick.choice(
        [("ij,jk->ik", (n, k), (k, m)), ("ij->ji", (n, k)), ("ij->", (n, k)), ("i,j->ij", (n,), (m,)),
         ("bij,bjk->bik", (2, n, k), (2, k, m)), ("ij,ij->i", (n, k), (n, k)), ("ij,jk,k->i", (n, k), (k, m), (m,)),
         ("...ij,jk->...ik", (2, n, k), (k, m)), ("ij,jk", (n, k), (k, m)), ("ii->i", (n, n)), ("ii", (n, n))]
    )  # fmt: skip
    return tuple([pick.array(s) for s in shapes]), {"subscripts": spec}


@primitive("einsum", domain=_einsum_domain, method=False)
def _einsum(*operands: Any, subscripts: str) -> Any:
    """Einstein's summation.   y = Σ of products of the operands      x̄ᵢ = the same with ȳ in the place of xᵢ"""
    m = device_only(*operands)
    if len(operands) < 3:
        return m.einsum(subscripts, *operands)
    dtype = m.result_type(*operands)  # two at a time, the first product would be in the dtype of these two, and wrap
    return m.einsum(subscripts, *[x.astype(dtype, copy=False) for x in operands], optimize=True)


def _einsum_rule(g: Any, index: int, operands: Any, operands_shape: Any, subscripts: str) -> Any:
    """ȳ stands in the place of operand i; an index that only it has is stretched, a repeated one is its diagonal."""
    terms, out = _explicit(subscripts, operands_shape)
    mine, shape = terms[index], operands_shape[index]
    others = [t for i, t in enumerate(terms) if i != index]
    values = [x for i, x in enumerate(operands) if i != index]
    known = set(out).union(*others) if others else set(out)
    unique = "".join(dict.fromkeys(mine))
    target = "".join(c for c in unique if c in known)
    part = _einsum(g, *values, subscripts=",".join([out, *others]) + "->" + target)
    sizes = dict(zip(mine, shape, strict=True))
    found = dict(zip(target, part.shape, strict=True))
    spread = _reshape(part, tuple([found.get(c, 1) for c in unique]))
    spread = sum_to(spread, tuple([1 if sizes[c] == 1 else found.get(c, 1) for c in unique]))
    spread = broadcast_to(spread, tuple([sizes[c] for c in unique]))
    if len(unique) == len(mine):
        return spread
    grids = np.indices([sizes[c] for c in unique], sparse=True)
    return _scatter(spread, clean_index(tuple([grids[unique.index(c)] for c in mine]), spread), shape)


def _explicit(subscripts: str, shapes: Any) -> tuple[list[str], str]:
    """The subscripts with an output, and letters for '...'."""
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = [c for c in string.ascii_letters if c not in subscripts]
    widths = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True)]
    widest = max([w for t, w in zip(terms, widths, strict=True) if "..." in t], default=0)
    dots = "".join(letters[:widest])
    terms = [t.replace("...", dots[widest - w :] if w else "") for t, w in zip(terms, widths, strict=True)]
    if not arrow:
        names = "".join(terms)
        out = ("..." if dots else "") + "".join(sorted(c for c in set(names) if names.count(c) == 1 and c not in dots))
    return terms, out.replace("...", dots)


_einsum.vjp(operands=_einsum_rule)


@function(method=False)
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation, ``einsum("ij,jk->ik", a, b)``, as ``numpy.einsum`` (with '...', without the list form)."""
    if not isinstance(subscripts, str):
        raise TypeError("einsum: the first argument is the subscripts, as in einsum('ij,jk->ik', a, b)")
    count = subscripts.partition("->")[0].count(",") + 1
    if count != len(operands):
        raise ShapeError(f"einsum: {subscripts!r} names {count} operand(s), {len(operands)} are given")
    operands = tuple([indexable(x, "einsum") for x in operands])
    _check_sizes(subscripts, [shape_of(x) for x in operands])
    return _einsum(*operands, subscripts=subscripts)


def _check_sizes(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    """Every operand has an axis for each of its letters, and a letter has one size (or 1) everywhere."""
    terms = subscripts.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for k, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if "." in term.replace("...", "", 1):
            raise ShapeError(f"einsum: dots stand in a term once, and as three: '...', not {term!r}")
        if len(term) != len(shape) and "..." not in term:
            raise ShapeError(f"einsum: {term!r} has {len(term)} letters, operand {k} has shape {shape}")
        letters = term.partition("...")[0], term.partition("...")[2]
        for c, n in [*zip(letters[0], shape, strict=False), *zip(letters[1][::-1], shape[::-1], strict=False)]:
            if n != 1 and sizes.setdefault(c, n) != n:
                raise ShapeError(f"einsum: {c!r} stands for {sizes[c]} and, in operand {k} of shape {shape}, for {n}")


def _embedding_domain(pick: Pick) -> Call:
    rows = pick.integer(1, 4)
    return (pick.array((rows, pick.integer(1, 3))), pick.integers(pick.shape(0, 2), 0, rows - 1)), {}


@primitive("embedding", domain=_embedding_domain, static=("indices",), method=False)
def _embedding(weight: Any, indices: Any) -> Any:
    """Rows looked up.   y = W[i]      W̄[i] += ȳ"""
    return weight[indices]


_embedding.vjp(
    weight=lambda g, indices, weight_shape: _scatter(g, indices, weight_shape),
    into={"weight": lambda buffer, g, indices, weight_shape: add_at(buffer, g, indices)},
)


@function(method=False)
def embedding(weight: Any, indices: Any) -> Any:
    """Rows of ``weight`` (V, E) looked up: ``indices`` (...) in [0, V) give (..., E).   W̄[i] = Σ ȳ where i was used

    Raises ``IndexError`` for an index outside, ``TypeError`` for indices that are no integers."""
    indices = value_of(indices)
    if not is_array(indices):
        indices = listed(indices, "embedding")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype}")
    if not shape_of(weight):
        raise ShapeError("embedding: weight must be a table (V, E), not a single number")
    rows = shape_of(weight)[0]
    low, high = numbers(indices.min(), indices.max()) if indices.size else (0, -1)
    if low < 0 or high >= rows:
        found = f"indices from {low} to {high}"
        raise IndexError(f"embedding: {found} in a table of {rows} rows; they must lie in [0, {rows})")
    return _embedding(weight, to_device(indices, device_of(value_of(weight))))
