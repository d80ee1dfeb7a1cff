"""Recurrent nets over whole sequences: ``rnn``, ``lstm``, ``gru``, each fused, each beside its readable reference.

The reference is the net as the lecture writes it: small ops, one ``step(t)`` scope a time step. From it follow the
drawings, the second derivatives and the tests of the fused form (``recurrent_kernels.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import is_array, xp
from tinygrad7.context import STATE, step
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError
from tinygrad7.ops import recurrent_kernels as kernels
from tinygrad7.ops.elementwise import relu, sigmoid, tanh, where
from tinygrad7.ops.linalg import matmul
from tinygrad7.ops.shape import shape_of, split, stack, transpose, unstack
from tinygrad7.tape import function, primitive
from tinygrad7.tensor import Tensor

# ---- one step ----------------------------------------------------------------------------------------------------


def _affine(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any) -> Any:
    """W_ih x + W_hh h + b, the weights given transposed."""
    z = matmul(x, w_ih) + matmul(h, w_hh)
    return z if b is None else z + b


def rnn_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any, nonlinearity: str = "tanh") -> Any:
    """One step of a plain net, the weights given transposed.   z = W_ih x + W_hh h + b      h' = φ(z)"""
    return (relu if nonlinearity == "relu" else tanh)(_affine(x, h, w_ih, w_hh, b))


def lstm_step(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any) -> tuple[Any, Any]:
    """One step of an LSTM, the weights given transposed.   c' = f c + i g      h' = o tanh c'

    i, f, o = σ(·) and g = tanh(·) of the four parts of W_ih x + W_hh h + b (slides "Long-Term Short Term Memory")."""
    i, f, o, g = split(_affine(x, h, w_ih, w_hh, b), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any) -> Any:
    """One step of a GRU, the weights given transposed.   n = tanh(W_in x + b_n + r (W_hn h + b_hn))      h' = (1 − z) n + z h

    r, z = σ(·) of the first two parts of W_ih x + W_hh h + b. Cho et al., 2014, in cuDNN's form (r outside the product)."""
    wide = matmul(x, w_ih)
    r, z, n = split(wide if b is None else wide + b, 3, axis=-1)
    r_h, z_h, n_h = split(matmul(h, w_hh), 3, axis=-1)
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    n = tanh(n + r * (n_h if b_hn is None else n_h + b_hn))
    return n + z * (h - n)


# ---- the references: steps in a row ------------------------------------------------------------------------------


def _over_time(x: Any, state: tuple[Any, ...], advance: Any, lengths: Any, reverse: bool) -> tuple[Any, ...]:
    """``state = advance(x_t, *state)`` over the steps: the outputs (the first of the states at each step), the final state.

    Beyond its end a sequence keeps its state, and its output is zero."""
    steps = shape_of(x)[0]
    xs, ys = unstack(x), [None] * steps
    off = kernels.off_steps(lengths, steps)
    for t in reversed(range(steps)) if reverse else range(steps):
        with step(t):
            new = advance(xs[t] if off is None else where(off[t][:, None], 0, xs[t]), *state)
            if off is None:
                ys[t] = new[0]
            else:
                new = tuple([where(off[t][:, None], old, value) for old, value in zip(state, new, strict=True)])
                ys[t] = where(off[t][:, None], 0, new[0])
            state = new
    y = stack(ys) if ys else _empty(x, state[0])
    return y, *state


def _empty(x: Any, h: Any) -> Any:
    """Outputs of no steps: (0, B, H)."""
    data = _plain(h)
    empty = xp(data).zeros((0, *data.shape), data.dtype)
    return Tensor(empty) if isinstance(x, Tensor) or isinstance(h, Tensor) else empty


def rnn_unrolled(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, *, nonlinearity: str = "tanh", lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    """``rnn`` in small ops, step by step."""
    wi, wh = transpose(w_ih), transpose(w_hh)

    def advance(x: Any, h: Any) -> tuple[Any]:
        return (rnn_step(x, h, wi, wh, b, nonlinearity),)

    return _over_time(x, (h0,), advance, lengths, reverse)


def lstm_unrolled(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, *, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """``lstm`` in small ops, step by step."""
    wi, wh = transpose(w_ih), transpose(w_hh)
    return _over_time(x, (h0, c0), lambda x, h, c: lstm_step(x, h, c, wi, wh, b), lengths, reverse)


def gru_unrolled(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any, *, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    """``gru`` in small ops, step by step."""
    wi, wh = transpose(w_ih), transpose(w_hh)
    return _over_time(x, (h0,), lambda x, h: (gru_step(x, h, wi, wh, b, b_hn),), lengths, reverse)


# ---- the fused ops -----------------------------------------------------------------------------------------------


def _domain(gates: int, states: int, *more: str) -> Any:
    """Small sequences, with and without lengths, forwards and backwards."""

    def domain(pick: Pick) -> Call:
        T, B, I, H = (pick.integer(1, 3) for _ in range(4))  # noqa: E741
        lengths = pick.choice([None, [1 + k % T for k in range(B)], [T - k % T for k in range(B)]])
        given = {"lengths": None if lengths is None else np.array(lengths), "reverse": pick.choice([False, True])}
        arrays = [pick.array((T, B, I)), *[pick.array((B, H)) for _ in range(states)]]
        arrays += [pick.array((gates * H, I)), pick.array((gates * H, H)), pick.array((gates * H,))]
        return (*arrays, *[pick.array((H,)) for _ in more]), given

    return domain


@primitive("RNN", reference=rnn_unrolled, outputs=2, domain=_domain(1, 1), method=False)
def _rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, *, nonlinearity: str = "tanh", lengths: Any = None, reverse: bool = False
) -> Any:
    """A plain recurrent net.   h_t = φ(z_t), z_t = W_ih x_t + W_hh h_{t−1} + b      z̄_t = φ'(z_t) (ȳ_t + W_hhᵀ z̄_{t+1})"""
    return kernels.rnn_forward(x, h0, w_ih, w_hh, b, nonlinearity, lengths, reverse)


_rnn.joint_vjp(
    lambda g, w_ih, w_hh, residuals, needs: kernels.rnn_backward(g[0], g[1], w_ih, w_hh, residuals, needs)
)


@primitive("LSTM", reference=lstm_unrolled, outputs=3, domain=_domain(4, 2), method=False)
def _lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, *, lengths: Any = None, reverse: bool = False
) -> Any:
    """Long short-term memory.   c_t = f c_{t−1} + i g, h_t = o tanh c_t      c̄_t = f_{t+1} c̄_{t+1} + h̄_t o (1 − tanh² c_t)"""
    return kernels.lstm_forward(x, h0, c0, w_ih, w_hh, b, lengths, reverse, kernels.ELEMENTWISE)


_lstm.joint_vjp(
    lambda g, w_ih, w_hh, residuals, needs: kernels.lstm_backward(g[0], g[1], g[2], w_ih, w_hh, residuals, needs)
)


@primitive("GRU", reference=gru_unrolled, outputs=2, domain=_domain(3, 1, "b_hn"), method=False)
def _gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any, *, lengths: Any = None, reverse: bool = False
) -> Any:
    """Gated recurrent units.   h_t = (1 − z) n + z h_{t−1}      n̄ = (1 − z) h̄,   z̄ = (h_{t−1} − n) h̄,   h̄_{t−1} ∋ z h̄"""
    return kernels.gru_forward(x, h0, w_ih, w_hh, b, b_hn, lengths, reverse)


_gru.joint_vjp(
    lambda g, w_ih, w_hh, residuals, needs: kernels.gru_backward(g[0], g[1], w_ih, w_hh, residuals, needs)
)

# ---- what people call --------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _check(name: str, x: Any, states: dict[str, Any], w_ih: Any, w_hh: Any, biases: dict[str, Any], gates: int) -> None:
    """The shapes of a call, before any product meets them."""
    found = shape_of(x)
    if len(found) != 3:
        raise ShapeError(f"{name}: x must be (T, B, I), steps first; got {found}. One sequence without a batch: x[:, None]")
    T, B, I = found  # noqa: E741
    if len(shape_of(w_hh)) != 2 or shape_of(w_hh)[0] != gates * shape_of(w_hh)[1]:
        raise ShapeError(f"{name}: w_hh must be ({gates} H, H) for the {gates} part(s) of {name}; got {shape_of(w_hh)}")
    H = shape_of(w_hh)[1]
    if shape_of(w_ih) != (gates * H, I):
        raise ShapeError(
            f"{name}: w_ih must be {(gates * H, I)} for x {found} and hidden size {H}; got {shape_of(w_ih)}. "
            "The last axis of x is the input size: is x (T, B, I)?"
        )
    for key, size in biases.items():
        if size[0] is not None and shape_of(size[0]) != (size[1] * H,):
            raise ShapeError(f"{name}: {key} must be {(size[1] * H,)} for hidden size {H}; got {shape_of(size[0])}")
    for key, state in states.items():
        if state is not None and shape_of(state) != (B, H):
            raise ShapeError(f"{name}: {key} must be {(B, H)}, batch × hidden; got {shape_of(state)}")


def check_lengths(name: str, lengths: Any, steps: int, batch: int) -> Any:
    """``lengths`` as an integer array (B,), each between 0 and T; raises for anything else."""
    if lengths is None:
        return None
    array = _plain(lengths)
    array = array if is_array(array) else np.asarray(array)
    if array.shape != (batch,) or array.dtype.kind not in "iu":
        raise ShapeError(
            f"{name}: lengths must be {batch} integers, one for each sequence of the batch; got {array.shape} {array.dtype}"
        )
    if batch and not (0 <= int(array.min()) and int(array.max()) <= steps):
        raise ValueError(f"{name}: lengths must be between 0 and T = {steps}; got {int(array.min())} to {int(array.max())}")
    return array


def _zeros(x: Any, w_hh: Any) -> Any:
    """An initial state of zeros, where x lives and in the weights' dtype."""
    data = _plain(x)
    return xp(data).zeros((data.shape[1], shape_of(w_hh)[1]), w_hh.dtype)


def _chosen(fused: Any, reference: Any, unroll: bool, *args: Any) -> Any:
    """Fused, but for ``unroll``; and a single step outside a tape (generation) has nothing to fuse."""
    if unroll:
        return reference
    single = shape_of(args[0])[0] == 1
    live = STATE.get().recording and any(isinstance(a, Tensor) and a._node is not None for a in args)
    return reference if single and not live else fused


@function(method=False)
def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any = None, *, nonlinearity: str = "tanh",
    lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """A plain recurrent net over a sequence.   h_t = φ(W_ih x_t + W_hh h_{t−1} + b)      z̄_t = φ'(z_t) (ȳ_t + W_hhᵀ z̄_{t+1})

    x (T, B, I), h0 (B, H) or None for zeros, w_ih (H, I), w_hh (H, H), b (H) or None; gives y (T, B, H) and the final h.
    ``nonlinearity``: "tanh" or "relu". ``lengths`` (B): where each sequence ends; what stands behind changes nothing,
    outputs there are zero, and the final state is that of each sequence's end. ``reverse``: from the end to the start.
    ``unroll``: in small ops, for drawings and for reading. Raises ``ShapeError``, and ``ValueError`` for lengths
    outside 0 … T or another nonlinearity. Slides "Recurrent neural nets", "Backprop Through Time".
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
    _check("rnn", x, {"h0": h0}, w_ih, w_hh, {"b": (b, 1)}, 1)
    lengths = check_lengths("rnn", lengths, *shape_of(x)[:2])
    args = (x, _zeros(x, w_hh) if h0 is None else h0, w_ih, w_hh, b)
    run = _chosen(_rnn, rnn_unrolled, unroll, *args)
    return run(*args, nonlinearity=nonlinearity, lengths=lengths, reverse=reverse)  # type: ignore[no-any-return]


@function(method=False)
def lstm(
    x: Any, state: Any, w_ih: Any, w_hh: Any, b: Any = None, *,
    lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, tuple[Any, Any]]:  # fmt: skip
    """Long short-term memory over a sequence.   c_t = f c_{t−1} + i g,   h_t = o tanh c_t

    i, f, o = σ(·) and g = tanh(·) are the four parts, in this order, of W_ih x_t + W_hh h_{t−1} + b.
    c̄_t = f_{t+1} c̄_{t+1} + h̄_t o (1 − tanh² c_t). x (T, B, I), state (h0, c0) each (B, H) or None for zeros, w_ih (4H, I),
    w_hh (4H, H), b (4H) or None; gives y (T, B, H) and the final (h, c). ``lengths``, ``reverse``, ``unroll`` and what is
    raised: as for ``rnn``. Hochreiter and Schmidhuber, 1997; slides "Long-Term Short Term Memory".
    """
    h0, c0 = (None, None) if state is None else _pair(state)
    _check("lstm", x, {"h0": h0, "c0": c0}, w_ih, w_hh, {"b": (b, 4)}, 4)
    lengths = check_lengths("lstm", lengths, *shape_of(x)[:2])
    h0, c0 = (_zeros(x, w_hh) if s is None else s for s in (h0, c0))
    args = (x, h0, c0, w_ih, w_hh, b)
    y, h, c = _chosen(_lstm, lstm_unrolled, unroll, *args)(*args, lengths=lengths, reverse=reverse)
    return y, (h, c)


def _pair(state: Any) -> Any:
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise TypeError(f"lstm: the state is a pair (h, c); got {type(state).__name__}")
    return state


@function(method=False)
def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any = None, b_hn: Any = None, *,
    lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Gated recurrent units over a sequence.   h_t = (1 − z) n + z h_{t−1},   n = tanh(W_in x_t + b_n + r (W_hn h_{t−1} + b_hn))

    r, z = σ(·) of the first two of the three parts of W_ih x_t + W_hh h_{t−1} + b. x (T, B, I), h0 (B, H) or None for
    zeros, w_ih (3H, I), w_hh (3H, H), b (3H) or None, b_hn (H) or None; gives y (T, B, H) and the final h. ``lengths``,
    ``reverse``, ``unroll`` and what is raised: as for ``rnn``. Cho et al., 2014.
    """
    _check("gru", x, {"h0": h0}, w_ih, w_hh, {"b": (b, 3), "b_hn": (b_hn, 1)}, 3)
    lengths = check_lengths("gru", lengths, *shape_of(x)[:2])
    args = (x, _zeros(x, w_hh) if h0 is None else h0, w_ih, w_hh, b, b_hn)
    run = _chosen(_gru, gru_unrolled, unroll, *args)
    return run(*args, lengths=lengths, reverse=reverse)  # type: ignore[no-any-return]

