"""What every registered op owes: a formula, NumPy's values, two orders of derivative, its dtype, untouched inputs."""

from __future__ import annotations

import array
import re
import unicodedata
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.context import STATE
from tinygrad7.op import REGISTRY, Op
from tinygrad7.testing import check_op, examples, strategies
from tinygrad7.testing.ops import check_call, of_tensors, tensor_places
from tinygrad7.testing.plain import plain

# The mutation test (test_testing.py) holds exactly this test against wrong rules.
OWN_TEST: dict[str, Any] = {"count": 12}
OWN = sorted(name for name, op in REGISTRY.items() if op.module.startswith("tinygrad7."))
IN_NUMPY = [name for name in OWN if plain(name)]


def here(name: str) -> Op:
    """The op; ``transfer`` is left to the host, its domain moves from "cpu" to "cpu"."""
    if name == "transfer" and STATE.get().device != "cpu":
        name = "astype"
    return REGISTRY[name]


def outputs(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, tuple) else (y,)


def cast(op: Op, args: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """The arguments with the floating ones in ``dtype``, through the grid that float16 holds exactly."""
    floats = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in args]
    return tuple([(np.round(a * 64) / 64).astype(dtype) if f else a for a, f in zip(args, floats, strict=True)])


def scattered(a: np.ndarray) -> np.ndarray:
    """The same values, not contiguous: every second element of a larger array, backwards."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) if a.ndim else np.zeros((2,), a.dtype)
    if not a.ndim:
        wide[1] = a
        return wide[1]
    wide[..., ::-2] = a
    return wide[..., ::-2]


# ---- from the registry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
def test_an_op_has_a_domain_and_a_formula_with_its_derivative(name: str) -> None:
    op = REGISTRY[name]
    assert op.domain is not None
    assert op.doc and op.label
    bars = [c for c in unicodedata.normalize("NFD", op.doc) if c == "\N{COMBINING MACRON}"]
    assert bars and "=" in op.doc, f"{name}: the docstring lacks its formula (x̄ = ...)"


@pytest.mark.parametrize("name", OWN)
def test_gradients_of_two_orders(name: str) -> None:
    check_op(here(name), **OWN_TEST)


@pytest.mark.parametrize("name", OWN)
def test_gradients_where_hypothesis_looks(name: str) -> None:
    op = here(name)

    @settings(max_examples=12)
    @given(strategies.calls(op))
    def search(call: Any) -> None:
        check_call(op, *call, order=1)

    search()


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_low_precision_keeps_its_dtype_and_its_gradients(name: str, dtype: str) -> None:
    op = here(name)
    if op.name == "astype":  # its domain converts to float64
        return
    for args, kwargs in examples(op, 3, 4):
        low = cast(op, args, dtype)
        f, operands = of_tensors(op, low, kwargs)
        tensors = [tg.tensor(a, requires_grad=True) for a in operands]
        for y in outputs(f(*tensors)):
            assert y.dtype == dtype or y.dtype.kind != "f"
        check_call(op, low, kwargs, order=1)


@pytest.mark.host
@pytest.mark.parametrize("name", IN_NUMPY)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_are_numpys_also_for_views(name: str, dtype: str) -> None:
    op, reference = REGISTRY[name], plain(name)
    assert reference is not None
    rtol = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    for args, kwargs in examples(op, 11, 8):
        given = cast(op, args, dtype)
        places = tensor_places(op, given)
        exact = tuple([a.astype(np.float64) if i in places else a for i, a in enumerate(given)])
        expected = outputs(reference(*exact, **kwargs))
        views = tuple([scattered(a) if i in places else a for i, a in enumerate(given)])
        tensors = tuple([tg.tensor(a) if i in places else a for i, a in enumerate(given)])
        for variant in (given, views, tensors):
            found = outputs(op.call(*variant, **kwargs))
            assert len(found) == len(expected)
            for y, wanted in zip(found, expected, strict=True):
                assert y.shape == np.shape(wanted)
                scale = np.abs(wanted).max(initial=1.0)
                np.testing.assert_allclose(host(y), wanted, rtol=rtol, atol=rtol * scale)


@pytest.mark.host
@pytest.mark.parametrize("name", OWN)
def test_arrays_give_arrays_and_are_not_written_into(name: str) -> None:
    op = REGISTRY[name]
    for args, kwargs in examples(op, 5, 4):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        raw = op.call(*args, **kwargs)
        raw = (
            raw[0]
            if op.reference is not None and op.joint is not None and isinstance(raw, tuple) and not op.outputs
            else raw
        )
        f, operands = of_tensors(op, args, kwargs)
        wrapped = f(*[tg.tensor(a) for a in operands])
        for y, t in zip(outputs(raw), outputs(wrapped), strict=True):
            assert not isinstance(y, tg.Tensor) and isinstance(t, tg.Tensor)
            np.testing.assert_array_equal(y, t.numpy())
        for a, copy in zip(args, copies, strict=True):
            if isinstance(a, np.ndarray):
                np.testing.assert_array_equal(a, copy)


@pytest.mark.parametrize("name", OWN)
def test_an_argument_alone_gets_the_gradient_that_it_gets_beside_the_others(name: str) -> None:
    op = here(name)
    for args, kwargs in examples(op, 7, 4):
        f, operands = of_tensors(op, args, kwargs)

        def pulled(live: list[int]) -> list[Any]:
            xs = [tg.tensor(a, requires_grad=i in live) for i, a in enumerate(operands)]
            ys = [y for y in outputs(f(*xs)) if y.requires_grad]
            loss = sum((y * y).sum() for y in ys) if ys else None
            wanted = [xs[i] for i in live]
            return tg.gradients(loss, wanted, unreached="zero") if loss is not None else [x * 0 for x in wanted]

        together = pulled(list(range(len(operands))))
        for i in range(len(operands)):
            np.testing.assert_allclose(pulled([i])[0], together[i], rtol=1e-9, atol=1e-12)


# ---- dtypes ------------------------------------------------------------------------------------------------------

UNARY = [name for name in OWN if len(REGISTRY[name].names) == 1]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_numbers_are_weak_on_either_side(name: str, dtype: str) -> None:
    f = REGISTRY[name].call
    x = tg.tensor([0.5, 2.0], dtype=dtype, requires_grad=True)
    for number in (2, 1.5):
        for y in (f(x, number), f(number, x)):
            assert y.dtype == dtype
            (g,) = tg.gradients(y, [x], [np.ones(2)])
            assert g.dtype == dtype
    assert (2 * x + 1 - x / 3.0).dtype == dtype
    assert tg.where(np.array([True, False]), x.numpy(), 0.0).dtype == dtype or STATE.get().device != "cpu"


@pytest.mark.parametrize("name", BINARY)
def test_arrays_and_their_scalars_are_strong_and_gradients_keep_their_tensors_dtype(name: str) -> None:
    x = tg.tensor([0.5, 2.0], dtype="float32", requires_grad=True)
    y = REGISTRY[name].call(x, tg.tensor(np.float64(1.5)))
    assert y.dtype == np.float64
    (g,) = tg.gradients(y, [x], [np.ones(2)])
    assert g.dtype == np.float32


@pytest.mark.parametrize("name", UNARY)
def test_numbers_and_lists_are_operands(name: str) -> None:
    f = REGISTRY[name].call
    assert np.shape(host(f(0.5))) == ()
    np.testing.assert_allclose(host(f([0.5, 0.25]))[0], host(f(np.float32(0.5))), rtol=1e-6)


def test_ops_take_lists_and_numbers_where_numpy_does() -> None:
    values = [[1.0, 2.0], [3.0, 5.0]]
    t = tg.tensor(values)
    for f in (
        tg.sum,
        tg.mean,
        tg.max,
        tg.prod,
        tg.var,
        tg.norm,
        tg.logsumexp,
        tg.flatten,
        tg.transpose,
        tg.flip,
        tg.softmax,
    ):
        np.testing.assert_allclose(host(f(values)), host(f(t)), rtol=1e-6)
    for f in (tg.sum, tg.mean, tg.max, tg.min, tg.prod, tg.var, tg.std, tg.cumsum, tg.logsumexp, tg.norm, tg.flatten):
        assert host(f(3.0)).size == 1
    np.testing.assert_allclose(host(tg.matmul(t, values)), host(t) @ host(t))
    np.testing.assert_allclose(host(tg.stack([t[0], [1.0, 1.0]])), [[1, 2], [1, 1]])
    assert tg.stack([t[0, 0], 1.5]).dtype == np.float32
    np.testing.assert_array_equal(tg.stack([1, 2.5]), np.stack([1, 2.5]))
    assert [host(p).tolist() for p in tg.split([1.0, 2.0], 2)] == [[1.0], [2.0]]


# ---- NumPy's semantics, edge by edge -----------------------------------------------------------------------------

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
            for order in (None, 1, 2, 3, 2.5, np.inf):
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
        lambda m, x: m.clip(x, min=0.1),
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


# ---- safe numbers ------------------------------------------------------------------------------------------------


def value_and_gradient(f: Any, values: Any, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    x = tg.tensor(np.asarray(values, dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = f(x)
        y.sum().backward()
    assert np.isfinite(y.numpy()).all() and np.isfinite(host(x.grad)).all()
    return y.numpy(), host(x.grad)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nothing_overflows_at_a_thousand(dtype: str) -> None:
    ends = [-1000.0, 0.0, 1000.0]
    y, g = value_and_gradient(tg.sigmoid, ends, dtype)
    np.testing.assert_array_equal(y, [0, 0.5, 1])
    np.testing.assert_array_equal(g, [0, 0.25, 0])
    y, g = value_and_gradient(tg.softplus, ends, dtype)
    np.testing.assert_allclose(y, [0, np.log(2), 1000], rtol=1e-3)
    np.testing.assert_array_equal(g, [0, 0.5, 1])
    y, g = value_and_gradient(tg.softmax, ends, dtype)
    np.testing.assert_array_equal(y, [0, 0, 1])
    y, g = value_and_gradient(tg.log_softmax, ends, dtype)
    np.testing.assert_array_equal(y, [-2000, -1000, 0])
    np.testing.assert_array_equal(g, [1, 1, -2])
    y, g = value_and_gradient(tg.logsumexp, ends, dtype)
    assert y == 1000
    np.testing.assert_array_equal(g, [0, 0, 1])
    y, g = value_and_gradient(tg.silu, ends, dtype)
    np.testing.assert_array_equal(g, [0, 0.5, 1])
    y, g = value_and_gradient(tg.tanh, ends, dtype)
    np.testing.assert_array_equal(g, [0, 1, 0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_at_its_ends(dtype: str, approximate: str) -> None:
    end = float(np.finfo(dtype).max) / 2
    x = [-end, -1000.0, -41.0, 0.0, 41.0, 1000.0, end]
    y, g = value_and_gradient(lambda x: tg.gelu(x, approximate=approximate), x, dtype)
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 41, 1000, end])
    np.testing.assert_array_equal(g, [0, 0, 0, 0.5, 1, 1, 1])


def test_logsumexp_of_nothing_likely_is_minus_infinity_without_a_nan() -> None:
    x = tg.tensor([[-np.inf, -np.inf], [0.0, -np.inf]], dtype="float64", requires_grad=True)
    y = tg.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y, [-np.inf, 0])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(tg.logsumexp(tg.zeros((0, 2)), axis=0), [-np.inf, -np.inf])


def test_norm_at_zero_and_at_the_ends_of_the_range() -> None:
    y, g = value_and_gradient(lambda x: tg.norm(x, axis=1), [[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(y, [0, 5])
    np.testing.assert_allclose(g, [[0, 0], [0.6, 0.8]])
    for order in (1, 3, np.inf):
        _, g = value_and_gradient(lambda x, o=order: tg.norm(x, o), [0.0, 0.0])
        np.testing.assert_array_equal(g, [0, 0])
    y, g = value_and_gradient(tg.norm, [3e200, 4e200])
    np.testing.assert_allclose(y, 5e200)
    np.testing.assert_allclose(g, [0.6, 0.8])
    y, g = value_and_gradient(tg.norm, [3e-200, 4e-200])
    np.testing.assert_allclose(y, 5e-200)
    np.testing.assert_allclose(g, [0.6, 0.8])


def test_second_derivative_of_the_norm_at_zero_is_finite() -> None:
    x = tg.tensor([0.0, 0.0], dtype="float64", requires_grad=True)
    (g,) = tg.gradients(tg.norm(x), [x], create_graph=True)
    (h,) = tg.gradients(g.sum(), [x], unreached="zero")
    np.testing.assert_array_equal(h, [0, 0])


def test_power_at_zero() -> None:
    for exponent, value, gradient in ((2, 0.0, 0.0), (1, 0.0, 1.0), (0, 1.0, 0.0), (3.0, 0.0, 0.0)):
        y, g = value_and_gradient(lambda x, e=exponent: x**e, [0.0])
        assert (y[0], g[0]) == (value, gradient)
        y, g = value_and_gradient(lambda x, e=exponent: x ** tg.tensor([float(e)], dtype="float64"), [0.0])
        assert (y[0], g[0]) == (value, gradient)
    _, g = value_and_gradient(lambda b: tg.tensor([0.0, 0.0, 2.0], dtype="float64") ** b, [2.0, 0.0, 0.0])
    np.testing.assert_allclose(g, [0, 0, np.log(2)])
    x = tg.tensor([0.0, -1.5], dtype="float64", requires_grad=True)
    (first,) = tg.gradients((x**2).sum(), [x], create_graph=True)
    (second,) = tg.gradients(first.sum(), [x])
    np.testing.assert_array_equal(second, [2, 2])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g"])
def test_where_chooses_the_very_bits(dtype: str) -> None:
    a = np.random.default_rng(0).normal(size=(37, 41)).astype(dtype)  # above 1,000 elements it works on the bits
    a[0, :4] = np.nan, np.inf, -np.inf, -0.0
    for mask, x in ((a > 0, a), ((a > 0)[::-1], a[::-1]), ((a > 0).T, a.T), (a[:, ::2] > 0, a[:, ::2])):
        np.testing.assert_array_equal(tg.where(mask, x, 0), np.where(mask, x, x.dtype.type(0)))


def test_the_gradient_of_relu_above_a_thousand_elements() -> None:
    x = tg.tensor(np.linspace(-1, 1, 2000).astype(np.float32), requires_grad=True)
    (tg.relu(x) * 3.0).sum().backward()
    np.testing.assert_array_equal(host(x.grad), np.where(host(x) > 0, np.float32(3), np.float32(0)))


def test_mixed_derivatives_of_power_at_exponent_zero() -> None:
    tiny = np.finfo(np.float64).smallest_subnormal
    a = tg.tensor([0.5, 2.0, 0.0, tiny], dtype="float64", requires_grad=True)
    b = tg.tensor(np.zeros(4), requires_grad=True)
    with np.errstate(all="ignore"):
        by_base, by_exponent = tg.gradients((a**b).sum(), [a, b], create_graph=True)
        np.testing.assert_array_equal(by_base.numpy(), np.zeros(4))
        (mixed,) = tg.gradients(by_base.sum(), [b])
        (mixed_too,) = tg.gradients(by_exponent.sum(), [a])
    np.testing.assert_array_equal(mixed.numpy()[:2], [2.0, 0.5])
    np.testing.assert_array_equal(mixed_too.numpy()[:2], [2.0, 0.5])


def test_where_sends_exact_zeros_even_past_infinity() -> None:
    x = tg.tensor([0.0, 4.0], dtype="float64", requires_grad=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        tg.where(np.array([False, True]) if x.device == "cpu" else x.data > 0, tg.sqrt(x), 0.0).sum().backward(
            retain_graph=True
        )
    assert host(x.grad)[1] == 0.25
    a = tg.tensor([1.0, 1.0], requires_grad=True)
    y = tg.where(a.data > 2, a, 1.0)
    y.backward(np.array([np.inf, np.nan], np.float32))
    np.testing.assert_array_equal(a.grad, [0, 0])
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    tg.relu(x).backward(np.array([1.0, np.inf], np.float32))
    np.testing.assert_array_equal(x.grad, [1, 0])


def test_ties_are_shared_equally() -> None:
    x = tg.tensor([[1.0, 3.0, 3.0, 3.0]], dtype="float64", requires_grad=True)
    for f, wanted in ((tg.max, [[0, 1 / 3, 1 / 3, 1 / 3]]), (tg.min, [[1, 0, 0, 0]])):
        for axis in (None, 1, (0, 1)):
            (g,) = tg.gradients(f(x, axis=axis).sum(), [x])
            np.testing.assert_allclose(g, wanted)
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    for f in (tg.maximum, tg.minimum):
        for g in tg.gradients(f(a, b), [a, b], [np.ones(2)]):
            np.testing.assert_array_equal(g, [0.5, 0.5])


def test_the_product_rule_is_exact_where_factors_are_zero() -> None:
    for values, wanted in (([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]), ([2.0], [1])):
        _, g = value_and_gradient(tg.prod, values)
        np.testing.assert_array_equal(g, wanted)


def test_nan_is_the_extreme_and_gets_the_gradient() -> None:
    x = tg.tensor([1.0, np.nan, 3.0], requires_grad=True)
    tg.max(x).backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])


def test_erf_is_accurate_to_the_last_digits() -> None:
    from math import erf

    x = np.concatenate([np.linspace(-7, 7, 1501), [0.0, 1e-300, 1.0, -1.0, 40.0]])
    np.testing.assert_allclose(tg.erf(tg.tensor(x)), [erf(v) for v in x], rtol=4e-16, atol=0)


# ---- messages ----------------------------------------------------------------------------------------------------


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
        (lambda t: t.swapaxes(0, 2), ValueError, r"swapaxes: axis 2 is out of bounds for 2 dimension"),
        (
            lambda t: t.swapaxes(0, 0.5),
            TypeError,
            r"swapaxes: an axis must be a whole number or a tuple .*not 0.5",
        ),
        (lambda t: t.squeeze(0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) is not of size 1"),
        (lambda t: tg.moveaxis(t, (0, 1), 0), ValueError, r"moveaxis: 2 source axes but 1 destinations"),
        (lambda t: tg.broadcast_to(t, (3, 3)), ValueError, r"broadcast_to: .*met \(2, 3\) float32"),
        (lambda t: tg.concatenate([]), ValueError, r"concatenate: the list is empty"),
        (lambda t: tg.stack([]), ValueError, r"stack: the list is empty"),
        (lambda t: tg.stack([t, t[0]]), ValueError, r"stack: .*met \(2, 3\) float32, \(3,\) float32"),
        (lambda t: tg.concatenate([t, t[0]]), ValueError, r"concatenate: .*met \(2, 3\) float32, \(3,\) float32"),
        (lambda t: tg.split(t, 4), ValueError, r"split: an axis of 2 cannot be split into 4 equal parts"),
        (lambda t: tg.pad(t, (1, 2, 3)), ValueError, r"pad: pad_width \(1, 2, 3\) does not fit shape \(2, 3\)"),
        (lambda t: tg.pad(t, 1.5), TypeError, "pad: pad_width counts elements, in integers, not 1.5"),
        (lambda t: tg.pad(t[0, 0], 1), ValueError, r"pad: a 0-d tensor has no axis to pad; x\.reshape\(1\) has one"),
        (lambda t: tg.tile(t, 1.5), ValueError, "tile: reps is a number of copies .*, not 1.5"),
        (lambda t: tg.tile(t, (2, -1)), ValueError, r"tile: reps is a number of copies .*, not \(2, -1\)"),
        (lambda t: tg.seed("a"), ValueError, "seed: the seed is an integer from 0 on, or None, not 'a'"),
        (lambda t: tg.seed(-1), ValueError, "seed: the seed is an integer from 0 on, or None, not -1"),
        (lambda t: tg.pad(t, -1), ValueError, r"pad: pad_width -1 is negative; cut with a slice"),
        (lambda t: tg.pad(t, 1, "maximum"), ValueError, r"pad: mode 'maximum' has no derivative here; use constant"),
        (lambda t: tg.pad(t, 1, constant_values=(1, 2)), ValueError, r"pad: constant_values is one number here"),
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
            r"norm: ord=2 over 2 axes is a matrix norm.*give one axis",
        ),
        (
            lambda t: tg.norm(t, 0.5, axis=0),
            ValueError,
            r"norm: ord=0.5 is not a vector norm here; use a number ≥ 1",
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


@pytest.mark.parametrize("name", UNARY)
def test_empty_tensors_go_through_and_get_empty_gradients(name: str) -> None:
    x = tg.tensor(np.zeros((0, 3)), requires_grad=True)
    y = REGISTRY[name].call(x)
    assert y.shape == (0, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 3)


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
