"""Hypothesis strategies for things that can be differentiated. Examples shrink to few, small, whole numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad7.domains import Call, Shape
from tinygrad7.ops.linalg import matmul
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.testing.picks import broadcastable as _broadcastable
from tinygrad7.testing.picks import draw_call, grid, op_of
from tinygrad7.testing.programs import Program, draw_program

__all__ = [
    "HypothesisPick", "arrays", "away_from_kinks", "broadcastable", "calls", "indices", "matrices", "programs",
    "sequences", "shapes", "tensors", "well_conditioned",
]  # fmt: skip


_ONE_BY_ONE = 500  # elements that are drawn and shrink by themselves: Hypothesis has room for about a thousand


class HypothesisPick:
    """Decisions that Hypothesis makes (``tinygrad7.domains.Pick``), so that examples are remembered and shrink."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def together(self, decide: Any) -> Any:
        return self.draw(_together(decide))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def choice(self, options: Any) -> Any:
        return options[self.draw(st.integers(0, len(options) - 1))]

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Shape:
        return tuple(self.draw(st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims)))

    def array(
        self,
        shape: Shape,
        low: float = -3.0,
        high: float = 3.0,
        *,
        away: tuple[float, ...] = (),
        distinct: bool = False,
        dtype: Any = np.float64,
    ) -> np.ndarray:
        """Values on a grid that float16 holds exactly, so that one example serves every dtype; a finer one only where
        so many must be ``distinct``."""
        count = math.prod(shape)
        values = grid(low, high, tuple(away), 2 * count if distinct else 64).astype(dtype)
        if distinct:
            _, first = np.unique(values, return_index=True)
            values = values[np.sort(first)]  # of values that are one in this dtype, the simplest
            if len(values) < count:
                raise ValueError(
                    f"arrays: {values.dtype} has {len(values)} of these values between {low} and {high}, and {count} "
                    f"for shape {shape} cannot be distinct"
                )
        chosen: np.ndarray = values[self._numbers(count, 0, len(values) - 1, distinct)]
        return chosen.reshape(shape)

    def integers(self, shape: Shape, low: int, high: int) -> np.ndarray:
        return self._numbers(math.prod(shape), low, high).reshape(shape)

    def _numbers(self, count: int, low: int, high: int, distinct: bool = False) -> np.ndarray:
        """``count`` whole numbers, drawn one by one; those of large arrays together, from a seed."""
        if count > _ONE_BY_ONE:
            rng = np.random.default_rng(self.integer(0, 2**32 - 1))
            return low + rng.choice(high - low + 1, count, replace=not distinct)
        numbers = st.lists(st.integers(low, high), min_size=count, max_size=count, unique=distinct)
        return np.array(self.draw(numbers), np.int64)

    def broadcastable(self, count: int) -> tuple[Shape, ...]:
        return _broadcastable(self, count)


@st.composite
def _together(draw: st.DrawFn, decide: Any) -> Any:
    """What ``decide`` draws as one part of the example, which shrinking can drop as a whole."""
    return decide(HypothesisPick(draw))


def _shape(pick: HypothesisPick, shape: Any) -> Shape:
    """``shape`` if it is one, a drawn one if it is a strategy or None."""
    if shape is None:
        return pick.shape()
    found = pick.draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    return (int(found),) if hasattr(found, "__index__") else tuple(found)


@st.composite
def shapes(draw: st.DrawFn, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Shape:
    """Shapes; ``min_side=0`` for empty ones too."""
    if min_side < 0:
        raise ValueError(f"shapes: min_side={min_side}: an axis has 0 elements or more")
    return HypothesisPick(draw).shape(min_dims, max_dims, min_side, max_side)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Any = None,
    low: float = -3.0,
    high: float = 3.0,
    *,
    dtype: Any = np.float64,
    away: float | tuple[float, ...] = (),
    distinct: bool = False,
) -> np.ndarray:
    """Floating arrays with values between ``low`` and ``high``, none within 0.1 of ``away``, all different if
    ``distinct``. ``shape``: a shape or a strategy for shapes; any small one unless given."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(
            f"arrays: {np.dtype(dtype)} is no floating dtype; for integers use hypothesis.extra.numpy.arrays"
        )
    pick, kinks = HypothesisPick(draw), away if isinstance(away, tuple | list) else (away,)
    return pick.array(_shape(pick, shape), low, high, away=tuple(kinks), distinct=distinct, dtype=dtype)


def tensors(shape: Any = None, low: float = -3.0, high: float = 3.0, **keywords: Any) -> st.SearchStrategy[Tensor]:
    """Leaves that ask for a gradient; arguments as for ``arrays``."""
    return arrays(shape, low, high, **keywords).map(lambda x: tensor(x, requires_grad=True))


def away_from_kinks(
    kinks: float | tuple[float, ...] = (0.0,), shape: Any = None, **keywords: Any
) -> st.SearchStrategy[np.ndarray]:
    """Arrays with no value within 0.1 of a kink, and no two equal (so that no maximum is tied)."""
    return arrays(shape, away=kinks, distinct=True, **keywords)


def well_conditioned(
    shape: Any = None, *, positive: bool = True, dtype: Any = np.float64
) -> st.SearchStrategy[np.ndarray]:
    """Values to divide by, or (``positive``) to take logarithms and roots of: their size lies between 0.5 and 4."""
    if positive:
        return arrays(shape, 0.5, 4.0, dtype=dtype)
    return arrays(shape, -3.5, 3.5, dtype=dtype).map(lambda x: np.where(x < 0, x - 0.5, x + 0.5).astype(dtype))


@st.composite
def broadcastable(
    draw: st.DrawFn, count: int = 2, low: float = -3.0, high: float = 3.0, *, dtype: Any = np.float64
) -> tuple[np.ndarray, ...]:
    """``count`` arrays whose shapes broadcast together."""
    pick = HypothesisPick(draw)
    return tuple([pick.array(s, low, high).astype(dtype) for s in pick.broadcastable(count)])


@st.composite
def matrices(draw: st.DrawFn, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays that can be multiplied as ``a @ b``: matrices, vectors, batches of matrices."""
    (a, b), _ = draw_call(matmul.op, HypothesisPick(draw))
    return a.astype(dtype), b.astype(dtype)


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Anything that may stand in ``x[...]`` for an ``x`` of ``shape``: numbers, slices, ..., None, integer and
    boolean arrays, and tuples of them."""
    shape = (int(shape),) if hasattr(shape, "__index__") else tuple(shape)
    if not shape:
        return draw(st.sampled_from([(), ..., None, (None, ...)]))
    if draw(st.integers(0, 7)) == 7:
        size = math.prod(shape)
        return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool).reshape(shape)
    count = draw(st.integers(0, len(shape)))
    length = draw(st.integers(0, 3))
    parts: list[Any] = []
    for n in shape[:count]:
        slices = st.slices(n)
        numbers = st.integers(-n, n - 1) if n else slices
        rows = st.lists(st.integers(-n, n - 1), min_size=length, max_size=length) if n else slices
        part = draw(st.one_of(slices, numbers, rows))
        parts.append(np.array(part, np.intp) if isinstance(part, list) else part)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.append(...)
    return tuple(parts) if len(parts) != 1 or draw(st.booleans()) else parts[0]


@st.composite
def calls(draw: st.DrawFn, op: Any) -> Call:
    """Calls ``(args, kwargs)`` of an op (or of one given by its registered name), from its domain."""
    return draw_call(op_of(op), HypothesisPick(draw))


@st.composite
def programs(
    draw: st.DrawFn, *, ops: list[str] | None = None, max_inputs: int = 3, max_steps: int = 6, broken: bool = False
) -> Program:
    """Random graphs of registered ops (``ops``: of these only), with inputs. A ``Program`` runs on tensors, in plain
    NumPy, and prints itself. With ``broken``, some have a last step whose operands do not fit."""
    return draw_program(HypothesisPick(draw), ops=ops, max_inputs=max_inputs, max_steps=max_steps, broken=broken)


@st.composite
def sequences(
    draw: st.DrawFn,
    cell: str | None = None,
    *,
    max_steps: int = 4,
    max_batch: int = 3,
    max_size: int = 3,
    dtype: Any = np.float64,
) -> Any:
    """Sequences ``x`` (T, B, I). With ``cell`` ("rnn", "lstm", "gru") the arguments of ``tg.rnn`` ... as a tuple:
    the sequence, the initial state, the weights and biases."""
    pick = HypothesisPick(draw)
    T, B, I, H = (pick.integer(1, n) for n in (max_steps, max_batch, max_size, max_size))

    def array(*shape: int) -> np.ndarray:
        return pick.array(shape, -1.5, 1.5).astype(dtype)

    x = array(T, B, I)
    if cell is None:
        return x
    gates = {"rnn": 1, "lstm": 4, "gru": 3}
    if cell not in gates:
        raise ValueError(f"sequences: cell {cell!r} is not there; use 'rnn', 'lstm' or 'gru'")
    n = gates[cell] * H
    state = (array(B, H), array(B, H)) if cell == "lstm" else array(B, H)
    extra = (array(H),) if cell == "gru" else ()
    return (x, state, array(n, I), array(n, H), array(n), *extra)
