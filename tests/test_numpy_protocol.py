"""``np.<function>(tensor)`` is recorded and means what NumPy means; what has no counterpart loses no gradient."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import NUMPY_2_1, host
from tinygrad7.tensor import NUMPY

X = np.array([[0.5, -1.25, 2.0], [0.25, 1.5, -0.75]])
P = np.abs(X)  # for logarithms and roots

# One line a function: a call on the module's function ``f`` and a (2, 3) array or tensor ``x``.
CALLS: dict[Any, Any] = {
    np.sum: lambda f, x: [f(x), f(x, 0), f(x, axis=(0, 1)), f(x, axis=-1, keepdims=True), f(x, 1, None, None, True)],
    np.prod: lambda f, x: [f(x), f(x, axis=1, keepdims=True)],
    np.mean: lambda f, x: [f(x), f(x, 0), f(x, 0, None, None, True), f(a=x, axis=-1)],
    np.var: lambda f, x: [f(x), f(x, axis=0, ddof=1), f(x, 0, None, None, 1, keepdims=True), f(x, correction=1)],
    np.std: lambda f, x: [f(x), f(x, axis=0, ddof=1)],
    np.max: lambda f, x: [f(x), f(x, axis=1), f(x, 1, None, True)],
    np.min: lambda f, x: [f(x), f(x, axis=(0, 1))],
    np.amax: lambda f, x: [f(x), f(x, 0, keepdims=True)],
    np.amin: lambda f, x: [f(x), f(x, 0, keepdims=True)],
    np.cumsum: lambda f, x: [f(x), f(x, axis=1)],
    np.linalg.norm: lambda f, x: [f(x), f(x, axis=1), f(x, 1, 0), f(x, ord=np.inf, axis=0, keepdims=True), f(x, "fro")],
    np.clip: lambda f, x: [f(x, -1, 1), f(x, a_min=0, a_max=None), f(x, None, 0.7)],
    np.where: lambda f, x: [f(X > 0, x, 0.0), f(X > 0, 1.0, x)],
    np.reshape: lambda f, x: [f(x, (3, 2)), f(x, -1)],
    np.transpose: lambda f, x: [f(x), f(x, (1, 0)), f(x, axes=[0, 1])],
    np.swapaxes: lambda f, x: [f(x, 0, 1), f(x, axis1=0, axis2=-1)],
    np.moveaxis: lambda f, x: [f(x, 0, 1), f(x, source=[0], destination=[-1])],
    np.expand_dims: lambda f, x: [f(x, 0), f(x, axis=(0, -1))],
    np.squeeze: lambda f, x: [f(x[:1]), f(x[:1], axis=0)],
    np.ravel: lambda f, x: [f(x)],
    np.broadcast_to: lambda f, x: [f(x, (4, 2, 3)), f(x, shape=(2, 3))],
    np.concatenate: lambda f, x: [f([x, X]), f((x, x), axis=1), f([x, x], axis=None)],
    np.stack: lambda f, x: [f([x, X]), f((x, x), axis=-1)],
    np.split: lambda f, x: [*f(x, 3, axis=1), *f(x, [1], 0)],
    np.flip: lambda f, x: [f(x), f(x, axis=1), f(m=x, axis=(0, 1))],
    np.roll: lambda f, x: [f(x, 2), f(x, shift=(1, -1), axis=(0, 1))],
    np.tile: lambda f, x: [f(x, 2), f(x, reps=(2, 1, 2))],
    np.pad: lambda f, x: [
        f(x, 1),
        f(x, ((1, 0), (0, 2)), constant_values=3),
        f(x, (1, 1), "edge"),
        f(x, 1, mode="wrap"),
    ],
    np.take: lambda f, x: [f(x, [0, 5, 5]), f(x, indices=[2, 0], axis=1), f(x, 1, 0)],
    np.take_along_axis: lambda f, x: [f(x, np.argsort(X, 1), 1), f(x, np.argsort(X, 0), axis=0)],
    np.copy: lambda f, x: [f(x)],
    np.outer: lambda f, x: [f(x[0], x[1]), f(X, x)],
    np.dot: lambda f, x: [f(x, X.T), f(X[0], x.T), f(x[0], x[1]), f(x, 2.0)],
    np.tensordot: lambda f, x: [f(x, X, axes=2), f(x, X, ([0], [0])), f(X, x.T, 1)],
    np.einsum: lambda f, x: [f("ij,kj->ik", x, X), f("ij->", x), f("ij,ij", x, x, optimize=True)],
    np.astype: lambda f, x: [f(x, np.float32)],
    np.matmul: lambda f, x: [f(x, X.T), f(X, x.T), f(x, x[0])],
    np.linalg.matmul: lambda f, x: [f(x, X.T), f(X, x.T)],
    np.linalg.outer: lambda f, x: [f(x[0], x[1]), f(X[0], x[1])],
    np.linalg.tensordot: lambda f, x: [f(x, X, axes=2), f(x, X, axes=([0], [0]))],
    np.linalg.vector_norm: lambda f, x: [
        f(x),
        f(x, axis=-1),
        f(x, axis=(1, 0), ord=1, keepdims=True),
        f(x, keepdims=True, ord=np.inf),
        f(x, axis=0, keepdims=True, ord=3),
    ],
    np.linalg.matrix_transpose: lambda f, x: [f(x)],
    np.matrix_transpose: lambda f, x: [f(x)],
}
if NUMPY_2_1:
    CALLS[np.clip] = lambda f, x: [f(x, -1, 1), f(x, a_min=0, a_max=None), f(x, min=-0.5), f(x, None, 0.7), f(x, max=1)]
    CALLS[np.reshape] = lambda f, x: [f(x, (3, 2)), f(x, -1), f(x, shape=(6, 1))]
    CALLS[np.unstack] = lambda f, x: [*f(x), *f(x, axis=1)]
    CALLS[np.cumulative_sum] = lambda f, x: [f(x, axis=1), f(x[0]), f(x, axis=0, include_initial=False)]
# Answer with plain values: they have no gradient.
PLAIN: dict[Any, Any] = {
    np.argmax: lambda f, x: [f(x), f(x, axis=1), f(x, 0, keepdims=True)],
    np.argmin: lambda f, x: [f(x), f(x, axis=-1)],
    np.shape: lambda f, x: [f(x)],
    np.ndim: lambda f, x: [f(x)],
    np.size: lambda f, x: [f(x), f(x, 1)],
    np.allclose: lambda f, x: [f(x, X), f(X + 1, x), f(x, X + 0.1, atol=0.2)],
    np.isclose: lambda f, x: [f(x, X), f(x, X + 0.1, rtol=1e-3)],
    np.array_equal: lambda f, x: [f(x, X), f(x, X[0])],
    np.array_equiv: lambda f, x: [f(x, X), f(X[0], x)],
    np.all: lambda f, x: [f(x), f(x > 0, axis=0), f(x, 1, keepdims=True)],
    np.any: lambda f, x: [f(x), f(a=x, axis=-1)],
    np.argsort: lambda f, x: [f(x), f(x, axis=0, kind="stable")],
    np.argpartition: lambda f, x: [f(x, 1)],
    np.argwhere: lambda f, x: [f(x)],
    np.count_nonzero: lambda f, x: [f(x), f(x, axis=0)],
    np.digitize: lambda f, x: [f(x, [-1.0, 0.0, 1.0])],
    np.flatnonzero: lambda f, x: [f(x)],
    np.isin: lambda f, x: [f(x, [0.5, 2.0])],
    np.lexsort: lambda f, x: [f((x[0], X[1]))],
    np.nonzero: lambda f, x: [*f(x)],
    np.searchsorted: lambda f, x: [f([0.0, 1.0], x), f(np.sort(X[0]), x[1], side="right")],
    np.isreal: lambda f, x: [f(x)],
    np.iscomplex: lambda f, x: [f(x)],
    np.isrealobj: lambda f, x: [f(x)],
    np.iscomplexobj: lambda f, x: [f(x)],
    np.isposinf: lambda f, x: [f(x)],
    np.isneginf: lambda f, x: [f(x)],
    np.shares_memory: lambda f, x: [f(x, x), f(x, X + 1)],
    np.may_share_memory: lambda f, x: [f(x, x[0]), f(X + 1, x)],
    np.result_type: lambda f, x: [f(x, 1.0), f(x, np.float32), f(1, x, x)],
    np.can_cast: lambda f, x: [f(x, "f4") if isinstance(x, tg.Tensor) else f(x.dtype, "f4")],
}
UFUNCS = sorted((f for f in NUMPY if isinstance(f, np.ufunc) and f is not np.matmul), key=lambda f: f.__name__)


def tensor(values: Any = X, dtype: Any = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


@pytest.mark.host
@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_a_numpy_function_is_recorded_and_gives_numpys_value(function: Any) -> None:
    for ours, expected in zip(CALLS[function](function, tensor()), CALLS[function](function, X), strict=True):
        assert isinstance(ours, tg.Tensor) and ours.requires_grad
        assert ours.shape == np.shape(expected)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6)


@pytest.mark.host
@pytest.mark.parametrize("function", PLAIN, ids=lambda f: f.__name__)
def test_questions_are_answered_with_plain_values(function: Any) -> None:
    for ours, expected in zip(PLAIN[function](function, tensor()), PLAIN[function](function, X), strict=True):
        assert not isinstance(ours, tg.Tensor)
        np.testing.assert_array_equal(ours, expected)
        assert isinstance(ours, np.ndarray | np.generic | bool | int | tuple | np.dtype)


@pytest.mark.host
def test_arguments_of_numpys_that_are_left_at_none_are_left_out() -> None:
    t = tensor()
    for y in (np.einsum("ij->", t, out=None, optimize=True), np.sum(t, dtype=None, out=None)):
        assert y.requires_grad and y.item() == pytest.approx(X.sum())


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_every_ufunc_with_a_counterpart(ufunc: np.ufunc) -> None:
    operands = (P, P.T[:1].T)[: ufunc.nin]
    expected = ufunc(*operands)
    for k in range(ufunc.nin):
        mixed = [tensor(v) if i >= k else tg.tensor(v) for i, v in enumerate(operands)]
        ours = ufunc(*mixed)
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
        plain = np.asarray(expected).dtype == np.bool_
        assert isinstance(ours, tg.Tensor) != plain
        assert plain or ours.requires_grad


def test_every_counterpart_is_tested_here() -> None:
    named = {f for f in NUMPY if not isinstance(f, np.ufunc)}
    assert named - set(CALLS) - set(PLAIN) == {np.zeros_like, np.ones_like}
    for f in (np.zeros_like, np.ones_like):
        like = f(tensor())
        assert isinstance(like, tg.Tensor) and not like.requires_grad
        np.testing.assert_array_equal(like, f(X))


@pytest.mark.host
@pytest.mark.parametrize(
    "op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow], ids=lambda op: op.__name__
)
def test_operators_with_arrays_scalars_and_lists_on_either_side(op: Any) -> None:
    for other in (2, 2.5, P, P[0], np.float64(1.5), np.array(2.0), P.tolist(), tg.tensor(P)):
        t, value = tensor(P), host(other) if not isinstance(other, list) else np.array(other)
        for ours, expected in ((op(t, other), op(P, value)), (op(other, t), op(value, P))):
            assert isinstance(ours, tg.Tensor) and ours.requires_grad
            np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6)
            (g,) = tg.gradients(ours.sum(), [t])
            assert g.shape == P.shape and g.dtype == P.dtype


@pytest.mark.host
def test_matrix_products_comparisons_and_signs_with_arrays_on_either_side() -> None:
    t = tensor()
    for ours, expected in ((t @ X.T, X @ X.T), (X.T @ t, X.T @ X), (t @ X[0], X @ X[0]), (X[:, 0] @ t, X[:, 0] @ X)):
        assert isinstance(ours, tg.Tensor) and ours.requires_grad
        np.testing.assert_allclose(ours.numpy(), expected)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        for other in (0.5, X, X[0], np.float64(0.5), X.tolist()):
            for found, wanted in (
                (compare(t, other), compare(X, other)),
                (compare(other, t), compare(np.array(other), X)),
            ):
                assert type(found) is np.ndarray and found.dtype == bool
                np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(host(-t), -X)
    np.testing.assert_array_equal(host(+t), X)
    np.testing.assert_array_equal(host(abs(t)), np.abs(X))
    assert (+t) is t and np.positive(t) is t


@pytest.mark.host
def test_an_array_on_the_left_keeps_the_gradient_of_the_tensor_on_the_right() -> None:
    t = tensor()
    (X * t).sum().backward()
    np.testing.assert_array_equal(t.grad, X)


@pytest.mark.host
def test_a_float32_tensor_stays_float32_beside_numbers_of_python() -> None:
    t = tensor(dtype="float32")
    assert np.add(t, 1.5).dtype == np.multiply(2, t).dtype == np.maximum(t, 0.0).dtype == np.float32
    assert np.clip(t, -1.0, 1.0).dtype == np.where(X > 0, t, 0.0).dtype == np.float32
    assert np.add(t, np.float64(1.5)).dtype == np.float64


@pytest.mark.host
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: np.sort(t), r"np.sort has no derivative here.*gradient must not be lost silently"),
        (
            lambda t: np.cumprod(t),
            r"np.cumprod has no derivative here.*use tg\.exp\(tg\.cumsum\(tg\.log\(x\)\)\), for x > 0",
        ),
        (lambda t: np.fmax(t, 0), r"np.fmax has no derivative here.*silently: use tg\.maximum; "),
        (lambda t: np.fmin(t, 0), r"np.fmin has no derivative here.*silently: use tg\.minimum; "),
        (
            lambda t: np.arcsinh(t),
            r"np.arcsinh has no derivative here.*: use tg\.log\(x \+ tg\.sqrt\(x \* x \+ 1\)\); ",
        ),
        (lambda t: np.triu(t), r"np.triu has no derivative here.*: use tg\.where\(mask, x, 0\), its mask from np\.tri"),
        (lambda t: np.copyto(X.copy(), t), r"np.copyto has no derivative here.*: nothing is changed in place"),
        (lambda t: np.arctan2(t, t), r"np.arctan2 has no derivative here.*nearest is tg\.arctan; "),
        (lambda t: np.vstack([t, t]), r"np.vstack has no derivative here.*use tg\.concatenate or tg\.stack; "),
        (lambda t: np.median(t), r"np.median has no derivative"),
        (lambda t: np.linalg.inv(t), r"np.linalg.inv has no derivative here.*@tg\.primitive"),
        (lambda t: np.fft.fft(t), r"np.fft\S* has no derivative"),
        (
            lambda t: np.add.reduce(t),
            r"np.add.reduce has no derivative here.*: use tg\.sum; use t\.numpy\(\) or t\.detach",
        ),
        (
            lambda t: np.multiply.reduce(t, axis=0),
            r"np.multiply.reduce with axis= has no derivative here.*silently: use tg\.prod; ",
        ),
        (lambda t: np.maximum.reduce(t), r"np.maximum.reduce has no derivative here.*silently: use tg\.max; "),
        (lambda t: np.add.accumulate(t), r"np.add.accumulate has no derivative here.*silently: use tg\.cumsum; "),
        (lambda t: np.multiply.outer(t, t), r"np.multiply.outer has no derivative.*silently: use tg\.outer; "),
        (lambda t: np.add.outer(t, t), r"np.add.outer has no derivative.*: broadcast, np\.add\(x\[:, None\], y\); "),
        (lambda t: np.add.at(t, 0, 1), r"np.add.at has no derivative.*silently: nothing is changed in place"),
        (lambda t: np.divide.reduce(t), r"np.divide.reduce has no derivative.*silently: use t\.numpy"),
        (
            lambda t: np.add(t, t, out=np.zeros((2, 3))),
            r"np.add with out= has no derivative.*: tg\.add takes no out=: its",
        ),
        (lambda t: np.add(t, 1, where=X > 0), r"np.add with where= .*takes no where=: use tg\.where\(mask, tg\.add"),
        (
            lambda t: np.exp(t, dtype="f4"),
            r"np.exp with dtype= .*: tg\.exp takes no dtype=: use t\.astype\(dtype\) first",
        ),
        (lambda t: np.exp(t, order="F"), r"np.exp with order= .*tg\.exp takes no order=: leave it out; "),
        *[
            (lambda t: np.cumulative_sum(t), r"np.cumulative_sum: say along which axis of \(2, 3\): axis="),
            (
                lambda t: np.cumulative_sum(t, axis=0, include_initial=True),
                r"cumulative_sum: include_initial= has no counterp",
            ),
            (lambda t: np.cumulative_sum(t, axis=0, dtype="f4"), r"cumulative_sum: dtype= has no counterpart on ten"),
        ]
        * NUMPY_2_1,
        (lambda t: np.sum(t, out=np.zeros(())), r"np.sum: out= has no counterpart on tensors; leave it out"),
        (lambda t: np.sum(t, 0, np.float32), r"np.sum: dtype= has no counterpart"),
        (lambda t: np.mean(t, where=X > 0), r"np.mean: where= has no counterpart"),
        (lambda t: np.max(t, initial=3), r"np.max: initial= has no counterpart"),
        (lambda t: np.stack([t, t], out=np.zeros((2, 2, 3))), r"np.stack: out= has no counterpart"),
        (lambda t: np.concatenate([t, t], dtype="f4"), r"np.concatenate: dtype= has no counterpart"),
        (lambda t: np.take(t, [7], mode="wrap"), r"np.take: mode= has no counterpart"),
        (lambda t: np.reshape(t, 6, order="F"), r"np.reshape: order= has no counterpart"),
        (lambda t: np.linalg.norm(t, 2), r"norm: ord=2 over 2 axes is a matrix norm"),
        (lambda t: np.linalg.norm(t, "nuc"), r"norm: ord='nuc' over 2 axes is a matrix norm"),
        (lambda t: np.where(t), r"where\(.*missing a required argument: 'a'"),
        (lambda t: np.einsum(t, [0, 1]), r"einsum: the first argument is the subscripts"),
        (lambda t: np.einsum("ij->", t, out=np.zeros(())), r"np.einsum: out= has no counterpart"),
        (lambda t: np.asarray(t), r"np.asarray\(t\) of a tensor that needs a gradient would lose the gradient"),
        (lambda t: math.exp(t[0, 0]), r"float\(\) .* would lose the gradient: use t\.item\(\)"),
    ],
)
def test_what_has_no_counterpart_refuses_and_names_what_works(call: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"(?s){says}"):
        call(tensor())


@pytest.mark.host
def test_constants_go_through_any_numpy_function_as_plain_arrays() -> None:
    t = tg.tensor(X)
    np.testing.assert_array_equal(np.sort(t), np.sort(X))
    assert type(np.add.reduce(t)) is np.ndarray
    out = np.zeros((2, 3))
    out += t
    np.testing.assert_array_equal(out, X)
    np.testing.assert_array_equal(np.asarray(t), X)


@pytest.mark.host
def test_an_array_is_not_added_to_in_place_from_a_tensor_that_needs_a_gradient() -> None:
    total = np.zeros((2, 3))
    with pytest.raises(TypeError, match=r"np.add with out= has no derivative"):
        total += tensor()
    np.testing.assert_array_equal(total, 0)


@pytest.mark.host
def test_float_power_computes_in_float64() -> None:
    t = tensor(P, "float32")
    for y in (np.float_power(t, 2), np.float_power(2, t), np.float_power(t, P.astype("float32"))):
        assert y.dtype == np.float64 and y.requires_grad
    np.testing.assert_allclose(np.float_power(t, 2).numpy(), np.float_power(P.astype("float32"), 2))


def test_questions_are_answered_where_the_tensor_lives() -> None:
    t = tensor()
    assert bool(np.any(t)) and not bool(np.all(t > 0)) and int(np.count_nonzero(t)) == 6
    np.testing.assert_array_equal(np.argsort(t, axis=1), np.argsort(X, axis=1))
    np.testing.assert_array_equal(np.isposinf(t), np.isposinf(X))
    assert np.result_type(t, np.float32) == np.float64
    assert type(np.argsort(t)) is type(t.data)
