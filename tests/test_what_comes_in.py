"""What comes in from outside: dtypes of nested lists, byte orders, what no tensor can hold, what assign takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1.0, 2], "float32"),
        ([[1.0], [2.0]], "float32"),
        ([np.float64(1), 2.0], "float64"),
        ([1.0, np.float32(2)], "float32"),
        ([np.float16(1), np.float16(2)], "float16"),
        ([np.float32(1), np.float64(2)], "float64"),
        ([[np.ones(2)], [np.ones(2)]], "float64"),
        ([np.int8(1), 2.5], "float32"),
        ([1, 2], "int64"),
        ([np.int8(1)], "int8"),
        ([], "float32"),
    ],
)
def test_python_numbers_are_weak_in_lists_too(value: Any, dtype: str) -> None:
    assert tg.tensor(value).dtype == dtype
    if dtype == "float64":
        assert (tg.tensor(np.ones(2, np.float32)) * value).dtype == dtype


@pytest.mark.host
def test_tensors_in_lists_are_strong() -> None:
    assert tg.tensor([tg.tensor(1.0, dtype="float64"), 2.0]).dtype == "float64"


def test_a_tensor_has_the_byte_order_of_the_machine() -> None:
    x = tg.tensor([1.0, 2.0], dtype=">f4", requires_grad=True)
    (x * x).sum().backward()
    assert x.dtype == np.float32 and x.dtype.isnative and x.grad.dtype == x.dtype


@pytest.mark.host
@pytest.mark.parametrize("value", [np.array([1j]), np.array([1], object), np.array([1], "m8[s]")], ids=str)
def test_what_no_tensor_can_hold_is_refused_beside_a_constant_too(value: Any) -> None:
    x = tg.tensor([1.0])
    for call in (lambda: x * value, lambda: value * x, lambda: tg.concatenate([x, value]), lambda: tg.tanh(value)):
        with pytest.raises(TypeError, match=f"a tensor cannot have dtype {value.dtype}".replace("[", r"\[")):
            call()


def test_assign_says_that_a_tensor_keeps_its_shape() -> None:
    with pytest.raises(ValueError, match=r"assign: the tensor has shape \(3,\), the value \(2,\); a tensor keeps its"):
        leaf().assign([1.0, 2.0])


@pytest.mark.host
def test_a_masked_array_on_the_left_does_not_lose_the_gradient() -> None:
    """NumPy's masked arrays take an attribute ``_data`` of the other operand without asking: tensors have none."""
    masked, x = np.ma.array([1.0, 2.0], mask=[False, True]), leaf([1.0, 2.0])
    for call in (lambda: masked * x, lambda: masked + x, lambda: masked / x):
        with pytest.raises(TypeError, match="of a tensor that needs a gradient would lose the gradient"):
            call()


@pytest.mark.parametrize("index", [range(0), [], [[]], [[], []], (range(0), 0), ([], [])])
def test_an_empty_list_of_places_is_one_of_integers_as_in_numpy(index: Any) -> None:
    x = np.arange(6.0).reshape(2, 3)
    y = tg.tensor(x)[index]
    assert y.shape == x[index].shape
    assert tg.take(tg.tensor(x), range(0), 1).shape == (2, 0)
    assert tg.embedding(tg.tensor(x), ()).shape == (0, 3)


def test_tolerances_and_other_numbers_may_be_constant_tensors() -> None:
    x, small = tg.tensor([1.0, 2.0]), tg.tensor(1e-5)
    assert np.isclose(x, [1.0, 2.0], rtol=small).all()
    assert tg.isclose(x, x + 1, atol=tg.tensor(2.0)).all()
    assert tg.allclose(x, x, atol=small) and not tg.allclose(x, x + 1, small, small)
    assert tg.norm(x, tg.tensor(3.0)).item() == tg.norm(x, 3).item()
    assert tg.norm(x, np.array(2)).item() == tg.norm(x).item()
    assert tg.var(x, ddof=tg.tensor(1)).item() == 0.5
    assert [y.shape for y in tg.split(x, tg.tensor(2))] == [(1,), (1,)]
    assert tg.tensordot(x, x, tg.tensor(1)).item() == 5
    assert tg.dropout(x, tg.tensor(0.0)) is x


def test_lists_name_axes_where_tuples_do() -> None:
    x = tg.tensor([[3.0, 4.0]])
    assert tg.norm(x, axis=[0, 1]).item() == 5
    assert tg.transpose(x, range(2)).shape == (1, 2)
    assert tg.tensordot(x, x, np.array([[0, 1], [0, 1]])).item() == 25


def test_what_has_no_derivative_is_plain_for_constants() -> None:
    x = tg.tensor([1.5, -2.5])
    for y, z in ((x % 2, [1.5, 1.5]), (7 % x, [1.0, -0.5]), (x // 2, [0.0, -2.0]), (3 // x, [2.0, -2.0])):
        assert isinstance(y, np.ndarray) and y.tolist() == z
    assert round(x).tolist() == [2.0, -2.0] and round(x, 1).tolist() == [1.5, -2.5]
