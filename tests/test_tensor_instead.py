"""Tensors in NumPy's functions, and what is named instead of what is not there."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf
from tinygrad7.names import INSTEAD
from tinygrad7.tensor import Tensor


def test_numpy_functions_with_a_counterpart_run_it() -> None:
    x = leaf([[0.5, 1.0], [1.5, 2.0]])
    with np.errstate(all="ignore"):
        for f in (
            np.tanh,
            np.sum,
            np.exp,
            np.transpose,
            np.mean,
            np.sqrt,
            np.ravel,
            np.abs,
            np.std,
            np.cumsum,
            np.linalg.norm,
        ):
            y = f(x)
            assert isinstance(y, Tensor) and y.requires_grad, f
            np.testing.assert_allclose(y, f(host(x)), rtol=1e-12)
    for y in (
        np.stack([x, x]),
        np.concatenate([x, x], axis=1),
        np.where(x > 1, x, 0.0),
        np.matmul(x, x),
        np.maximum(x, 1.0),
        np.einsum("ij,jk", x, x),
        np.reshape(x, (4,)),
        np.sum(x, axis=0, keepdims=True),
    ):
        assert isinstance(y, Tensor) and y.requires_grad


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda t: np.arctan2(t, t), "np.arctan2"),
        (lambda t: np.add.reduce(t), r"np.add.reduce"),
        (lambda t: np.sort(t), "np.sort"),
        (lambda t: np.add(t, t, out=np.zeros(3)), "np.add with out="),
        (lambda t: np.linalg.det(t), "np.linalg.det"),
        (lambda t: np.fft.fft(t), "np.fft.fft"),
        (lambda t: np.multiply.outer(t, t), "np.multiply.outer"),
        (lambda t: np.vstack([t, t]), "np.vstack"),
    ],
)
def test_numpy_functions_without_one_raise_and_name_what_works(call: Any, named: str) -> None:
    with pytest.raises(
        TypeError, match=rf"{named} has no derivative here.*use t\.numpy\(\) or t\.detach\(\).*@tg\.primitive"
    ):
        call(leaf())


def test_the_nearest_op_is_named() -> None:
    with pytest.raises(TypeError, match=r"np\.arctan2.*the nearest is tg\.arctan;"):
        np.arctan2(leaf(), 1.0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda t: np.hstack([t, t]), r"use tg\.concatenate or tg\.stack; "),
        (lambda t: np.sort(t), r"use tg\.take_along_axis"),
        (lambda t: np.diff(t), r"use x\[1:\] - x\[:-1\]; "),
        (lambda t: np.fliplr(t), r"the nearest is tg\.flip; "),
        (lambda t: np.round(t), r"silently: use t\.numpy\(\)"),
    ],
    ids=["hstack", "sort", "diff", "fliplr", "round"],
)
def test_what_is_named_instead_exists_and_helps(call: Any, named: str) -> None:
    with pytest.raises(TypeError, match=rf"has no derivative here.*{named}"):
        call(tg.tensor([[1.0, 2.0]], requires_grad=True))


def test_every_name_that_is_offered_instead_is_ours() -> None:
    for words in INSTEAD.values():
        for name in re.findall(r"tg\.(\w+)", words):
            assert callable(getattr(tg, name))


def test_a_list_of_recorded_tensors_given_to_an_op_names_stack() -> None:
    with pytest.raises(TypeError, match=r"tg\.stack\(\[\.\.\.\]\) for a list"):
        tg.sum([leaf(), leaf()])


def test_a_matrix_product_with_a_number_names_the_other_product() -> None:
    x = tg.tensor(np.ones((2, 2)), requires_grad=True)
    for call in (lambda: 2 @ x, lambda: x @ 2, lambda: tg.tensor(2.0) @ x):
        with pytest.raises(tg.ShapeError, match=r"matmul: a matrix product needs at least one axis.*with \*.*met"):
            call()


@pytest.mark.host
def test_an_error_that_is_made_otherwise_is_explained_too() -> None:
    with pytest.raises(TypeError, match=r"multiply: .*met \(1,\) float64"):
        leaf([1.0]) * np.array(["2020-01-01"], "M8[D]")


@pytest.mark.host
def test_constants_go_through_any_numpy_function() -> None:
    t = tg.tensor(np.array([3.0, 1.0, 2.0]))
    assert np.sort(t).tolist() == [1.0, 2.0, 3.0] and type(np.sort(t)) is np.ndarray
    assert np.add.reduce(t) == 6.0
    assert np.vstack([t, t]).shape == (2, 3)
    assert np.median(t) == 2.0


@pytest.mark.host
def test_constants_are_found_in_tuples_and_under_keywords() -> None:
    t, w = tg.tensor(np.array([3.0, 1.0])), leaf([3.0, 1.0])
    assert np.vstack((t, t)).tolist() == [[3, 1], [3, 1]] and np.sort(a=t).tolist() == [1, 3]
    for call in (lambda: np.vstack((t, w)), lambda: np.sort(a=w)):
        with pytest.raises(TypeError, match="has no derivative here"):
            call()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cat", "use tg.concatenate"),
        ("ReLU", "use tg.nn.ReLU"),
        ("Adam", "use tg.optim.Adam"),
        ("tanhh", "the nearest is tg.tanh"),
    ],
)
def test_a_name_that_is_elsewhere_is_told(name: str, told: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'tinygrad7' has no attribute '{name}': {told}$"):
        getattr(tg, name)
    with pytest.raises(AttributeError, match="no attribute 'qqq'$"):
        tg.qqq


def test_a_method_of_other_libraries_is_told() -> None:
    t: Any = tg.tensor([1.0])
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute 'view': use tg\.reshape$"):
        t.view(1, 1)
    with pytest.raises(AttributeError, match=r"'add_': nothing is changed in place: .*t\.assign\(value\)"):
        t.add_(1)
    with pytest.raises(AttributeError, match="no attribute 'qqq'$"):
        t.qqq
    assert not hasattr(t, "__cuda_array_interface__") and not hasattr(tg.Tensor.__new__(tg.Tensor), "_value")


def test_names_of_other_libraries_are_neither_listed_nor_ours() -> None:
    assert not set(INSTEAD) & {*dir(tg.tensor([1.0])), *tg.__all__}
    assert {"reshape", "sum", "grad"} <= set(dir(tg.tensor([1.0])))
