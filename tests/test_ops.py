"""What every registered op owes: a formula, NumPy's values, two orders of derivative, its dtype, untouched inputs."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.context import STATE
from tinygrad7.op import REGISTRY, Op
from tinygrad7.testing import check_op, examples, strategies
from tinygrad7.testing.ops import check_call, of_tensors, tensor_places
from tinygrad7.testing.plain import plain

# The mutation test (test_testing_mutants.py) holds exactly this test against wrong rules.
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


@pytest.mark.parametrize("name", UNARY)
def test_empty_tensors_go_through_and_get_empty_gradients(name: str) -> None:
    x = tg.tensor(np.zeros((0, 3)), requires_grad=True)
    y = REGISTRY[name].call(x)
    assert y.shape == (0, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 3)
