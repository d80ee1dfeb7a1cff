"""What NumPy refuses is refused by the op's name, with the shapes that were met and what would mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf

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
    (lambda x: tg.clip(x, "a", 3), TypeError, "clip: operands are numbers and arrays of numbers"),
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


WRONG: list[tuple[Any, type[Exception], str]] = [
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
