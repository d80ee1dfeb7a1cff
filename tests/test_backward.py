"""Backward: what it adds where, what it keeps alive, what it refuses."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import walk
from tinygrad7.node import Leaf, Node
from tinygrad7.tape import REGISTRY
from tinygrad7.tensor import Tensor


def leaf(value: Any = (1.0, 2.0, 3.0), name: str | None = None, dtype: Any = np.float64) -> Tensor:
    return tg.tensor(np.asarray(value, dtype), requires_grad=True, name=name)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Garbage that only the cycle collector could free stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(isinstance(o, Node) for o in gc.get_objects())


# ---- what is added where -----------------------------------------------------------------------------------------


def test_the_diamond() -> None:
    """Both branches arrive at x before x passes anything on: the first thing that naive engines get wrong."""
    x = leaf(3.0)
    a = x * x
    b, c = a * 2, a * 5
    (b * c + a).backward()
    np.testing.assert_allclose(x.grad, 40 * 3.0**3 + 2 * 3.0)


@given(st.integers(1, 30))
def test_doubling_n_times_visits_every_node_once(n: int) -> None:
    x = leaf(1.0)
    y = x
    for _ in range(n):
        y = y + y
    y.backward()
    np.testing.assert_allclose(x.grad, 2.0**n)


def test_a_shared_weight_collects_from_every_step() -> None:
    w, xs = leaf(0.5), [0.3, -0.2, 0.9]
    h: Any = 0.0
    for t, x in enumerate(xs):
        with tg.step(t):
            h = tg.tanh(w * x + h)
    h.backward()
    e = 1e-6

    def run(v: float) -> float:
        state = 0.0
        for x in xs:
            state = np.tanh(v * x + state)
        return state

    np.testing.assert_allclose(w.grad, (run(0.5 + e) - run(0.5 - e)) / (2 * e), rtol=1e-8)


def test_two_backwards_add_exactly_twice() -> None:
    x = leaf()
    for _ in range(2):
        (tg.tanh(x) * x).sum().backward()
    twice = host(x.grad)
    x.grad = None
    (tg.tanh(x) * x).sum().backward()
    np.testing.assert_array_equal(twice, 2 * host(x.grad))


def test_the_same_tensor_may_be_both_operands() -> None:
    x = leaf([2.0, 3.0])
    (x * x + x / x - x).sum().backward()
    np.testing.assert_allclose(x.grad, [3.0, 5.0])


def test_gradients_are_nobodys_alias() -> None:
    x, y = leaf(), leaf()
    z = x + y
    z.sum().backward()
    x.grad[...] = 7.0
    np.testing.assert_array_equal(y.grad, [1.0, 1.0, 1.0])
    u = leaf()
    seed = tg.tensor(np.ones(3)).data if tg.tensor(0.0).device != "cpu" else np.ones(3)
    (u + 0.0).backward(seed)
    u.grad[...] = 9.0
    np.testing.assert_array_equal(seed, [1.0, 1.0, 1.0])
    before = u.grad
    (u * 1.0).sum().backward()
    assert u.grad is not before or host(before)[0] == 10.0


def test_a_leaf_may_be_the_output_itself() -> None:
    x = leaf(2.0)
    x.backward()
    x.backward()
    np.testing.assert_array_equal(x.grad, 2.0)


def test_slices_accumulate_and_each_counts_once() -> None:
    x = leaf(np.arange(12.0).reshape(6, 2))
    total: Any = 0.0
    for t in range(6):
        total = total + (x[t] * (t + 1)).sum()
    (total + x[2:4].sum() + x[[0, 0]].sum() + (x * 0.5).sum()).backward()
    expected = np.arange(1, 7)[:, None] + np.array([2, 0, 1, 1, 0, 0])[:, None] + np.full((6, 2), 0.5)
    np.testing.assert_array_equal(x.grad, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_gradient_has_its_tensors_dtype_shape_and_device(dtype: str) -> None:
    for value in (np.ones((2, 3)), np.ones(()), np.ones((0, 2)), np.ones((1, 3))):
        x, other = leaf(value, dtype=dtype), leaf(np.ones((2, 3) if value.size else (0, 2)))
        (x * other).sum().backward()
        assert (x.grad.dtype, x.grad.shape) == (x.dtype, x.shape)
        assert type(x.grad) is type(other.grad) and not isinstance(x.grad, np.generic)


def test_a_seed_is_the_cotangent_of_the_output() -> None:
    x = leaf()
    y = x * x
    y.backward(np.array([1.0, 0.0, -1.0]), retain_graph=True)
    np.testing.assert_array_equal(x.grad, [2.0, 0.0, -6.0])
    y.backward([1, 1, 1], retain_graph=True)
    y.backward(tg.tensor(np.zeros(3)))
    np.testing.assert_array_equal(x.grad, [4.0, 4.0, 0.0])


def test_an_output_of_one_element_needs_no_seed() -> None:
    x = leaf([[2.0]])
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, [[4.0]])


def test_a_non_scalar_without_a_seed_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"backward starts at a scalar, this output has shape \(3,\): take a loss of it, y\.sum\(\)"
    ):
        (leaf() * 2).backward()


def test_a_seed_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backward: the seed has shape \(2,\), the output \(3,\); they must be equal"):
        (leaf() * 2).backward([1.0, 2.0])


@pytest.mark.parametrize("make", [lambda: tg.tensor(1.0), lambda: leaf(1.0).detach() * 2])
def test_backward_of_a_constant_is_refused(make: Any) -> None:
    with pytest.raises(
        RuntimeError, match=r"this tensor is a constant, no recorded op leads to it.*requires_grad=True"
    ):
        make().backward()
    with tg.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="this tensor is a constant"):
        y.backward()


def test_backward_records_nothing_and_leaves_the_settings() -> None:
    x = leaf()
    y = (x * x).sum()
    with tg.no_grad():
        y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0, 6.0])
    assert type(x.grad) is type(x.data) and (x * 1).requires_grad


def test_backward_within_backward() -> None:
    """Cotangents live in the call: a rule that itself runs a backward disturbs nothing."""

    @tg.primitive("inner")
    def square_by_inner_backward(x: Any) -> Any:
        return x * x

    def rule(g: Any, x: Any) -> Any:
        with tg.enable_grad():
            inside = tg.tensor(x, requires_grad=True)
            (inside * inside).sum().backward()
        return g * inside.grad

    square_by_inner_backward.vjp(x=rule)
    x = leaf()
    (square_by_inner_backward(x) * x).sum().backward()
    np.testing.assert_allclose(x.grad, 3 * np.array([1.0, 4.0, 9.0]))
    from tinygrad7.op import REGISTRY

    del REGISTRY["square_by_inner_backward"]


def test_threads_that_share_a_leaf_do_not_meet() -> None:
    w = leaf(np.ones(8))
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        for _ in range(30):
            (g,) = tg.gradients((tg.tanh(w * i) * w).sum(), [w])
        found[i] = host(g)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        t = np.tanh(i * 1.0)
        np.testing.assert_allclose(found[i], np.full(8, t + i * (1 - t * t)))


# ---- one graph, played once --------------------------------------------------------------------------------------


def test_a_second_backward_is_told_what_carried_it_in() -> None:
    w = leaf(0.5, name="w")
    with tg.scope("rnn"), tg.step(3):
        h = tg.tanh(w * 2)
    h.sum().backward()
    with tg.scope("rnn"), tg.step(4):
        h = tg.tanh(h * w)
    with pytest.raises(RuntimeError) as caught:
        h.sum().backward()
    message = str(caught.value)
    assert "backward has already been through tanh () in rnn/t=3" in message
    assert "used here by multiply () in rnn/t=4" in message
    assert message.index("tg.truncate(state)") < message.index("retain_graph=True")


def test_truncate_is_the_mend() -> None:
    w = leaf(0.5)
    h: Any = tg.tensor(np.zeros(()))
    for _ in range(3):
        h = tg.tanh(h * w + w)
        h.backward()
        h = tg.truncate(h)
        assert not h.requires_grad
    nested = tg.truncate({"h": [w * 2, 3], "c": (w * 3,)})
    assert not nested["h"][0].requires_grad and nested["h"][1] == 3 and not nested["c"][0].requires_grad


def test_retain_graph_keeps_it() -> None:
    x = leaf()
    y = (tg.exp(x) * x).sum()
    y.backward(retain_graph=True)
    first = host(x.grad).copy()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, first * 3)
    with pytest.raises(RuntimeError, match="has already been through"):
        y.backward()


def test_a_played_graph_is_refused_by_create_graph_too() -> None:
    x = leaf()
    y = tg.exp(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"backward has already been through sum \(\)"):
        tg.gradients(y, x, create_graph=True)


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_play_only_what_leads_to_what_is_wanted(create_graph: bool) -> None:
    x, w = leaf(np.ones((1, 1, 2, 2))), leaf(np.ones((1, 1, 2, 2)))
    side = tg.exp(w)
    side.sum().backward()  # a second time would be refused
    for y in (x * side, tg.conv2d(x, side)):
        (g,) = tg.gradients(y.sum(), x, create_graph=create_graph)
        np.testing.assert_allclose(g, np.exp(host(w)))


def test_gradients_leave_the_graph_as_it_was() -> None:
    x = leaf()
    y = (tg.exp(x) * x).sum()
    a, b = tg.gradients(y, x)[0], tg.gradients(y, x)[0]
    np.testing.assert_array_equal(a, b)
    assert x.grad is None
    y.backward()
    np.testing.assert_array_equal(x.grad, a)


def test_of_two_losses_on_one_trunk_the_second_is_refused_and_gradients_takes_both() -> None:
    x = leaf()
    trunk = tg.exp(x)
    a, b = (trunk * 2).sum(), (trunk * trunk).sum()
    np.testing.assert_allclose(tg.gradients([a, b], x)[0], 2 * np.exp(host(x)) + 2 * np.exp(2 * host(x)))
    a.backward()
    with pytest.raises(RuntimeError, match=r"already been through exp \(3,\)"):
        b.backward()


# ---- gradients: its own messages ---------------------------------------------------------------------------------


def test_gradients_messages() -> None:
    x, other = leaf(name="x"), leaf(name="other")
    y = (x * x).sum()
    with pytest.raises(
        ValueError, match=r"gradients: the output does not depend on 'other'; use unreached=\"zero\" if it need not"
    ):
        tg.gradients(y, [x, other])
    with pytest.raises(ValueError, match=r"does not depend on xs\[1\] of shape \(2,\)"):
        tg.gradients(y, [x, leaf([1.0, 2.0])])
    np.testing.assert_array_equal(tg.gradients(y, [other], unreached="zero")[0], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="gradients: unreached must be 'error' or 'zero', not 'zeros'"):
        tg.gradients(y, [other], unreached="zeros")
    with pytest.raises(TypeError, match=r"gradients: xs\[0\] is a ndarray; tensors of a recorded graph are needed"):
        tg.gradients(y, [host(x)])
    with pytest.raises(ValueError, match=r"gradients: xs\[0\] \(3,\) is a constant: it needs requires_grad=True"):
        tg.gradients(y, [x.detach()])
    with pytest.raises(ValueError, match="gradients: 1 outputs but 2 seeds; give one for each"):
        tg.gradients(y, x, [1.0, 1.0])
    with pytest.raises(TypeError, match="gradients: an output is a float; a recorded tensor is needed"):
        tg.gradients([3.0], x)
    with pytest.raises(ValueError, match=r"gradients starts at a scalar, this output has shape \(3,\)"):
        tg.gradients(x * x, x)
    with pytest.raises(ValueError, match=r"gradients: the seed has shape \(2,\), the output \(3,\)"):
        tg.gradients(x * x, x, [[1.0, 2.0]])


def test_gradients_with_respect_to_an_inner_result() -> None:
    x = leaf()
    h = tg.exp(x)
    (g,) = tg.gradients((h * h).sum(), h)
    np.testing.assert_allclose(g, 2 * np.exp(host(x)))


def test_the_gradient_of_a_constant_is_zero_where_it_is_asked_for() -> None:
    x, c = leaf(), tg.tensor([1.0, 2.0])
    for create_graph in (False, True):
        found = tg.gradients((x * x).sum(), [c], create_graph=create_graph, unreached="zero")
        assert [g.tolist() for g in found] == [[0, 0]]


def test_second_derivatives_by_create_graph() -> None:
    x = leaf()
    (g,) = tg.gradients((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    np.testing.assert_allclose(x.grad, 36 * host(x) ** 3)


# ---- stale values ------------------------------------------------------------------------------------------------


def test_a_leaf_assigned_between_forward_and_backward_is_noticed() -> None:
    w, x = leaf([2.0, 3.0], name="w"), leaf([1.0, 1.0])
    loss = (w * x).sum()
    w.assign([5.0, 5.0])
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    message = str(caught.value)
    assert "backward through multiply (2,): it saved the value of leaf 'w', which assign() has changed since" in message
    assert "call backward before changing the leaf, or compute the forward again" in message
    (w * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5.0, 5.0])


def test_an_optimizer_step_is_named() -> None:
    w, x = leaf([2.0], name="w"), leaf([1.0])
    loss = (w * x).sum()
    w._data[...] = 7.0
    w._node.written("an optimizer step")  # type: ignore[union-attr]
    with pytest.raises(
        RuntimeError, match=r"which an optimizer step has changed since.*\(is a state carried over the step\? cut it"
    ):
        loss.backward()


def test_optimizers_stamp_what_they_change() -> None:
    w, x = leaf([2.0], name="w"), leaf([1.0])
    optimizer = tg.optim.SGD([w], lr=0.1)
    (w * x).sum().backward()
    loss = (w * x).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="leaf 'w', which an optimizer step has changed since"):
        loss.backward()


@pytest.mark.parametrize(
    "alias",
    [
        lambda w: w.reshape((1, 3)),
        lambda w: w[1:],
        lambda w: w.T,
        lambda w: w.detach(),
        lambda w: w[::-1],
        lambda w: tg.truncate(w),
        lambda w: tg.broadcast_to(w, (2, 3)),
        lambda w: w.detach()[0:2],
        lambda w: tg.expand_dims(w, 0),
    ],
)
def test_a_view_or_detached_alias_of_a_changed_leaf_is_noticed(alias: Any) -> None:
    w, x = leaf(name="w"), leaf(1.0)
    loss = (alias(w) * x).sum()
    w.assign(w.numpy() + 1)
    with pytest.raises(RuntimeError, match="it saved the value of leaf 'w', which assign"):
        loss.backward()


def test_a_change_that_no_rule_saved_is_no_matter() -> None:
    w, x = leaf([2.0, 3.0]), leaf([1.0, 1.0])
    loss = ((w + 1.0) * x).sum() + tg.exp(w).sum()
    w.assign([0.0, 0.0])
    loss.backward()
    np.testing.assert_allclose(x.grad, [3.0, 4.0])
    np.testing.assert_allclose(w.grad, 1 + np.exp([2.0, 3.0]))


def test_nodes_recorded_after_the_change_are_fine() -> None:
    w = leaf([2.0])
    for value in (3.0, 4.0):
        w.assign([value])
        w.grad = None
        (w * w).sum().backward()
        np.testing.assert_array_equal(w.grad, [2 * value])


def test_stale_values_are_noticed_by_gradients_and_by_create_graph() -> None:
    w = leaf([2.0], name="w")
    loss = (w * w).sum()
    w.assign([1.0])
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match="leaf 'w'"):
            tg.gradients(loss, w, create_graph=create_graph)


def test_a_constant_that_is_assigned_leaves_old_graphs_right() -> None:
    c, x = tg.tensor(np.array([2.0, 3.0])), leaf([1.0, 1.0])
    loss = (c * x).sum()
    c.assign([100.0, 100.0])
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 3.0])


# ---- lifetime, with the collector off ----------------------------------------------------------------------------


def programs() -> dict[str, Any]:
    def net(x: Tensor) -> Tensor:
        h = x
        for t in range(5):
            with tg.step(t):
                h = tg.tanh(h @ tg.tensor(np.eye(3)) + x[0]) * x
        return tg.logsumexp(tg.concatenate([h, tg.stack(list(tg.unstack(h)))]))

    return {
        "dropped without backward": lambda x: net(x),
        "backward": lambda x: net(x).backward(),
        "backward that retains": lambda x: net(x).backward(retain_graph=True),
        "gradients": lambda x: tg.gradients(net(x), x),
        "second order": lambda x: tg.gradients(tg.gradients(net(x), x, create_graph=True)[0].sum(), x),
        "hessian": lambda x: tg.hessian(lambda v: (tg.tanh(v) ** 2).sum())(x[0]),
        "checkpoint": lambda x: tg.checkpoint(net, x).backward(),
        "tape": lambda x: (tg.Tape(net(x)).cotangents(), str(tg.Tape(net(x)))),
        "error in backward": lambda x: pytest.raises(ValueError, (net(x) * x).backward),
        "error in forward": lambda x: pytest.raises(ValueError, lambda: (net(x) * x) @ tg.zeros((7, 7))),
    }


@pytest.mark.parametrize("name", programs())
def test_a_graph_dies_with_the_last_tensor_that_holds_it(name: str, no_collector: None) -> None:
    run = programs()[name]
    x = leaf(np.full((3, 3), 0.3))
    run(x)
    x.grad = None
    before = alive()
    for _ in range(3):
        run(x)
    assert alive() == before


def test_tensors_die_before_their_graph(no_collector: None) -> None:
    """A node keeps the arrays that its rules need, never the tensor that it made."""

    def tensors() -> int:
        return sum(isinstance(o, Tensor) for o in gc.get_objects())

    x = leaf()
    before = tensors()
    y = tg.exp(x)
    z = (y * y).sum()
    del y
    assert tensors() == before + 1
    z.backward()
    np.testing.assert_allclose(x.grad, 2 * np.exp(2 * host(x)))


def test_backward_drops_what_was_saved_as_it_goes() -> None:
    x = leaf()
    y = tg.exp(x)
    z = (y * y).sum()
    nodes = [z._node, z._node.parents[0], y._node]
    z.backward()
    assert all(node.saved is None for node in nodes)


@pytest.mark.host
def test_the_peak_of_backward_is_the_forwards() -> None:
    n, steps = 20_000, 100
    x = leaf(np.full(n, 0.1))
    tracemalloc.start()
    h = x
    for _ in range(steps):
        h = tg.tanh(h + x)
    loss = h.sum()
    del h
    forward, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    loss.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert forward < (steps + 3) * n * 8  # tanh saves its output, add nothing
    assert peak <= 1.1 * forward


# ---- depth -------------------------------------------------------------------------------------------------------


@pytest.mark.host
def test_a_million_nodes_with_the_default_recursion_limit(no_collector: None) -> None:
    assert sys.getrecursionlimit() <= 1000 or "pytest" in sys.modules
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        x = leaf(1.0)
        y = x
        tracemalloc.start()
        for _ in range(1_000):
            y = y + 1.0
        bytes_a_node = tracemalloc.get_traced_memory()[0] / 1_000
        tracemalloc.stop()
        for _ in range(999_000):
            y = y + 1.0
        assert y.item() == 1_000_001.0
        y.backward()
        np.testing.assert_array_equal(x.grad, 1.0)
        assert bytes_a_node < 1024
        del y  # freed without recursion too
    finally:
        sys.setrecursionlimit(limit)


def test_deep_graphs_are_freed_walked_and_printed_without_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    assert len(tg.Tape(y)) == 20_001
    (g,) = tg.gradients(y, x)
    assert g.item() == 1.0
    z = y.detach() + 1
    del y
    assert z.item() == 2.0


@pytest.mark.parametrize("steps", [10, 100])
def test_a_loop_over_a_sequence_makes_one_buffer_however_long_it_is(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = walk._buffer
    monkeypatch.setattr(walk, "_buffer", lambda *args: made.append(1) or make(*args))
    x = leaf(np.ones((steps, 4)))
    total: Any = 0.0
    for t in range(steps):
        total = total + x[t].sum()
    total.backward()
    assert len(made) == 1
    np.testing.assert_array_equal(x.grad, np.ones((steps, 4)))


@pytest.mark.host
def test_a_shared_weight_collects_in_one_buffer() -> None:
    w = leaf(np.ones(50_000))
    loss: Any = 0.0
    for _ in range(20):
        loss = loss + (w * 2.0).sum()
    tracemalloc.start()
    loss.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * w.data.nbytes
    np.testing.assert_array_equal(w.grad, np.full(50_000, 40.0))


def test_rules_run_without_recording() -> None:
    seen = []

    @tg.primitive("watched")
    def watched_rule(x: Any) -> Any:
        return x * 2

    def rule(g: Any) -> Any:
        seen.append((leaf() * 2).requires_grad)
        return g * 2

    watched_rule.vjp(x=rule)
    try:
        x = leaf()
        watched_rule(x).sum().backward()
        tg.gradients(watched_rule(x).sum(), x)
        tg.gradients(watched_rule(x).sum(), x, create_graph=True)
        assert seen == [False, False, True]
    finally:
        del REGISTRY["watched_rule"]


def test_leaves_know_their_birth_scope() -> None:
    with tg.scope("encoder"):
        w = leaf()
    assert isinstance(w._node, Leaf) and w._node.scope.name == "encoder"
