"""Whole recurrent sequences on arrays, forward and backward by hand: what stands behind ``rnn``, ``lstm`` and ``gru``.

The readable form of each net is its reference in ``recurrent.py``; tests hold the two together. Here every choice is
for speed, and every one was measured:

- Sequences run over steps in a Python loop, so a step is few calls, each into memory that exists (``out=``).
- What does not depend on the step before is one product: input projections in front, weight gradients behind.
- The LSTM works on columns: the state is (H, B) and the gates of a step are (4, H, B), contiguous blocks. Skinny
  products are faster in this shape, W (4H, K) times (K, B), than as (B, K) times (K, 4H).
- σ(z) = ½ tanh(z/2) + ½: with the three sigmoid gates' weights halved beforehand, one ``tanh`` covers all four gates.
- Backward goes over blocks of steps: the factors that do not wait for a cotangent are computed for a block at once.

Sequences of different lengths (``off``: where a step is beyond its sequence's end) carry their state on unchanged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad7.backend import Array, xp

BLOCK = 256  # columns (steps × batch) that the LSTM's backward works on at once: its buffers then stay in the cache


def off_steps(lengths: Array | None, steps: int) -> Array | None:
    """(T, B): whether step t is beyond the end of sequence b."""
    return None if lengths is None else xp(lengths).arange(steps)[:, None] >= lengths[None, :]


def clear(x: Array, off: Array | None) -> Array:
    """``x`` (T, B, ...) with exact zeros where ``off``, whatever stood there (NaN too)."""
    return x if off is None else xp(x).where(off[..., None], xp(x).zeros((), x.dtype), x)


def turn(x: Array, lengths: Array | None, reverse: bool) -> Array:
    """``x`` (T, B, ...) with each sequence in the opposite order, its padding where it was. Twice is once back."""
    if not reverse:
        return x
    if lengths is None:
        return x[::-1]
    m = xp(x)
    t = m.arange(x.shape[0])[:, None]
    order = m.where(t < lengths[None, :], lengths[None, :] - 1 - t, t)
    return x[order, m.arange(x.shape[1])[None, :]]


def common_dtype(*operands: Array | None) -> Any:
    """The dtype of states and outputs: the widest of the operands' (None: one that is left out)."""
    return xp(operands[0]).result_type(*[a.dtype for a in operands if a is not None])


class Kept(NamedTuple):
    """What forward leaves for backward. ``x`` and ``hs`` (T+1, B, H; the first state before them) in the order run.

    ``candidates`` are the GRU's; ``how`` is whether a plain net rectifies, or the LSTM's functions of one step."""

    x: Array
    hs: Array
    gates: Any
    candidates: Any
    off: Array | None
    lengths: Array | None
    reverse: bool
    how: Any


def _prepare(x: Array, h0: Array, lengths: Any, reverse: bool, dtype: Any) -> tuple[Array, Array, Array | None]:
    """x in the order of running and without what stands in its padding; room for the states; where steps are off."""
    off = off_steps(lengths, x.shape[0])
    x = turn(clear(x, off), lengths, reverse)
    hs = xp(x).empty((x.shape[0] + 1, *h0.shape), dtype)
    hs[0] = h0
    return x, hs, off


def _finish(hs: Array, off: Array | None, lengths: Array | None, reverse: bool) -> tuple[Array, Array]:
    """The outputs in the order of time, zero at padding, and the final state."""
    return turn(clear(hs[1:], off), lengths, reverse), hs[-1].copy()


def _rows(x: Array) -> Array:
    """(T, B, N) as (T · B, N); said in full, since −1 means nothing where there are no elements."""
    return x.reshape((x.shape[0] * x.shape[1], x.shape[2]))


def _project(x: Array, w: Array, b: Array | None, out: Array) -> None:
    """out (T, B, G) = x wᵀ + b, as one product."""
    m = xp(x)
    m.matmul(_rows(m.ascontiguousarray(x)), w.T, out=_rows(out))
    if b is not None:
        out += b


def _weight_gradients(dz: Array, kept: Kept, w_ih: Array, needs: Any) -> tuple[Any, Any, Any, Any]:
    """From z̄ (T, B, G) of all steps: x̄, and what is summed over steps: W̄_ih, W̄_hh, b̄."""
    flat = _rows(dz)
    need_x, need_ih, need_hh, need_b = needs
    dx = turn((flat @ w_ih).reshape(kept.x.shape), kept.lengths, kept.reverse) if need_x else None
    return (
        dx,
        flat.T @ _rows(xp(dz).ascontiguousarray(kept.x)) if need_ih else None,
        flat.T @ _rows(kept.hs[:-1]) if need_hh else None,
        flat.sum(axis=0) if need_b else None,
    )


# ---- tanh or relu ------------------------------------------------------------------------------------------------


def rnn_forward(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b: Array | None, rectify: bool, lengths: Any, reverse: bool
) -> tuple[tuple[Array, Array], Kept]:
    """h_t = φ(W_ih x_t + W_hh h_{t−1} + b): the projections of x are written where the states will stand."""
    m = xp(x)
    dtype = common_dtype(x, h0, w_ih, w_hh, b)
    x, hs, off = _prepare(x, h0, lengths, reverse, dtype)
    _project(x, w_ih, b, hs[1:])
    w = m.ascontiguousarray(w_hh.T, dtype=dtype)
    z = m.empty(h0.shape, dtype)
    matmul, add, tanh = m.matmul, m.add, m.tanh
    h = hs[0]
    for t, new in enumerate(hs[1:]):
        matmul(h, w, out=z)
        add(new, z, out=new)
        if rectify:
            m.maximum(new, 0, out=new)
        else:
            tanh(new, out=new)
        if off is not None:
            m.copyto(new, h, where=off[t][:, None])
        h = new
    kept = Kept(x, hs, None, None, off, lengths, reverse, rectify)
    return _finish(hs, off, lengths, reverse), kept


def rnn_backward(g: Any, w_ih: Array, w_hh: Array, kept: Kept, needs: Any) -> list[Any]:
    """h̄_t = ȳ_t + W_hhᵀ z̄_{t+1},   z̄_t = h̄_t φ'(z_t);   φ' = 1 − h² for tanh, [h > 0] for relu."""
    gy, gh = g
    m = xp(gy)
    hs, off = kept.hs, kept.off
    gy = turn(gy, kept.lengths, kept.reverse)
    if kept.how:
        dz = (hs[1:] > 0).astype(hs.dtype)
    else:
        dz = hs[1:] * hs[1:]
        m.subtract(1, dz, out=dz)
    dh, passed = gh.astype(hs.dtype), None
    matmul, add, multiply = m.matmul, m.add, m.multiply
    for t in range(len(dz) - 1, -1, -1):
        d = dz[t]
        if off is not None:
            passed = dh.copy()
        add(dh, gy[t], out=dh)
        multiply(d, dh, out=d)
        if off is not None:
            m.copyto(d, 0, where=off[t][:, None])
        matmul(d, w_hh, out=dh)
        if off is not None:
            m.copyto(dh, passed, where=off[t][:, None])
    dx, d_ih, d_hh, db = _weight_gradients(dz, kept, w_ih, (needs[0], *needs[2:]))
    return [dx, dh if needs[1] else None, d_ih, d_hh, db]


# ---- LSTM --------------------------------------------------------------------------------------------------------
# Inside, the gates stand in the order o, i, f, g, and the cell before the step behind them: so three sigmoids are one
# block, the products i g and f c are one, and what c̄ multiplies is one.

_INSIDE = (2, 0, 1, 3)  # where inner gate k stands outside, in i, f, o, g


class Step(NamedTuple):
    """What an LSTM does between its products, element by element. CuPy arrays have kernels of their own for it."""

    forward: Any
    factors: Any
    backward: Any


def _step_forward(gates: Array, new_c: Array, h: Array, pair: Array, half: Array) -> None:
    """Pre-activations (halved for o, i, f) and the old cell (5, H, B) → activations in place, the new cell, h."""
    m = xp(gates)
    z, sigmoids = gates[:4], gates[:3]
    m.tanh(z, z)
    m.multiply(sigmoids, half, sigmoids)
    m.add(sigmoids, half, sigmoids)
    m.multiply(gates[1:3], gates[3:], pair)
    m.add(pair[0], pair[1], new_c)
    m.tanh(new_c, h)
    m.multiply(h, gates[0], h)


def _step_factors(d: Array, gates: Array, new_c: Array, one: Array) -> None:
    """d (steps, 5, H, B) becomes ∂h/∂c, ∂h/∂z_o, ∂c/∂z_i, ∂c/∂z_f, ∂c/∂z_g: all that waits for no cotangent."""
    m = xp(d)
    through, dg = d[:, 0], d[:, 4]
    sigmoids, slopes = gates[:, :3], d[:, 1:4]
    m.subtract(one, sigmoids, slopes)
    m.multiply(slopes, sigmoids, slopes)
    m.multiply(d[:, 2:4], gates[:, 3:], d[:, 2:4])
    m.tanh(new_c, through)
    m.multiply(d[:, 1], through, d[:, 1])
    for slope, y, factor in ((through, through, gates[:, 0]), (dg, gates[:, 3], gates[:, 1])):
        m.multiply(y, y, slope)
        m.subtract(one, slope, slope)
        m.multiply(slope, factor, slope)


def _step_backward(d: Array, gates: Array, new_c: Array, dh: Array, dc: Array) -> None:
    """The factors of one step times its cotangents, in place; c̄ becomes that of the step before."""
    m = xp(d)
    multiply = m.multiply
    through, d_o, d_i, d_f, d_g = d
    multiply(through, dh, through)
    m.add(dc, through, dc)
    multiply(d_o, dh, d_o)
    multiply(d_i, dc, d_i)
    multiply(d_f, dc, d_f)
    multiply(d_g, dc, d_g)
    multiply(dc, gates[2], dc)


ELEMENTWISE = Step(_step_forward, _step_factors, _step_backward)


def lstm_forward(
    x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b: Array | None, lengths: Any, reverse: bool, step: Step
) -> tuple[tuple[Array, Array, Array], Kept]:
    """Columns throughout: [W_ih | b | W_hh] times the column [x_t; 1; h_{t−1}] is everything that the gates need."""
    m = xp(x)
    dtype = common_dtype(x, h0, c0, w_ih, w_hh, b)
    x, hs, off = _prepare(x, h0, lengths, reverse, dtype)
    (steps, batch, size), hidden = x.shape, h0.shape[1]
    w = m.empty((4, hidden, size + 1 + hidden), dtype)
    for inner, outer in zip(w, _INSIDE, strict=True):
        part = slice(outer * hidden, (outer + 1) * hidden)
        inner[:, :size], inner[:, size + 1 :] = w_ih[part], w_hh[part]
        inner[:, size] = 0 if b is None else b[part]
    half = m.full((), 0.5, dtype)  # made there: m.array would send it to a device
    w[:3] *= half
    w = w.reshape((4 * hidden, size + 1 + hidden))
    column = m.ones((size + 1 + hidden, batch), dtype)
    column_x, h = column[:size], column[size + 1 :]
    h[...] = h0.T
    room = m.empty((steps + 1, 5 * hidden, batch), dtype)
    products, gates = room[:, : 4 * hidden], room.reshape((steps + 1, 5, hidden, batch))
    cells, pair = gates[:, 4], m.empty((2, hidden, batch), dtype)
    cells[0] = c0.T
    matmul, forward, h_rows = m.matmul, step.forward, h.T
    for t, x_t in enumerate(x.transpose(0, 2, 1)):
        column_x[...] = x_t
        matmul(w, column, out=products[t])  # on a device out= has no place of its own
        forward(gates[t], cells[t + 1], h, pair, half)
        if off is not None:
            m.copyto(cells[t + 1], cells[t], where=off[t])
            m.copyto(h, hs[t].T, where=off[t])
        hs[t + 1] = h_rows
    kept = Kept(x, hs, gates, None, off, lengths, reverse, step)
    return (*_finish(hs, off, lengths, reverse), m.ascontiguousarray(cells[-1].T)), kept


def lstm_backward(g: Any, w_ih: Array, w_hh: Array, kept: Kept, needs: Any) -> list[Any]:
    """h̄_t = ȳ_t + W_hhᵀ z̄_{t+1};   c̄_t = f_{t+1} c̄_{t+1} + h̄_t o (1 − tanh² c_t);   z̄ from these, gate by gate."""
    gy, gh, gc = g
    m = xp(gy)
    x, hs, gates, off, step = kept.x, kept.hs, kept.gates, kept.off, kept.how
    _, _, hidden, batch = gates.shape
    steps, dtype = len(x), gates.dtype
    gy = turn(gy, kept.lengths, kept.reverse).transpose(0, 2, 1)
    w = m.empty((hidden, 4, hidden), dtype)
    for inner, outer in enumerate(_INSIDE):
        w[:, inner] = w_hh[outer * hidden : (outer + 1) * hidden].T
    w = w.reshape((hidden, 4 * hidden))
    dh, dc = m.empty((2, hidden, batch), dtype)
    dh[...], dc[...] = gh.T, gc.T
    need_x, need_h, need_c, need_ih, need_hh, need_b = needs
    dx = m.empty(x.shape, dtype) if need_x else None
    d_ih, d_hh = (m.zeros(v.shape, dtype) if need else None for v, need in ((w_ih, need_ih), (w_hh, need_hh)))
    db = m.zeros(4 * hidden, dtype) if need_b else None
    size = max(1, min(steps, BLOCK // max(batch, 1)))
    blocks, one = m.empty((size, 5, hidden, batch), dtype), m.ones((), dtype)
    matmul, add, backward = m.matmul, m.add, step.backward
    for end in range(steps, 0, -size):
        start = max(0, end - size)
        block = blocks[: end - start]
        columns = block.reshape((end - start, 5 * hidden, batch))[:, hidden:]
        gy_block = m.ascontiguousarray(gy[start:end])
        step.factors(block, gates[start:end], gates[start + 1 : end + 1, 4], one)
        for t in range(end - 1, start - 1, -1):
            k = t - start
            if off is not None:
                passed_h, passed_c = dh.copy(), dc.copy()
            add(dh, gy_block[k], dh)
            backward(block[k], gates[t], gates[t + 1, 4], dh, dc)
            if off is not None:
                m.copyto(block[k], 0, where=off[t])
                m.copyto(dc, passed_c, where=off[t])
            matmul(w, columns[k], out=dh)
            if off is not None:
                m.copyto(dh, passed_h, where=off[t])
        side = m.empty((4, hidden, end - start, batch), dtype)
        for inner, outer in enumerate(_INSIDE):
            side[outer] = block[:, 1 + inner].transpose(1, 0, 2)
        dz = side.reshape((4 * hidden, (end - start) * batch))  # (4H, steps × B), the gates in the order outside
        if dx is not None:
            dx[start:end] = (dz.T @ w_ih).reshape(dx[start:end].shape)
        if d_ih is not None:
            d_ih += dz @ _rows(m.ascontiguousarray(x[start:end]))
        if d_hh is not None:
            d_hh += dz @ _rows(hs[start:end])
        if db is not None:
            db += dz @ m.ones(dz.shape[1], dtype)
    dx = turn(dx, kept.lengths, kept.reverse) if dx is not None else None
    return [dx, dh.T if need_h else None, dc.T if need_c else None, d_ih, d_hh, db]


# ---- GRU ---------------------------------------------------------------------------------------------------------


def gru_forward(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b: Array | None, b_hn: Array | None, lengths: Any, reverse: bool
) -> tuple[tuple[Array, Array], Kept]:
    """Rows throughout. ``gates`` keeps (r, z, n) of every step, ``candidates`` their recurrent part."""
    m = xp(x)
    dtype = common_dtype(x, h0, w_ih, w_hh, b, b_hn)
    x, hs, off = _prepare(x, h0, lengths, reverse, dtype)
    (steps, batch, _), hidden = x.shape, h0.shape[1]
    gates = m.empty((steps, batch, 3 * hidden), dtype)
    _project(x, w_ih, b, gates)
    w = m.ascontiguousarray(w_hh.T, dtype=dtype)
    recurrent = m.empty((batch, 3 * hidden), dtype)
    candidates = m.empty((steps, batch, hidden), dtype)
    for t in range(steps):
        h, new, a = hs[t], hs[t + 1], gates[t]
        m.matmul(h, w, out=recurrent)
        rz, n, inner = a[:, : 2 * hidden], a[:, 2 * hidden :], candidates[t]
        m.add(rz, recurrent[:, : 2 * hidden], out=rz)
        m.multiply(rz, 0.5, out=rz)
        m.tanh(rz, out=rz)
        m.multiply(rz, 0.5, out=rz)
        m.add(rz, 0.5, out=rz)
        r, z = rz[:, :hidden], rz[:, hidden:]
        m.add(recurrent[:, 2 * hidden :], 0 if b_hn is None else b_hn, out=inner)
        m.multiply(r, inner, out=new)
        m.add(n, new, out=n)
        m.tanh(n, out=n)
        m.subtract(h, n, out=new)  # h' = n + z (h − n)
        m.multiply(new, z, out=new)
        m.add(new, n, out=new)
        if off is not None:
            m.copyto(new, h, where=off[t][:, None])
    kept = Kept(x, hs, gates, candidates, off, lengths, reverse, None)
    return _finish(hs, off, lengths, reverse), kept


def gru_backward(g: Any, w_ih: Array, w_hh: Array, kept: Kept, needs: Any) -> list[Any]:
    """The candidate's part of z̄ differs: on the recurrent side it is multiplied by r."""
    gy, gh = g
    m = xp(gy)
    hs, gates, off = kept.hs, kept.gates, kept.off
    steps, batch, triple = gates.shape
    hidden = triple // 3
    gy = turn(gy, kept.lengths, kept.reverse)
    r, z, n = (gates[..., k * hidden : (k + 1) * hidden] for k in range(3))
    dz = m.empty(gates.shape, gates.dtype)
    by_n = (1 - z) * (1 - n * n)  # ∂h'/∂(the candidate's pre-activation)
    dz[..., :hidden] = kept.candidates * r * (1 - r)
    dz[..., hidden : 2 * hidden] = (hs[:-1] - n) * z * (1 - z)
    dh, passed = gh.astype(gates.dtype), None
    inner = m.empty((steps, batch, hidden), gates.dtype)
    side = m.empty((batch, triple), gates.dtype)
    for t in range(steps - 1, -1, -1):
        d = dz[t]
        if off is not None:
            passed = dh.copy()
        dh += gy[t]
        dn = d[:, 2 * hidden :]
        m.multiply(dh, by_n[t], out=dn)
        d[:, :hidden] *= dn
        d[:, hidden : 2 * hidden] *= dh
        if off is not None:
            m.copyto(d, 0, where=off[t][:, None])
        m.multiply(dn, r[t], out=inner[t])
        side[:, : 2 * hidden], side[:, 2 * hidden :] = d[:, : 2 * hidden], inner[t]
        dh *= z[t]
        dh += side @ w_hh
        if off is not None:
            m.copyto(dh, passed, where=off[t][:, None])
    dx, d_ih, _, db = _weight_gradients(dz, kept, w_ih, (needs[0], needs[2], False, needs[4]))
    d_hh = None
    if needs[3]:
        before = _rows(hs[:-1])
        d_hh = m.concatenate([_rows(dz[..., : 2 * hidden]).T @ before, _rows(inner).T @ before])
    return [dx, dh if needs[1] else None, d_ih, d_hh, db, _rows(inner).sum(axis=0) if needs[5] else None]
