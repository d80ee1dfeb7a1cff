"""Convolution and pooling: windows that slide over images, and the matrix products they come down to.

A convolution is W @ columns, where the columns are the image seen through each place of the window. They are
copied for a few images at a time, so that they stay in the cache between the copy and the product. With stride 1 they
are made for the full width of the image, wrapping round at its right edge: then every row of columns is one long run of
memory, and the few results that wrapped are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad7.arrays import floating
from tinygrad7.backend import Array, xp
from tinygrad7.declare import primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError
from tinygrad7.ops.indexing import getitem
from tinygrad7.ops.linalg import einsum
from tinygrad7.ops.reduce import max as largest
from tinygrad7.ops.reduce import mean, narrow, wide
from tinygrad7.ops.shape import _reshape, pad, shape_of, stack

Pair = tuple[int, int]
# Elements of columns at a time. On a CPU half a megabyte in float32, which a core's own cache holds; elsewhere a launch
# costs more than memory does.
_AT_A_TIME = {"numpy": 2**17, "cupy": 2**26}


def _pair(value: Any, name: str, what: str, least: int) -> Pair:
    """A number for both directions, or one for each (height, width)."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(not isinstance(n, int | np.integer) or n < least for n in pair):
        raise ValueError(f"{name}: {what} must be an integer ≥ {least} or a pair of them, not {value!r}")
    return int(pair[0]), int(pair[1])


class _Windows:
    """Where a window of ``size`` lands on images of ``shape`` (N, C, H, W): all the arithmetic of places."""

    def __init__(
        self, shape: tuple[int, ...], size: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair = (1, 1)
    ) -> None:
        self.images, self.channels = shape[:2]
        self.cells = math.prod(size)
        self.size, self.stride, self.padding, self.dilation = size, stride, padding, dilation
        self.inner = shape[2:]  # without the border
        self.height, self.width = (n + 2 * p for n, p in zip(shape[2:], padding, strict=True))
        self.rows, self.columns = (
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip((self.height, self.width), size, stride, dilation, strict=True)
        )
        self.runs = stride == (1, 1) and 4 * self.columns >= 3 * self.width  # long runs, with some that wrap round
        self.across = self.width if self.runs else self.columns
        self.count = (self.rows - 1) * self.across + self.columns  # places, up to the last that counts

    def places(self) -> Iterator[Any]:
        """For each cell of the window, the index of what it sees on images (…, H, W)."""
        (dy, dx), (sy, sx) = self.dilation, self.stride
        for y in range(0, dy * self.size[0], dy):
            for x in range(0, dx * self.size[1], dx):
                yield ..., slice(y, y + sy * (self.rows - 1) + 1, sy), slice(x, x + sx * (self.columns - 1) + 1, sx)

    def padded(self, x: Array, value: float = 0.0) -> Array:
        """The images with their border, contiguous."""
        if self.padding == (0, 0):
            return xp(x).ascontiguousarray(x)
        full = xp(x).full((*x.shape[:2], self.height, self.width), value, x.dtype)
        self.inside(full)[...] = x
        return full

    def inside(self, full: Array) -> Array:
        """The images without their border."""
        (p, q), (h, w) = self.padding, self.inner
        return full[:, :, p : p + h, q : q + w]

    def block(self, module: Any) -> int:
        """How many images at a time."""
        return max(
            1,
            min(self.images, _AT_A_TIME[module.__name__] // max(1, self.channels * self.cells * self.count)),
        )

    def seen(self, full: Array) -> Array:
        """A view of contiguous padded images: (N, C, h, w, places), everything that every cell of the window sees."""
        n, c, y, x = full.strides
        (dy, dx), (sy, sx) = self.dilation, self.stride
        places, steps = ((self.count,), (x,)) if self.runs else ((self.rows, self.columns), (sy * y, sx * x))
        return _view(full, (*full.shape[:2], *self.size, *places), (n, c, dy * y, dx * x, *steps))

    def room(self, images: int, m: Any, dtype: Any) -> tuple[Array, Array, Array]:
        """Memory for the columns of so many images, seen as ``seen`` and as a matrix (C · cells, places) for each.

        With runs there are zeros between the rows, and a third view shows each row moved on by the place of its cell:
        summing that over the cells is the transpose of ``seen``, in one pass.
        """
        dtype, depth = np.dtype(dtype), self.channels * self.cells
        rows = images * depth
        if not self.runs:
            memory = m.empty(rows * self.count, dtype)
            shape = (images, self.channels, *self.size, self.rows, self.columns)
            return memory.reshape(shape), memory.reshape(images, depth, self.count), None
        area = self.height * self.width
        lead = area - self.count
        memory = m.zeros(rows * area + lead, dtype)
        apart = memory[: rows * area].reshape(images, self.channels, *self.size, area)
        (dy, dx), (_, w) = self.dilation, self.size
        steps = (depth * area, self.cells * area, w * area - dy * self.width, area - dx, 1)
        moved = _view(memory[lead:], apart.shape, [dtype.itemsize * step for step in steps])
        return apart[..., lead:], apart.reshape(images, depth, area)[:, :, lead:], moved

    def add_up(self, columns: Array, moved: Array, out: Array) -> None:
        """The transpose of ``seen``: every column is added to where it was taken from. ``out`` holds zeros."""
        if moved is not None:
            moved.sum(axis=(2, 3), out=out.reshape(*out.shape[:2], self.height * self.width))
            return
        cells = columns.reshape(*out.shape[:2], self.cells, self.rows, self.columns)
        for cell, index in enumerate(self.places()):
            out[index] += cells[:, :, cell]


def _view(a: Array, shape: Any, strides: Any) -> Array:
    return xp(a).lib.stride_tricks.as_strided(a, tuple(shape), tuple(strides))


# ---- convolution -------------------------------------------------------------------------------------------------


def _conv_domain(pick: Pick) -> Call:
    n, c, o = pick.integer(1, 2), pick.integer(1, 2), pick.integer(1, 2)
    h, w = pick.integer(3, 5), pick.integer(3, 5)
    size = (pick.integer(1, 2), pick.integer(1, 3))
    x, weight = pick.array((n, c, h, w)), pick.array((o, c, *size))
    b = pick.choice([None, pick.array((o,))])
    stride = pick.choice([(1, 1), (2, 1), (2, 2)])
    return (x, weight, b, stride, pick.choice([(0, 0), (1, 0), (1, 1)]), pick.choice([(1, 1), (2, 1)])), {}


def _conv_composed(x: Any, w: Any, b: Any, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """Convolution in small ops: what each cell of the window sees, times that cell of w, summed."""
    at = _Windows(shape_of(x), shape_of(w)[2:], stride, padding, dilation)
    x = pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])))
    seen = stack([getitem(x, index) for index in at.places()], 2)
    y = einsum("nckyx,ock->noyx", seen, _reshape(w, (*shape_of(w)[:2], at.cells)))
    return y if b is None else y + _reshape(b, (-1, 1, 1))


@primitive(
    "conv", domain=_conv_domain, static=("stride", "padding", "dilation"), reference=_conv_composed, method=False
)
def _conv2d(x: Any, w: Any, b: Any, stride: Pair, padding: Pair, dilation: Pair) -> Any:
    """Convolution.   y[n,o] = Σ over c of w[o,c] ⋆ x[n,c] + b[o]      x̄ = ȳ spread by w      w̄ = ȳ ⋆ x      b̄ = Σ ȳ"""
    m = xp(x)
    at = _Windows(x.shape, w.shape[2:], stride, padding, dilation)
    dtype, kernel, step = m.result_type(x, w), w.reshape(w.shape[0], at.channels * at.cells), at.block(m)
    seen = at.seen(at.padded(x))
    cells, columns, _ = at.room(step, m, x.dtype)  # used for every block: new memory would cost more than the copy
    run = m.empty((step, w.shape[0], at.rows, at.across), dtype)
    product, kept = run.reshape(step, w.shape[0], at.rows * at.across)[:, :, : at.count], run[..., : at.columns]
    dtype = dtype if b is None else m.result_type(dtype, b)
    y = m.empty((x.shape[0], w.shape[0], at.rows, at.columns), dtype)
    for start in range(0, at.images, step):
        n = min(step, at.images - start)
        cells[:n] = seen[start : start + n]
        m.matmul(kernel, columns[:n], out=product[:n])
        if b is None:
            y[start : start + n] = kept[:n]
        else:
            m.add(kept[:n], b.reshape(-1, 1, 1), out=y[start : start + n])
    return y, None


def _conv_rule(g: Any, x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, needs: Any) -> tuple[Any, ...]:
    m = xp(x)
    at = _Windows(x.shape, w.shape[2:], stride, padding, dilation)
    kernel, step = w.reshape(w.shape[0], at.channels * at.cells), at.block(m)
    seen: Any = at.seen(at.padded(x)) if needs[1] else None
    cells, columns, moved = at.room(step, m, g.dtype)
    x_bar: Any = m.zeros((*x.shape[:2], at.height, at.width), g.dtype) if needs[0] else None
    w_bar = m.zeros(kernel.shape[::-1], g.dtype)  # transposed: the longer side first makes the faster product
    run = m.zeros((step, w.shape[0], at.rows, at.across), g.dtype)  # what wrapped round has no part in the result
    bar = run.reshape(step, w.shape[0], at.rows * at.across)[:, :, : at.count]
    for start in range(0, at.images, step):
        n = min(step, at.images - start)
        run[:n, ..., : at.columns] = g[start : start + n]
        if needs[1]:
            cells[:n] = seen[start : start + n]
            w_bar += m.matmul(columns[:n], bar[:n].transpose(0, 2, 1)).sum(axis=0)
        if needs[0]:
            m.matmul(kernel.T, bar[:n], out=columns[:n])
            at.add_up(columns[:n], None if moved is None else moved[:n], x_bar[start : start + n])
    b_bar = g.reshape(*g.shape[:2], at.rows * at.columns).sum(axis=-1).sum(axis=0) if needs[2] else None
    return at.inside(x_bar) if needs[0] else None, w_bar.T.reshape(w.shape) if needs[1] else None, b_bar


_conv2d.joint_vjp(_conv_rule)


def conv2d(x: Any, w: Any, b: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """Convolution of images (cross-correlation: w is not flipped).   y[n,o] = Σ over c of w[o,c] ⋆ x[n,c] + b[o]

    x (N, C, H, W), w (O, C, h, w), b (O) or None give y (N, O, H′, W′), H′ = ⌊(H + 2p − d (h − 1) − 1) / s⌋ + 1.
    ``stride``, ``padding`` (zeros) and ``dilation`` are numbers or pairs (height, width). x̄ = ȳ spread by w, w̄ = ȳ ⋆ x,
    b̄ = Σ ȳ. Raises ``ShapeError`` for shapes that do not fit, ``ValueError`` for a bad stride, padding or dilation.
    """
    s, p, d = (
        _pair(stride, "conv2d", "stride", 1),
        _pair(padding, "conv2d", "padding", 0),
        _pair(dilation, "conv2d", "dilation", 1),
    )
    _check_conv("conv2d", x, w, b, 2, p, d)
    return _conv2d(x, w, b, s, p, d)


def conv1d(x: Any, w: Any, b: Any = None, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> Any:
    """Convolution of sequences (cross-correlation).   y[n,o] = Σ over c of w[o,c] ⋆ x[n,c] + b[o]

    x (N, C, W), w (O, C, w), b (O) or None give y (N, O, W′): ``conv2d`` of images one high. Raises as it does.
    """
    given = [("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)]
    s, p, d = (_pair(value, "conv1d", what, least)[1] for what, value, least in given)
    _check_conv("conv1d", x, w, b, 1, (p,), (d,))
    (n, c, width), (o, _, size) = shape_of(x), shape_of(w)
    y = _conv2d(_reshape(x, (n, c, 1, width)), _reshape(w, (o, c, 1, size)), b, (1, s), (0, p), (1, d))
    return _reshape(y, (n, o, shape_of(y)[-1]))


def _check_conv(name: str, x: Any, w: Any, b: Any, axes: int, padding: Any, dilation: Any) -> None:
    xs, ws = shape_of(x), shape_of(w)
    form = ("(N, C, W) and (O, C, w)", "(N, C, H, W) and (O, C, h, w)")[axes - 1]
    if len(xs) != axes + 2 or len(ws) != axes + 2:
        raise ShapeError(f"{name}: x and w must have shapes {form}, not {xs} and {ws}")
    if xs[1] != ws[1]:
        raise ShapeError(f"{name}: x {xs} has {xs[1]} channels, w {ws} takes {ws[1]}; axis 1 of both must be equal")
    if b is not None and shape_of(b) != (ws[0],):
        raise ShapeError(
            f"{name}: b must have shape ({ws[0]},), one number for each of w's {ws[0]} outputs, not {shape_of(b)}"
        )
    for axis in range(axes):
        reach, room = dilation[axis] * (ws[2 + axis] - 1) + 1, xs[2 + axis] + 2 * padding[axis]
        if reach > room or ws[2 + axis] < 1:
            raise ShapeError(
                f"{name}: a window of {reach} does not fit on axis {2 + axis} of x {xs}, {room} with padding; pad more"
            )


# ---- pooling -----------------------------------------------------------------------------------------------------


def _pool_domain(pick: Pick) -> Call:
    size = pick.choice([(2, 2), (1, 2), (3, 2)])
    padding = pick.choice([(0, 0), (size[0] // 2, 1)])
    x = pick.array((pick.integer(1, 2), pick.integer(1, 2), pick.integer(3, 5), pick.integer(3, 5)), distinct=True)
    return (x, size, pick.choice([size, (1, 1), (2, 1)]), padding), {}


def _seen(x: Any, size: Pair, stride: Pair, padding: Pair, border: float) -> Any:
    at = _Windows(shape_of(x), size, stride, padding)
    x = pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])), constant_values=border)
    return stack([getitem(x, index) for index in at.places()])


def _max_composed(x: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    """Max pooling in small ops."""
    return largest(_seen(x, size, stride, padding, -np.inf), 0)


def _lowest(x: Array) -> float:
    """What is no larger than anything of the dtype of ``x``: the border of max pooling."""
    return -np.inf if x.dtype.kind == "f" else 0 if x.dtype.kind == "b" else np.iinfo(x.dtype).min


@primitive("max pool", domain=_pool_domain, static=("size", "stride", "padding"), reference=_max_composed, method=False)
def _max_pool2d(x: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    """Largest in each window.   y = max of the window      x̄ = ȳ at the largest, in equal shares where several are"""
    m, at = xp(x), _Windows(x.shape, size, stride, padding)
    full = at.padded(x, _lowest(x))
    first, *rest = at.places()
    y = full[first].copy()
    for index in rest:
        m.maximum(y, full[index], out=y)
    return y, None


def _hits_at(hits: list[Any]) -> Array:
    """How many cells of each window are the largest."""
    count = hits[0][1].astype(np.uint8 if len(hits) < 256 else np.int32)
    for _, hit in hits[1:]:
        count += hit
    return count


def _max_rule(g: Any, x: Any, y: Any, size: Pair, stride: Pair, padding: Pair) -> tuple[Any]:
    m, at = xp(x), _Windows(x.shape, size, stride, padding)
    full = at.padded(x, -np.inf)
    hits = [(index, full[index] == y) for index in at.places()]
    count = _hits_at(hits)
    if m is not np or not count.all():  # NaN, which is the largest, equals nothing; to ask a device takes longer
        hits = [(index, hit | (full[index] != full[index])) for index, hit in hits]
        count = _hits_at(hits)
    share = g / count.astype(g.dtype)
    x_bar = m.zeros(full.shape, g.dtype)
    apart = stride[0] >= size[0] and stride[1] >= size[1]
    for index, hit in hits:
        if apart:
            m.multiply(share, hit, out=x_bar[index])
        else:
            x_bar[index] += share * hit
    return (at.inside(x_bar),)


_max_pool2d.joint_vjp(_max_rule)


def _mean_composed(x: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    """Average pooling in small ops."""
    return mean(_seen(x, size, stride, padding, 0.0), 0)


@primitive(
    "avg pool", domain=_pool_domain, static=("size", "stride", "padding"), reference=_mean_composed, method=False
)
def _avg_pool2d(x: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
    """Mean of each window.   y = mean of the window      x̄ = ȳ / cells, summed over the windows that see it"""
    x = floating(x)
    at = _Windows(x.shape, size, stride, padding)
    full = at.padded(x)
    first, *rest = at.places()
    y = wide(full[first].copy())
    for index in rest:
        y += full[index]
    return narrow(y / (size[0] * size[1]), x), None


def _mean_rule(g: Any, x_shape: Any, size: Pair, stride: Pair, padding: Pair) -> tuple[Any]:
    at = _Windows(x_shape, size, stride, padding)
    share = g / (size[0] * size[1])
    x_bar = xp(g).zeros((*x_shape[:2], at.height, at.width), g.dtype)
    for index in at.places():
        x_bar[index] += share
    return (at.inside(x_bar),)


_avg_pool2d.joint_vjp(_mean_rule)


def max_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Largest value in each window.   y = max of the window      x̄ = ȳ at the largest, shared equally by several

    x (N, C, H, W) gives (N, C, H′, W′), H′ = ⌊(H + 2p − h) / s⌋ + 1; ``size``, ``stride`` (None: the size) and
    ``padding`` (−∞, at most half the window) are numbers or pairs. Raises ``ShapeError`` where the window does not fit.
    """
    return _max_pool2d(x, *_check_pool("max_pool2d", x, size, stride, padding))


def avg_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Mean of each window, zeros of the border included.   y = mean of the window      x̄ = Σ ȳ / cells

    Shapes and errors as for ``max_pool2d``."""
    return _avg_pool2d(x, *_check_pool("avg_pool2d", x, size, stride, padding))


def _check_pool(name: str, x: Any, size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    k, p = _pair(size, name, "size", 1), _pair(padding, name, "padding", 0)
    s = k if stride is None else _pair(stride, name, "stride", 1)
    shape = shape_of(x)
    if len(shape) != 4:
        raise ShapeError(f"{name}: x must have shape (N, C, H, W), not {shape}")
    if 2 * p[0] > k[0] or 2 * p[1] > k[1]:
        raise ValueError(
            f"{name}: padding {p} is more than half the window {k}: some windows would see nothing but border"
        )
    if any(n + 2 * q < w for n, q, w in zip(shape[2:], p, k, strict=True)):
        raise ShapeError(f"{name}: a window of {k} does not fit on x {shape} with padding {p}")
    return k, s, p
