"""Backward: what it adds where."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host, leaf
from tinygrad7.node import Leaf
from tinygrad7.op import REGISTRY


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


def test_a_slice_adds_nothing_to_a_cotangent_that_another_shares() -> None:
    x, z = leaf(), leaf()
    part = x[0]  # older than the sum: when its turn comes, x and z have one cotangent between them
    ((x + z) * leaf() + part).backward([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [4.0, 2.0, 3.0])
    np.testing.assert_array_equal(z.grad, [1.0, 2.0, 3.0])


def test_an_index_into_a_number_adds_to_its_cotangent() -> None:
    x = leaf(2.0)
    part = x[None]
    (x * 3.0 + part.sum()).backward()
    np.testing.assert_array_equal(x.grad, 4.0)


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
