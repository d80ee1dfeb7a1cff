"""Recurrent nets over whole sequences: ``rnn``, ``lstm``, ``gru``, each fused, each beside its readable reference.

The reference is the net as the lecture writes it: small ops, one ``step(t)`` scope a time step. From it follow the
drawings, the second derivatives and the tests of the fused form (``recurrent_kernels.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.arrays import own
from tinygrad7.backend import device_of, is_array, to_device, to_numpy, xp
from tinygrad7.context import STATE, step
from tinygrad7.declare import function, primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError
from tinygrad7.ops import recurrent_cuda as on_cuda
from tinygrad7.ops import recurrent_kernels as kernels
from tinygrad7.ops.activation import relu, sigmoid
from tinygrad7.ops.elementwise import tanh, where
from tinygrad7.ops.shape import shape_of, split, stack, unstack
from tinygrad7.tape import constant
from tinygrad7.tensor import Tensor

# ---- one step ----------------------------------------------------------------------------------------------------


def _product_domain(pick: Pick) -> Call:
    rows, inputs, outputs = (pick.integer(1, 3) for _ in range(3))
    return (pick.array((rows, inputs)), pick.array((outputs, inputs))), {}


@primitive("W x", domain=_product_domain, method=False)
def _times(x: Any, w: Any) -> Any:
    """A matrix times every row of x (B, I).   Y = X Wᵀ      X̄ = Ȳ W      W̄ = Ȳᵀ X"""
    return x @ w.T


_times.vjp(x=lambda g, w: g @ w, w=lambda g, x: g.T @ x)


def _affine(x: Any, w: Any, b: Any) -> Any:
    return _times(x, w) if b is None else _times(x, w) + b


def rnn_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any, nonlinearity: str = "tanh") -> Any:
    """One step of a plain net.   z = W_ih x + W_hh h + b      h' = φ(z)"""
    return (relu if nonlinearity == "relu" else tanh)(_affine(x, w_ih, b) + _times(h, w_hh))


def lstm_step(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any) -> tuple[Any, Any]:
    """One step of an LSTM.   c' = f c + i g      h' = o tanh c'

    i, f, o = σ(·) and g = tanh(·) of the four parts of W_ih x + W_hh h + b (slides "Long-Term Short Term Memory")."""
    i, f, o, g = split(_affine(x, w_ih, b) + _times(h, w_hh), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_step(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any) -> Any:
    """One step of gated recurrent units.   n = tanh(W_in x + b_n + r (W_hn h + b_hn))      h' = (1 − z) n + z h

    r, z = σ(·) of the first two parts of W_ih x + W_hh h + b. Cho et al., 2014; r outside the product, as in cuDNN."""
    r_x, z_x, n_x = split(_affine(x, w_ih, b), 3, axis=-1)
    r_h, z_h, n_h = split(_times(h, w_hh), 3, axis=-1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = tanh(n_x + r * (n_h if b_hn is None else n_h + b_hn))
    return (1 - z) * n + z * h


# ---- the references: steps in a row ------------------------------------------------------------------------------


def over_time(
    inputs: tuple[Any, ...], state: tuple[Any, ...], advance: Any, lengths: Any = None, reverse: bool = False
) -> tuple[Any, ...]:
    """``state = advance(*inputs_t, *state)`` over the steps of ``inputs``, each (T, B, ·): (outputs, *final state).

    The outputs are the steps' first states. Beyond its end a sequence keeps its state, and its output is zero."""
    steps = list(zip(*[unstack(x) for x in inputs], strict=True))
    off, ys = kernels.off_steps(lengths, len(steps)), [state[0]] * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        with step(t):
            if off is None:
                state = advance(*steps[t], *state)
                ys[t] = state[0]
            else:
                mask = off[t][:, None]
                new = advance(*[where(mask, 0, x) for x in steps[t]], *state)
                state = tuple([where(mask, old, value) for old, value in zip(state, new, strict=True)])
                ys[t] = where(mask, 0, state[0])
    return stack(ys) if ys else _no_outputs(inputs[0], state[0]), *state


def _no_outputs(x: Any, h: Any) -> Any:
    """The outputs of no steps: (0, B, H)."""
    data = _plain(h)
    empty = xp(data).zeros((0, *data.shape), data.dtype)
    return Tensor(empty) if isinstance(x, Tensor) or isinstance(h, Tensor) else empty


def rnn_unrolled(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, *,
    nonlinearity: str = "tanh", lengths: Any = None, reverse: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """``rnn`` in small ops, step by step."""
    y, h = over_time((x,), (h0,), lambda x, h: (rnn_step(x, h, w_ih, w_hh, b, nonlinearity),), lengths, reverse)
    return y, h


def lstm_unrolled(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, *, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """``lstm`` in small ops, step by step."""
    y, h, c = over_time((x,), (h0, c0), lambda x, h, c: lstm_step(x, h, c, w_ih, w_hh, b), lengths, reverse)
    return y, h, c


def gru_unrolled(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any, *, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    """``gru`` in small ops, step by step."""
    y, h = over_time((x,), (h0,), lambda x, h: (gru_step(x, h, w_ih, w_hh, b, b_hn),), lengths, reverse)
    return y, h


# ---- the fused ops -----------------------------------------------------------------------------------------------


def _domain(gates: int, states: int, extra: int = 0, **options: Any) -> Any:
    """Small sequences, with and without lengths, forwards and backwards."""

    def domain(pick: Pick) -> Call:
        T, B, I, H = (pick.integer(1, 3) for _ in range(4))
        lengths = pick.choice([None, *[np.array([(T + k + s) % (T + 1) for k in range(B)]) for s in (0, 2)]])
        given = {"lengths": lengths, "reverse": pick.choice([False, True])}
        shapes = [(T, B, I), *[(B, H)] * states, (gates * H, I), (gates * H, H), (gates * H,), *[(H,)] * extra]
        chosen = {name: pick.choice(values) for name, values in options.items()}
        return tuple([pick.array(s, -1.5, 1.5) for s in shapes]), given | chosen

    return domain


@primitive("RNN", reference=rnn_unrolled, outputs=2, unrolls=True, domain=_domain(1, 1), method=False)
def _rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, *,
    nonlinearity: str = "tanh", lengths: Any = None, reverse: bool = False,
) -> Any:  # fmt: skip
    """A plain recurrent net.   z_t = W_ih x_t + W_hh h_{t−1} + b, h_t = φ(z_t)      z̄_t = φ' (ȳ_t + W_hhᵀ z̄_{t+1})"""
    return kernels.rnn_forward(x, h0, w_ih, w_hh, b, nonlinearity == "relu", lengths, reverse)


_rnn.joint_vjp(lambda g, w_ih, w_hh, residuals, needs: kernels.rnn_backward(g, w_ih, w_hh, residuals, needs))


@primitive("LSTM", reference=lstm_unrolled, outputs=3, unrolls=True, domain=_domain(4, 2), method=False)
def _lstm(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, *, lengths: Any = None, reverse: bool = False) -> Any:
    """Long short-term memory.   c' = f c + i g, h = o tanh c      c̄_t = f_{t+1} c̄_{t+1} + h̄_t o (1 − tanh² c_t)"""
    return kernels.lstm_forward(x, h0, c0, w_ih, w_hh, b, lengths, reverse, kernels.ELEMENTWISE)


def _lstm_cuda(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, *, lengths: Any = None, reverse: bool = False
) -> Any:
    """The same with a kernel of its own for the gates of a step, where the dtype has one."""
    known = str(kernels.common_dtype(x, h0, c0, w_ih, w_hh, b)) in on_cuda.REAL
    step = kernels.Step(*on_cuda.STEP) if known else kernels.ELEMENTWISE
    return kernels.lstm_forward(x, h0, c0, w_ih, w_hh, b, lengths, reverse, step)


_lstm.kernel("cupy", _lstm_cuda)


_lstm.joint_vjp(lambda g, w_ih, w_hh, residuals, needs: kernels.lstm_backward(g, w_ih, w_hh, residuals, needs))


@primitive("GRU", reference=gru_unrolled, outputs=2, unrolls=True, domain=_domain(3, 1, 1), method=False)
def _gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, b_hn: Any, *, lengths: Any = None, reverse: bool = False
) -> Any:
    """Gated recurrent units.   h_t = (1 − z) n + z h_{t−1}      n̄ = (1 − z) h̄, z̄ = (h_{t−1} − n) h̄"""
    return kernels.gru_forward(x, h0, w_ih, w_hh, b, b_hn, lengths, reverse)


_gru.joint_vjp(lambda g, w_ih, w_hh, residuals, needs: kernels.gru_backward(g, w_ih, w_hh, residuals, needs))


# ---- what people call --------------------------------------------------------------------------------------------


@function(method=False)
def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any = None, *,
    nonlinearity: str = "tanh", lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """A plain recurrent net over a sequence.   z_t = W_ih x_t + W_hh h_{t−1} + b   h_t = φ(z_t)

    h̄_t = ȳ_t + W_hhᵀ z̄_{t+1}, z̄_t = φ'(z_t) h̄_t. x (T, B, I), h0 (B, H) or None for zeros, w_ih (H, I), w_hh (H, H),
    b (H) or None; gives y (T, B, H) and the final h. ``nonlinearity``: "tanh" or "relu". ``lengths`` (B): where each
    sequence ends; what stands behind changes nothing, outputs there are zero, the final state is that of each
    sequence's end. ``reverse``: from the end to the start. ``unroll``: in small ops, for drawings and for reading.
    Raises ``ShapeError``, and ``ValueError`` for lengths outside 0 … T or another nonlinearity. Slides "Recurrent
    neural nets" and "Backprop Through Time".
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
    _check("rnn", x, {"h0": h0}, w_ih, w_hh, {"b": (b, 1)}, 1)
    args = _held(x, zero_state(x, w_hh) if h0 is None else h0, w_ih, w_hh, b)
    run = _chosen(_rnn, rnn_unrolled, unroll, args)
    lengths = check_lengths("rnn", lengths, x)
    return run(*args, nonlinearity=nonlinearity, lengths=lengths, reverse=reverse)  # type: ignore[no-any-return]


@function(method=False)
def lstm(
    x: Any, state: Any, w_ih: Any, w_hh: Any, b: Any = None, *,
    lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, tuple[Any, Any]]:  # fmt: skip
    """Long short-term memory over a sequence.   c_t = f c_{t−1} + i g   h_t = o tanh c_t

    i, f, o = σ(·) and g = tanh(·) are the four parts, in this order, of W_ih x_t + W_hh h_{t−1} + b.
    c̄_t = f_{t+1} c̄_{t+1} + h̄_t o (1 − tanh² c_t). x (T, B, I), state (h0, c0) each (B, H) or None for zeros,
    w_ih (4H, I), w_hh (4H, H), b (4H) or None; gives y (T, B, H) and the final (h, c). ``lengths``, ``reverse``,
    ``unroll`` and what is raised: as for ``rnn``. Hochreiter and Schmidhuber, 1997; slides "Long-Term Short Term
    Memory".
    """
    if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
        raise TypeError(f"lstm: the state is a pair (h, c) or None; got {type(state).__name__}")
    h0, c0 = (None, None) if state is None else state
    _check("lstm", x, {"h0": h0, "c0": c0}, w_ih, w_hh, {"b": (b, 4)}, 4)
    h0, c0 = (zero_state(x, w_hh) if s is None else s for s in (h0, c0))
    args = _held(x, h0, c0, w_ih, w_hh, b)
    run = _chosen(_lstm, lstm_unrolled, unroll, args)
    y, h, c = run(*args, lengths=check_lengths("lstm", lengths, x), reverse=reverse)
    return y, (h, c)


@function(method=False)
def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any = None, b_hn: Any = None, *,
    lengths: Any = None, reverse: bool = False, unroll: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Gated recurrent units over a sequence.   h_t = (1 − z) n + z h_{t−1}

    n = tanh(W_in x_t + b_n + r (W_hn h_{t−1} + b_hn)); r, z = σ(·) of the first two of the three parts of
    W_ih x_t + W_hh h_{t−1} + b. x (T, B, I), h0 (B, H) or None for zeros, w_ih (3H, I), w_hh (3H, H), b (3H) or None,
    b_hn (H) or None; gives y (T, B, H) and the final h. ``lengths``, ``reverse``, ``unroll`` and what is raised: as for
    ``rnn``. Cho et al., 2014.
    """
    _check("gru", x, {"h0": h0}, w_ih, w_hh, {"b": (b, 3), "b_hn": (b_hn, 1)}, 3)
    args = _held(x, zero_state(x, w_hh) if h0 is None else h0, w_ih, w_hh, b, b_hn)
    run = _chosen(_gru, gru_unrolled, unroll, args)
    return run(*args, lengths=check_lengths("gru", lengths, x), reverse=reverse)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    return value._value if isinstance(value, Tensor) else value


def zero_state(x: Any, w_hh: Any) -> Any:
    """An initial state of zeros, where x lives and in the weights' dtype."""
    return xp(_plain(x)).zeros((shape_of(x)[1], shape_of(w_hh)[1]), w_hh.dtype)


def clear_padding(x: Any, lengths: Any) -> Any:
    """``x`` (T, B, ...) with zeros behind each sequence's end, whatever stood there."""
    return x if lengths is None else where(kernels.off_steps(lengths, shape_of(x)[0])[..., None], 0, x)  # type: ignore[index]


def _held(x: Any, *others: Any) -> tuple[Any, ...]:
    """The operands, a raw x beside tensors copied: backward reads x, and later writes to it must change nothing."""
    return (x if isinstance(x, Tensor) or not any(isinstance(a, Tensor) for a in others) else constant(x)), *others


def _chosen(fused: Any, reference: Any, unroll: bool, args: tuple[Any, ...]) -> Any:
    """The fused form, but for ``unroll``; and one step outside a tape (generation) has nothing to fuse.

    No steps have nothing to unroll: the fused form knows which dtype would come of them."""
    steps = shape_of(args[0])[0]
    if not steps:
        return fused
    if not unroll and steps == 1:
        unroll = not STATE.get().recording or all(not isinstance(a, Tensor) or a._node is None for a in args)
    return reference if unroll else fused


def _check(name: str, x: Any, states: dict[str, Any], w_ih: Any, w_hh: Any, biases: dict[str, Any], gates: int) -> None:
    """The shapes of a call, before any product meets them."""
    found, square = shape_of(x), shape_of(w_hh)
    if len(found) != 3:
        raise ShapeError(f"{name}: x must be (T, B, I), steps first; got {found}. A single sequence (T, I): x[:, None]")
    if len(square) != 2 or square[0] != gates * square[1]:
        raise ShapeError(f"{name}: w_hh must be ({gates} H, H), its {gates} part(s) square; got {square}")
    B, I, H = found[1], found[2], square[1]
    if shape_of(w_ih) != (gates * H, I):
        raise ShapeError(
            f"{name}: w_ih must be {(gates * H, I)} for x {found} and hidden size {H}; got {shape_of(w_ih)}. "
            "The last axis of x is the input size: is x (T, B, I)?"
        )
    for key, (bias, parts) in biases.items():
        if bias is not None and shape_of(bias) != (parts * H,):
            raise ShapeError(f"{name}: {key} must be {(parts * H,)} for hidden size {H}; got {shape_of(bias)}")
    for key, state in states.items():
        if state is not None and shape_of(state) != (B, H):
            raise ShapeError(f"{name}: {key} must be {(B, H)}, batch × hidden; got {shape_of(state)}")


def check_lengths(name: str, lengths: Any, x: Any) -> Any:
    """``lengths`` as integers (B,) where x lives, None if no sequence is shorter than T. Raises for what are none."""
    if lengths is None:
        return None
    steps, batch = shape_of(x)[:2]
    given = _plain(lengths)
    host = to_numpy(given) if is_array(given) else np.asarray(given, dtype=None if len(given) else np.intp)
    if host.shape != (batch,) or host.dtype.kind not in "iu":
        raise ShapeError(f"{name}: lengths must be {batch} integers, one a sequence; got {host.shape} {host.dtype}")
    if batch and not (host.min() >= 0 and host.max() <= steps):
        raise ValueError(f"{name}: lengths must be between 0 and T = {steps}; got {host.min()} to {host.max()}")
    return to_device(own(host), device_of(_plain(x))) if batch and host.min() < steps else None
