"""At the edges: dtypes that wrap round, totals that overflow, constants assigned to later, threads that share."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, placed


def leaf(value: Any, dtype: Any = "float64") -> Any:
    return tg.tensor(np.asarray(value, dtype), requires_grad=True)


# ---- dtypes ------------------------------------------------------------------------------------------------------

FLOATING = [tg.sigmoid, tg.silu, tg.softplus, tg.erf, tg.elu, tg.gelu, tg.softmax, tg.log_softmax, tg.logsumexp]


@pytest.mark.parametrize("f", FLOATING, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool"])
def test_small_and_unsigned_integers_do_not_wrap_round(f: Any, dtype: str) -> None:
    x = np.array([0, 1, 3]).astype(dtype)
    y = f(tg.tensor(x))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, f(tg.tensor(x.astype(np.float64))))


def test_pooling_of_integers() -> None:
    x = tg.tensor(np.full((1, 1, 2, 2), 200, np.uint8))
    assert tg.avg_pool2d(x, 2).item() == 200.0
    below = tg.tensor(np.full((1, 1, 2, 2), -5, np.int8))
    np.testing.assert_array_equal(tg.max_pool2d(below, 2, padding=1), np.full((1, 1, 2, 2), -5))
    assert not tg.max_pool2d(tg.tensor(np.zeros((1, 1, 2, 2), bool)), 2, padding=1).numpy().any()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "int64"])
def test_powers_with_exponents_of_other_dtypes(dtype: str, kind: str) -> None:
    exponent = np.array([2, 0, 1]).astype(kind)
    x = leaf([2.0, 3.0, 4.0], dtype)
    (x ** placed(exponent)).sum().backward()
    assert x.grad.dtype == dtype
    power = exponent.astype(float)
    np.testing.assert_allclose(host(x.grad), power * host(x) ** (power - 1), rtol=1e-3)


def test_the_logarithm_of_a_small_integer_base_is_taken_in_the_dtype_of_the_gradient() -> None:
    t = leaf(2.0)
    (tg.tensor(np.array([7], np.uint8)) ** t).sum().backward()
    np.testing.assert_allclose(host(t.grad), 49 * np.log(7), rtol=1e-12)


@pytest.mark.parametrize("shift", [np.uint8(1), np.array([1], np.uint8), (np.uint8(1),), 1])
def test_rolling_by_an_unsigned_number_is_undone(shift: Any) -> None:
    x = leaf(np.arange(5.0))
    tg.roll(x, shift, 0).backward(placed(np.arange(5.0)))
    np.testing.assert_array_equal(host(x.grad), [1, 2, 3, 4, 0])


def test_a_seed_of_another_dtype_is_converted_when_recorded_too() -> None:
    y = leaf([1.0, 2.0], "float32") * 1
    for create_graph in (False, True):
        (g,) = tg.gradients([y], [y], [tg.tensor(np.ones(2))], create_graph=create_graph)
        assert g.dtype == np.float32


def test_a_cast_to_integers_is_a_constant() -> None:
    x = leaf([1.75, -2.0])
    for dtype, values in (("int64", [1, -2]), ("bool", [True, True])):
        found = x.astype(dtype)
        assert not found.requires_grad and found.dtype == dtype and found.tolist() == values


def test_totals_of_float16_are_summed_in_float32() -> None:
    rows = tg.zeros((20_000, 100), dtype="float16", requires_grad=True)
    loss = tg.cross_entropy(rows, np.zeros(20_000, np.int64))
    np.testing.assert_allclose(host(loss), np.log(100), rtol=1e-3)
    many = tg.zeros(70_000, dtype="float16")
    np.testing.assert_allclose(host(tg.norm(many + 1)), np.sqrt(70_000), rtol=1e-3)
    np.testing.assert_allclose(host(tg.logsumexp(many)), np.log(70_000), rtol=1e-3)
    np.testing.assert_allclose(host(tg.log_softmax(many))[0], -np.log(70_000), rtol=1e-3)
    assert tg.norm(many).dtype == tg.logsumexp(many).dtype == loss.dtype == np.float16


# ---- values ------------------------------------------------------------------------------------------------------


def test_a_norm_of_an_infinite_element_is_infinite() -> None:
    assert tg.norm(tg.tensor([1.0, np.inf]), 3).item() == np.inf


def test_the_deviation_of_equal_elements_has_gradient_zero() -> None:
    x = leaf([[2.0, 2.0], [1.0, 3.0]])
    tg.std(x, axis=1).sum().backward()
    np.testing.assert_array_equal(host(x.grad), [[0, 0], [-0.5, 0.5]])


def test_a_convolution_of_no_images_has_gradients() -> None:
    x, w, b = leaf(np.zeros((0, 1, 4, 4))), leaf(np.ones((2, 1, 3, 3))), leaf(np.ones(2))
    tg.conv2d(x, w, b).sum().backward()
    np.testing.assert_array_equal(host(b.grad), [0, 0])
    assert x.grad.shape == (0, 1, 4, 4) and not host(w.grad).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: tg.take(x, np.array([True, False])), IndexError, r"take: indices are integers, .*x\[mask\] chooses"),
        (lambda x: tg.split(x, [1.9]), TypeError, "float.*interpreted as an integer"),
        (lambda x: tg.embedding(x, [0.0, 1.0]), TypeError, "embedding: indices must be integers, not float64"),
        (lambda x: tg.embedding(tg.sum(x), [0]), ValueError, r"embedding: weight must be a table \(V, E\)"),
        (lambda x: tg.stack(x, x), TypeError, r"stack: an axis is a number.*\[a, b\].*tg\.maximum"),
        (lambda x: tg.max(x, x), TypeError, r"max: an axis is a number.*\[a, b\].*tg\.maximum"),
        (lambda x: tg.concatenate(x, x), TypeError, r"concatenate: an axis is a number"),
        (lambda x: tg.tensor(np.array([1], np.uint8)) + 300, OverflowError, r"^add: Python integer 300 out of bounds"),
        (lambda x: tg.uniform(3, rng="7"), TypeError, "rng must be a numpy.random.Generator, a seed or None, not str"),
        (lambda x: tg.grad(tg.sum, "x")(x), TypeError, "argnums is the number of an argument, or several, not 'x'"),
    ],
)
def test_messages(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(leaf([[1.0, 2.0], [3.0, 4.0]]))


# ---- what others do in between -----------------------------------------------------------------------------------


def test_a_constant_assigned_to_after_the_forward_changes_nothing_of_it() -> None:
    x, c = leaf(2.0), tg.tensor(3.0, dtype="float64")
    y = x * c
    c.assign(50.0)
    assert tg.Tape(y).values()[-1] == 6.0
    assert "3" in str(tg.Tape(y)) and "50" not in str(tg.Tape(y))
    assert tg.gradients(y, x, create_graph=True)[0].item() == tg.gradients(y, x)[0].item() == 3.0


def test_a_gradient_that_is_set_has_memory_of_its_own() -> None:
    w, v = leaf(np.ones(3)), leaf(np.zeros(3))
    w.grad = v
    w.grad += 100
    assert not host(v).any()
    g = placed(np.broadcast_to(np.float64(1.0), 3))
    w.grad = g
    w.grad *= 2
    np.testing.assert_array_equal(host(w.grad), [2, 2, 2])


def test_threads_that_share_a_leaf_lose_no_gradient() -> None:
    w = leaf(np.zeros(100_000), "float32")

    def work() -> None:
        for _ in range(20):
            (w * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(host(w.grad), np.full(100_000, 160.0))


def test_nothing_of_an_anomaly_stays_alive() -> None:
    gc.disable()
    try:
        x = leaf([-1.0, 1.0])
        kept = weakref.ref(x._node)
        with np.errstate(all="ignore"):
            try:
                with tg.detect_anomaly():
                    tg.log(x)
            except tg.AnomalyError:
                pass
        del x
        assert kept() is None
    finally:
        gc.enable()


def test_an_overflow_in_adding_two_gradients_is_an_anomaly() -> None:
    x = leaf([1e-30], "float32")
    with np.errstate(all="ignore"), tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="adding what"):
        (x * 2e38 + x * 3e38).sum().backward()
