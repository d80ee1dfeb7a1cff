"""``Tensor``: what it holds, what it answers, what it refuses."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import backend
from tinygrad7.names import INSTEAD
from tinygrad7.tensor import Tensor


def leaf(value: Any = (1.0, 2.0, 3.0), **kwargs: Any) -> Tensor:
    return tg.tensor(np.asarray(value, dtype=kwargs.pop("dtype", np.float64)), requires_grad=True, **kwargs)


# ---- making ------------------------------------------------------------------------------------------------------


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
        assert type(y._data) is np.ndarray
    unmasked = x[0] * np.ma.array([1.0, 2.0])
    assert type(unmasked._data) is np.ndarray


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
    assert tg.tensor([1.0, 2.5]).tolist() == [1.0, 2.5]


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
    assert np.shares_memory(t.data, t._data)
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


# ---- names, gradients, cutting -----------------------------------------------------------------------------------


def test_names_belong_to_leaves_and_constants() -> None:
    w, c = leaf(name="w"), tg.tensor(1.0, name="c")
    assert (w.name, c.name, (w * 2).name) == ("w", "c", None)
    w.name, c.name = "v", "d"
    assert (w.name, c.name) == ("v", "d")
    assert "name='v'" in repr(w)
    with pytest.raises(ValueError, match=r"only leaves and constants have names.*tg\.scope"):
        (w * 2).name = "y"


def test_who_needs_a_gradient() -> None:
    w, c = leaf(), tg.tensor(1.0)
    y = w * c
    assert (w.requires_grad, c.requires_grad, y.requires_grad, (c * 2).requires_grad) == (True, False, True, False)
    assert (w.is_leaf, c.is_leaf, y.is_leaf) == (True, True, False)
    assert w.grad is c.grad is None


def test_detach_is_a_constant_of_the_same_value() -> None:
    w = leaf()
    y = w * 2
    cut = y.detach()
    assert not cut.requires_grad and cut.tolist() == y.tolist()
    assert tg.tensor(1.0).detach().item() == 1.0
    (cut * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [2.0, 4.0, 6.0])


def test_assigning_to_grad_checks_shape_dtype_and_place() -> None:
    w = leaf([1.0, 2.0])
    good = (w.detach() * 0 + 5).data
    w.grad = good
    np.testing.assert_array_equal(w.grad, [5.0, 5.0])
    w.grad = tg.tensor(np.array([6.0, 6.0]))
    np.testing.assert_array_equal(w.grad, [6.0, 6.0])
    w.grad = None
    assert w.grad is None
    message = r"grad must be None or an array of shape \(2,\) and dtype float64; got"
    for bad in (
        tg.zeros(3, dtype="float64"),
        tg.zeros(2, dtype="float32"),
        [1.0, 2.0],
        1.0,
        tg.zeros((1, 2), dtype="float64"),
    ):
        with pytest.raises(ValueError, match=message):
            w.grad = bad
    for other in (w * 2, tg.tensor(1.0)):
        with pytest.raises(ValueError, match=r"only a leaf made with requires_grad=True has a \.grad"):
            other.grad = None


def test_assign_writes_a_leaf_in_place_and_converts() -> None:
    w, c = leaf([1.0, 2.0], dtype=np.float32), tg.tensor([1, 2])
    data = w._data
    assert w.assign([3, 4]) is w and w._data is data and w.dtype == np.float32
    assert w.assign(tg.tensor([5.0, 6.0])).tolist() == [5.0, 6.0]
    assert c.assign(np.array([7.9, 8.9])).tolist() == [7, 8]
    assert w.requires_grad
    with pytest.raises(ValueError, match=r"assign: the tensor has shape \(2,\), the value \(3,\)"):
        w.assign([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="assign: a recorded result cannot be changed; only leaves and constants can"):
        (w * 2).assign([1.0, 2.0])


def test_to_the_same_place_is_the_same_tensor() -> None:
    t = leaf()
    assert t.to(t.device) is t


def test_repr_tells_value_dtype_origin() -> None:
    w = leaf([1.0, 2.0], name="w")
    assert repr(w).startswith("tensor([1., 2.], dtype=float64") and "requires_grad=True" in repr(w)
    assert "op='tanh'" in repr(tg.tanh(w))
    assert "requires_grad" not in repr(tg.tensor([1.0]))
    assert len(repr(tg.zeros((1000, 1000)))) < 2000


# ---- copying and pickling ----------------------------------------------------------------------------------------


def test_deepcopy_copies_leaves_with_their_gradients_and_constants() -> None:
    w = leaf([1.0, 2.0], name="w")
    (w * w).sum().backward()
    for duplicate in (copy.deepcopy(w), copy.copy(w)):
        assert duplicate.requires_grad and duplicate.is_leaf and duplicate.name == "w"
        np.testing.assert_array_equal(duplicate.grad, [2.0, 4.0])
        duplicate.assign([9.0, 9.0])
        duplicate.grad[...] = 0
    assert w.tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(w.grad, [2.0, 4.0])
    c = tg.tensor([1.0], name="c")
    assert copy.deepcopy(c).name == "c" and not copy.deepcopy(c).requires_grad
    both = copy.deepcopy([w, w])
    assert both[0]._node is both[1]._node or both[0] is both[1]


def test_recorded_results_refuse_to_be_copied_or_pickled() -> None:
    y = leaf() * 2
    with pytest.raises(TypeError, match=r"cannot be deep-copied: copy t\.detach\(\)"):
        copy.deepcopy(y)
    with pytest.raises(TypeError, match=r"cannot be pickled: pickle t\.detach\(\) or t\.numpy\(\)"):
        pickle.dumps(y)
    assert copy.deepcopy(y.detach()).tolist() == y.tolist()


@given(st.sampled_from(["float16", "float32", "float64", "int64", "bool"]), st.booleans())
def test_pickling_keeps_value_dtype_name_and_whether_it_learns(dtype: str, learns: bool) -> None:
    t = tg.tensor(np.array([[0, 1], [1, 0]], dtype), requires_grad=learns and dtype.startswith("float"), name="t")
    back = pickle.loads(pickle.dumps(t))
    assert (back.dtype, back.name, back.requires_grad, back.device) == (t.dtype, "t", t.requires_grad, t.device)
    np.testing.assert_array_equal(back, t)
    if back.requires_grad:
        back.assign(back * 0)


# ---- NumPy's protocols -------------------------------------------------------------------------------------------


def test_numpy_functions_with_a_counterpart_run_it() -> None:
    x = leaf([[0.5, 1.0], [1.5, 2.0]])
    with np.errstate(all="ignore"):
        for f in (
            np.tanh,
            np.sum,
            np.exp,
            np.transpose,
            np.mean,
            np.sqrt,
            np.ravel,
            np.abs,
            np.std,
            np.cumsum,
            np.linalg.norm,
        ):
            y = f(x)
            assert isinstance(y, Tensor) and y.requires_grad, f
            np.testing.assert_allclose(y, f(host(x)), rtol=1e-12)
    for y in (
        np.stack([x, x]),
        np.concatenate([x, x], axis=1),
        np.where(x > 1, x, 0.0),
        np.matmul(x, x),
        np.maximum(x, 1.0),
        np.einsum("ij,jk", x, x),
        np.reshape(x, (4,)),
        np.sum(x, axis=0, keepdims=True),
    ):
        assert isinstance(y, Tensor) and y.requires_grad


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda t: np.arctan2(t, t), "np.arctan2"),
        (lambda t: np.add.reduce(t), r"np.add.reduce"),
        (lambda t: np.sort(t), "np.sort"),
        (lambda t: np.add(t, t, out=np.zeros(3)), "np.add with out="),
        (lambda t: np.linalg.det(t), "np.linalg.det"),
        (lambda t: np.fft.fft(t), "np.fft.fft"),
        (lambda t: np.multiply.outer(t, t), "np.multiply.outer"),
        (lambda t: np.vstack([t, t]), "np.vstack"),
    ],
)
def test_numpy_functions_without_one_raise_and_name_what_works(call: Any, named: str) -> None:
    with pytest.raises(
        TypeError, match=rf"{named} has no derivative here.*use t\.numpy\(\) or t\.detach\(\).*@tg\.primitive"
    ):
        call(leaf())


def test_the_nearest_op_is_named() -> None:
    with pytest.raises(TypeError, match=r"np\.arctan2.*the nearest is tg\.arctan;"):
        np.arctan2(leaf(), 1.0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda t: np.hstack([t, t]), r"use tg\.concatenate or tg\.stack; "),
        (lambda t: np.sort(t), r"use tg\.take_along_axis"),
        (lambda t: np.diff(t), r"use x\[1:\] - x\[:-1\]; "),
        (lambda t: np.fliplr(t), r"the nearest is tg\.flip; "),
        (lambda t: np.round(t), r"silently: use t\.numpy\(\)"),
    ],
    ids=["hstack", "sort", "diff", "fliplr", "round"],
)
def test_what_is_named_instead_exists_and_helps(call: Any, named: str) -> None:
    with pytest.raises(TypeError, match=rf"has no derivative here.*{named}"):
        call(tg.tensor([[1.0, 2.0]], requires_grad=True))


def test_every_name_that_is_offered_instead_is_ours() -> None:
    for words in INSTEAD.values():
        for name in re.findall(r"tg\.(\w+)", words):
            assert callable(getattr(tg, name))


def test_a_property_that_cannot_be_set_says_what_to_do() -> None:
    t = tg.tensor([1.0])
    with pytest.raises(AttributeError, match=r"t\.data is read-only.*t\.assign\(value\)"):
        t.data = np.ones(1)
    with pytest.raises(AttributeError, match=r"settled when a tensor is made: tg\.tensor\(t, requires_grad=True\)"):
        t.requires_grad = True


def test_formatting_many_elements_as_a_number_is_told() -> None:
    assert f"{tg.tensor([1.0, 2.0])}".startswith("tensor(")
    with pytest.raises(ValueError, match=r"format '\.3f' needs a tensor of one element; this one has shape \(2,\)"):
        f"{tg.tensor([1.0, 2.0]):.3f}"


def test_a_list_of_recorded_tensors_given_to_an_op_names_stack() -> None:
    with pytest.raises(TypeError, match=r"tg\.stack\(\[\.\.\.\]\) for a list"):
        tg.sum([leaf(), leaf()])


def test_a_matrix_product_with_a_number_names_the_other_product() -> None:
    x = tg.tensor(np.ones((2, 2)), requires_grad=True)
    for call in (lambda: 2 @ x, lambda: x @ 2, lambda: tg.tensor(2.0) @ x):
        with pytest.raises(tg.ShapeError, match=r"matmul: a matrix product needs at least one axis.*with \*.*met"):
            call()


@pytest.mark.host
def test_an_error_that_is_made_otherwise_is_explained_too() -> None:
    with pytest.raises(TypeError, match=r"multiply: .*met \(1,\) float64"):
        leaf([1.0]) * np.array(["2020-01-01"], "M8[D]")


@pytest.mark.host
def test_constants_go_through_any_numpy_function() -> None:
    t = tg.tensor(np.array([3.0, 1.0, 2.0]))
    assert np.sort(t).tolist() == [1.0, 2.0, 3.0] and type(np.sort(t)) is np.ndarray
    assert np.add.reduce(t) == 6.0
    assert np.vstack([t, t]).shape == (2, 3)
    assert np.median(t) == 2.0


def test_as_array_wants_no_tensor() -> None:
    from tinygrad7.arrays import as_array

    with pytest.raises(TypeError, match="expected an array, got a tensor"):
        as_array(leaf())


def test_a_numpy_scalar_result_can_be_written_into_as_an_array() -> None:
    assert backend.writable_array(np.float64(1.0)).shape == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cat", "use tg.concatenate"),
        ("ReLU", "use tg.nn.ReLU"),
        ("Adam", "use tg.optim.Adam"),
        ("tanhh", "the nearest is tg.tanh"),
    ],
)
def test_a_name_that_is_elsewhere_is_told(name: str, told: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'tinygrad7' has no attribute '{name}': {told}$"):
        getattr(tg, name)
    with pytest.raises(AttributeError, match="no attribute 'qqq'$"):
        tg.qqq


def test_a_method_of_other_libraries_is_told() -> None:
    t: Any = tg.tensor([1.0])
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute 'view': use tg\.reshape$"):
        t.view(1, 1)
    with pytest.raises(AttributeError, match=r"'add_': nothing is changed in place: .*t\.assign\(value\)"):
        t.add_(1)
    with pytest.raises(AttributeError, match="no attribute 'qqq'$"):
        t.qqq
    assert not hasattr(t, "__cuda_array_interface__") and not hasattr(tg.Tensor.__new__(tg.Tensor), "_data")


def test_the_gradient_of_a_result_is_none_and_said_to_be() -> None:
    w = leaf()
    w.sum().backward()
    stepped = w - 0.1 * w.grad
    with pytest.warns(UserWarning, match=r"^\.grad of a recorded result is None, since only leaves collect.*w\.assign"):
        assert stepped.grad is None
    w.assign(w.numpy() - 0.1 * host(w.grad))
    assert w.grad is not None


def test_names_of_other_libraries_are_neither_listed_nor_ours() -> None:
    assert not set(INSTEAD) & {*dir(tg.tensor([1.0])), *tg.__all__}
    assert {"reshape", "sum", "grad"} <= set(dir(tg.tensor([1.0])))


def test_looking_up_what_a_tensor_holds_is_not_made_slow() -> None:
    # CPython looks up every attribute the slow way on a class that overrides one of these.
    assert not {"__getattr__", "__getattribute__", "__setattr__"} & set(vars(tg.Tensor))


def test_a_tensor_is_not_made_by_its_class() -> None:
    with pytest.raises(TypeError, match=r"Tensor\(\.\.\.\) wraps an array, not a list: write tg\.tensor"):
        tg.Tensor([1.0])  # type: ignore[arg-type]
