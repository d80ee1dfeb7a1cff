"""What NumPy refuses is refused by the op's name, with the shapes that were met and what would mend it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import NUMPY_2_1, leaf

E = np.zeros((0, 3))
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda x: tg.argmax(x, axis=5), ValueError, r"argmax: axis 5 is out of bounds: shape \(2, 3\) has 2 axes"),
    (lambda x: tg.argmin(tg.tensor(E)), ValueError, r"argmin: nothing has no smallest .* of shape \(0, 3\) is empty"),
    (lambda x: tg.argmax(tg.tensor(E), axis=0), ValueError, r"argmax: nothing has no largest element: axis 0 of shape"),
    (lambda x: tg.pad(tg.tensor(E), 1, "edge"), ValueError, r"pad: mode 'edge' .* axis 0 of shape \(0, 3\) has none"),
    (lambda x: tg.pad(tg.tensor(E), 1, "reflect"), ValueError, r"pad: mode 'reflect' .*; use 'constant'"),
    (lambda x: tg.pad(x, {0: 1}), TypeError, r"pad: pad_width counts .*, not \{0: 1\}; give a number, a pair"),
    (lambda x: tg.pad(x, ((1,), (1, 2))), ValueError, r"pad: pad_width .* does not fit shape \(2, 3\)"),
    (lambda x: tg.pad(x, 1, constant_values="a"), TypeError, "pad: constant_values are numbers, not 'a'; give"),
    (lambda x: tg.cross_entropy(x, ["a", "b"]), TypeError, "cross_entropy: 'a' is no number or array of numbers"),
    (lambda x: tg.cross_entropy(x, [[1, 2], [3]]), ValueError, r"cross_entropy: the nested lists are ragged: those"),
    (lambda x: tg.mse_loss(x, [[1, 2], [3]]), ValueError, r"mse_loss: the nested lists are ragged: those on one level"),
    (lambda x: tg.hinge_loss(x, ["a", "b"]), TypeError, "hinge_loss: 'a' is no number"),
    (lambda x: tg.arange(1, 5, 0), ValueError, "arange: a step of 0 does not get from 1 to 5"),
    (lambda x: tg.arange("a"), TypeError, "arange: start, stop and step are numbers"),
    (lambda x: tg.zeros((-1, 2)), ValueError, r"zeros: a size cannot be negative, as in \(-1, 2\)"),
    (lambda x: tg.ones(-3), ValueError, "ones: a size cannot be negative, as in -3"),
    (lambda x: tg.full((-2,), 1), ValueError, r"full: a size cannot be negative, as in \(-2,\)"),
    (lambda x: tg.full(3, [1, 2]), ValueError, "full: the value must be one number, or fit into shape 3"),
    (lambda x: tg.eye(-1), ValueError, "eye: a size cannot be negative"),
    (lambda x: tg.zeros(2.5), TypeError, "zeros: sizes, axes and shifts are whole numbers.*met 2.5"),
    (lambda x: tg.normal(2, std=-1), ValueError, "normal: std must be 0 or more, not -1"),
    (lambda x: tg.normal((-2,)), ValueError, "normal: a size cannot be negative"),
    (lambda x: tg.uniform(2, 2, 1), ValueError, "uniform: low must not be above high, but 2 is above 1"),
    (lambda x: tg.std(x, ddof="a"), TypeError, "std: ddof is a number, not 'a'"),
    (lambda x: tg.var(x, ddof="a"), TypeError, "var: ddof is a number, not 'a'"),
    (lambda x: tg.split(x, 2.0), TypeError, "split: what to split into is a number of equal parts or a list .*not 2.0"),
    (lambda x: tg.split(x, 1, axis=4), ValueError, r"split: axis 4 is out of bounds: shape \(2, 3\)"),
    (
        lambda x: tg.reshape(x, 4, 2),
        ValueError,
        r"reshape: cannot .* into shape \(4, 2\): the sizes must multiply to 6",
    ),
    (
        lambda x: tg.reshape(x, -1, -1),
        ValueError,
        r"reshape: only one size can be -1, but in \(-1, -1\) there are more",
    ),
    (lambda x: tg.concatenate([x, x[0]]), ValueError, r"concatenate: part 0 has 2 axes and part 1 has 1; give each"),
    (lambda x: tg.concatenate([x, x.T]), ValueError, r"concatenate: along axis 1, part 0 has size 3 and part 1 has 2"),
    (lambda x: tg.concatenate([1.0, 2.0]), ValueError, "concatenate: numbers have no axis .*; use tg.stack"),
    (lambda x: tg.concatenate([x, x], axis=3), ValueError, r"concatenate: axis 3 is out of bounds: shape \(2, 3\) has"),
    (lambda x: tg.stack([x, x[0]]), ValueError, "stack: all parts must have one shape; tg.concatenate"),
    (lambda x: tg.stack([x, x], axis=5), ValueError, r"stack: axis 5 is out of bounds: parts of shape \(2, 3\) give 3"),
    (lambda x: tg.broadcast_to(x, (3, 3)), ValueError, r"broadcast_to: shape \(2, 3\) cannot be stretched to \(3, 3\)"),
    (lambda x: tg.broadcast_to(x, (-1, 3)), ValueError, r"broadcast_to: a size cannot be negative, as in \(-1, 3\)"),
    *[
        (lambda x, f=f: f(x, axis=4), ValueError, f"{f.__name__}: axis 4 is out of bounds: shape .2, 3. has 2 axes")
        for f in (tg.sum, tg.cumsum, tg.softmax, tg.log_softmax, tg.logsumexp, tg.max, tg.norm, tg.flip, tg.unstack)
    ],
    (lambda x: tg.roll(x, 1, 4), ValueError, r"roll: axis 4 is out of bounds: shape \(2, 3\) has 2 axes"),
    (lambda x: tg.sum(x, axis=(0, 0)), ValueError, r"sum: an axis comes twice in \(0, 0\)"),
    (lambda x: tg.swapaxes(x, 0, 4), ValueError, r"swapaxes: axis 4 is out of bounds: shape \(2, 3\) has 2 axes"),
    (lambda x: tg.moveaxis(x, 0, 4), ValueError, r"moveaxis: axis 4 is out of bounds: shape \(2, 3\) has 2 axes"),
    (lambda x: tg.moveaxis(x, (0, 1), 0), ValueError, r"moveaxis: 2 source axes but 1 destinations for shape \(2, 3\)"),
    (lambda x: x[5], IndexError, r"getitem: index 5 is out of bounds: axis 0 of shape \(2, 3\) has 2 places"),
    (lambda x: x[0, 0, 0], IndexError, r"getitem: too many indices: 3 for shape \(2, 3\)"),
    (lambda x: tg.einsum("ij->k", x), ValueError, "einsum: the output names 'k', which stands in no operand"),
    (lambda x: tg.einsum("ij->ii", x), ValueError, "einsum: the output names 'i' twice"),
    (lambda x: tg.clip(x, "a", 3), TypeError, "clip: 'a' is no number or array of numbers"),
]


@pytest.mark.host  # the texts that are put into our words are NumPy's
@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_numpy_refuses_is_refused_in_our_words(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


@pytest.mark.host  # a device reads an index round its axis
@pytest.mark.parametrize("take", [lambda x: tg.take(x, [9]), lambda x: tg.take_along_axis(x, np.array([[9]]), axis=1)])
def test_taking_out_of_bounds_names_the_op(take: Any) -> None:
    with pytest.raises(IndexError, match=r"^take(_along_axis)?: index 9 is out of bounds: axis . of shape"):
        take(leaf([[1.0, 2.0, 3.0]]))


@pytest.mark.parametrize("extra", [{"dtype": "float32"}, {"out": np.zeros(2)}, {"where": True}, {"initial": 1.0}])
def test_what_numpys_sum_takes_and_tensors_do_not_is_refused_by_name(extra: Any) -> None:
    with pytest.raises(TypeError, match=f"np.sum: {next(iter(extra))}= has no counterpart on tensors"):
        np.sum(leaf([1.0]), **extra)


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])
IMAGES = np.ones((1, 1, 3, 3))
NO_NUMBER: list[tuple[Any, str]] = [
    (lambda x: tg.where([[True], [False]], x, None), "where: None is no number"),
    (lambda x: tg.where(None, x, 1), "where: None is no number"),
    (lambda x: tg.where("a", x, 1), "where: 'a' is no number"),
    (lambda x: tg.where(x.numpy() > 0, x, np.longdouble(1)), r"where: a tensor cannot have dtype float\d+"),
    (lambda x: tg.clip(x, 1j, None), "clip: 1j is no number .*keep its .real and .imag apart"),
    (lambda x: tg.clip(x, np.longdouble(2), None), r"clip: a tensor cannot have dtype float\d+"),
    (lambda x: tg.clip(x, Decimal("1.5"), None), r"clip: Decimal\('1.5'\) is no number"),
    (lambda x: tg.clip(x, None, MASKED), "a masked array has elements without value"),
    (lambda x: tg.clip(None, 0, 1), "clip: None is no number"),
    (lambda x: tg.elu(-x, 1j), "elu: 1j is no number"),
    (lambda x: tg.elu(-x, None), "elu: None is no number"),
    (lambda x: tg.leaky_relu(-x, 1j), "leaky_relu: 1j is no number"),
    (lambda x: tg.leaky_relu(-x, Decimal(1)), "leaky_relu: Decimal.* is no number"),
    (lambda x: tg.full((2,), None), "full: None is no number"),
    (lambda x: tg.full((2,), "1.5"), "full: '1.5' is no number"),
    (lambda x: tg.full((2,), 1j), "full: 1j is no number"),
    (lambda x: tg.full((2,), np.datetime64("2020")), r"full: a tensor cannot have dtype datetime64\[Y\]"),
    (lambda x: tg.full((3,), MASKED), "a masked array has elements without value"),
    (lambda x: x.detach() + np.complex64(1j), "add: a tensor cannot have dtype complex64"),
    *[
        (lambda x, f=f: f(None), ".*: None is no number")
        for f in (
            tg.sum,
            tg.mean,
            tg.std,
            tg.softmax,
            tg.cumsum,
            tg.flatten,
            tg.transpose,
            tg.squeeze,
            tg.flip,
            tg.gelu,
        )
    ],
    (lambda x: tg.reshape(None, 1), "reshape: None is no number"),
    (lambda x: tg.roll(None, 1), "roll: None is no number"),
    (lambda x: tg.outer(x, None), ".*: None is no number"),
    (lambda x: x @ "a", "matmul: 'a' is no number"),
    (lambda x: tg.einsum("ij", None), "einsum: None is no number"),
    (lambda x: tg.stack([x, None]), "stack: None is no number"),
    (lambda x: tg.argmax("a"), "argmax: 'a' is no number"),
    (lambda x: tg.argmin(None), "argmin: None is no number"),
    (lambda x: x > None, "greater: None is no number"),
    (lambda x: np.logical_and(x, None), "logical_and: None is no number"),
    (lambda x: tg.isclose(x, x, rtol="a"), "isclose: 'a' is no number"),
    (lambda x: tg.allclose(x, x, atol=1j), "allclose: 1j is no number"),
    (lambda x: tg.isclose(x, "a"), "isclose: operands are numbers and arrays of numbers"),
]


@pytest.mark.host
@pytest.mark.parametrize(("call", "message"), NO_NUMBER)
@pytest.mark.parametrize("live", [True, False])
def test_what_is_no_number_gets_into_no_tensor(call: Any, message: str, live: bool) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        call(tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=live))


ONE = "an axis must be one whole number, not"
WRONG: list[tuple[Any, type[Exception], str]] = [
    *[
        (lambda x, axis=axis: tg.unstack(x, axis), TypeError, f"unstack: {ONE} {re.escape(repr(axis))}")
        for axis in ((0, 1), (), "a", 0.5, None)
    ],
    (lambda x: tg.take(x, [0], axis=(0, 1)), TypeError, rf"take: {ONE} \(0, 1\)"),
    (lambda x: tg.take_along_axis(x, [[0]], axis=()), TypeError, rf"take_along_axis: {ONE} \(\)"),
    (lambda x: tg.split(x, 2, axis=()), TypeError, rf"split: {ONE} \(\)"),
    (lambda x: tg.swapaxes(x, (0, 1), 0), TypeError, rf"swapaxes: {ONE} \(0, 1\)"),
    (lambda x: tg.stack([x, x], axis=1.0), TypeError, f"stack: {ONE} 1.0"),
    (lambda x: tg.concatenate([x, x], axis=()), TypeError, rf"concatenate: {ONE} \(\)"),
    (lambda x: np.size(x, "a"), TypeError, f"size: {ONE} 'a'"),
    (lambda x: np.size(x, 5), ValueError, r"size: axis 5 is out of bounds: shape \(2, 3\) has 2 axes"),
    (lambda x: tg.stack(5), TypeError, r"stack: give what is to be joined as a list, \[a, b\]"),
    (lambda x: tg.stack(tg.sum(x)), TypeError, r"stack: give what is to be joined as a list, \[a, b\]"),
    (lambda x: tg.stack({0: x}), TypeError, r"stack: give what is to be joined as a list, .* not as a dict"),
    (lambda x: tg.concatenate(None), TypeError, r"concatenate: give what is to be joined as a list, \[a, b\]"),
    (lambda x: tg.transpose(x, axes=1), ValueError, r"transpose: 1 axes \(1,\) for a shape \(2, 3\) of 2"),
    (lambda x: tg.transpose(x, axes=0.5), TypeError, "transpose: an axis must be a whole number or a tuple .*not 0.5"),
    (lambda x: tg.reshape(x, None), TypeError, "reshape: give the new shape once"),
    (lambda x: tg.squeeze(tg.sum(x), 0.0), TypeError, "squeeze: an axis must be a whole number"),
    (lambda x: tg.sum(tg.sum(x), 0.0), TypeError, "sum: an axis is a whole number or a tuple of them"),
    (lambda x: tg.sum(x, axis=True), TypeError, "sum: an axis is a whole number or a tuple of them"),
    (lambda x: tg.sum(x, keepdims=None), TypeError, "sum: .* keepdims True or False"),
    (lambda x: tg.max(tg.tensor(E), "a"), TypeError, "max: an axis must be a whole number or a tuple of them, not 'a'"),
    (lambda x: tg.std(x, axis=0.5), TypeError, "std: an axis is a whole number or a tuple of them"),
    (lambda x: tg.cumsum(x, (0, 1)), TypeError, "cumsum: axis is one whole number, or None"),
    (lambda x: tg.var(x, ddof=None), TypeError, "var: ddof is a number, not None"),
    (lambda x: tg.var(x, ddof=1j), TypeError, "var: ddof is a number, not 1j"),
    (lambda x: tg.std(x, ddof=[1]), TypeError, r"std: ddof is a number, not \[1\]"),
    (lambda x: tg.norm(x, np.array([1, 2]), 0), ValueError, "norm: ord=.* is not a vector norm; use a number"),
    (lambda x: tg.norm(x, tg.sum(x), 0), ValueError, "norm: ord=.* is not a vector norm; use a number"),
    (lambda x: tg.norm(x, np.complex64(2), 0), ValueError, "norm: ord=.* is not a vector norm; use a number"),
    (lambda x: tg.broadcast_to(x, None), TypeError, "broadcast_to: a shape is a whole number or a tuple of them"),
    (lambda x: tg.roll(x, 1, 0.5), TypeError, "roll: sizes, axes and shifts are whole numbers"),
    (lambda x: tg.roll(x, (1, 2, 3), (0, 1)), ValueError, "roll: give one shift for each axis, or one for all"),
    (lambda x: tg.tile(x, True), ValueError, "tile: reps is a number of copies for each axis, .*not True"),
    (lambda x: tg.tile(x, [[1], [1, 2]]), ValueError, "tile: the nested lists are ragged: those on one level"),
    *[
        (lambda x, axes=axes: tg.tensordot(x, x, axes), TypeError, r"tensordot: axes is how many .*, axes=\(\[...\]")
        for axes in (None, 1.0, -1, "ab", (0,), (0, 0, 0), {0: 1, 1: 2})
    ],
    (lambda x: tg.einsum("...ij...->i", x), ValueError, "einsum: dots stand in a term once, .* not '...ij...'"),
    (lambda x: tg.dropout(x, None), TypeError, "dropout: rho is the probability .*, a number, not None"),
    (lambda x: tg.dropout(x, np.array([0.5, 0.2])), TypeError, r"dropout: rho .* a number, not \(2,\) float64"),
    (lambda x: tg.dropout(x, tg.sum(x) / 42), TypeError, "dropout: rho .* a number, not "),
    (lambda x: x[[[0, 1], [2]]], ValueError, "getitem: the nested lists are ragged: those on one level must have"),
    (lambda x: tg.take(x, [[0, 1], [2]]), ValueError, "take: the nested lists are ragged: those on one level"),
    (lambda x: tg.embedding(x, [[0, 1], [0]]), ValueError, "embedding: the nested lists are ragged: those on one"),
    (lambda x: x > [[1], [2, 3]], ValueError, "greater: the nested lists are ragged: those on one level"),
    (lambda x: x > [1, 2], ValueError, r"greater: shapes \(2,3\) \(2,\) do not broadcast: compared from the right"),
    (lambda x: tg.allclose(x, [1, 2]), ValueError, r"allclose: shapes .* do not broadcast: compared from the right"),
    (lambda x: x[{0: 1}], IndexError, r"getitem: an index is made of integers or booleans, not of \{0: 1\}"),
    (lambda x: x[[0, None]], IndexError, r"getitem: an index is made of integers or booleans, not of \[0, None\]"),
    (lambda x: x[["a"]], IndexError, "getitem: an index must be integer or boolean, not <U1"),
    (lambda x: x[0:1.5], TypeError, "getitem: the ends and the step of a slice are whole numbers or None"),
    (lambda x: x[::0], ValueError, "getitem: the step of a slice cannot be 0"),
    (lambda x: x[..., ...], IndexError, "getitem: an index may have one '...'"),
    (lambda x: tg.take(x, None), TypeError, r"take: indices are integers, .* not None; x\[...\] takes slices"),
    (lambda x: tg.take(x, slice(0, 1)), TypeError, "take: indices are integers"),
    (lambda x: tg.take_along_axis(x, "a", 0), TypeError, "take_along_axis: indices are integers, .* not 'a'"),
    *[(lambda x: tg.zeros(None), TypeError, r"zeros: a shape is a whole number or a tuple of them; \(\) is th")]
    * NUMPY_2_1,
    (lambda x: tg.zeros(10**20), ValueError, "zeros: so many elements fit into no memory"),
    (lambda x: tg.zeros(np.ones(2)), TypeError, "zeros: sizes, axes and shifts are whole numbers"),
    (lambda x: tg.arange(None), TypeError, "arange: start, stop and step are numbers, not None"),
    (lambda x: tg.arange(0, 1, np.ones(2)), TypeError, r"arange: start, stop and step are numbers, not \(2,\)"),
    (lambda x: tg.arange(Decimal(3)), TypeError, "arange: start, stop and step are numbers, not Decimal"),
    (lambda x: tg.arange(float("inf")), ValueError, "arange: from 0 to inf by 1 is further than memory reaches"),
    (lambda x: tg.normal(2, None), TypeError, "normal: mean and std are numbers, or arrays that fit the shape"),
    (lambda x: tg.normal(2, 0, "a"), ValueError, "normal: mean and std are numbers, or arrays that fit the shape"),
    (lambda x: tg.uniform(2, 1j), TypeError, "uniform: low and high are numbers, or arrays that fit the shape"),
    (lambda x: tg.uniform(2, 0, float("inf")), OverflowError, "uniform: low and high must be finite, not 0 and inf"),
    (lambda x: x % 2, TypeError, r"np.remainder has no derivative here.*use x - y \* np.floor\(x.numpy\(\) / y\)"),
    (lambda x: 2 % x, TypeError, "np.remainder has no derivative here"),
    (lambda x: x // 2, TypeError, "np.floor_divide has no derivative here"),
    (lambda x: 2 // x, TypeError, "np.floor_divide has no derivative here"),
    (lambda x: round(x), TypeError, "np.round has no derivative here"),
]


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_an_argument_of_another_kind_is_refused_in_our_words(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^({message})"):
        call(leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


@pytest.mark.host
def test_what_was_left_out_may_be_none_as_before() -> None:
    x, image = leaf([[1.0, 2.0, 3.0]]), leaf(IMAGES)
    assert tg.clip(x, None, 2).tolist() == [[1.0, 2.0, 2.0]] and tg.clip(x).tolist() == x.tolist()
    assert tg.conv2d(image, IMAGES, None).tolist() == [[[[9.0]]]]
    assert tg.nn.Linear(3, 2, bias=False)(x).shape == (1, 2)
