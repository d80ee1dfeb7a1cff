"""What ops say of operands that do not fit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg


@pytest.mark.host  # shapes are told without a device
@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (
            lambda t: t + tg.zeros((2, 2)),
            ValueError,
            r"add: shapes \(2, 3\) and \(2, 2\) do not broadcast.*\[:, None\]",
        ),
        (
            lambda t: t @ t,
            ValueError,
            r"matmul: shapes \(2, 3\) and \(2, 3\) cannot be .*transpose one with \.T",
        ),
        (lambda t: t @ t[0, 0], ValueError, r"matmul: .*met \(2, 3\) float32, \(\) float32"),
        (lambda t: t > tg.zeros((2, 2)), ValueError, r"greater: shapes \(2, 3\) and \(2, 2\) do not broadcast"),
        (lambda t: t.reshape(4, 2), ValueError, r"reshape: cannot reshape array of size 6 into shape \(4, ?2\)"),
        (lambda t: t.reshape(), TypeError, r"reshape: give the new shape once"),
        (lambda t: t.transpose(0), ValueError, r"transpose: 1 axes \(0,\) for a shape \(2, 3\) of 2; name every axis"),
        (lambda t: t.transpose(0, 0), ValueError, r"transpose: an axis comes twice in \(0, 0\)"),
        (lambda t: t.sum(axis=2), ValueError, r"sum: axis 2 is out of bounds"),
        (lambda t: t.swapaxes(0, 2), ValueError, r"swapaxes: axis 2 is out of bounds: shape \(2, 3\) has 2"),
        (
            lambda t: t.swapaxes(0, 0.5),
            TypeError,
            r"swapaxes: an axis must be one whole number, not 0.5",
        ),
        (lambda t: t.squeeze(0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) is not of size 1"),
        (lambda t: tg.moveaxis(t, (0, 1), 0), ValueError, r"moveaxis: 2 source axes but 1 destinations"),
        (lambda t: tg.broadcast_to(t, (3, 3)), ValueError, r"broadcast_to: .*met \(2, 3\) float32"),
        (lambda t: tg.concatenate([]), ValueError, r"concatenate: the list is empty"),
        (lambda t: tg.stack([]), ValueError, r"stack: the list is empty"),
        (lambda t: tg.stack([t, t[0]]), ValueError, r"stack: .*met \(2, 3\) float32, \(3,\) float32"),
        (lambda t: tg.concatenate([t, t[0]]), ValueError, r"concatenate: .*met \(2, 3\) float32, \(3,\) float32"),
        (lambda t: tg.split(t, 4), ValueError, r"split: axis 0 of shape \(2, 3\) cannot be split into 4 equal"),
        (lambda t: tg.pad(t, (1, 2, 3)), ValueError, r"pad: pad_width \(1, 2, 3\) does not fit shape \(2, 3\)"),
        (lambda t: tg.pad(t, 1.5), TypeError, "pad: pad_width counts elements, in integers, not 1.5"),
        (lambda t: tg.pad(t[0, 0], 1), ValueError, r"pad: a 0-d tensor has no axis to pad; x\.reshape\(1\) has one"),
        (lambda t: tg.tile(t, 1.5), ValueError, "tile: reps is a number of copies .*, not 1.5"),
        (lambda t: tg.tile(t, (2, -1)), ValueError, r"tile: reps is a number of copies .*, not \(2, -1\)"),
        (lambda t: tg.seed("a"), ValueError, "seed: the seed is an integer from 0 on, or None, not 'a'"),
        (lambda t: tg.seed(-1), ValueError, "seed: the seed is an integer from 0 on, or None, not -1"),
        (lambda t: tg.pad(t, -1), ValueError, r"pad: pad_width -1 is negative; cut with a slice"),
        (lambda t: tg.pad(t, 1, "maximum"), ValueError, r"pad: mode 'maximum' has no derivative here; use constant"),
        (
            lambda t: tg.pad(t, 1, constant_values=(1, 2, 3)),
            ValueError,
            r"pad: constant_values \(1, 2, 3\) does not fit",
        ),
        (lambda t: t[5], IndexError, r"getitem: index 5 is out of bounds"),
        (lambda t: t[0, 0, 0], IndexError, r"getitem: too many indices"),
        (lambda t: t[0.5], IndexError, r"getitem: "),
        (lambda t: t[np.array([0.5])], IndexError, r"getitem: an index must be integer or boolean, not float64"),
        (lambda t: t[t], TypeError, r"getitem: an index has no gradient; pass integers"),
        (
            lambda t: tg.take_along_axis(t, np.array([0]), axis=1),
            ValueError,
            r"take_along_axis: indices have 1 dim",
        ),
        (
            lambda t: tg.take_along_axis(t, np.zeros((5, 3), int), axis=1),
            ValueError,
            r"take_along_axis: shapes \(2, 3\) and \(5, 3\)",
        ),
        (lambda t: tg.zeros((0, 3)).max(axis=0), ValueError, r"max: nothing has no maximum: axis 0 of shape \(0, 3\)"),
        (lambda t: tg.zeros((0,)).min(), ValueError, r"min: nothing has no minimum: axis None of shape \(0,\)"),
        (
            lambda t: tg.norm(t, 2),
            ValueError,
            r"norm: ord=2 over 2 axes is a matrix norm.*give one axis of x \(2, 3\)",
        ),
        (
            lambda t: tg.norm(t, "nuc", axis=0),
            ValueError,
            r"norm: ord='nuc' is not a vector norm; use a number, inf or -inf",
        ),
        (lambda t: tg.gelu(t, approximate="sin"), ValueError, r"gelu: approximate must be 'none' or 'tanh', not 'sin'"),
        (lambda t: tg.clip(t, 0, min=0), TypeError, r"clip: a limit is given twice"),
        (lambda t: tg.clip(t, t), TypeError, r"clip: no gradient can flow into 'a_min'"),
        (lambda t: tg.where(t, 1.0, 2.0), TypeError, r"where: no gradient can flow into 'condition'"),
        (
            lambda t: tg.tensordot(t, t, 1),
            ValueError,
            r"tensordot: axes \(1,\) of a \(2, 3\) must have the sizes of axes \(0,\)",
        ),
        (lambda t: tg.einsum("ij,jk", t), ValueError, r"einsum: 'ij,jk' names 2 operand\(s\), 1 are given"),
        (lambda t: tg.einsum(t, [0, 1]), TypeError, r"einsum: the first argument is the subscripts"),
        (
            lambda t: tg.einsum("ij,jk", t, t),
            ValueError,
            r"einsum: 'j' stands for 3 and, in operand 1 of shape \(2, 3\)",
        ),
        (lambda t: tg.einsum("ijk->i", t), ValueError, r"einsum: 'ijk' has 3 letters, operand 0 has shape \(2, 3\)"),
        (lambda t: tg.embedding(t, [5]), IndexError, r"embedding: indices from 5 to 5 in a table of 2 rows"),
        (lambda t: tg.embedding(t, [-1]), IndexError, r"embedding: indices from -1 to -1"),
        (lambda t: tg.embedding(t, [0.5]), (TypeError, IndexError), r"integer.*not float"),
        (lambda t: t.astype("complex64"), TypeError, r"a tensor cannot have dtype complex64: use float16"),
        (lambda t: tg.tanh(t, 3), TypeError, r"tanh"),
        (lambda t: tg.sum(t, axes=0), TypeError, r"sum\(.*unexpected keyword argument 'axes'"),
    ],
)
def test_messages_name_the_op_what_it_met_and_what_would_mend_it(call: Any, kind: Any, says: str) -> None:
    t = tg.ones((2, 3), requires_grad=True)
    with pytest.raises(kind) as caught:
        call(t)
    message = str(caught.value).replace(" on cuda:0", "")
    assert re.search(says, message, re.S), message
