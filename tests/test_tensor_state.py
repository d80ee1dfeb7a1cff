"""What else a tensor holds: name, gradient, place; and its copies."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host, leaf

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
    data = w._value
    assert w.assign([3, 4]) is w and w._value is data and w.dtype == np.float32
    assert w.assign(tg.tensor([5.0, 6.0])).tolist() == [5.0, 6.0]
    assert c.assign(np.array([7.9, 8.9])).tolist() == [7, 8]
    assert w.requires_grad
    with pytest.raises(ValueError, match=r"assign: the tensor has shape \(2,\), the value \(3,\)"):
        w.assign([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="assign: a recorded result cannot be changed; only leaves and constants can"):
        (w * 2).assign([1.0, 2.0])


def test_what_is_assigned_is_taken_as_a_value_in_the_tensors_own_dtype() -> None:
    w, c, other = leaf([1.0, 2.0]), tg.tensor([1.0, 2.0]), leaf([0.1, 0.2])
    assert w.assign([0.1, 0.2]).tolist() == [0.1, 0.2]  # not by way of the default dtype
    assert c.assign(other).dtype == np.float32
    same = leaf([1.0, 2.0]).detach()
    before = c.tolist(), same.assign(other).tolist()
    other.assign([7.0, 7.0])
    assert (c.tolist(), same.tolist()) == before


def test_repr_lines_up_and_shows_long_tensors_in_part() -> None:
    assert repr(tg.ones((2, 2))).startswith("tensor([[1., 1.],\n        [1., 1.]]")
    assert "..." in repr(tg.zeros(61)) and "..." not in repr(tg.zeros(60))
    assert "[0.33333]" in repr(tg.tensor([1 / 3]))


def test_to_the_same_place_is_the_same_tensor() -> None:
    t = leaf()
    assert t.to(t.device) is t


def test_repr_tells_value_dtype_origin() -> None:
    w = leaf([1.0, 2.0], name="w")
    assert repr(w).startswith("tensor([1., 2.], dtype=float64") and "requires_grad=True" in repr(w)
    assert "op='tanh'" in repr(tg.tanh(w))
    assert "requires_grad" not in repr(tg.tensor([1.0]))
    assert len(repr(tg.zeros((1000, 1000)))) < 2000


def test_the_gradient_of_a_result_is_none_and_said_to_be() -> None:
    w = leaf()
    w.sum().backward()
    stepped = w - 0.1 * w.grad
    with pytest.warns(UserWarning, match=r"^\.grad of a recorded result is None, since only leaves collect.*w\.assign"):
        assert stepped.grad is None
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        stepped.grad
    assert [warning.filename for warning in found] == [__file__]
    w.assign(w.numpy() - 0.1 * host(w.grad))
    assert w.grad is not None


def test_a_property_that_cannot_be_set_says_what_to_do() -> None:
    t = tg.tensor([1.0])
    with pytest.raises(AttributeError, match=r"t\.data is read-only.*t\.assign\(value\)"):
        t.data = np.ones(1)
    with pytest.raises(AttributeError, match=r"settled when a tensor is made: tg\.tensor\(t, requires_grad=True\)"):
        t.requires_grad = True


def test_looking_up_what_a_tensor_holds_is_not_made_slow() -> None:
    # CPython looks up every attribute the slow way on a class that overrides one of these.
    assert not {"__getattr__", "__getattribute__", "__setattr__"} & set(vars(tg.Tensor))


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
