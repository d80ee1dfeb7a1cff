"""Graphs that backward refuses: played already, or with a value written into since."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf

# ---- one graph, played once --------------------------------------------------------------------------------------


def test_a_second_backward_is_told_what_carried_it_in() -> None:
    w = leaf(0.5, name="w")
    with tg.scope("rnn"), tg.step(3):
        h = tg.tanh(w * 2)
    h.sum().backward()
    with tg.scope("rnn"), tg.step(4):
        h = tg.tanh(h * w)
    with pytest.raises(RuntimeError) as caught:
        h.sum().backward()
    message = str(caught.value)
    assert "backward has already been through tanh () in rnn/t=3" in message
    assert "used here by multiply () in rnn/t=4" in message
    assert message.index("tg.truncate(state)") < message.index("retain_graph=True")


def test_truncate_is_the_mend() -> None:
    w = leaf(0.5)
    h: Any = tg.tensor(np.zeros(()))
    for _ in range(3):
        h = tg.tanh(h * w + w)
        h.backward()
        h = tg.truncate(h)
        assert not h.requires_grad
    nested = tg.truncate({"h": [w * 2, 3], "c": (w * 3,)})
    assert not nested["h"][0].requires_grad and nested["h"][1] == 3 and not nested["c"][0].requires_grad


def test_retain_graph_keeps_it() -> None:
    x = leaf()
    y = (tg.exp(x) * x).sum()
    y.backward(retain_graph=True)
    first = host(x.grad).copy()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, first * 3)
    with pytest.raises(RuntimeError, match="has already been through"):
        y.backward()


def test_a_played_graph_is_refused_by_create_graph_too() -> None:
    x = leaf()
    y = tg.exp(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"backward has already been through sum \(\)"):
        tg.gradients(y, x, create_graph=True)


def test_of_two_losses_on_one_trunk_the_second_is_refused_and_gradients_takes_both() -> None:
    x = leaf()
    trunk = tg.exp(x)
    a, b = (trunk * 2).sum(), (trunk * trunk).sum()
    np.testing.assert_allclose(tg.gradients([a, b], x)[0], 2 * np.exp(host(x)) + 2 * np.exp(2 * host(x)))
    a.backward()
    with pytest.raises(RuntimeError, match=r"already been through exp \(3,\)"):
        b.backward()


# ---- stale values ------------------------------------------------------------------------------------------------


def test_a_leaf_assigned_between_forward_and_backward_is_noticed() -> None:
    w, x = leaf([2.0, 3.0], name="w"), leaf([1.0, 1.0])
    loss = (w * x).sum()
    w.assign([5.0, 5.0])
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    message = str(caught.value)
    assert "backward through multiply (2,): it saved the value of leaf 'w', which assign() has changed since" in message
    assert "call backward before changing the leaf, or compute the forward again" in message
    (w * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5.0, 5.0])


def test_an_optimizer_step_is_named() -> None:
    w, x = leaf([2.0], name="w"), leaf([1.0])
    loss = (w * x).sum()
    w._value[...] = 7.0
    w._node.written("an optimizer step")  # type: ignore[union-attr]
    with pytest.raises(
        RuntimeError, match=r"which an optimizer step has changed since.*\(is a state carried over the step\? cut it"
    ):
        loss.backward()


def test_optimizers_stamp_what_they_change() -> None:
    w, x = leaf([2.0], name="w"), leaf([1.0])
    optimizer = tg.optim.SGD([w], lr=0.1)
    (w * x).sum().backward()
    loss = (w * x).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="leaf 'w', which an optimizer step has changed since"):
        loss.backward()


@pytest.mark.parametrize(
    "alias",
    [
        lambda w: w.reshape((1, 3)),
        lambda w: w[1:],
        lambda w: w.T,
        lambda w: w.detach(),
        lambda w: w[::-1],
        lambda w: tg.truncate(w),
        lambda w: tg.broadcast_to(w, (2, 3)),
        lambda w: w.detach()[0:2],
        lambda w: tg.expand_dims(w, 0),
    ],
)
def test_a_view_or_detached_alias_of_a_changed_leaf_is_noticed(alias: Any) -> None:
    w, x = leaf(name="w"), leaf(1.0)
    loss = (alias(w) * x).sum()
    w.assign(w.numpy() + 1)
    with pytest.raises(RuntimeError, match="it saved the value of leaf 'w', which assign"):
        loss.backward()


def test_a_change_is_noticed_also_when_only_what_was_detached_is_left() -> None:
    w, x = leaf(name="w"), leaf(1.0)
    loss = (w.detach() * x).sum()
    w.assign(w.numpy() + 1)
    del w
    with pytest.raises(RuntimeError, match="it saved the value of leaf 'w', which assign"):
        loss.backward()


def test_what_is_refused_has_not_been_played_in_part() -> None:
    w, x = leaf(name="w"), leaf()
    h = tg.exp(x)
    loss = (tg.exp(w * h)).sum()
    w.assign(w.numpy() + 1)
    with pytest.raises(RuntimeError, match="leaf 'w'"):
        loss.backward()
    assert x.grad is None and all(entry.saved_bytes for entry in tg.Tape(loss) if entry.op in ("exp", "multiply"))


def test_a_change_that_no_rule_saved_is_no_matter() -> None:
    w, x = leaf([2.0, 3.0]), leaf([1.0, 1.0])
    loss = ((w + 1.0) * x).sum() + tg.exp(w).sum()
    w.assign([0.0, 0.0])
    loss.backward()
    np.testing.assert_allclose(x.grad, [3.0, 4.0])
    np.testing.assert_allclose(w.grad, 1 + np.exp([2.0, 3.0]))


def test_a_change_of_one_operand_among_several_is_noticed() -> None:
    w, x = leaf(name="w"), leaf()
    loss = tg.einsum("i,i->", x, w)
    w.assign(w.numpy() + 1)
    with pytest.raises(RuntimeError, match="it saved the value of leaf 'w', which assign"):
        loss.backward()


def test_nodes_recorded_after_the_change_are_fine() -> None:
    w = leaf([2.0])
    for value in (3.0, 4.0):
        w.assign([value])
        w.grad = None
        (w * w).sum().backward()
        np.testing.assert_array_equal(w.grad, [2 * value])


def test_nodes_recorded_between_two_changes_of_two_leaves_are_fine() -> None:
    w, other = leaf([2.0]), leaf([1.0])
    w.assign([3.0])
    loss = (w * w).sum()
    other.assign([5.0])
    loss.backward()
    np.testing.assert_array_equal(w.grad, [6.0])


def test_stale_values_are_noticed_by_gradients_and_by_create_graph() -> None:
    w = leaf([2.0], name="w")
    loss = (w * w).sum()
    w.assign([1.0])
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match="leaf 'w'"):
            tg.gradients(loss, w, create_graph=create_graph)


def test_a_constant_that_is_assigned_leaves_old_graphs_right() -> None:
    c, x = tg.tensor(np.array([2.0, 3.0])), leaf([1.0, 1.0])
    loss = (c * x).sum()
    c.assign([100.0, 100.0])
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 3.0])
