"""``gradients``: of which outputs with respect to what, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf, placed


def test_gradients_with_respect_to_an_inner_result() -> None:
    x = leaf()
    h = tg.exp(x)
    (g,) = tg.gradients((h * h).sum(), h)
    np.testing.assert_allclose(g, 2 * np.exp(host(x)))


def test_second_derivatives_by_create_graph() -> None:
    x = leaf()
    (g,) = tg.gradients((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    np.testing.assert_allclose(x.grad, 36 * host(x) ** 3)


def test_recorded_gradients_have_their_tensors_dtype() -> None:
    x, y = leaf(dtype="float32"), leaf(dtype="float64")
    found = tg.gradients((x * y).sum(), [x, y], create_graph=True)
    assert [g.dtype for g in found] == [np.float32, np.float64]
    assert tg.gradients(found[0].sum(), y)[0].tolist() == [1, 1, 1]


def test_what_a_fused_op_stands_for_is_recorded_in_its_place_and_the_way_back_beside_it() -> None:
    x = leaf(np.ones((1, 1, 2, 2)))
    with tg.scope("net"):
        y = tg.conv2d(x, x)
    (g,) = tg.gradients(y.sum(), x, create_graph=True)
    scopes = {entry.op: entry.scope for entry in tg.Tape(g)}
    assert scopes["pad"] == scopes["stack"] == ("net",) and scopes["scatter"] == ("net", "backward")


def test_the_gradient_of_a_constant_is_zero_where_it_is_asked_for() -> None:
    x, c = leaf(), tg.tensor([1.0, 2.0])
    for create_graph in (False, True):
        found = tg.gradients((x * x).sum(), [c], create_graph=create_graph, unreached="zero")
        assert [g.tolist() for g in found] == [[0, 0]]


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_output_that_is_given_twice_counts_twice(create_graph: bool) -> None:
    x = leaf()
    y = (x * x).sum()
    (g,) = tg.gradients([y, y], x, create_graph=create_graph)
    np.testing.assert_array_equal(g, [4, 8, 12])


def test_a_gradient_that_no_output_reaches_has_its_tensors_dtype() -> None:
    x, other = leaf(), leaf(dtype="float16")
    assert tg.gradients(x.sum(), other, unreached="zero")[0].dtype == np.float16


def test_a_seed_that_is_changed_later_changes_nothing() -> None:
    x, seed = leaf(), placed(np.ones(3))
    (g,) = tg.gradients(x, x, [seed])
    seed[...] = 7.0
    np.testing.assert_array_equal(g, [1, 1, 1])


def test_gradients_leave_the_graph_as_it_was() -> None:
    x = leaf()
    y = (tg.exp(x) * x).sum()
    a, b = tg.gradients(y, x)[0], tg.gradients(y, x)[0]
    np.testing.assert_array_equal(a, b)
    assert x.grad is None
    y.backward()
    np.testing.assert_array_equal(x.grad, a)


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_play_only_what_leads_to_what_is_wanted(create_graph: bool) -> None:
    x, w = leaf(np.ones((1, 1, 2, 2))), leaf(np.ones((1, 1, 2, 2)))
    side = tg.exp(w)
    side.sum().backward()  # a second time would be refused
    for y in (x * side, tg.conv2d(x, side)):
        (g,) = tg.gradients(y.sum(), x, create_graph=create_graph)
        np.testing.assert_allclose(g, np.exp(host(w)))


def test_gradients_messages() -> None:
    x, other = leaf(name="x"), leaf(name="other")
    y = (x * x).sum()
    with pytest.raises(
        ValueError, match=r"gradients: the output does not depend on 'other'; use unreached=\"zero\" if it need not"
    ):
        tg.gradients(y, [x, other])
    with pytest.raises(ValueError, match=r"does not depend on xs\[1\] of shape \(2,\)"):
        tg.gradients(y, [x, leaf([1.0, 2.0])])
    np.testing.assert_array_equal(tg.gradients(y, [other], unreached="zero")[0], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="gradients: unreached must be 'error' or 'zero', not 'zeros'"):
        tg.gradients(y, [other], unreached="zeros")
    with pytest.raises(TypeError, match=r"gradients: xs\[0\] is a ndarray; tensors of a recorded graph are needed"):
        tg.gradients(y, [host(x)])
    with pytest.raises(ValueError, match=r"gradients: xs\[0\] \(3,\) is a constant: it needs requires_grad=True"):
        tg.gradients(y, [x.detach()])
    with pytest.raises(ValueError, match="gradients: 1 outputs but 2 seeds; give one for each"):
        tg.gradients(y, x, [1.0, 1.0])
    with pytest.raises(TypeError, match="gradients: an output is a float; a recorded tensor is needed"):
        tg.gradients([3.0], x)
    with pytest.raises(ValueError, match=r"gradients starts at a scalar, this output has shape \(3,\)"):
        tg.gradients(x * x, x)
    with pytest.raises(ValueError, match=r"gradients: the seed has shape \(2,\), the output \(3,\)"):
        tg.gradients(x * x, x, [[1.0, 2.0]])
