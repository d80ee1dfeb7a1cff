"""``Tensor``: what it is made from, and what it is not made from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf
from tinygrad7 import backend


def test_python_floats_take_the_default_dtype_and_everything_else_keeps_its_own() -> None:
    assert tg.tensor(1.5).dtype == tg.tensor([1.5, 2]).dtype == tg.tensor([[1.5]]).dtype == np.float32
    assert tg.tensor(1).dtype == tg.tensor([1, 2]).dtype == np.int64
    assert tg.tensor([True]).dtype == np.bool_
    for dtype in ("float16", "float32", "float64", "int8", "int32", "uint8", "bool"):
        assert tg.tensor(np.zeros(2, dtype)).dtype == np.dtype(dtype)
        assert tg.tensor([0, 1], dtype=dtype).dtype == np.dtype(dtype)
    assert tg.tensor(np.float64(1.5)).dtype == np.float64
    assert tg.tensor([0.2], dtype="float64").tolist() == [0.2]  # not by way of the default dtype


def test_default_dtype_holds_at_once_and_within_a_with_block() -> None:
    before = tg.tensor(1.0).dtype
    with tg.default_dtype("float64"):
        assert tg.tensor(1.0).dtype == tg.zeros(2).dtype == np.float64
        with tg.default_dtype(np.float16):
            assert tg.tensor(1.0).dtype == np.float16
        assert tg.tensor(1.0).dtype == np.float64
    assert tg.tensor(1.0).dtype == before == np.float32
    setting = tg.default_dtype(np.float64)
    assert tg.tensor(1.0).dtype == np.float64
    with setting:
        pass
    assert tg.tensor(1.0).dtype == np.float32

    @tg.default_dtype("float64")
    def made() -> Any:
        return tg.tensor(1.0).dtype

    assert tg.tensor(1.0).dtype == np.float32
    assert made() == np.float64


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_the_default_dtype_must_be_floating(dtype: str) -> None:
    with pytest.raises(
        TypeError, match=f"default_dtype: {dtype} is no floating dtype: use float16, float32 or float64"
    ):
        tg.default_dtype(dtype)


@pytest.mark.host
def test_tensor_copies_what_it_is_given() -> None:
    a = np.array([1.0, 2.0])
    for t in (tg.tensor(a), tg.tensor(a[::-1][::-1]), tg.tensor(a, requires_grad=True)):
        a[0] = 99.0
        assert t.tolist() == [1.0, 2.0]
        a[0] = 1.0
    u = tg.tensor(a, requires_grad=True)
    v = tg.tensor(u)
    u.assign([5.0, 5.0])
    assert v.tolist() == [1.0, 2.0] and not v.requires_grad


def test_tensor_copies_what_an_object_lends_as_an_array() -> None:
    class Holder:
        def __init__(self) -> None:
            self.array = np.ones(2)

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return self.array

    holder = Holder()
    t = tg.tensor(holder)
    holder.array[0] = 7
    np.testing.assert_array_equal(t.numpy(), [1, 1])
    assert t.dtype == np.float64


def test_arrays_of_another_byte_order_become_native() -> None:
    x = tg.tensor(np.array([1.0, 2.0], ">f4"), requires_grad=True)
    tg.tanh(x).sum().backward()
    assert x.dtype == x.grad.dtype == np.float32 and x.dtype.isnative
    np.testing.assert_array_equal(x.numpy(), [1, 2])


@pytest.mark.host  # feeds NumPy arrays
def test_subclasses_of_arrays_are_values_and_nothing_more() -> None:
    x = tg.tensor(np.ones((2, 2)), requires_grad=True)
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix)  # which would multiply as matrices do
    for y in (x * matrix, tg.multiply(matrix, x), tg.tensor(matrix) * x):
        np.testing.assert_array_equal(y.numpy(), [[1, 2], [3, 4]])
        assert type(y._value) is np.ndarray
    unmasked = x[0] * np.ma.array([1.0, 2.0])
    assert type(unmasked._value) is np.ndarray


@pytest.mark.host  # feeds NumPy arrays
def test_subclasses_of_arrays_are_copied() -> None:
    array = np.ma.array([1.0, 2.0])
    t = tg.tensor(array)
    array[...] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_a_masked_array_is_refused_with_the_rewrite() -> None:
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    for call in (lambda: tg.tensor(masked), lambda: tg.tensor([1.0, 2.0], requires_grad=True) * masked):
        with pytest.raises(TypeError, match=r"masked array has elements without value: use array\.filled\(0\)"):
            call()


@pytest.mark.host  # feeds NumPy arrays
@pytest.mark.parametrize(
    "operand", [np.array([1j, 2]), np.complex128(1j), np.longdouble(2), np.array([1, 2], object)], ids=repr
)
def test_a_recorded_op_takes_no_operand_of_a_dtype_that_tensors_cannot_have(operand: Any) -> None:
    if np.dtype(np.longdouble).itemsize == 8 and type(operand) is np.longdouble:
        operand = np.complex64(1)  # where long double is double
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for call in (lambda: x * operand, lambda: tg.multiply(operand, x), lambda: tg.where([True, False], x, operand)):
        with pytest.raises(TypeError, match="a tensor cannot have dtype"):
            call()


def test_views_and_strides_are_taken_over_as_values() -> None:
    a = np.arange(12.0).reshape(3, 4)
    for view in (a.T, a[::2, ::-1], a[1], np.broadcast_to(a[0], (2, 4)), a[:, 1:2], np.asfortranarray(a)):
        np.testing.assert_array_equal(tg.tensor(view), view)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (1j, r"1j is no number or array of numbers \(a tensor is real: keep its .real and .imag apart\)"),
        (np.array([1 + 2j]), "a tensor cannot have dtype complex128: use float16"),
        (["a"], "'a' is no number or array of numbers$"),
        ([None], r"None is no number .* \(a .grad that no backward has filled\?\)$"),
        (
            [1.0, 2**70],
            r"1180591620717411303424 is no number .* \(an integer of more than 64 bits: write it as a float\)$",
        ),
        ({"a": 1}, "{'a': 1} is no number or array of numbers$"),
        (np.zeros(2, np.longdouble), "cannot have dtype (float128|longdouble|float96)"),
        (np.array(["2020-01-01"], "datetime64[D]"), "cannot have dtype datetime64"),
    ],
)
def test_data_that_cannot_be_a_tensor_is_refused(data: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        tg.tensor(data)


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the nested lists are ragged \(their lengths differ\)"):
        tg.tensor([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("dtype", ["float", "float63", "complex64", "longdouble", object, "U3"])
def test_a_dtype_that_tensors_cannot_have_is_refused(dtype: Any) -> None:
    if dtype == "float":
        assert tg.tensor(1, dtype=dtype).dtype == np.float64
        return
    with pytest.raises(TypeError, match="is no dtype: use 'float32'|a tensor cannot have dtype"):
        tg.tensor(1, dtype=dtype)


@pytest.mark.parametrize("data", [[1, 2], np.array([True]), np.int32(3)])
def test_integers_cannot_ask_for_a_gradient(data: Any) -> None:
    with pytest.raises(TypeError, match=r"a tensor of dtype (int|bool)\w* cannot have a gradient: use dtype='float32'"):
        tg.tensor(data, requires_grad=True)
    assert tg.tensor(data, dtype="float32", requires_grad=True).requires_grad


def test_a_list_of_recorded_tensors_is_refused_and_of_constants_taken() -> None:
    with pytest.raises(TypeError, match=r"use tg\.stack\(\[\.\.\.\]\), which is recorded"):
        tg.tensor([leaf(1.0), leaf(2.0)])
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.5)]).tolist() == [1.0, 2.5]


def test_a_tensor_is_not_made_by_its_class() -> None:
    with pytest.raises(TypeError, match=r"Tensor\(\.\.\.\) wraps an array, not a list: write tg\.tensor"):
        tg.Tensor([1.0])  # type: ignore[arg-type]


def test_as_array_wants_no_tensor() -> None:
    from tinygrad7.arrays import as_array

    with pytest.raises(TypeError, match="expected an array, got a tensor"):
        as_array(leaf())


def test_a_numpy_scalar_result_can_be_written_into_as_an_array() -> None:
    assert backend.writable_array(np.float64(1.0)).shape == ()
