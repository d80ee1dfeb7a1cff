"""At the edges: dtypes that wrap round, totals that overflow, constants assigned to later, threads that share."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, placed
from tinygrad7.testing import check_gradients


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
        (lambda x: tg.split(x, [1.9]), TypeError, r"split: .* places to cut at, in whole numbers, not \[1.9\]"),
        (lambda x: tg.embedding(x, [0.0, 1.0]), TypeError, "embedding: indices must be integers, not float64"),
        (lambda x: tg.embedding(tg.sum(x), [0]), ValueError, r"embedding: weight must be a table \(V, E\)"),
        (lambda x: tg.stack(x, x), TypeError, r"stack: an axis is a number.*\[a, b\]"),
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


# ---- norms -------------------------------------------------------------------------------------------------------

NORMS = [None, 2, 1, 0, 3, 2.5, 0.5, -1, -2.5, np.inf, -np.inf]


@pytest.mark.parametrize("values", [[3, 4], [0, -128], [True, True]], ids=str)
@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
@pytest.mark.parametrize("p", NORMS)
def test_a_norm_of_integers_is_a_float(values: Any, dtype: str, p: Any) -> None:
    x = np.asarray(values).astype(dtype)
    with np.errstate(divide="ignore"):
        wanted = np.linalg.norm(x.astype(np.float64), p)
        found = tg.norm(tg.tensor(x), p)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("p", NORMS)
def test_every_vector_norm_is_numpys_and_its_gradient_is_finite(p: Any, keepdims: bool, zeros: bool) -> None:
    values = np.array([[1.0, -2.0, 4.0], [-0.5, 3.0, 0.25]])
    values[0, 1] *= not zeros
    x = leaf(values)
    for axis in (0, -1, (1,)):
        found = tg.norm(x, p, axis, keepdims)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(found, np.linalg.norm(values, p, axis, keepdims), rtol=1e-12)
        (g,) = tg.gradients(found.sum(), x)
        assert np.isfinite(host(g)).all()
        assert not host(g)[values == 0].any()
        if p == 0:
            assert not host(g).any()
        elif not zeros:
            check_gradients(lambda x: tg.norm(x, p, axis), values)


def test_norms_of_nothing() -> None:
    none = leaf(np.zeros((2, 0)))
    for p in NORMS[:-1]:
        wanted = np.inf if p is not None and p < 0 else 0
        np.testing.assert_array_equal(host(tg.norm(none, p, axis=1)), [wanted, wanted])
        assert tg.norm(none, p, axis=0).shape == (0,)
    with pytest.raises(ValueError, match=r"norm: nothing has no smallest element: axis 1 of x \(2, 0\) is empty"):
        tg.norm(none, -np.inf, axis=1)


@pytest.mark.parametrize("p", ["nuc", "fro", np.nan, [1]])
@pytest.mark.parametrize("size", [0, 2])
def test_what_is_no_vector_norm(p: Any, size: int) -> None:
    with pytest.raises(ValueError, match="norm: ord=.* is not a vector norm; use a number, inf or -inf"):
        tg.norm(leaf(np.zeros(size)), p, axis=0)


def test_a_nan_stays_one_in_every_norm() -> None:
    for p in NORMS:
        if p != 0:
            assert np.isnan(tg.norm(tg.tensor([0.0, np.nan]), p).item()), p


# ---- operands of several dtypes ----------------------------------------------------------------------------------


def test_einsum_of_several_narrow_operands_does_not_wrap_round() -> None:
    img = placed(np.full((4, 4, 2), 200, np.uint8))
    w = leaf(np.ones((2, 2)))
    y = tg.einsum("hwc,hwd,cd->", img, img, w)
    assert y.item() == 2_560_000.0
    y.backward()
    np.testing.assert_array_equal(host(w.grad), np.full((2, 2), 640_000.0))
    yes = placed(np.ones((2, 3), bool))
    assert tg.einsum("ij,ij,->", yes, yes, leaf(1.0)).item() == 6.0


# ---- NaN and extremes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pair", "one"), [(tg.maximum, tg.max), (tg.minimum, tg.min)])
@pytest.mark.parametrize("size", [1, 2000])  # from 1,000 elements on ``where`` works on the bits
def test_the_extreme_of_two_sends_its_cotangent_where_the_extreme_of_many_does(pair: Any, one: Any, size: int) -> None:
    cases = np.array([[np.nan, 1.0, np.nan, 2.0, 3.0, -np.inf, np.inf], [1.0, np.nan, np.nan, 2.0, -3.0, np.inf, 0.0]])
    a, b = (leaf(np.tile(row, size)) for row in cases)
    both = leaf(np.tile(cases, size))
    seed = placed(np.arange(1.0, 1 + a.size))
    pair(a, b).backward(seed)
    one(both, axis=0).backward(seed)
    np.testing.assert_array_equal([host(a.grad), host(b.grad)], both.grad)


def test_the_extreme_of_nan_and_a_number() -> None:
    for value, wanted in ((np.nan, 1.0), (0.5, 1.0), (1.0, 0.5), (3.0, 0.0)):
        x = leaf([value])
        tg.minimum(x, 1.0).sum().backward()
        assert host(x.grad)[0] == wanted


@pytest.mark.host  # it is about bytes in the host's memory
def test_a_condition_may_hold_any_byte_for_true() -> None:
    condition = np.tile(np.array([255, 0, 1, 2], np.uint8), 500).view(bool)
    for dtype in ("float16", "float32", "float64"):
        x = leaf(np.ones(2000), dtype)
        tg.where(condition, x, 0).sum().backward()
        np.testing.assert_array_equal(x.grad, condition.view(np.uint8) != 0)


# ---- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, -1, None, np.int64(0), np.array(-1)])
def test_a_number_is_squeezed_as_numpy_does(axis: Any) -> None:
    x = leaf(3.0)
    y = tg.squeeze(x, axis=axis)
    y.backward()
    assert y.shape == () and x.grad.shape == () and host(x.grad) == 1
    with pytest.raises(ValueError, match=r"squeeze: axis 1 is out of bounds: shape \(\) has 0 axes"):
        tg.squeeze(x, axis=1)


@pytest.mark.parametrize("values", [7, (1, 2), [(1, 2)], ((1, 2), (3, 4)), ((5,), (6,)), 2.5], ids=str)
@pytest.mark.parametrize("widths", [1, (2, 1), ((0, 1), (2, 0))], ids=str)
def test_the_constants_of_padding_are_given_as_numpys(values: Any, widths: Any) -> None:
    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = tg.pad(x, widths, constant_values=values)
    np.testing.assert_array_equal(y, np.pad(host(x), widths, constant_values=values))
    y.sum().backward()
    np.testing.assert_array_equal(host(x.grad), np.ones((2, 3)))


def test_padding_a_number_by_nothing_leaves_it() -> None:
    x = leaf(3.0)
    for widths in (0, (0, 0)):
        assert tg.pad(x, widths).item() == 3.0 and tg.pad(x, widths).shape == ()
    tg.pad(x, 0).backward()
    assert host(x.grad) == 1


def test_looking_up_no_rows() -> None:
    w = leaf(np.ones((3, 2)))
    y = tg.embedding(w, [])
    assert y.shape == (0, 2)
    y.sum().backward()
    assert not host(w.grad).any()


def test_the_work_of_a_concatenations_backward_grows_with_its_parts_and_no_faster() -> None:
    def lines_run(count: int) -> int:
        parts, lines = [leaf([1.0]) for _ in range(count)], 0
        loss = tg.concatenate(parts).sum()

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            loss.backward()
        finally:
            sys.settrace(before)
        return lines

    lines_run(20), lines_run(160)  # the plans of both are made
    assert lines_run(160) < 9 * lines_run(20)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_each_part_of_a_concatenation_gets_its_own_cotangent(axis: Any) -> None:
    parts = [leaf(np.full((2, 2), float(k))) for k in range(3)]
    whole = tg.concatenate(parts, axis=axis)
    whole.backward(whole._value)
    for part in parts:
        np.testing.assert_array_equal(host(part.grad), host(part))


def test_places_along_an_axis_are_integers() -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    for axis in (None, 0, 1):
        with pytest.raises(IndexError, match=r"take_along_axis: indices are integers, not booleans; x\[mask\]"):
            tg.take_along_axis(x, placed(np.ones((2, 2), bool)), axis=axis)
    for indices in (np.zeros((2, 2), int), 1):
        with pytest.raises(ValueError, match="take_along_axis: with axis=None x is flattened"):
            tg.take_along_axis(x, placed(indices), axis=None)
    assert tg.take_along_axis(x, placed(np.array([3, 0])), axis=None).tolist() == [4, 1]
