"""What checkpoints add up: the cotangents of tensors that a segment shares with the rest of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf


def plain(f: Any, *xs: Any) -> Any:
    return f(*xs)


def closes_over_its_argument(w: tg.Tensor, run: Any) -> Any:
    return run(lambda a: a * w, w)


def closes_over_a_tensor_and_its_parent(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    return run(lambda: w * tg.sin(h))


def takes_what_it_closes_over_the_parent_of(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    return run(lambda a: a * w * tg.sin(h), h)


def takes_a_tensor_and_its_parent(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    return run(lambda a, b: a * b, h, w)


def takes_a_tensor_twice(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    return run(lambda a, b: a * tg.sin(b), h, h) * h


def takes_one_of_two_outputs(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    first, second = tg.unstack(tg.stack([h, w]))
    return run(lambda a: a * second * h, first)


def gives_what_it_closes_over(w: tg.Tensor, run: Any) -> Any:
    h = tg.tanh(w * 2)
    first, second = run(lambda a: (h, a * h), w)
    return first * second


SHARED = [
    closes_over_its_argument,
    closes_over_a_tensor_and_its_parent,
    takes_what_it_closes_over_the_parent_of,
    takes_a_tensor_and_its_parent,
    takes_a_tensor_twice,
    takes_one_of_two_outputs,
    gives_what_it_closes_over,
]


@pytest.mark.parametrize("f", SHARED)
def test_what_a_segment_shares_with_the_rest_is_counted_once(f: Any) -> None:
    """The rule of a tensor that the segment closes over belongs to the graph outside, and is played there alone."""
    found = []
    for run in (plain, tg.checkpoint):
        w = leaf([0.3, 0.5])
        f(w, run).sum().backward()
        first = tg.gradients(f(w, run).sum(), w, create_graph=True)[0]
        second = tg.hvp(lambda v, run=run: (f(v, run) ** 2).sum(), leaf([0.3, 0.5]), leaf([1.0, -2.0]))
        found.append([w.grad, first, second])
    for stored, again in zip(*host(found), strict=True):
        np.testing.assert_allclose(stored, again, rtol=1e-12)


@pytest.mark.parametrize("given", [False, True], ids=["closed over", "argument"])
@pytest.mark.parametrize("rho", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_recurrent_graph_has_the_same_gradients_bit_for_bit(dtype: Any, rho: float, given: bool) -> None:
    """The sums over steps go on from segment to segment: sums of parts would round otherwise."""
    length, rng = 20, np.random.default_rng(1)
    weight, inputs = rng.normal(0, 0.2, (16, 16)), rng.normal(size=(4 * length, 2, 16))

    def segment(h: Any, w: Any, start: int) -> Any:
        for t in range(start, start + length):
            h = tg.dropout(tg.tanh(h @ w + tg.tensor(inputs[t], dtype=dtype)), rho)
        return h

    found = []
    for stored in (True, False):
        tg.seed(3)
        w, h = leaf(weight, dtype=dtype), tg.zeros((2, 16), dtype=dtype)
        for start in range(0, 4 * length, length):
            if stored:
                h = segment(h, w, start)
            elif given:
                h = tg.checkpoint(lambda a, b, start=start: segment(a, b, start), h, w)
            else:
                h = tg.checkpoint(lambda a, start=start: segment(a, w, start), h)
        (h * h).sum().backward()
        found.append(w.grad)
    np.testing.assert_array_equal(*found)


def test_an_argument_that_is_not_used_has_no_gradient() -> None:
    x, y = leaf(), leaf()
    tg.checkpoint(lambda a, b: a * 2, x, y).sum().backward()
    assert y.grad is None
    np.testing.assert_array_equal(x.grad, [2, 2, 2])
    with pytest.raises(ValueError, match="does not depend on"):
        tg.gradients(tg.checkpoint(lambda a, b: a * 2, x, y).sum(), [y])


def test_cotangents_of_a_tape_with_a_tensor_given_twice_are_whole() -> None:
    w = leaf([0.3, 0.5])
    tape = tg.Tape(tg.checkpoint(lambda a, b: a * b * b, w, w).sum())
    np.testing.assert_allclose(tape.cotangents()[0], 3 * w.numpy() ** 2, rtol=1e-12)
