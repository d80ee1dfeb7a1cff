"""Ops at the ends of their range: nothing overflows, ties are shared, infinities and zeros are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host


def value_and_gradient(f: Any, values: Any, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    x = tg.tensor(np.asarray(values, dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = f(x)
        y.sum().backward()
    assert np.isfinite(y.numpy()).all() and np.isfinite(host(x.grad)).all()
    return y.numpy(), host(x.grad)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nothing_overflows_at_a_thousand(dtype: str) -> None:
    ends = [-1000.0, 0.0, 1000.0]
    y, g = value_and_gradient(tg.sigmoid, ends, dtype)
    np.testing.assert_array_equal(y, [0, 0.5, 1])
    np.testing.assert_array_equal(g, [0, 0.25, 0])
    y, g = value_and_gradient(tg.softplus, ends, dtype)
    np.testing.assert_allclose(y, [0, np.log(2), 1000], rtol=1e-3)
    np.testing.assert_array_equal(g, [0, 0.5, 1])
    y, g = value_and_gradient(tg.softmax, ends, dtype)
    np.testing.assert_array_equal(y, [0, 0, 1])
    y, g = value_and_gradient(tg.log_softmax, ends, dtype)
    np.testing.assert_array_equal(y, [-2000, -1000, 0])
    np.testing.assert_array_equal(g, [1, 1, -2])
    y, g = value_and_gradient(tg.logsumexp, ends, dtype)
    assert y == 1000
    np.testing.assert_array_equal(g, [0, 0, 1])
    y, g = value_and_gradient(tg.silu, ends, dtype)
    np.testing.assert_array_equal(g, [0, 0.5, 1])
    y, g = value_and_gradient(tg.tanh, ends, dtype)
    np.testing.assert_array_equal(g, [0, 1, 0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_at_its_ends(dtype: str, approximate: str) -> None:
    end = float(np.finfo(dtype).max) / 2
    x = [-end, -1000.0, -41.0, 0.0, 41.0, 1000.0, end]
    y, g = value_and_gradient(lambda x: tg.gelu(x, approximate=approximate), x, dtype)
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 41, 1000, end])
    np.testing.assert_array_equal(g, [0, 0, 0, 0.5, 1, 1, 1])


def test_logsumexp_of_nothing_likely_is_minus_infinity_without_a_nan() -> None:
    x = tg.tensor([[-np.inf, -np.inf], [0.0, -np.inf]], dtype="float64", requires_grad=True)
    y = tg.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y, [-np.inf, 0])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(tg.logsumexp(tg.zeros((0, 2)), axis=0), [-np.inf, -np.inf])


def test_norm_at_zero_and_at_the_ends_of_the_range() -> None:
    y, g = value_and_gradient(lambda x: tg.norm(x, axis=1), [[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(y, [0, 5])
    np.testing.assert_allclose(g, [[0, 0], [0.6, 0.8]])
    for order in (1, 3, np.inf):
        _, g = value_and_gradient(lambda x, o=order: tg.norm(x, o), [0.0, 0.0])
        np.testing.assert_array_equal(g, [0, 0])
    y, g = value_and_gradient(tg.norm, [3e200, 4e200])
    np.testing.assert_allclose(y, 5e200)
    np.testing.assert_allclose(g, [0.6, 0.8])
    y, g = value_and_gradient(tg.norm, [3e-200, 4e-200])
    np.testing.assert_allclose(y, 5e-200)
    np.testing.assert_allclose(g, [0.6, 0.8])


def test_second_derivative_of_the_norm_at_zero_is_finite() -> None:
    x = tg.tensor([0.0, 0.0], dtype="float64", requires_grad=True)
    (g,) = tg.gradients(tg.norm(x), [x], create_graph=True)
    (h,) = tg.gradients(g.sum(), [x], unreached="zero")
    np.testing.assert_array_equal(h, [0, 0])


def test_power_at_zero() -> None:
    for exponent, value, gradient in ((2, 0.0, 0.0), (1, 0.0, 1.0), (0, 1.0, 0.0), (3.0, 0.0, 0.0)):
        y, g = value_and_gradient(lambda x, e=exponent: x**e, [0.0])
        assert (y[0], g[0]) == (value, gradient)
        y, g = value_and_gradient(lambda x, e=exponent: x ** tg.tensor([float(e)], dtype="float64"), [0.0])
        assert (y[0], g[0]) == (value, gradient)
    _, g = value_and_gradient(lambda b: tg.tensor([0.0, 0.0, 2.0], dtype="float64") ** b, [2.0, 0.0, 0.0])
    np.testing.assert_allclose(g, [0, 0, np.log(2)])
    x = tg.tensor([0.0, -1.5], dtype="float64", requires_grad=True)
    (first,) = tg.gradients((x**2).sum(), [x], create_graph=True)
    (second,) = tg.gradients(first.sum(), [x])
    np.testing.assert_array_equal(second, [2, 2])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g"])
def test_where_chooses_the_very_bits(dtype: str) -> None:
    a = np.random.default_rng(0).normal(size=(37, 41)).astype(dtype)  # above 1,000 elements it works on the bits
    a[0, :4] = np.nan, np.inf, -np.inf, -0.0
    for mask, x in ((a > 0, a), ((a > 0)[::-1], a[::-1]), ((a > 0).T, a.T), (a[:, ::2] > 0, a[:, ::2])):
        np.testing.assert_array_equal(tg.where(mask, x, 0), np.where(mask, x, x.dtype.type(0)))


def test_the_gradient_of_relu_above_a_thousand_elements() -> None:
    x = tg.tensor(np.linspace(-1, 1, 2000).astype(np.float32), requires_grad=True)
    (tg.relu(x) * 3.0).sum().backward()
    np.testing.assert_array_equal(host(x.grad), np.where(host(x) > 0, np.float32(3), np.float32(0)))


def test_mixed_derivatives_of_power_at_exponent_zero() -> None:
    tiny = np.finfo(np.float64).smallest_subnormal
    a = tg.tensor([0.5, 2.0, 0.0, tiny], dtype="float64", requires_grad=True)
    b = tg.tensor(np.zeros(4), requires_grad=True)
    with np.errstate(all="ignore"):
        by_base, by_exponent = tg.gradients((a**b).sum(), [a, b], create_graph=True)
        np.testing.assert_array_equal(by_base.numpy(), np.zeros(4))
        (mixed,) = tg.gradients(by_base.sum(), [b])
        (mixed_too,) = tg.gradients(by_exponent.sum(), [a])
    np.testing.assert_array_equal(mixed.numpy()[:2], [2.0, 0.5])
    np.testing.assert_array_equal(mixed_too.numpy()[:2], [2.0, 0.5])


def test_where_sends_exact_zeros_even_past_infinity() -> None:
    x = tg.tensor([0.0, 4.0], dtype="float64", requires_grad=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        tg.where(np.array([False, True]) if x.device == "cpu" else x.data > 0, tg.sqrt(x), 0.0).sum().backward(
            retain_graph=True
        )
    assert host(x.grad)[1] == 0.25 and np.isnan(host(x.grad)[0])  # sqrt itself multiplies 0 by its infinite slope
    x.grad = None
    tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0).sum().backward()  # as where's docstring has it
    np.testing.assert_array_equal(x.grad, [0, 0.25])
    a = tg.tensor([1.0, 1.0], requires_grad=True)
    y = tg.where(a.data > 2, a, 1.0)
    y.backward(np.array([np.inf, np.nan], np.float32))
    np.testing.assert_array_equal(a.grad, [0, 0])
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    tg.relu(x).backward(np.array([1.0, np.inf], np.float32))
    np.testing.assert_array_equal(x.grad, [1, 0])


def test_ties_are_shared_equally() -> None:
    x = tg.tensor([[1.0, 3.0, 3.0, 3.0]], dtype="float64", requires_grad=True)
    for f, wanted in ((tg.max, [[0, 1 / 3, 1 / 3, 1 / 3]]), (tg.min, [[1, 0, 0, 0]])):
        for axis in (None, 1, (0, 1)):
            (g,) = tg.gradients(f(x, axis=axis).sum(), [x])
            np.testing.assert_allclose(g, wanted)
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    for f in (tg.maximum, tg.minimum):
        for g in tg.gradients(f(a, b), [a, b], [np.ones(2)]):
            np.testing.assert_array_equal(g, [0.5, 0.5])


def test_the_product_rule_is_exact_where_factors_are_zero() -> None:
    for values, wanted in (([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]), ([2.0], [1])):
        _, g = value_and_gradient(tg.prod, values)
        np.testing.assert_array_equal(g, wanted)


def test_nan_is_the_extreme_and_gets_the_gradient() -> None:
    x = tg.tensor([1.0, np.nan, 3.0], requires_grad=True)
    tg.max(x).backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])


def test_erf_is_accurate_to_the_last_digits() -> None:
    from math import erf

    x = np.concatenate([np.linspace(-7, 7, 1501), [0.0, 1e-300, 1.0, -1.0, 40.0]])
    np.testing.assert_allclose(tg.erf(tg.tensor(x)), [erf(v) for v in x], rtol=4e-16, atol=0)
