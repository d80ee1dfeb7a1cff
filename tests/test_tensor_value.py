"""A tensor's value: numbers, rows and arrays out of it, operators on it, and the dtypes that come of them."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host, leaf
from tinygrad7.tensor import Tensor

# ---- the value ---------------------------------------------------------------------------------------------------


def test_shape_size_and_friends_are_plain_values() -> None:
    t = leaf(np.zeros((2, 3)))
    assert (t.shape, t.ndim, t.size, len(t)) == ((2, 3), 2, 6, 2)
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    assert t.T.shape == (3, 2)
    assert type(t.size) is int and type(t.shape) is tuple


@pytest.mark.host
def test_data_and_numpy_are_read_only_views() -> None:
    t = leaf()
    for view in (t.data, t.numpy(), t.sum().data, t.sum().numpy()):
        assert isinstance(view, np.ndarray) and not view.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0
    assert np.shares_memory(t.data, t._value)
    assert leaf(0.5).sum().numpy().shape == ()


def test_item_tolist_and_formatting_always_work_on_one_element() -> None:
    t = leaf([[0.123456]])
    assert t.item() == 0.123456 and type(t.item()) is float
    assert f"{t:.3f}" == f"{t.sum():.3f}" == "0.123"
    assert f"{tg.tensor(7):d}" == "7"
    assert t.tolist() == [[0.123456]]
    assert str(f"{t}").startswith("tensor(")
    with pytest.raises(ValueError, match=r"item\(\) needs a tensor of one element; this one has shape \(3,\)"):
        leaf().item()
    with pytest.raises((TypeError, ValueError)):
        f"{leaf():.3f}"


REFUSED = {
    "float": (float, r"float\(\).*use t\.item\(\)"),
    "math.exp": (math.exp, r"math\.exp and the like call it.*the op of that name"),
    "int": (int, r"int\(\).*use int\(t\.item\(\)\)"),
    "bool": (bool, r"bool\(\).*t > 0 gives a plain array"),
    "index": (operator.index, r"an index.*use int\(t\.item\(\)\)"),
    "asarray": (np.asarray, r"np\.asarray\(t\).*use t\.numpy\(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tensor_that_needs_a_gradient_never_turns_into_a_number_silently(name: str) -> None:
    convert, message = REFUSED[name]
    for t in (leaf(1.0), leaf(1.0) * 2):
        with pytest.raises(TypeError, match="would lose the gradient.*") as caught:
            convert(t)
        assert caught.match(message)


@pytest.mark.host
def test_a_constant_turns_into_numbers() -> None:
    t = tg.tensor(2.0)
    assert (float(t), int(t), bool(t), math.exp(tg.tensor(0.0))) == (2.0, 2, True, 1.0)
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert np.asarray(t) == 2.0 and np.asarray(t, dtype="float64").dtype == np.float64
    assert list(range(tg.tensor(3))) == [0, 1, 2]


@pytest.mark.host
def test_a_constant_turns_into_an_array_without_a_copy_unless_one_is_asked_for() -> None:
    t = tg.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(t), t.data) and not np.asarray(t).flags.writeable
    assert not np.shares_memory(np.array(t), t.data)
    assert t.__array__(np.dtype("float16")).dtype == np.float16


def test_complex_is_always_refused() -> None:
    with pytest.raises(TypeError, match=r"complex\(\): tensors are real; use t\.item\(\)"):
        complex(tg.tensor(1.0))


def test_zero_dimensional_tensors_have_no_length_and_no_elements() -> None:
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(leaf(1.0))
    with pytest.raises(TypeError, match="a 0-d tensor cannot be iterated"):
        iter(leaf(1.0))


def test_iterating_gives_recorded_rows() -> None:
    t = leaf([[1.0, 2.0], [3.0, 4.0]])
    a, b = t
    (a * b).sum().backward()
    np.testing.assert_array_equal(t.grad, [[3.0, 4.0], [1.0, 2.0]])


@pytest.mark.parametrize("index", [0, slice(None), ..., (0, 1)])
def test_writing_into_a_tensor_is_refused_with_the_rewrite(index: Any) -> None:
    t = leaf(np.ones((2, 2)))
    with pytest.raises(
        TypeError, match=r"cannot be changed in place.*tg\.where\(mask, v, x\) or tg\.stack.*x\.assign\(array\)"
    ):
        t[index] = 1.0


def test_arithmetic_assignment_makes_a_new_tensor() -> None:
    t = leaf()
    u = t
    u += 1
    u *= 2
    assert u is not t and t.tolist() == [1.0, 2.0, 3.0] and u.tolist() == [4.0, 6.0, 8.0]
    u.sum().backward()
    np.testing.assert_array_equal(t.grad, [2.0, 2.0, 2.0])


def test_comparisons_are_plain_boolean_arrays() -> None:
    t, u = leaf([1.0, 2.0, 3.0]), leaf([3.0, 2.0, 1.0])
    cases = {"<": t < u, "<=": t <= u, ">": t > 2, ">=": t >= 2, "==": t == u, "!=": t != u, "3 <": 2 < t}
    expected = {
        "<": [1, 0, 0],
        "<=": [1, 1, 0],
        ">": [0, 0, 1],
        ">=": [0, 1, 1],
        "==": [0, 1, 0],
        "!=": [1, 0, 1],
        "3 <": [0, 0, 1],
    }
    for name, found in cases.items():
        assert not isinstance(found, Tensor) and found.dtype == np.bool_
        np.testing.assert_array_equal(found, np.array(expected[name], bool), err_msg=name)
    assert not isinstance(np.isnan(t), Tensor) and not host(np.isnan(t)).any() and host(np.isfinite(t)).all()
    assert np.allclose(t, t) is True and np.array_equal(t, u) is False
    assert host(np.argmax(t)) == 2 and host(t.argmin()) == 0
    assert len({t, u, t}) == 2  # by identity


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
@pytest.mark.parametrize("kind", ["int", "float", "array", "numpy scalar", "list"])
@pytest.mark.host
def test_operators_take_arrays_and_numbers_on_either_side(name: str, kind: str) -> None:
    f, value = getattr(operator, name), np.array([1.0, 2.0, 3.0])
    other: Any = {
        "int": 2,
        "float": 2.5,
        "array": np.array([2.0, 0.5, 1.5]),
        "numpy scalar": np.float64(2.5),
        "list": [2.0, 0.5, 1.5],
    }[kind]
    plain = np.asarray(other) if kind == "list" else other
    for given_, expected in ((lambda t: f(t, other), f(value, plain)), (lambda t: f(other, t), f(plain, value))):
        t = leaf(value)
        y = given_(t)
        assert isinstance(y, Tensor) and y.requires_grad
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        y.sum().backward()
        assert t.grad.dtype == t.dtype and t.grad.shape == t.shape


def test_the_right_operand_of_a_matrix_product_may_be_the_tensor() -> None:
    a = tg.tensor(np.arange(6.0).reshape(2, 3)).data
    t = leaf(np.ones((3, 2)))
    y = a @ t
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y, host(a) @ np.ones((3, 2)))


def test_unary_operators() -> None:
    t = leaf([-1.0, 2.0, 3.0])
    np.testing.assert_array_equal(-t, [1.0, -2.0, -3.0])
    np.testing.assert_array_equal(abs(t), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(+t, t)


def test_formatting_many_elements_as_a_number_is_told() -> None:
    assert f"{tg.tensor([1.0, 2.0])}".startswith("tensor(")
    with pytest.raises(ValueError, match=r"format '\.3f' needs a tensor of one element; this one has shape \(2,\)"):
        f"{tg.tensor([1.0, 2.0]):.3f}"


# ---- promotion ---------------------------------------------------------------------------------------------------


DTYPES = ["float16", "float32", "float64"]


@given(st.sampled_from(DTYPES), st.sampled_from([2, 0.5, True]), st.sampled_from(["add", "mul", "truediv", "pow"]))
def test_python_numbers_are_weak_forward_and_backward(dtype: str, number: Any, name: str) -> None:
    t = leaf([1.0, 2.0], dtype=dtype)
    y = getattr(operator, name)(t, number)
    assert y.dtype == np.dtype(dtype) == (number * t).dtype
    y.sum().backward()
    assert t.grad.dtype == np.dtype(dtype)


@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_tensors_promote_as_in_numpy_and_gradients_keep_their_tensors_dtype(a: str, b: str) -> None:
    t, u = leaf([1.0, 2.0], dtype=a), leaf([3.0, 4.0], dtype=b)
    y = t * u
    assert y.dtype == np.result_type(a, b)
    y.sum().backward()
    assert (t.grad.dtype, u.grad.dtype) == (np.dtype(a), np.dtype(b))


def test_numpy_scalars_and_integer_tensors_are_strong_as_in_numpy_2() -> None:
    t = leaf([1.0, 2.0], dtype=np.float32)
    assert (t * np.float64(2)).dtype == (np.float64(2) * t).dtype == np.float64
    assert (t * tg.tensor([1, 2])).dtype == np.float64
    assert (t * np.float32(2)).dtype == np.float32
