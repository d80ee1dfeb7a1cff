"""The fused recurrent ops, held to their references, to the lecture, and to what they promise of padding."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tests.standin import counting
from tinygrad7.backend import xp
from tinygrad7.ops import recurrent as ops
from tinygrad7.ops import recurrent_kernels as kernels
from tinygrad7.testing import check_gradients

# name: (fused, reference, gates, states, parameters beside the weights and the bias)
NETS: dict[str, Any] = {
    "rnn": (ops._rnn, ops.rnn_unrolled, 1, 1, 0),
    "lstm": (ops._lstm, ops.lstm_unrolled, 4, 2, 0),
    "gru": (ops._gru, ops.gru_unrolled, 3, 1, 1),
}


def arguments(name: str, T: int, B: int, I: int, H: int, seed: int = 0, scale: float = 1.0) -> list[np.ndarray]:
    """x, states, w_ih, w_hh, b and what else the net takes, in float64."""
    _, _, gates, states, more = NETS[name]
    rng = np.random.default_rng(seed)
    shapes = [(T, B, I), *[(B, H)] * states, (gates * H, I), (gates * H, H), (gates * H,), *[(H,)] * more]
    return [scale * rng.standard_normal(s) for s in shapes]


def value_and_gradients(
    f: Any, arrays: Any, live: Any = None, seed: int = 1, **options: Any
) -> tuple[list[Any], list[Any]]:
    """The outputs of ``f`` and the gradients of a weighted sum of them."""
    live = [True] * len(arrays) if live is None else live
    given = [None if a is None else tg.tensor(a, requires_grad=g) for a, g in zip(arrays, live, strict=True)]
    if options.get("lengths") is not None:
        options["lengths"] = ops.check_lengths("test", options["lengths"], given[0])
    outputs = f(*given, **options)
    rng = np.random.default_rng(1)
    loss = sum((y * tg.tensor(rng.standard_normal(y.shape), dtype=y.dtype)).sum() for y in outputs)
    if loss.requires_grad:
        loss.backward()
    return [host(y) for y in outputs], [None if t is None or t.grad is None else host(t.grad) for t in given]


def assert_same(found: Any, wanted: Any, tolerance: float = 1e-10) -> None:
    for part, other in zip(found, wanted, strict=True):
        for a, b in zip(part, other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.shape == b.shape
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


sizes = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))  # none: see below


@pytest.mark.parametrize("name", NETS)
@given(size=sizes, data=st.data())
def test_fused_and_reference_agree(name: str, size: Any, data: st.DataObject) -> None:
    """In value and gradient, whatever the shapes, lengths, direction, and arguments that need a gradient."""
    fused, reference, *_ = NETS[name]
    T, B, _, _ = size
    arrays: list[Any] = arguments(name, *size, seed=data.draw(st.integers(0, 99)))
    options: dict[str, Any] = {"reverse": data.draw(st.booleans())}
    if data.draw(st.booleans()):
        options["lengths"] = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    if name == "rnn":
        options["nonlinearity"] = data.draw(st.sampled_from(["tanh", "relu"]))
    for k in range(3 + NETS[name][3], len(arrays)):
        if data.draw(st.integers(0, 2)) == 2:
            arrays[k] = None  # without this bias
    live = data.draw(
        st.one_of(st.just([True] * len(arrays)), st.lists(st.booleans(), min_size=len(arrays), max_size=len(arrays)))
    )
    block, kernels.BLOCK = kernels.BLOCK, data.draw(st.sampled_from([1, 6, 256]))  # blocks of steps of every kind
    try:
        found = value_and_gradients(fused, arrays, live, **options)
    finally:
        kernels.BLOCK = block
    wanted = value_and_gradients(reference, arrays, live, **options)
    assert_same(found, wanted)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_both_orders_stand_up_to_finite_differences(name: str, reverse: bool) -> None:
    arrays = arguments(name, 3, 2, 2, 2, scale=0.7)
    lengths = ops.check_lengths(name, [3, 2], tg.tensor(arrays[0]))
    check_gradients(lambda *a: NETS[name][0](*a, lengths=lengths, reverse=reverse), *arrays, order=2)


@pytest.mark.parametrize("name", NETS)
def test_second_derivatives_through_the_fused_op_are_those_through_the_reference(name: str) -> None:
    arrays = arguments(name, 4, 2, 3, 2)
    found = []
    for f in NETS[name][:2]:
        leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
        loss = sum((y * y).sum() for y in f(*leaves))
        first = tg.gradients(loss, leaves, create_graph=True)
        found.append([host(s) for s in tg.gradients(sum((g * g).sum() for g in first), leaves)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# ---- padding and direction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("which", ["fused", "reference"])
@given(data=st.data())
@settings(max_examples=15)
def test_padding_changes_nothing(name: str, which: str, data: st.DataObject) -> None:
    """A padded batch gives each sequence what it gets alone, whatever stands in the padding: not even NaN passes."""
    f = NETS[name][which == "reference"]
    states = NETS[name][3]
    T, B, I, H = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3)), 2, 3
    lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    reverse = data.draw(st.booleans())
    arrays = arguments(name, T, B, I, H, seed=data.draw(st.integers(0, 99)))
    padded = np.arange(T)[:, None] >= np.array(lengths)
    arrays[0][padded] = np.nan
    seeds = [np.random.default_rng(5).standard_normal(s) for s in [(T, B, H)] + [(B, H)] * states]

    def run(columns: slice, steps: int, **options: Any) -> tuple[list[Any], list[Any]]:
        parts = [arrays[0][:steps, columns], *[s[columns] for s in arrays[1 : 1 + states]], *arrays[1 + states :]]
        leaves = [tg.tensor(a, requires_grad=True) for a in parts]
        if options.get("lengths") is not None:
            options["lengths"] = ops.check_lengths(name, options["lengths"], leaves[0])
        outputs = f(*leaves, reverse=reverse, **options)
        cut = [seeds[0][:steps, columns], *[s[columns] for s in seeds[1:]]]
        loss = sum((y * tg.tensor(s)).sum() for y, s in zip(outputs, cut, strict=True))
        return [host(y) for y in outputs], [host(g) for g in tg.gradients(loss, leaves, unreached="zero")]

    together, gradients = run(slice(None), T, lengths=lengths)
    assert not together[0][padded].any()
    assert not gradients[0][padded].any()
    total = [np.zeros_like(g) for g in gradients[1 + states :]]
    for b, n in enumerate(lengths):
        alone, own = run(slice(b, b + 1), n)
        np.testing.assert_allclose(together[0][:n, b], alone[0][:, 0], rtol=1e-10, atol=1e-12)
        for whole, part in zip(
            [*together[1:], *gradients[1 : 1 + states]], [*alone[1:], *own[1 : 1 + states]], strict=True
        ):
            np.testing.assert_allclose(whole[b], part[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(gradients[0][:n, b], own[0][:, 0], rtol=1e-10, atol=1e-12)
        for sum_, part in zip(total, own[1 + states :], strict=True):
            sum_ += part
    for whole, sum_ in zip(gradients[1 + states :], total, strict=True):
        np.testing.assert_allclose(whole, sum_, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_reverse_is_the_flipped_sequence_forwards(name: str) -> None:
    arrays = arguments(name, 5, 3, 2, 4)
    back = value_and_gradients(NETS[name][0], arrays, reverse=True)
    arrays[0] = arrays[0][::-1].copy()

    def flipped(*a: Any) -> Any:
        y, *last = NETS[name][0](*a)
        return (tg.flip(y, 0), *last)

    there = value_and_gradients(flipped, arrays)
    there[1][0] = there[1][0][::-1]
    assert_same(back, there)


# ---- the lecture -------------------------------------------------------------------------------------------------


def test_the_lectures_equations_of_backprop_through_time() -> None:
    """Slides "Backprop Through Time": one unit, z = u x + w h, r = v h, y = φ(r); every bar written out by hand."""
    rng = np.random.default_rng(0)
    x, target, (u, v, w) = rng.standard_normal(6), rng.standard_normal(6), rng.standard_normal(3)
    z, h = np.zeros(6), np.zeros(7)
    for t in range(6):
        z[t] = u * x[t] + w * h[t - 1]
        h[t] = np.tanh(z[t])
    y = np.tanh(v * h[:6])
    y_bar = y - target  # of the loss Σ (y − target)² / 2
    r_bar = y_bar * (1 - y * y)
    h_bar, z_bar = np.zeros(6), np.zeros(7)
    for t in range(5, -1, -1):
        h_bar[t] = r_bar[t] * v + z_bar[t + 1] * w
        z_bar[t] = h_bar[t] * (1 - h[t] ** 2)
    u_bar = (z_bar[:6] * x).sum()
    v_bar = (r_bar * h[:6]).sum()
    w_bar = (z_bar[1:6] * h[:5]).sum()

    for unroll in (False, True):
        U, V, W = (tg.tensor(np.array([[a]]), requires_grad=True) for a in (u, v, w))
        hidden, _ = tg.rnn(tg.tensor(x.reshape(6, 1, 1)), None, U, W, unroll=unroll)
        miss = tg.tanh(hidden * V) - tg.tensor(target.reshape(6, 1, 1))
        loss = (miss * miss).sum() / 2
        states = tg.gradients(loss, [hidden])[0]
        np.testing.assert_allclose(states.numpy().ravel(), r_bar * v, rtol=1e-12)  # before time adds its part
        loss.backward()
        for found, wanted in ((U.grad, u_bar), (V.grad, v_bar), (W.grad, w_bar)):
            np.testing.assert_allclose(found, [[wanted]], rtol=1e-12)


def test_each_steps_bar_is_the_lectures() -> None:
    """In the unrolled net the tape's cotangents of h(t) and z(t) are h̄(t) and z̄(t), step by step."""
    rng = np.random.default_rng(1)
    u, w, x = 0.7, -1.3, rng.standard_normal(5)
    U, W = (tg.tensor([[a]], dtype="float64", requires_grad=True) for a in (u, w))
    y, _ = tg.rnn(tg.tensor(x.reshape(5, 1, 1)), None, U, W, unroll=True)
    loss = (y * y).sum() / 2
    tape = tg.Tape(loss)
    bars = tape.cotangents()
    h = host(y).ravel()
    z_bar, after = np.zeros(5), 0.0
    for t in range(4, -1, -1):
        after = z_bar[t] = (h[t] + w * after) * (1 - h[t] ** 2)
    steps = {}
    for entry, bar in zip(tape, bars, strict=True):
        if entry.op == "add" and entry.step is not None:
            steps[entry.step] = host(bar).item()
    np.testing.assert_allclose([steps[t] for t in range(5)], z_bar, rtol=1e-12)


@pytest.mark.parametrize("unroll", [False, True])
def test_the_lectures_exercise_on_the_memory_cell(unroll: bool) -> None:
    """With f = 1, i = 0, o = 0 the cell and its bar pass through unmodified: c̄_t = c̄_{t+1}, exactly, 200 times."""
    H, rng = 3, np.random.default_rng(0)
    bias = np.repeat([-1000.0, 1000.0, -1000.0, 0.3], H)  # i, f, o, g
    weights = [0.1 * rng.standard_normal(s) for s in ((4 * H, 2), (4 * H, H))]
    c0 = tg.tensor(rng.standard_normal((2, H)), requires_grad=True)
    h0 = tg.tensor(np.zeros((2, H)), requires_grad=True)
    x = tg.tensor(rng.standard_normal((200, 2, 2)))
    y, (_, c) = tg.lstm(x, (h0, c0), *[tg.tensor(a) for a in (*weights, bias)], unroll=unroll)
    np.testing.assert_array_equal(c.numpy(), c0.numpy())
    assert not host(y).any()
    c_bar = rng.standard_normal((2, H))
    c.backward(tg.tensor(c_bar))
    np.testing.assert_array_equal(c0.grad, c_bar)
    assert h0.grad is None or not host(h0.grad).any()


def test_remember_add_erase_overwrite() -> None:
    """The four settings of the gates on the slide: i = 0, f = 1 remembers; 1, 1 adds; 0, 0 erases; 1, 0 overwrites."""

    def zero(*shape: int) -> Any:
        return tg.zeros(shape, dtype="float64")

    wanted = {(0, 1): 0.5, (1, 1): 0.5 + np.tanh(0.2), (0, 0): 0.0, (1, 0): np.tanh(0.2)}
    for (i, f), cell in wanted.items():
        b = tg.tensor([2000.0 * i - 1000, 2000.0 * f - 1000, 0.0, 0.2], dtype="float64")
        state = zero(1, 1), zero(1, 1) + 0.5
        _, (_, c) = tg.lstm(zero(1, 1, 1), state, zero(4, 1), zero(4, 1), b)
        np.testing.assert_allclose(c.numpy(), [[cell]], rtol=1e-12)


# ---- edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(0, 2, 3, 4), (3, 0, 3, 4), (1, 1, 1, 1)])
def test_no_steps_and_no_sequences(name: str, size: Any) -> None:
    T, B, _, H = size
    arrays = arguments(name, *size)
    states = NETS[name][3]
    outputs, gradients = value_and_gradients(NETS[name][0], arrays)
    assert outputs[0].shape == (T, B, H)
    if T == 0:
        for state, first in zip(outputs[1:], arrays[1 : 1 + states], strict=True):
            np.testing.assert_array_equal(state, first)
    for gradient, a in zip(gradients, arrays, strict=True):
        assert gradient.shape == a.shape


@pytest.mark.parametrize("name", NETS)
def test_float32_stays_float32(name: str) -> None:
    arrays = [a.astype(np.float32) for a in arguments(name, 4, 2, 3, 5)]
    found = value_and_gradients(NETS[name][0], arrays)
    assert {a.dtype for part in found for a in part} == {np.dtype(np.float32)}
    assert_same(found, value_and_gradients(NETS[name][1], arrays), 3e-5)


@pytest.mark.host
@pytest.mark.parametrize("name", NETS)
def test_arrays_give_arrays_and_stay_as_they_were(name: str) -> None:
    arrays = arguments(name, 4, 2, 3, 5)
    copies = [a.copy() for a in arrays]
    outputs = NETS[name][0](*arrays, reverse=True, lengths=np.array([4, 2]))
    assert all(type(y) is np.ndarray for y in outputs)
    for a, b in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETS)
def test_a_retained_graph_can_be_played_twice(name: str) -> None:
    leaves = [tg.tensor(a, requires_grad=True) for a in arguments(name, 4, 2, 3, 5)]
    loss = sum((y * y).sum() for y in NETS[name][0](*leaves))
    loss.backward(retain_graph=True)
    once = [host(t.grad).copy() for t in leaves]
    loss.backward()
    for t, g in zip(leaves, once, strict=True):
        np.testing.assert_array_equal(t.grad, 2 * g)


@pytest.mark.host
@pytest.mark.parametrize("name", NETS)
def test_a_write_into_the_users_array_changes_no_gradient(name: str) -> None:
    x, *rest = arguments(name, 4, 2, 3, 5)
    found = []
    for write in (False, True):
        given, leaves = x.copy(), [tg.tensor(a, requires_grad=True) for a in rest]
        state = tuple(leaves[:2]) if name == "lstm" else leaves[0]
        y, _ = getattr(tg, name)(given, state, *leaves[NETS[name][3] :])
        if write:
            given[...] = 9.0
        (y * y).sum().backward()
        found.append([t.grad for t in leaves])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.host
def test_one_step_outside_a_tape_is_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generation steps with T = 1: there is nothing to fuse, and the weights are not copied."""
    arrays = arguments("lstm", 1, 2, 3, 4)
    x, h, c, *weights = [tg.tensor(a) for a in arrays]
    wanted = ops._lstm(x, h, c, *weights)
    monkeypatch.setattr(kernels, "lstm_forward", None)
    y, (h1, c1) = tg.lstm(x, (h, c), *weights)
    for a, b in zip((y, h1, c1), wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_the_unrolled_net_stands_under_its_time_steps() -> None:
    arrays = [tg.tensor(a, requires_grad=True) for a in arguments("gru", 4, 2, 3, 5)]
    y, _ = tg.gru(*arrays, unroll=True, reverse=True)
    steps = {entry.step for entry in tg.Tape(y.sum()) if entry.op == "tanh"}
    assert steps == {0, 1, 2, 3}
    y, _ = tg.gru(*arrays)
    assert sum(entry.op == "gru" for entry in tg.Tape(y.sum())) == 1


# ---- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.host
def test_a_fused_lstm_step_takes_no_more_memory_than_pytorchs() -> None:
    """In units of the output's bytes, PyTorch 2.13's nn.LSTM holds 6.07 after forward and 15.6 at most (process memory,
    T = 512, B = 32, I = 96, H = 256, one thread)."""
    T, B, I, H = 256, 16, 48, 128
    leaves = [tg.tensor(a, dtype="float32", requires_grad=k > 2) for k, a in enumerate(arguments("lstm", T, B, I, H))]
    tracemalloc.start()
    try:
        y, state = tg.lstm(leaves[0], (leaves[1], leaves[2]), *leaves[3:])
        held = tracemalloc.get_traced_memory()[0] / (T * B * H * 4)
        y.sum().backward()
        del state
        peak = tracemalloc.get_traced_memory()[1] / (T * B * H * 4)
    finally:
        tracemalloc.stop()
    assert held < 6.07
    assert peak < 8


# ---- errors ------------------------------------------------------------------------------------------------------


def call(name: str, size: Any = (3, 2, 4, 5), **changes: Any) -> Any:
    x, *rest = arguments(name, *size)
    states, weights = rest[: NETS[name][3]], rest[NETS[name][3] :]
    given: dict[str, Any] = {"x": x, "state": states[0] if len(states) == 1 else tuple(states)}
    given |= dict(zip(("w_ih", "w_hh", "b", "b_hn"), weights, strict=False)) | changes
    wrapped = {k: tg.tensor(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in given.items()}
    if isinstance(wrapped["state"], tuple):
        wrapped["state"] = tuple([tg.tensor(s) if isinstance(s, np.ndarray) else s for s in wrapped["state"]])
    return getattr(tg, name)(wrapped.pop("x"), wrapped.pop("state"), **wrapped)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("rnn", {"x": np.zeros((3, 4))}, r"rnn: x must be \(T, B, I\), steps first; got \(3, 4\).*x\[:, None\]"),
        ("lstm", {"w_hh": np.zeros((15, 5))}, r"lstm: w_hh must be \(4 H, H\), its 4 part\(s\) square; got \(15, 5\)"),
        (
            "gru",
            {"w_ih": np.zeros((15, 3))},
            r"gru: w_ih must be \(15, 4\) for x \(3, 2, 4\) and hidden size 5; got \(15, 3\)",
        ),
        ("gru", {"b_hn": np.zeros(3)}, r"gru: b_hn must be \(5,\) for hidden size 5; got \(3,\)"),
        ("lstm", {"b": np.zeros(5)}, r"lstm: b must be \(20,\) for hidden size 5; got \(5,\)"),
        ("rnn", {"state": np.zeros((3, 5))}, r"rnn: h0 must be \(2, 5\), batch × hidden; got \(3, 5\)"),
        ("lstm", {"state": (None, np.zeros((2, 4)))}, r"lstm: c0 must be \(2, 5\), batch × hidden; got \(2, 4\)"),
        ("rnn", {"lengths": [3]}, r"rnn: lengths must be 2 integers, one a sequence; got \(1,\) int64"),
        ("rnn", {"lengths": [3.0, 1.0]}, r"rnn: lengths must be 2 integers, one a sequence; got \(2,\) float64"),
    ],
)
def test_shapes_that_do_not_fit(name: str, changes: Any, message: str) -> None:
    with pytest.raises(tg.ShapeError, match=message):
        call(name, **changes)


def test_other_bad_arguments() -> None:
    with pytest.raises(ValueError, match="rnn: nonlinearity must be 'tanh' or 'relu', not 'sigmoid'"):
        call("rnn", nonlinearity="sigmoid")
    with pytest.raises(ValueError, match="gru: lengths must be between 0 and T = 3; got 2 to 4"):
        call("gru", lengths=[2, 4])
    with pytest.raises(ValueError, match="gru: lengths must be between 0 and T = 3; got -1 to 3"):
        call("gru", lengths=[3, -1])
    with pytest.raises(TypeError, match=r"lstm: the state is a pair \(h, c\) or None; got Tensor"):
        call("lstm", state=np.zeros((2, 5)))


def test_full_lengths_are_no_lengths() -> None:
    x = tg.tensor(np.zeros((3, 2, 1)))
    assert ops.check_lengths("rnn", [3, 3], x) is None
    assert ops.check_lengths("rnn", tg.tensor(np.array([3, 2])), x) is not None
    assert xp(ops.check_lengths("rnn", [3, 2], x)) is xp(x.data)


@pytest.mark.host
def test_on_the_device_a_step_is_four_launches(cuda: Any) -> None:
    """The step's input copied, one product, one kernel for all four gates, the output copied; backward likewise."""
    forward, backward = [], []
    for T in (10, 20):
        with tg.device("cuda"):
            leaves = [tg.tensor(a, requires_grad=k > 2) for k, a in enumerate(arguments("lstm", T, 2, 3, 4))]
            with counting() as seen:
                y, _, _ = ops._lstm(*leaves)
            forward.append(seen["launches"])
            with counting() as seen:
                y.backward(tg.tensor(np.ones(y.shape)))
            backward.append(seen["launches"])
    assert forward[1] - forward[0] == 10 * 4
    assert backward[1] - backward[0] == 10 * 3


@pytest.mark.host
def test_checkpointed_memory_grows_as_the_square_root_of_the_steps() -> None:
    """Over √T segments only the states between them are kept, and one segment's inside at a time."""
    B, H, weights = 2, 16, [tg.tensor(a, requires_grad=True) for a in arguments("lstm", 1, 1, 1, 16, scale=0.3)[3:]]

    def peak(T: int, segments: int) -> float:
        x = np.random.default_rng(0).standard_normal((T, B, 1))
        tracemalloc.start()
        try:
            state = (tg.tensor(np.zeros((B, H))), tg.tensor(np.zeros((B, H))))
            for part in np.array_split(x, segments):

                def segment(h: Any, c: Any, part: Any = part) -> Any:
                    return tg.lstm(tg.tensor(part), (h, c), *weights)[1]

                state = tg.checkpoint(segment, *state) if segments > 1 else segment(*state)
            h, _ = state
            h.sum().backward()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(250, 16), peak(4000, 63)
    assert many / few < 5  # 16 times the steps, 4 times the memory
    assert peak(4000, 1) / many > 8


@pytest.mark.parametrize("name", NETS)
def test_lengths_written_into_after_the_forward_change_no_gradient(name: str) -> None:
    arrays = arguments(name, 4, 2, 2, 3)
    grads = []
    for later in ([3, 1], [1, 4]):
        given = [tg.tensor(a, requires_grad=True) for a in arrays]
        x, *states = given[: 1 + NETS[name][3]]
        lengths = np.array([3, 1])
        state = tuple(states) if name == "lstm" else states[0]
        y, _ = getattr(tg, name)(x, state, *given[1 + len(states) :], lengths=lengths, reverse=True)
        lengths[:] = later
        (y * y).sum().backward()
        grads.append([host(t.grad) for t in given])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("lengths", [None, "some"])
def test_the_widest_operand_decides_the_dtype(name: str, steps: int, lengths: Any) -> None:
    """Whichever it is: of what ``rnn`` and the others give, fused and unrolled."""
    arrays = arguments(name, steps, 2, 2, 3)
    states = NETS[name][3]
    for wide in range(len(arrays)):
        found = []
        for unroll in (False, True):
            given = [
                tg.tensor(a.astype("float64" if k == wide else "float32"), requires_grad=True)
                for k, a in enumerate(arrays)
            ]
            state = tuple(given[1 : 1 + states]) if name == "lstm" else given[1]
            options = {"lengths": [steps, 0] if lengths else None, "unroll": unroll}
            y, h = getattr(tg, name)(given[0], state, *given[1 + states :], **options)
            outputs = [y, *(h if name == "lstm" else [h])]
            assert {str(o.dtype) for o in outputs} == {"float64"}, (wide, unroll)
            sum((o * o).sum() for o in outputs).backward()
            assert [t.grad is None or t.grad.dtype == t.dtype for t in given] == [True] * len(given)
            found.append([host(o) for o in outputs] + [host(t.grad) for t in given if t.grad is not None])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
