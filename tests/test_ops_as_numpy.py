"""NumPy's semantics, edge by edge: axes, shapes, products, padding, indices."""

from __future__ import annotations

import array
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import NUMPY_2_1, host
from tinygrad7.testing import strategies

SHAPES = [(2, 3, 4), (3,), (), (0, 3), (2, 0), (1, 1)]
AXES = [None, 0, -1, 1, (0, 1), (-1, 0), (), 3]
REDUCTIONS = ["sum", "mean", "var", "std", "max", "min", "prod"]


def same(ours: Any, numpys: Any, *values: np.ndarray, rtol: float = 1e-6) -> None:
    """Both raise, or both give the same value, shape and dtype; and if that is finite, a gradient comes back."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            expected = numpys(*values)
        except (ValueError, IndexError, TypeError) as error:
            with pytest.raises(
                type(error) if not isinstance(error, np.exceptions.AxisError) else (ValueError, IndexError)
            ):
                ours(*[tg.tensor(v) for v in values])
            return
        xs = [tg.tensor(v, requires_grad=True) for v in values]
        y = ours(*xs)
        assert y.shape == np.shape(expected)
        assert y.dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=rtol, atol=1e-6)
        y.sum().backward()
        for x, v in zip(xs, values, strict=True):
            assert x.grad is not None and x.grad.shape == v.shape and x.grad.dtype == v.dtype


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_along_any_axis_of_any_shape(name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for axis in AXES:
        for keepdims in (False, True):
            same(
                lambda t, a=axis, k=keepdims: getattr(tg, name)(t, axis=a, keepdims=k),
                lambda v, a=axis, k=keepdims: getattr(np, name)(v, axis=a, keepdims=k),
                x,
            )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_running_sums_norms_and_places(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    for axis in (None, 0, -1, 3):
        same(lambda t, a=axis: tg.cumsum(t, axis=a), lambda v, a=axis: np.cumsum(v, axis=a), x)
        if not (axis is None and len(shape) != 1):
            for order in (None, 1, 2, 3, 2.5, *[np.inf] * (x.size > 0 or NUMPY_2_1)):
                same(
                    lambda t, a=axis, o=order: tg.norm(t, o, axis=a, keepdims=True),
                    lambda v, a=axis, o=order: np.linalg.norm(v, o, axis=a, keepdims=True),
                    x,
                )
        for name in ("argmax", "argmin"):
            if x.size and (axis is None or -len(shape) <= axis < len(shape)):
                found = getattr(tg, name)(tg.tensor(x), axis=axis, keepdims=True)
                np.testing.assert_array_equal(host(found), getattr(np, name)(x, axis=axis, keepdims=True))
    same(tg.norm, np.linalg.norm, x)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.reshape(x, (4, 6)),
        lambda m, x: m.reshape(x, -1),
        lambda m, x: m.reshape(x, (5, 5)),
        lambda m, x: m.transpose(x),
        lambda m, x: m.transpose(x, (1, -1, 0)),
        lambda m, x: m.transpose(x, (0, 1)),
        lambda m, x: m.transpose(x, (0, 0, 1)),
        lambda m, x: m.swapaxes(x, 0, -1),
        lambda m, x: m.swapaxes(x, 0, 3),
        lambda m, x: m.moveaxis(x, 0, -1),
        lambda m, x: m.moveaxis(x, (0, 1), (-1, 0)),
        lambda m, x: m.moveaxis(x, (0, 1), (2,)),
        lambda m, x: m.expand_dims(x, (0, -1)),
        lambda m, x: m.expand_dims(x, 5),
        lambda m, x: m.squeeze(m.expand_dims(x, (0, 2))),
        lambda m, x: m.squeeze(m.expand_dims(x, (0, 2)), (0, 2)),
        lambda m, x: m.squeeze(x, 0),
        lambda m, x: m.broadcast_to(x, (5, 2, 3, 4)),
        lambda m, x: m.broadcast_to(x, (2, 3, 5)),
        lambda m, x: m.concatenate([x, x], axis=-2),
        lambda m, x: m.concatenate([x, x], axis=None),
        lambda m, x: m.concatenate([x, x[0]]),
        lambda m, x: m.stack([x, x], axis=-1),
        lambda m, x: m.stack([x, x[0]]),
        lambda m, x: m.flip(x),
        lambda m, x: m.flip(x, (0, -1)),
        lambda m, x: m.roll(x, 5),
        lambda m, x: m.roll(x, (1, -2), axis=(0, 2)),
        lambda m, x: m.tile(x, 2),
        lambda m, x: m.tile(x, (2, 1, 3)),
        lambda m, x: m.tile(x, (2, 1, 1, 2)),
        lambda m, x: m.pad(x, 1),
        lambda m, x: m.pad(x, (1, 2)),
        lambda m, x: m.pad(x, ((1, 2), (0, 0), (0, 3)), constant_values=7),
        lambda m, x: m.pad(x, ((1, 2), (0, 0))),
        lambda m, x: m.pad(x, -1),
        lambda m, x: m.pad(x, (1, 3), mode="edge"),
        lambda m, x: m.pad(x, (1, 1), mode="reflect"),
        lambda m, x: m.pad(x, (2, 1), mode="symmetric"),
        lambda m, x: m.pad(x, 5, mode="wrap"),
        lambda m, x: m.take(x, [0, 5, 5]),
        lambda m, x: m.take(x, [[0, 2], [1, 1]], axis=1),
        lambda m, x: m.take(x, 1, axis=-1),
        lambda m, x: m.take(x, 9, axis=-1),
        lambda m, x: m.clip(x, -0.5, 0.5),
        lambda m, x: m.clip(x, None, 0.5),
        *[lambda m, x: m.clip(x, min=0.1)] * NUMPY_2_1,
        lambda m, x: m.tensordot(x, x, ([0, 1, 2], [0, 1, 2])),
        lambda m, x: m.tensordot(x, x, axes=([2], [-1])),
        lambda m, x: m.tensordot(x, m.transpose(x), axes=1),
        lambda m, x: m.tensordot(x, x, axes=1),
        lambda m, x: m.outer(x, x[0]),
        lambda m, x: m.dot(x, x[0].T),
        lambda m, x: m.dot(x[0].T, x),
        lambda m, x: m.dot(x, 2.0),
        lambda m, x: m.matmul(x, x[0].T),
        lambda m, x: m.matmul(x[0, 0], m.swapaxes(x, 1, 2)),
        lambda m, x: m.matmul(x, x),
        lambda m, x: m.matmul(x, m.sum(x)),
        lambda m, x: m.einsum("ijk,ijk->", x, x),
        lambda m, x: m.einsum("ijk->kj", x),
        lambda m, x: m.einsum("...k,k", x, x[0, 0]),
        lambda m, x: m.einsum("ijk,lk->ijl", x, x[0, :1]),
        lambda m, x: m.einsum("ijk,ijk->ijk", x, x[:1]),
        lambda m, x: m.einsum("...j,...j->...", x, x[:1]),
        lambda m, x: m.einsum("ijk,kk->ij", x, x[0]),
        lambda m, x: m.matmul(m.reshape(x[:, :, :0], (6, 0)), m.reshape(x[:, :, :0], (0, 6))),
        lambda m, x: m.matmul(x[:, :, :0], x[0, :, :0].T),
        lambda m, x: m.pad(x, ((0, 0), (1, 2), (0, 0)), "edge"),
    ],
)  # fmt: skip
def test_shapes_products_and_padding_do_what_numpy_does(call: Any) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    same(lambda t: call(tg, t), lambda v: call(np, v), x)


def test_parts_are_numpys() -> None:
    x = np.random.default_rng(1).normal(size=(6, 4))
    t = tg.tensor(x)
    for where, axis in ((3, 0), ([1, 4], 0), (2, -1), ([2, 9], 1)):
        ours, theirs = tg.split(t, where, axis=axis), np.split(x, where, axis=axis)
        assert [p.shape for p in ours] == [p.shape for p in theirs]
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(host(p), q)
    places = np.argsort(x, axis=1)
    np.testing.assert_array_equal(tg.take_along_axis(t, places, axis=1), np.sort(x, axis=1))
    np.testing.assert_array_equal(tg.take_along_axis(t, places[:1], axis=1), np.take_along_axis(x, places[:1], axis=1))
    np.testing.assert_array_equal(tg.take_along_axis(t, np.array([3, 1]), axis=None), x.ravel()[[3, 1]])
    rows = tg.unstack(t, axis=-1)
    assert len(rows) == 4
    np.testing.assert_array_equal(rows[1], x[:, 1])


@settings(max_examples=60)
@given(st.data())
def test_indexing_is_numpys_and_its_gradient_counts_every_use(data: Any) -> None:
    shape = data.draw(strategies.shapes(0, 3))
    index = data.draw(strategies.indices(shape))
    values = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    x = tg.tensor(values, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), values[index])
    counts = np.zeros(shape)
    np.add.at(counts, index, 1.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, counts)
    (again,) = tg.gradients((x[index] * x[index]).sum(), [x], create_graph=False)
    np.testing.assert_array_equal(again, 2 * values * counts)


@pytest.mark.parametrize(
    "index",
    [((0, 0, 1),), ((0, 0, 1), slice(None)), (range(2), 0), range(3), array.array("l", [0, 0, 1]), ((0, 0), (1, 1))],
    ids=repr,
)
def test_a_sequence_within_an_index_counts_repeated_elements(index: Any) -> None:
    x = tg.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), x.numpy()[index])
    y.sum().backward()
    expected = np.zeros((3, 4))
    np.add.at(expected, index, 1)
    np.testing.assert_array_equal(x.grad, expected)


def test_an_object_that_is_an_index_is_one() -> None:
    class Second:
        def __index__(self) -> int:
            return 1

    assert tg.tensor([1.0, 2.0])[Second()].item() == 2.0


def test_a_tensor_of_integers_is_an_index() -> None:
    x = tg.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    for index in (tg.tensor([2, 0, 2]), (tg.tensor([2, 0, 2]), slice(None))):
        np.testing.assert_array_equal(x[index], host(x)[[2, 0, 2]])
    x[tg.tensor([2, 0, 2])].sum().backward()
    np.testing.assert_array_equal(x.grad, [[1, 1], [0, 0], [2, 2]])


def test_a_list_of_shifts_changed_later_changes_nothing() -> None:
    shifts, x = [1, 0], tg.tensor(np.zeros((2, 2)), requires_grad=True)
    loss = (tg.roll(x, shifts, (0, 1)) * tg.tensor(np.arange(4.0).reshape(2, 2))).sum()
    shifts[0] = 0
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[2, 3], [0, 1]])
