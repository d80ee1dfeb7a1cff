"""Checkpointing: the same gradients bit for bit, the memory of one segment; and cutting graphs."""

from __future__ import annotations

import gc
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, placed


def leaves() -> tuple[tg.Tensor, tg.Tensor]:
    rng = np.random.default_rng(0)
    make = lambda *s: tg.tensor(rng.normal(0, 0.6, s).astype(np.float32), requires_grad=True)
    return make(5, 4), make(4, 4)


def net(x: Any, w: Any, rng: Any) -> Any:
    return tg.dropout(tg.tanh(x @ w), 0.4, rng=rng) * tg.dropout(x, 0.3, rng=rng)


def test_what_is_made_inside_has_the_dtype_of_the_first_run() -> None:
    f = lambda a: tg.exp(a * tg.tensor([0.1, 0.2, 0.4]) * 30).sum()
    found = []
    for checkpoint in (False, True):
        a = tg.tensor(np.array([0.1, 0.2, 0.3], np.float32), requires_grad=True)
        with tg.default_dtype("float64"):
            y = tg.checkpoint(f, a) if checkpoint else f(a)
        with tg.default_dtype("float32"):
            y.backward()
        found.append(a.grad)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("explicit", [False, True], ids=["tg.seed", "rng="])
def test_gradients_are_bit_equal_with_dropout_inside(explicit: bool) -> None:
    found = []
    for store in (True, False):
        x, w = leaves()
        tg.seed(3)
        rng = np.random.default_rng(8) if explicit else None
        h = x
        for _ in range(3):
            h = net(h, w, rng) if store else tg.checkpoint(lambda a: net(a, w, rng), h)
        after = tg.uniform((2,), rng=rng).numpy()  # backward leaves the generators where forward left them
        (h * h).sum().backward()
        found.append((x.grad, w.grad, after, tg.uniform((2,), rng=rng).numpy()))
    for stored, again in zip(*found, strict=True):
        np.testing.assert_array_equal(stored, again)


def test_it_reaches_what_the_function_closes_over() -> None:
    x, w = leaves()
    hidden = tg.sigmoid(w)  # a recorded result, not a leaf

    def f(a: Any) -> Any:
        return {"y": [a @ hidden], "z": (a * 2, 7)}

    out = tg.checkpoint(f, x)
    assert out["z"][1] == 7
    (out["y"][0].sum() + (out["z"][0] ** 2).sum()).backward()
    got = (x.grad, w.grad)
    x.grad = w.grad = None
    hidden = tg.sigmoid(w)
    plain = f(x)
    (plain["y"][0].sum() + (plain["z"][0] ** 2).sum()).backward()
    np.testing.assert_allclose(got[0], x.grad, rtol=1e-6)
    np.testing.assert_allclose(got[1], w.grad, rtol=1e-6)


def test_it_reaches_what_the_function_returns_as_it_is() -> None:
    x, w = leaves()
    y, same = tg.checkpoint(lambda a: (a * 2, w), x)
    (y.sum() + (same * 3).sum()).backward()
    np.testing.assert_array_equal(w.grad, np.full(w.shape, 3.0))


def test_nested_and_unused_and_constant() -> None:
    x, w = leaves()
    y = tg.checkpoint(lambda a: tg.checkpoint(lambda b: tg.tanh(b @ w), a) * 2, x)
    y.sum().backward()
    nested = (x.grad, w.grad)
    x.grad = w.grad = None
    (tg.tanh(x @ w) * 2).sum().backward()
    np.testing.assert_array_equal(nested[0], x.grad)
    np.testing.assert_array_equal(nested[1], w.grad)
    u = tg.tensor([1.0, 2.0], requires_grad=True)
    tg.checkpoint(lambda a, b: a * 2, u, x).sum().backward()  # b does not matter
    np.testing.assert_array_equal(u.grad, [2, 2])
    assert not tg.checkpoint(lambda a: a.detach() * 2, u).requires_grad
    with tg.no_grad():
        assert not tg.checkpoint(lambda a: a * 2, u).requires_grad


@pytest.mark.parametrize("first", ["inner", "outer"])
def test_nested_checkpoints_that_share_a_generator_draw_the_same_again(first: str) -> None:
    found = []
    for call in (tg.checkpoint, lambda f, *xs: f(*xs)):
        x, w = leaves()
        rng = np.random.default_rng(5)

        def inner(b: Any, w: Any = w, rng: Any = rng) -> Any:
            return tg.dropout(tg.tanh(b @ w), 0.4, rng=rng)

        def outer(a: Any, call: Any = call, inner: Any = inner, rng: Any = rng) -> Any:
            if first == "outer":
                a = tg.dropout(a, 0.3, rng=rng)
            return tg.dropout(call(inner, a), 0.3, rng=rng)

        call(outer, x).sum().backward()
        found.append((x.grad, w.grad))
    for again, stored in zip(*found, strict=True):
        np.testing.assert_array_equal(again, stored)


def test_it_is_differentiated_again() -> None:
    x = tg.tensor(np.array([0.3, -0.7]), requires_grad=True)
    y = tg.checkpoint(lambda a: tg.tanh(a) * a, x).sum()
    (g,) = tg.gradients(y, x, create_graph=True)
    (second,) = tg.gradients(g.sum(), x)
    plain = tg.hvp(lambda a: tg.sum(tg.tanh(a) * a), x.numpy(), np.ones(2))
    np.testing.assert_allclose(second, plain, rtol=1e-12)


def test_it_is_one_entry_of_the_tape() -> None:
    x, w = leaves()
    tape = tg.Tape(tg.checkpoint(lambda a: tg.tanh(a @ w) + 1, x).sum())
    assert [entry.op for entry in tape] == ["leaf", "leaf", "checkpoint", "output", "sum"]
    assert tape.nbytes == 0
    np.testing.assert_allclose(tape.values()[-1], tg.sum(tg.tanh(x @ w) + 1).numpy(), rtol=1e-6)


def test_its_entry_says_where_it_stands_and_what_it_was_computed_from() -> None:
    x, w = leaves()
    with tg.scope("net"):
        y = tg.checkpoint(lambda a: (7, tg.tanh(a @ w)), x)[1]
    tape = tg.Tape(y)
    assert tape[2].op == "checkpoint" and tape[2].inputs == (0, 1) and tape[2].scope == ("net",)
    np.testing.assert_array_equal(tape.values()[-1], y.numpy())


def test_values_of_a_tape_are_drawn_again_as_they_were() -> None:
    x, w = leaves()
    rng = np.random.default_rng(8)
    y = tg.checkpoint(lambda a: net(a, w, rng), x)
    tape, state = tg.Tape(y), rng.bit_generator.state
    for again in (tape.values()[-1], tape.expand().values()[-1]):
        np.testing.assert_array_equal(again, y.numpy())
    assert rng.bit_generator.state == state


def peak(steps: int, checkpointed: bool) -> int:
    """Bytes that a fused LSTM over ``steps`` steps needs at most, forward and backward, in √T segments."""
    rng = np.random.default_rng(1)
    lstm = tg.nn.LSTM(16, 32, rng=rng)
    x = tg.tensor(rng.normal(size=(steps, 8, 16)).astype(np.float32))
    length = math.isqrt(steps)

    def segment(part: Any, state: Any) -> Any:
        y, state = lstm(part, state)
        return (y * y).mean(), state

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    state = (tg.zeros((1, 8, 32)), tg.zeros((1, 8, 32)))
    loss: Any = 0.0
    for start in range(0, steps, length):
        part = x[start : start + length]
        value, state = tg.checkpoint(segment, part, state) if checkpointed else segment(part, state)
        loss = loss + value
    loss.backward()
    high = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return high


@pytest.mark.host
def test_memory_grows_as_the_root_of_the_length() -> None:
    high = {steps: peak(steps, True) for steps in (250, 1000, 4000)}
    assert high[1000] < 2.2 * high[250] and high[4000] < 2.2 * high[1000], high
    assert high[4000] < 0.1 * peak(4000, False)


def test_truncate_cuts_nested_states() -> None:
    x, w = leaves()
    h = tg.tanh(x @ w)
    cut = tg.truncate({"state": (h, [h * 2]), "t": 3})
    assert cut["t"] == 3 and not cut["state"][0].requires_grad and not cut["state"][1][0].requires_grad
    np.testing.assert_array_equal(cut["state"][0], h.numpy())
    assert "tanh" in repr(tg.Tape(h)[-1].op)


@pytest.mark.parametrize("way", ["argument", "closed over", "only added", "a view closed over", "its view an argument"])
def test_a_leaf_written_into_before_the_second_run_is_refused(way: str) -> None:
    x, w = leaves()
    view = w.reshape(16)
    call = {
        "argument": lambda: tg.checkpoint(lambda a: tg.tanh(a), w),
        "closed over": lambda: tg.checkpoint(lambda a: tg.tanh(a @ w), x),
        "only added": lambda: tg.checkpoint(lambda a: a[:4] + w, x),
        "a view closed over": lambda: tg.checkpoint(lambda a: a.sum() * view, x),
        "its view an argument": lambda: tg.checkpoint(lambda a: tg.tanh(a), view),
    }[way]
    before, loss = call().sum(), call().sum()
    before.backward(retain_graph=True)
    w.assign(w.numpy() + 1)
    with pytest.raises(RuntimeError, match=r"backward through a checkpoint: it computes again from leaf .*assign\(\)"):
        loss.backward()
    call().sum().backward(retain_graph=True)


def test_a_leaf_written_into_that_a_checkpoint_does_not_read_is_none_of_its_business() -> None:
    x, w = leaves()
    h = tg.tanh(w)
    y = tg.checkpoint(lambda a: a @ h, x).sum()
    expected = tg.gradients(y, [x])[0].numpy()
    x.assign(x.numpy() * 1.0)  # read, whatever the new value is
    with pytest.raises(RuntimeError, match="backward through a checkpoint"):
        tg.gradients(y, [x])
    y = tg.checkpoint(lambda a: a @ h, x).sum()
    w.assign(w.numpy() + 1)
    np.testing.assert_array_equal(tg.gradients(y, [x])[0].numpy(), expected)


def test_arrays_and_constants_changed_before_the_second_run_change_nothing() -> None:
    array, constant = placed(np.full(4, 2.0, np.float32)), tg.tensor(np.full(4, 3.0, np.float32))
    x, _ = leaves()
    y = tg.checkpoint(lambda a, b, c: a * b * c, x, array, constant)
    array[:] = 100
    constant.assign(np.full(4, 100.0))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.full((5, 4), 6.0))


def test_a_function_that_computes_something_else_the_second_time_is_refused() -> None:
    x, _ = leaves()
    runs: list[int] = []

    def f(a: Any) -> Any:
        runs.append(1)
        return (a * 2,) * len(runs)

    with pytest.raises(RuntimeError, match=r"checkpoint: the function gave 1 output\(s\) .* and 2 when it ran again"):
        tg.checkpoint(f, x)[0].sum().backward()


@pytest.mark.parametrize("size", [0.5, 1e-30])
def test_a_function_that_computes_other_values_the_second_time_is_refused(size: float) -> None:
    constant = tg.tensor(np.full(4, size, np.float32))
    x, _ = leaves()
    y = tg.checkpoint(lambda a: a * constant, x)
    constant.assign(constant.numpy() * 1.01)
    with pytest.raises(
        RuntimeError, match="checkpoint: the function gave other values when it ran again.*as an argument"
    ):
        y.sum().backward()


def test_other_values_beside_an_infinite_one_and_other_shapes_are_refused() -> None:
    x = tg.tensor([1.0, 1.0], requires_grad=True)
    runs: list[int] = []

    def f(a: Any) -> Any:
        runs.append(1)
        return a * tg.tensor([np.inf, 1.0 + 0.01 * len(runs)])

    def g(a: Any) -> Any:
        runs.append(1)
        return a[: 1 + len(runs) % 2]

    for function in (f, g):
        with pytest.raises(RuntimeError, match="checkpoint: the function gave other values when it ran again"):
            tg.checkpoint(function, x).sum().backward()


def test_values_that_are_not_finite_are_the_same_when_they_come_again() -> None:
    x = tg.tensor(placed(np.array([0.0, 1.0, -1.0, 2.0], np.float32)), requires_grad=True)
    with np.errstate(all="ignore"):
        y = tg.checkpoint(lambda a: tg.stack([tg.log(a), a / 0.0]), x)
        y.sum().backward()
        empty = tg.checkpoint(lambda a: a[:0] * 2, x)
        empty.sum().backward()
    assert not np.isfinite(y.numpy()).all()


def test_a_name_that_means_another_tensor_the_second_time_is_told() -> None:
    shifts = [tg.tensor(np.zeros(1), requires_grad=True) for _ in range(3)]  # of equal values: only the tensors differ
    h = tg.tensor(np.ones(1), requires_grad=True)
    for b in shifts:
        h = tg.checkpoint(lambda x: x + b, h)
    with pytest.raises(RuntimeError, match=r"checkpoint: the function used other tensors .*lambda x, w=w: \.\.\."):
        h.sum().backward()
    h = tg.tensor(np.ones(1), requires_grad=True)
    for b in shifts:
        h = tg.checkpoint(lambda x, b=b: x + b, h)
    h.sum().backward()
    assert [b.grad.item() for b in shifts] == [1, 1, 1]


def test_the_cotangents_of_a_played_tape_are_those_of_a_fresh_one() -> None:
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    for f in (lambda q: (q * q, q * 5), lambda q: (q * 2, w)):
        y = tg.checkpoint(f, w * 1)
        loss = (y[0] * y[1]).sum()
        tape = tg.Tape(loss)
        before = tape.cotangents()
        loss.backward()
        for fresh, again in zip(before, tape.cotangents(), strict=True):
            for a, b in zip(*[v if isinstance(v, tuple) else (v,) for v in (fresh, again)], strict=True):
                np.testing.assert_array_equal(host(a), host(b))
        assert "checkpoint" not in str(tape.expand())


def test_a_tape_with_a_cast_is_printed() -> None:
    assert "float64" in str(tg.Tape(tg.tensor([1.0], requires_grad=True).astype("float64")))
