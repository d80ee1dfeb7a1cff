"""Recording: what an op puts on the tape, what it saves, and how its errors are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf
from tinygrad7.node import Leaf, Node
from tinygrad7.op import REGISTRY, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.walk import saved_arrays


def attempt(f: Any, *operands: Any) -> tuple[Any, ...]:
    """What ``f`` gives: dtype, shape and bytes, or the kind of error."""
    try:
        with np.errstate(all="ignore"):
            y = f(*operands)
    except Exception as error:
        return (isinstance(error, TypeError),)
    return y.dtype, y.shape, y.tobytes()


@pytest.mark.parametrize("name", sorted(op.name for op in REGISTRY.values() if op.ufunc))
def test_the_ufunc_called_for_numpy_arrays_does_what_the_forward_function_does(name: str) -> None:
    op = REGISTRY[name]
    values = np.array([-2.0, -0.0, 0.0, 0.3, 1.0, 7.0, np.inf, np.nan])
    arrays = [values.astype(dtype) for dtype in ("f2", "f4", "f8")]
    arrays += [np.arange(-3, 5).astype(dtype) for dtype in ("i4", "i8", "u1", "?")] + [np.empty((0, 8)), np.array(2.0)]
    seconds: list[Any] = [*arrays, np.float32(0.5), 2, 2.5, True]
    for first in arrays:
        for rest in [()] if len(op.names) == 1 else [(second,) for second in seconds]:
            assert attempt(op.ufunc, first, *rest) == attempt(op.forward, first, *rest), (first, rest)


# ---- nodes -------------------------------------------------------------------------------------------------------


def test_a_node_points_backwards_and_keeps_the_order_of_its_arguments() -> None:
    x, y = leaf(), leaf()
    z = x * y - x
    node = z._node
    assert isinstance(node, Node) and node.plan.op.name == "subtract"
    product, second = node.parents
    assert second is x._node and product.parents == (x._node, y._node)
    assert product.birth < node.birth and x._node.birth < product.birth
    assert (node.shape, node.dtype) == ((3,), np.float64)
    assert not [slot for slot in Node.__slots__ if isinstance(getattr(node, slot), Tensor)]


def test_nothing_is_recorded_for_constants() -> None:
    c = tg.tensor([1.0, 2.0])
    assert tg.tanh(c)._node is None and (c * 2 + c)._node is None and tg.concatenate([c, c])._node is None
    assert isinstance((c * leaf([1.0, 1.0]))._node, Node)


def test_ops_on_plain_arrays_give_plain_arrays() -> None:
    a = tg.tensor(np.array([1.0, 2.0])).data
    for y in (tg.tanh(a), tg.multiply(a, 2.0), tg.sum(a), tg.concatenate([a, a]), tg.softmax(a)):
        assert not isinstance(y, Tensor)
    np.testing.assert_allclose(tg.add([1.0, 2.0], 1.0), [2.0, 3.0])


def saved(t: Tensor) -> list[Any]:
    assert isinstance(t._node, Node)
    return saved_arrays(t._node.saved)


def test_the_parameters_of_a_rule_are_what_is_saved() -> None:
    x, y, c = leaf(), leaf(), tg.tensor(np.ones(3))
    assert saved(x + y) == [] and saved(-x) == [] and saved(x - c) == []
    t = tg.tanh(x)
    assert len(saved(t)) == 1 and saved(t)[0] is t._value
    assert len(saved(x * y)) == 2
    assert len(saved(x * c)) == 1 and saved(x * c)[0] is c._value  # the rule of c will not run, so x is not kept
    assert len(saved(c * x)) == 1 and saved(c * x)[0] is c._value
    assert saved(x * 2.0) == []


def test_a_raw_operand_that_a_rule_saves_is_copied() -> None:
    a = tg.tensor(np.ones(3)).numpy().copy()
    if tg.tensor(1.0).device != "cpu":
        a = tg.tensor(a).data
    x = leaf()
    y = (x * a + x**a + a * x).sum()
    a[...] = 100.0
    y.backward()
    np.testing.assert_allclose(x.grad, [3.0, 3.0, 3.0])


def test_an_index_that_is_changed_later_changes_nothing() -> None:
    x, i = leaf(), np.array([0, 0, 2])
    y = x[i].sum()
    i[...] = 1
    y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 0.0, 1.0])


def test_inputs_tells_nodes_and_constants_in_the_order_of_the_call() -> None:
    x, c = leaf(), tg.tensor(np.ones(3), name="c")
    constant, node = inputs((c * x)._node)
    assert constant._value is c._value and constant.name == "c" and node is x._node
    assert inputs((x**2)._node) == [x._node, 2]


def test_several_outputs_have_a_node_each_that_says_which_it_is() -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    a, b = tg.unstack(x)
    assert a._node.parents == b._node.parents and (a._node.params, b._node.params) == ((0,), (1,))
    b.sum().backward()
    np.testing.assert_array_equal(x.grad, [[0.0, 0.0], [1.0, 1.0]])


# ---- messages of forward errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: leaf(np.ones((2, 3))) + leaf(np.ones(2)),
            r"add: shapes \(2, 3\) and \(2,\) do not broadcast: compared from the right.*an axis with x\[:, None\]",
        ),
        (
            lambda: leaf(np.ones((2, 3))) @ leaf(np.ones((2, 3))),
            r"matmul: shapes \(2, 3\) and \(2, 3\) cannot be multiplied: "
            r"the last axis of a \(3\) must equal the second to last axis of b \(2\)",
        ),
        (lambda: leaf(np.ones((2, 3))) @ leaf(np.ones(2)), r"the only axis of b \(2\); transpose one with \.T\?"),
        (lambda: leaf(np.ones(6)).reshape(4, 2), r"reshape: .*met \(6,\) float64"),
        (
            lambda: tg.concatenate([leaf(np.ones((2, 2))), leaf(np.ones((3, 3)))]),
            r"concatenate: .*met \(2, 2\) float64.*, \(3, 3\) float64",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_told_with_the_mend(call: Any, message: str) -> None:
    with pytest.raises(tg.ShapeError, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError) and caught.value.__cause__ is not None


def test_an_index_out_of_range_is_told_with_the_op_and_the_shape() -> None:
    with pytest.raises(IndexError, match=r"getitem: .*index 7 is out of bounds.*met \(3,\) float64"):
        leaf()[7]
    with pytest.raises(IndexError, match="getitem: an index must be integer or boolean, not float64"):
        leaf()[np.array([0.5])]
    with pytest.raises(
        TypeError, match="getitem: an index has no gradient; pass integers, slices or an integer tensor"
    ):
        leaf()[leaf()]


def test_an_operand_that_is_nothing_like_a_number_is_told() -> None:
    with pytest.raises(TypeError, match=r"^add: 'a' is no number or array of numbers \(met \(3,\) float64.*, 'a'\)$"):
        leaf() + "a"
    with pytest.raises(TypeError, match=r"^multiply: None is no number .*\(a \.grad that no backward has filled\?\)"):
        leaf() * None


def test_an_error_is_explained_once() -> None:
    with pytest.raises(tg.ShapeError) as caught:
        tg.grad(lambda x: tg.sum(x @ x))(leaf(np.ones((2, 3))))
    assert str(caught.value).count("(met") == 1


def test_leaves_are_born_in_order() -> None:
    a, b = leaf(), leaf()
    assert isinstance(a._node, Leaf) and a._node.birth < b._node.birth < (a + b)._node.birth
